"""What one round measures: uncontended pairs, frames, and one hot lock."""

import asyncio
import secrets
import statistics
import time
from typing import Final

from lockservice_bench.peers import Lane, Peer, gather

Figures = dict[str, float]

_DRAIN_S: Final = 3.0
_CANCEL_S: Final = 0.2


async def pairs(peer: Peer, callers: int, seconds: float) -> Figures:
    """Each caller takes and gives back a lock of its own."""
    latencies: list[float] = []
    began = time.perf_counter()
    until = began + seconds

    async def caller(number: int) -> None:
        name = f"order:{number}"
        while (asked := time.perf_counter()) < until:
            held = await peer.acquire(number, name)
            latencies.append(time.perf_counter() - asked)
            await peer.release(held)

    await gather(callers, caller)
    taken = time.perf_counter() - began
    return {"operations_s": 2 * len(latencies) / taken, "p50_ms": statistics.median(latencies) * 1e3}


async def frames(lanes: list[Lane], seconds: float) -> Figures:
    """Every Session sends its next message as soon as the one before is answered."""
    began = time.perf_counter()
    until, done = began + seconds, 0

    async def lane(number: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            operations = await lanes[number].pairs()
            # Not in one statement with the await, which would forget what the other lanes add meanwhile.
            done += operations

    await gather(len(lanes), lane)
    return {"operations_s": done / (time.perf_counter() - began)}


def quantile(values: list[float], part: float) -> float:
    """Returns the value below which a part of all lie; 0 when there is none."""
    return sorted(values)[int(len(values) * part)] if values else 0.0


class HotLock:
    """Many workers want one lock and give it back at once.

    Hand-off is from the moment a release begins until the next worker is told, on one clock.
    """

    def __init__(self, peer: Peer, workers: int) -> None:
        self._peer = peer
        # A name of its own: what the run before left behind must not hold this one up.
        self._name = f"hot:{secrets.token_hex(4)}"
        self._grants = [0] * workers
        self._handoffs: list[float] = []
        self._waits: list[float] = []
        self._asked: dict[int, float] = {}
        self._released = 0.0
        self._ended = False

    async def run(self, seconds: float) -> Figures:
        """Runs for so long and returns what came of it."""
        began = time.perf_counter()
        workers = [asyncio.create_task(self._worker(number)) for number in range(len(self._grants))]
        await asyncio.wait(workers, timeout=seconds)
        ended = time.perf_counter()
        grants, waits = sum(self._grants), [ended - asked for asked in self._asked.values()]
        self._ended = True
        # Who waits is let through first: a server that must clean up after cancelled calls would be slower next time.
        _, waiting = await asyncio.wait(workers, timeout=_DRAIN_S)
        while waiting:
            # Once is not enough for every peer: redis-py may take a cancellation for a timeout of its own.
            for worker in waiting:
                worker.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=_CANCEL_S)
        return {
            "handoffs_s": grants / (ended - began),
            "p50_ms": quantile(self._handoffs, 0.5) * 1e3,
            "p99_ms": quantile(self._handoffs, 0.99) * 1e3,
            "share": min(self._grants) / max(1, *self._grants),
            # Who was still waiting at the end had waited at least so long.
            "longest_wait_ms": max([*self._waits, *waits], default=0.0) * 1e3,
        }

    async def _worker(self, number: int) -> None:
        while not self._ended:
            self._asked[number] = time.perf_counter()
            held = await self._peer.acquire(number, self._name)
            now = time.perf_counter()
            asked = self._asked.pop(number)
            if not self._ended:
                self._waits.append(now - asked)
                self._grants[number] += 1
                if self._released:
                    self._handoffs.append(now - self._released)
            self._released = time.perf_counter()
            await self._peer.release(held)
