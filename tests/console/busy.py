"""A service that is busy in the ways that the console shows, for screenshots and measurements."""

import asyncio
import contextlib
import random
from typing import Any

import grpc

from console.visitor import Visitor
from harness.service import Service

NAMES = ("order", "cart", "stock", "invoice", "refund")
PAUSE_S = 0.05


class Busy:
    """Workers that take and release leases, queues, leases that expire, holds and forced ends.

    Args:
        service: a running one.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._random = random.Random(7)
        self._tasks: list[asyncio.Task[Any]] = []

    async def begin(self) -> None:
        """Makes all of it, and goes on until `end`."""
        service = self._service
        for number in range(14):
            await service.grant(f"{NAMES[number % 5]}:{4100 + 37 * number}", f"worker-{number % 4}", ttl=600)
            await asyncio.sleep(0.2)
        kept = await service.grant("order:9001", "worker-2", ttl=60, event_id="orders/updated 77")
        await service.release(kept, retry=True, hold=900)
        for resource, count in (("stock:sku-1138", 9), ("order:4211", 3), ("cart:77", 1)):
            await service.grant(resource, "worker-1", ttl=600, version=40)
            for number in range(count):
                version = {"version": 41 + number} if resource == "order:4211" else {}
                self._tasks.append(
                    service.waiting(
                        resource, f"worker-{number % 6}.{number}", wait=600, request_id=f"{number}", **version
                    )
                )
                await asyncio.sleep(0.15)
        await self._end_badly()
        self._tasks += [asyncio.create_task(self._work(number)) for number in range(6)]

    async def _end_badly(self) -> None:
        async with Visitor(self._service.server.ops_addr) as visitor:
            for resource, reason in (("invoice:5120", "its pod was evicted"), ("refund:88", "the bank's side hangs")):
                lease = await self._service.grant(resource, "worker-5", ttl=60)
                await asyncio.sleep(PAUSE_S)
                await visitor.force(resource, lease.fencing_token, reason)
        for number in range(4):
            await self._service.grant(f"cart:{990 + number}", f"worker-{number}", ttl=0.4 + number / 5)

    async def _work(self, number: int) -> None:
        while True:
            resource = f"{self._random.choice(NAMES)}:{self._random.randrange(2000)}"
            # On a machine with much else to do a call may come too late, and is refused.
            with contextlib.suppress(grpc.aio.AioRpcError):
                response = await self._service.acquire(resource, f"worker-{number}", ttl=5)
                await asyncio.sleep(PAUSE_S * self._random.random())
                if response.HasField("lease"):
                    await self._service.release(response.lease)

    async def end(self) -> None:
        """Stops it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
