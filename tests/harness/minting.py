"""A caller who takes and releases leases all the time, and notes what was granted and for how long nothing was."""

import asyncio
import itertools
import time
from types import TracebackType
from typing import Self

import grpc

from harness.service import Service, until


class Minting:
    """Mints fencing tokens of some resources, one after another.

    Args:
        service: where.
        resources: each in turn.

    Attributes:
        tokens: of each resource, in the order in which they were granted.
        gaps: seconds between one grant and the next.
        errors: reasons for which calls ended in errors.
    """

    def __init__(self, service: Service, *resources: str) -> None:
        self._service = service
        self._resources = resources or ("order:1",)
        self.tokens: dict[str, list[int]] = {resource: [] for resource in self._resources}
        self.gaps: list[float] = []
        self.errors: list[str] = []
        self._stop = False
        self._task: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """How many leases were granted."""
        return len(self.gaps)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._mint())
        await self.more(20)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = True
        assert self._task is not None
        await self._task

    async def more(self, count: int, within: float = 15) -> None:
        """Returns once so many more were granted."""
        wanted = self.count + count
        await until(lambda: self.count >= wanted, f"{count} more grants", within=within)

    def repeated(self) -> int:
        """Counts tokens that are not above all before them."""
        return sum(token <= before for tokens in self.tokens.values() for before, token in itertools.pairwise(tokens))

    async def _mint(self) -> None:
        last = time.monotonic()
        number = 0
        while not self._stop:
            number += 1
            resource = self._resources[number % len(self._resources)]
            try:
                lease = await self._service.grant(resource, f"w{number}", ttl=0.2)
                self.tokens[resource].append(lease.fencing_token)
                self.gaps.append(time.monotonic() - last)
                last = time.monotonic()
                await self._service.release(lease)
            except grpc.aio.AioRpcError as error:
                self.errors.append(error.details() or "")
                await asyncio.sleep(0.005)
            except AssertionError:
                # A lease whose release was lost lasts until its ttl ends.
                await asyncio.sleep(0.005)
