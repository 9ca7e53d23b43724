"""What every call of a client goes over, and how that is closed."""

import asyncio
import itertools
import os
import secrets
import socket
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from lockservice_client.channel import Calls, Target
from lockservice_client.options import Seconds, seconds

T = TypeVar("T")

CALL_S: Final = 5.0


class Connection:
    """The way to the service; `Client` has the calls. Arguments as there."""

    def __init__(
        self,
        address: str | None = None,
        *,
        owner: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        insecure: bool = False,
        retry_for: float = 10.0,
        unary: bool = False,
        stream_age: Seconds = 300.0,
        unready: bool = False,
    ) -> None:
        target = Target(address, token=token, ca=ca, cert=cert, key=key, insecure=insecure, unready=unready)
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}"
        self.address = target.address
        self.retry_for = retry_for
        self._asking = Calls(target, unary=unary, stream_age=seconds(stream_age))
        self._apart = Calls(target, unary=True, stream_age=seconds(stream_age))
        # 96 random bits tell clients apart, and a count the requests of one.
        self._request_prefix = secrets.token_hex(12)
        self._request_count = itertools.count()
        self._ending: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        """Returns the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connections."""
        await self.close()

    async def close(self) -> None:
        """Closes the connections once releases on their way are through. Leases still held run out by themselves."""
        if self._ending:
            await asyncio.wait(self._ending)
        await asyncio.gather(self._asking.close(), self._apart.close())

    @property
    def _keeping(self) -> Calls:
        """What renewals and releases go over.

        In a session they leave first. Without one they have a connection of their own: calls that wait count as
        streams of theirs, and a proxy or a server that allows few would keep the releases back that they wait for.
        """
        return self._asking if self._asking.in_session else self._apart

    async def see_through(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Awaits a release to its end even if the caller is cancelled, so that the next worker can go on."""
        task = asyncio.create_task(coroutine)
        self._ending.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._ending.discard(task)
        if not task.cancelled():
            # Its caller may have been cancelled and never hear of it.
            task.exception()

    def _new_request_id(self) -> str:
        return f"{self._request_prefix}{next(self._request_count):x}"

    def _limits(self, within: float | None) -> tuple[float, float]:
        """Returns the timeout of one attempt and how long to repeat, in seconds."""
        return (CALL_S, self.retry_for) if within is None else (min(CALL_S, within), within)
