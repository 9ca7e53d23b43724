"""One run of the command at a time: a key with a ttl on the shard that has had bucket 0 before."""

import asyncio
import contextlib
import secrets
from types import TracebackType
from typing import Final, Self

import click

from lockservice.resharding.site import Site

_KEY: Final = "ls:{b0}:mover"
_TTL_MS: Final = 10_000
_RENEW_S: Final = 3.0


class Leadership:
    """Keeps other runs away, as long as it is entered.

    What a run writes carries its name too and is refused once another has begun, so a run that was frozen for longer
    than its key lives harms nothing.

    Args:
        site: the shard that all runs ask.

    Attributes:
        name: of this run.
    """

    def __init__(self, site: Site) -> None:
        self.name = secrets.token_hex(4)
        self._site = site
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins.

        Raises:
            click.ClickException: another run is at work.
        """
        taken = await self._site.command(0, "SET", _KEY, self.name, "NX", "PX", _TTL_MS)
        if taken is None:
            raise click.ClickException(
                f"another run is moving buckets; one that has died is forgotten after {_TTL_MS // 1000} s"
            )
        self._task = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the next run begin."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if await self._site.command(0, "GET", _KEY) == self.name.encode():
            await self._site.command(0, "DEL", _KEY)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            await self._site.command(0, "SET", _KEY, self.name, "XX", "PX", _TTL_MS)
