"""One replica: its shards, its waiting calls, and the domain on top of them. It holds no lock state of its own."""

from collections.abc import Sequence

from lockservice.audit import Audit
from lockservice.census import Census
from lockservice.dedupe import Dedupe
from lockservice.guarantee import Guarantees
from lockservice.inspection import Inspection
from lockservice.locks import Locks
from lockservice.metrics import Metrics
from lockservice.quotas import Quotas
from lockservice.shards.node import Connecting
from lockservice.shards.shard_map import ShardMap
from lockservice.sweeper import Sweeper
from lockservice.waiters import WaitingRoom


class Replica:
    """Builds the domain for a shard map.

    Args:
        shards: name and URL of each shard.
        guarantees: what the answers of each shard are worth.
        hold_off_ms: how long an exclusive shard grants nothing after a change of primary.
        redis_timeout_ms: how long a shard's answer may take.
        version_retention_ms: how long completed versions are remembered after a resource's last use.
        waiters_per_resource: how many calls may wait for one resource.
        waiters_per_replica: how many calls may wait in this process.
        metrics: where everything is measured.
        audit: is told of force-releases.
        quotas: how much each namespace may use.
    """

    def __init__(
        self,
        *,
        shards: Sequence[tuple[str, str]],
        guarantees: Guarantees,
        hold_off_ms: int,
        redis_timeout_ms: int,
        version_retention_ms: int,
        waiters_per_resource: int,
        waiters_per_replica: int,
        metrics: Metrics,
        audit: Audit,
        quotas: Quotas,
    ) -> None:
        self._room = WaitingRoom(waiters_max=waiters_per_replica, quotas=quotas)
        connecting = Connecting(
            replica=self._room.replica,
            timeout_s=redis_timeout_ms / 1000,
            memory_ms=version_retention_ms,
            hold_off_ms=hold_off_ms,
            metrics=metrics,
        )
        waiters = self._room.waiters
        self.shard_map = ShardMap(shards=shards, guarantees=guarantees, connecting=connecting, on_hint=waiters.hear)
        sweeper = self._sweeper = Sweeper(shard_map=self.shard_map, waiters=waiters, metrics=metrics)
        self._metrics = metrics
        self.locks = Locks(
            shard_map=self.shard_map,
            room=self._room,
            sweeper=sweeper,
            metrics=metrics,
            quotas=quotas,
            waiters_max=waiters_per_resource,
        )
        self.dedupe = Dedupe(
            shard_map=self.shard_map, room=self._room, sweeper=sweeper, metrics=metrics, quotas=quotas
        )
        self._census = Census(shard_map=self.shard_map, quotas=quotas)
        self.inspection = Inspection(
            shard_map=self.shard_map, metrics=metrics, audit=audit, replica=self._room.replica
        )
        metrics.waiters_limit.set(waiters_per_replica)
        metrics.watch(
            holds=lambda: sweeper.holds,
            waiters=lambda: self._room.waiting,
        )

    @property
    def waiting(self) -> int:
        """How many calls are waiting."""
        return self._room.waiting

    async def start(self) -> None:
        """Connects to the shards. One that is down does not stop the start."""
        self._sweeper.start()
        await self.shard_map.start()
        self._census.start()

    def drain(self) -> None:
        """Sends the waiting calls to another replica."""
        self._metrics.draining.set(1)
        self._room.drain()

    async def stop(self) -> None:
        """Finishes what ended calls have left to do, and disconnects."""
        await self._room.cleaned()
        await self._sweeper.stop()
        await self._census.stop()
        await self.shard_map.stop()
