"""Calls at a steady rate until standard input ends, and prints what came of it, as `clients/scenarios.md` says."""
# ruff: noqa: INP001, T201  a program of its own, which prints

import asyncio
import json
import os
import sys
import time
from typing import Final

import uvloop

from lockservice_client import Client, ServiceError

ADDRESS: Final = os.environ.get("LOCKSERVICE_ADDR", "127.0.0.1:50051")
PAIR_S: Final = 2 / float(os.environ.get("LOCKSERVICE_CALLS_S", "125"))


class Steady:
    """Takes and gives back locks at set times, however long each takes."""

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        self.slowest_s = 0.0
        self.errors: set[str] = set()

    async def run(self, client: Client, ended: asyncio.Event) -> None:
        """Begins a pair at each time, until the end, and waits for those that are open."""
        pairs: set[asyncio.Task[None]] = set()
        began, number = time.monotonic(), 0
        while not ended.is_set():
            pair = asyncio.create_task(self._pair(client, f"steady-python:{os.getpid()}:{number}"))
            pairs.add(pair)
            pair.add_done_callback(pairs.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number * PAIR_S - time.monotonic()))
        await asyncio.gather(*pairs)

    async def _pair(self, client: Client, resource: str) -> None:
        began = time.monotonic()
        try:
            answer = await client.acquire(resource, ttl=30)
            assert answer.grant is not None, answer
            self._called(began)
            began = time.monotonic()
            await client.release(resource, answer.grant.lease_id)
            self._called(began)
        except (ServiceError, AssertionError) as error:
            self.failed += 1
            self.errors.add(repr(error)[:200])

    def _called(self, began: float) -> None:
        self.calls += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)


async def main() -> None:
    """Calls, and prints one line."""
    ended, steady = asyncio.Event(), Steady()
    waiting = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    waiting.add_done_callback(lambda _: ended.set())
    async with Client(ADDRESS) as client:
        await steady.run(client, ended)
    said = {"client": "python", "calls": steady.calls, "failed": steady.failed, "errors": sorted(steady.errors)}
    print(json.dumps({**said, "slowest_ms": steady.slowest_s * 1e3}))


if __name__ == "__main__":
    uvloop.run(main())
