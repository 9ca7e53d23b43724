"""Many callers at several replicas, who repeat what was refused or not answered; what they saw is recorded."""

import asyncio
import random
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from harness.history import UNDECIDED, Operation, Recorder
from harness.recording import Recorded
from harness.service import Service, until

AGAIN_S = 0.02
TTL_S = 1.0
WAIT_S = 1.0


class Storm:
    """Calls until it is left.

    Args:
        services: the replicas; each call goes to any of them, each repetition to any other.
        callers: at once.
        resources: that they fight for.
        dedupe: whether they claim event keys too.
    """

    def __init__(
        self, services: Sequence[Service], *, callers: int = 16, resources: int = 8, dedupe: bool = True
    ) -> None:
        self.recorder = Recorder()
        self._replicas = [Recorded(service, self.recorder) for service in services]
        self._callers = callers
        self._resources = resources
        self._dedupe = dedupe
        self._stop = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(self._callers)]
        await self.goes_on(50)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    def history(self) -> list[Operation]:
        """Returns what they saw."""
        return self.recorder.history()

    def _granted(self) -> int:
        return sum(operation.outcome == "granted" for operation in self.history())

    async def goes_on(self, grants: int = 100, within: float = 20) -> None:
        """Returns once so many more leases were granted."""
        wanted = self._granted() + grants
        await until(lambda: self._granted() >= wanted, f"{grants} more grants", within=within)

    async def _call(self, number: int) -> None:
        chance = random.Random(number)
        owner, turn = f"w{number}", 0
        while not self._stop:
            turn += 1
            resource = f"order:{chance.randrange(self._resources)}"
            lease = await self._acquire(chance, resource, owner, f"{owner}-{turn}")
            if lease is not None:
                if chance.random() < 0.2:
                    await chance.choice(self._replicas).renew(lease, owner, ttl=TTL_S)
                await self._release(chance, lease, owner)
            if self._dedupe and chance.random() < 0.3:
                key = f"event:{chance.randrange(200)}-{int(time.monotonic())}"
                await chance.choice(self._replicas).dedupe(key, owner, request_id=f"{owner}-{turn}")
            await asyncio.sleep(0)

    async def _acquire(self, chance: random.Random, resource: str, owner: str, request_id: str) -> Any:
        while not self._stop:
            how = {"ttl": TTL_S, "wait": WAIT_S, "request_id": request_id, "deadline": WAIT_S + 1}
            lease = await chance.choice(self._replicas).acquire(resource, owner, **how)
            if self._last(owner) not in UNDECIDED:
                return lease
            await asyncio.sleep(AGAIN_S * chance.uniform(0.5, 1.5))
        return None

    async def _release(self, chance: random.Random, lease: Any, owner: str) -> None:
        # Longer than the lease lasts nobody need try.
        for _ in range(20):
            if await chance.choice(self._replicas).release(lease, owner) not in UNDECIDED or self._stop:
                return
            await asyncio.sleep(AGAIN_S * chance.uniform(0.5, 1.5))

    def _last(self, owner: str) -> str:
        return self.recorder.last(owner).outcome
