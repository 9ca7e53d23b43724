"""The latency of each shard over the last minutes, kept whether or not anybody watches: 0.2 ms a shard every 5 s."""

import asyncio
import contextlib
from collections import deque
from itertools import islice
from typing import NamedTuple

from lockservice.limits import TREND_MS, TREND_SLICES
from lockservice.shards.shard import Shard
from lockservice.shards.shard_map import ShardMap


class Slice(NamedTuple):
    """The script calls of a shard in TREND_MS; latencies in milliseconds, None when there was no call."""

    p50_ms: float | None
    p99_ms: float | None
    calls: int


_NOTHING = Slice(None, None, 0)


class Trend:
    """Cuts the latencies of the shards into slices."""

    def __init__(self, shard_map: ShardMap) -> None:
        self._map = shard_map
        self._slices: dict[str, deque[Slice]] = {}
        self._calls: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to cut."""
        self._task = asyncio.create_task(self._run(), name="lockservice trend")

    async def stop(self) -> None:
        """Stops."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def of(self, shard: str) -> tuple[Slice, ...]:
        """Returns the slices of a shard, the oldest first."""
        return tuple(self._slices.get(shard, (_NOTHING,) * TREND_SLICES))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TREND_MS / 1000)
            for shard in self._map.shards:
                self.cut(shard)

    def cut(self, shard: Shard) -> None:
        """Ends a slice of a shard."""
        slices = self._slices.setdefault(shard.name, deque([_NOTHING] * TREND_SLICES, TREND_SLICES))
        calls = shard.calls_timed - self._calls.get(shard.name, 0)
        self._calls[shard.name] = shard.calls_timed
        latest = sorted(islice(reversed(shard.latencies_s), calls))
        slices.append(Slice(_at(latest, 0.5), _at(latest, 0.99), calls) if latest else _NOTHING)


def _at(ordered: list[float], quantile: float) -> float:
    return round(ordered[int(len(ordered) * quantile)] * 1000, 3)
