"""A change of the shard map from its first step to its last, while the service runs."""

import asyncio
import signal
import statistics
from collections.abc import Callable, Mapping
from typing import Final

from lockservice.errors import ShardUnavailable
from lockservice.limits import PROBE_MS
from lockservice.resharding.leadership import Leadership
from lockservice.resharding.move import Moved, Mover, touch
from lockservice.resharding.plan import Plan
from lockservice.resharding.site import Site
from lockservice.resharding.watch import Watch
from lockservice.shards.keys import BUCKET_PREFIXES, MAP_KEY
from lockservice.shards.map_record import MapRecord

# Every replica has looked at its shards by then, and is connected to the new ones.
_ADOPTED_S: Final = 4 * PROBE_MS / 1000
_TRIAL: Final = "ls:{b0}:trial"
_TRIAL_MS: Final = 1_000
_TOLD_EVERY: Final = 8
_KEYS_DELETED_AT_ONCE: Final = 200


class Interrupted(Exception):
    """The operator has stopped the change; the same command goes on with it."""


class Change:
    """Carries out a plan.

    Args:
        plan: what to do.
        sites: every shard of both maps.
        timeout_s: how long a Redis may take to answer.
        tell: is called with a line of progress.
    """

    def __init__(self, plan: Plan, sites: Mapping[str, Site], timeout_s: float, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._sites = sites
        self._timeout_s = timeout_s
        self._tell = tell
        self._stop = False
        self._done = 0
        self._moved: list[Moved] = []

    async def run(self) -> None:
        """Moves every bucket, or as many as it can until SIGINT or SIGTERM.

        Raises:
            click.ClickException: another run is at work.
            Interrupted: not everything has moved yet.
            LockServiceError: a shard does not answer, or is in use with other data.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        async with Leadership(self._sites[min(self._plan.record.before)]) as leadership:
            await self._try()
            if self._plan.back:
                await self._turn_back()
            await self._remember(self._plan.record)
            self._tell(f"the shards know of the change; replicas follow within {_ADOPTED_S:.0f} s")
            await asyncio.sleep(_ADOPTED_S)
            for source in sorted({source for source, _ in self._plan.moves}):
                await self._empty(source, leadership.name)
            await self._remember(self._plan.settled)
        for source in sorted({source for source, _ in self._plan.moves}):
            await self._delete(source)
        self._tell(self._summary())

    def _interrupt(self) -> None:
        self._stop = True

    def _check(self) -> None:
        if self._stop:
            raise Interrupted

    async def _remember(self, record: MapRecord) -> None:
        for site in self._sites.values():
            await site.remember(record)

    async def _try(self) -> None:
        """Finds out whether each shard can read what another writes, before anything depends on it."""
        for source, target in self._plan.moves:
            dump = await self._sites[source].command(0, "DUMP", MAP_KEY)
            try:
                await self._sites[target].command(0, "RESTORE", _TRIAL, _TRIAL_MS, dump, "REPLACE")
            except ShardUnavailable as error:
                raise ShardUnavailable(f"what {source} writes {target} cannot read: {error}") from None

    async def _turn_back(self) -> None:
        """Makes sure of each bucket that has not come to the new shard yet that nobody looks for it there."""
        for (new, old), buckets in self._plan.moves.items():
            for bucket in buckets:
                # Whatever an earlier run has left on its way takes the bucket away no more.
                if await touch(self._sites[old], bucket):
                    reply = await self._sites[new].run("retract", bucket, {})
                    if reply[0] == b"open":
                        raise ShardUnavailable(f"bucket {bucket} is in use on the shards {new} and {old}")

    async def _empty(self, source: str, who: str) -> None:
        """Moves what one shard gives away."""
        targets = {bucket: to for (of, to), moving in self._plan.moves.items() if of == source for bucket in moving}
        site, buckets = self._sites[source], frozenset(targets)
        watch = Watch(site, buckets, self._timeout_s)
        movers = {to: Mover(site, self._sites[to], who, watch) for to in set(targets.values())}
        try:
            await watch.start()
            waiting = {bucket for bucket in sorted(buckets) if await movers[targets[bucket]].prepare(bucket)}
            self._done += len(buckets) - len(waiting)
            for to in movers:
                await self._clear(self._sites[to], frozenset(b for b in waiting if targets[b] == to))
            copied = 0
            async for found in site.keys(frozenset(waiting)):
                self._check()
                for bucket, keys in found.items():
                    copied += await movers[targets[bucket]].copy(bucket, keys)
            self._tell(f"{source}: {copied} keys of {len(waiting)} buckets are copied; now the buckets move")
            for bucket in sorted(waiting):
                self._check()
                self._moved.append(await movers[targets[bucket]].finish(bucket))
                self._done += 1
                if self._done % _TOLD_EVERY == 0:
                    self._tell(f"{self._done} of {self._plan.buckets} buckets have moved")
        finally:
            watch.stop()

    async def _clear(self, site: Site, buckets: frozenset[int]) -> None:
        """Deletes what an interrupted run has left: something of it may have run out meanwhile where it came from."""
        async for found in site.keys(buckets):
            for bucket, keys in found.items():
                for first in range(0, len(keys), _KEYS_DELETED_AT_ONCE):
                    names = [BUCKET_PREFIXES[bucket] + key for key in keys[first : first + _KEYS_DELETED_AT_ONCE]]
                    await site.command(bucket, "UNLINK", *names)

    async def _delete(self, source: str) -> None:
        """Frees what a shard no longer needs. Its buckets stay marked, so that no replica opens them there again."""
        buckets = frozenset(b for (of, _), moving in self._plan.moves.items() if of == source for b in moving)
        await self._clear(self._sites[source], buckets)

    def _summary(self) -> str:
        if not self._moved:
            return f"done: {self._done} buckets have moved"
        paused = [moved.paused_ms for moved in self._moved]
        return (
            f"done: {self._done} buckets have moved; the callers of each waited {statistics.median(paused):.1f} ms "
            f"(median), {max(paused):.1f} ms at most"
        )


async def count(plan: Plan, sites: Mapping[str, Site]) -> dict[str, int]:
    """Counts what a plan moves, by the kind of key.

    Raises:
        ShardUnavailable, OutcomeUnknown: a shard does not answer.
    """
    kinds = {"lease": 0, "event": 0, "claim": 0}
    for source in sorted({source for source, _ in plan.moves}):
        buckets = frozenset(b for (of, _), moving in plan.moves.items() if of == source for b in moving)
        async for found in sites[source].keys(buckets):
            for keys in found.values():
                for key in keys:
                    kind = key.partition(b":")[0].decode()
                    if kind in kinds:
                        kinds[kind] += 1
    return kinds
