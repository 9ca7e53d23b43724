"""Drives a service that is already running, as workers would, and says how it does while it does."""

import asyncio
import time
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lockservice_bench import rounds
from lockservice_bench.peers import Peer, session
from lockservice_bench.rounds import HotLock, quantile
from lockservice_client import Client

_LOOK_S: Final = 0.25
_HOT_PART: Final = 0.5


class _Watched:
    """A peer whose grants are counted as they come."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.latencies: list[float] = []

    def peer(self) -> Peer:
        async def acquire(caller: int, name: str) -> object:
            asked = time.perf_counter()
            held = await self._peer.acquire(caller, name)
            self.latencies.append(time.perf_counter() - asked)
            return held

        return Peer(acquire, self._peer.release)


async def drive(console: Console, address: str, callers: int, seconds: float) -> None:
    """Takes and gives back locks of each caller's own for so long, and then one lock that all want."""
    async with Client(address) as client:
        watched = _Watched(session(client))
        with Live(Text("beginning"), console=console, transient=True) as live:
            watching = asyncio.create_task(_watch(live, watched))
            figures = await rounds.pairs(watched.peer(), callers, seconds)
            watching.cancel()
        console.print(
            f"{callers} callers, a lock each: {figures['operations_s']:,.0f} operations/s, taking one p50 "
            f"{figures['p50_ms']:.2f} ms, p99 {quantile(watched.latencies, 0.99) * 1e3:.2f} ms"
        )
        hot = await HotLock(session(client), callers).run(seconds * _HOT_PART)
        console.print(
            f"{callers} callers, one lock: {hot['handoffs_s']:,.0f} hand-offs/s, p50 {hot['p50_ms']:.2f} ms, p99 "
            f"{hot['p99_ms']:.2f} ms, worst worker {hot['share']:.2f} of the best"
        )


async def _watch(live: Live, watched: _Watched) -> None:
    seen, at = 0, time.perf_counter()
    while True:
        await asyncio.sleep(_LOOK_S)
        new, now = watched.latencies[seen:], time.perf_counter()
        if new:
            rate = 2 * len(new) / (now - at)
            p50_ms, p99_ms = (quantile(new, part) * 1e3 for part in (0.5, 0.99))
            live.update(Text(f"{rate:,.0f} operations/s, p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms"))
        seen, at = len(watched.latencies), now
