"""What calls that wait cost a replica."""

import asyncio
from typing import Final, Literal

import grpc
from google.protobuf.duration_pb2 import Duration

from lockservice_bench.machine import Running
from lockservice_bench.memory import cpu_s, rss_bytes
from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client._stubs.lockservice_pb2_grpc import LockServiceStub

_AT_ONCE: Final = 500
_LOOK_S: Final = 0.05
_SETTLE_S: Final = 3
_IDLE_S: Final = 5
_WAIT: Final = Duration(seconds=300)
_RESOURCES: Final = 100


class Queue:
    """Waiting acquires, a unary call each or all over one Session. Closing the channel ends them."""

    def __init__(self, channel: grpc.aio.Channel, how: Literal["unary", "session"]) -> None:
        self._stub = LockServiceStub(channel)
        self._session = self._stub.Session() if how == "session" else None
        self._calls: list[object] = []

    async def hold(self) -> None:
        """Takes what the others wait for."""
        for number in range(_RESOURCES):
            await self._stub.Acquire(pb.AcquireRequest(resource=f"busy:{number}", owner="holder", ttl=_WAIT))

    async def add(self, numbers: range) -> None:
        """Begins to wait so many times more."""
        asked = [
            pb.AcquireRequest(resource=f"busy:{number % _RESOURCES}", owner=f"w{number}", wait_timeout=_WAIT)
            for number in numbers
        ]
        if self._session is None:
            self._calls += [self._stub.Acquire(request) for request in asked]
            return
        operations = [
            pb.Operation(id=number, acquire=request) for number, request in zip(numbers, asked, strict=True)
        ]
        await self._session.write(pb.SessionRequest(operations=operations))


async def measure(running: Running, how: Literal["unary", "session"], waiters: int) -> dict[str, float]:
    """Returns bytes of a fresh replica for a waiting acquire, and its processor time while they wait, in percent."""
    async with grpc.aio.insecure_channel(running.address) as channel:
        queue = Queue(channel, how)
        await queue.hold()
        before = rss_bytes(running.pid)
        for start in range(0, waiters, _AT_ONCE):
            await queue.add(range(start, min(start + _AT_ONCE, waiters)))
            await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(_SETTLE_S)
        each = (rss_bytes(running.pid) - before) / waiters
        cpu = cpu_s(running.pid)
        await asyncio.sleep(_IDLE_S)
        return {"bytes": each, "idle_percent": (cpu_s(running.pid) - cpu) / _IDLE_S * 100}
