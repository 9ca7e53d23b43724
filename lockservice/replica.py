"""One replica: its shards, its waiting calls, and the domain on top of them. It holds no lock state of its own."""

import asyncio
from collections.abc import Sequence

from lockservice.dedupe import Dedupe
from lockservice.inspection import Inspection
from lockservice.locks import Locks
from lockservice.metrics import Metrics
from lockservice.shards.shard import Shard
from lockservice.shards.shard_map import ShardMap, map_names
from lockservice.sweeper import Sweeper
from lockservice.waiters import WaitingRoom


class Replica:
    """Builds the domain for a shard map.

    Args:
        shards: name and redis-py URL of each shard.
        redis_timeout_ms: how long a shard's answer may take.
        version_retention_ms: how long completed versions are remembered after a resource's last use.
        waiters_per_resource: how many calls may wait for one resource.
        waiters_per_replica: how many calls may wait in this process.
        metrics: where everything is measured.
    """

    def __init__(
        self,
        *,
        shards: Sequence[tuple[str, str]],
        redis_timeout_ms: int,
        version_retention_ms: int,
        waiters_per_resource: int,
        waiters_per_replica: int,
        metrics: Metrics,
    ) -> None:
        self._room = WaitingRoom(waiters_max=waiters_per_replica)
        names = map_names([name for name, _ in shards])
        self.shard_map = ShardMap(
            [
                Shard(
                    name=name,
                    url=url,
                    map_names=names,
                    replica=self._room.replica,
                    timeout_ms=redis_timeout_ms,
                    memory_ms=version_retention_ms,
                    metrics=metrics,
                )
                for name, url in shards
            ]
        )
        sweepers = {
            shard.name: Sweeper(shard=shard, waiters=self._room.shard(), metrics=metrics)
            for shard in self.shard_map.shards
        }
        self._sweepers = sweepers
        self._metrics = metrics
        self.locks = Locks(
            shard_map=self.shard_map,
            room=self._room,
            sweepers=sweepers,
            metrics=metrics,
            waiters_max=waiters_per_resource,
        )
        self.dedupe = Dedupe(shard_map=self.shard_map, room=self._room, sweepers=sweepers, metrics=metrics)
        self.inspection = Inspection(shard_map=self.shard_map, metrics=metrics)
        metrics.watch(
            holds=lambda: sum(sweeper.holds for sweeper in sweepers.values()),
            waiters=lambda: self._room.waiting,
        )

    @property
    def waiting(self) -> int:
        """How many calls are waiting."""
        return self._room.waiting

    async def start(self) -> None:
        """Connects to the shards. One that is down does not stop the start."""
        for sweeper in self._sweepers.values():
            sweeper.start()
        await self.shard_map.start()

    def drain(self) -> None:
        """Sends the waiting calls to another replica."""
        self._metrics.draining.set(1)
        self._room.drain()

    async def stop(self) -> None:
        """Finishes what ended calls have left to do, and disconnects."""
        await self._room.cleaned()
        await asyncio.gather(*(sweeper.stop() for sweeper in self._sweepers.values()))
        await self.shard_map.stop()
