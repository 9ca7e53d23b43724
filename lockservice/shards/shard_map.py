"""The shards of this service, and which of them serves a bucket now.

Every shard remembers the map. A replica begins with the shards that it was given, takes over what they remember, and
follows them when the map changes: first to a map with the shards before and after, where a bucket is looked for at
its old shard until that says that it has left, then to one with the new shards alone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from lockservice.errors import ShardMapMismatch, ShardUnavailable
from lockservice.guarantee import Guarantees
from lockservice.limits import BUCKETS, MOVING_MS_MAX
from lockservice.shards import script
from lockservice.shards.keys import MAP_KEY
from lockservice.shards.map_record import MapRecord, assign, read
from lockservice.shards.node import Connecting
from lockservice.shards.pipeline import Pipeline, is_error
from lockservice.shards.shard import Reply, Shard

log = logging.getLogger(__name__)


class ShardMap:
    """The shards, and the way to them.

    Args:
        shards: name and URL of each shard that this replica was given.
        guarantees: what their answers are worth.
        connecting: what all connections have in common.
        on_hint: is called with the bucket and the name of a waiting call that should look again.

    Attributes:
        record: the map that this replica follows.
        seen: the highest fencing token that this replica knows of in each bucket.
        on_change: is called with the buckets whose shard can be used from now on, cannot any more, or has changed.
    """

    def __init__(
        self,
        *,
        shards: Sequence[tuple[str, str]],
        guarantees: Guarantees,
        connecting: Connecting,
        on_hint: Callable[[int, bytes], None],
    ) -> None:
        self._given = dict(shards)
        self._guarantees = guarantees
        self._connecting = connecting
        self._on_hint = on_hint
        self.record = MapRecord(0, self._given)
        self.seen = [0] * BUCKETS
        self.on_change: Callable[[Sequence[int]], None] = lambda _buckets: None
        self._shards: dict[str, Shard] = {}
        self._wrong: dict[str, str] = {}
        # Until every shard has been asked, no map is written to one that has none: another may know better.
        self._asked = False
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._add_shards()
        self._route = self._routes()

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards that may have buckets."""
        return tuple(self._shards.values())

    async def start(self) -> None:
        """Connects to all shards at once; those that are down are tried again for as long as it takes."""
        await asyncio.gather(*(shard.start() for shard in self.shards))
        self._asked = not self._wrong
        await asyncio.gather(*(shard.topology.look() for shard in self.shards))

    async def stop(self) -> None:
        """Closes all connections."""
        self._stopping.set()
        await asyncio.gather(*(shard.stop() for shard in self.shards), *self._tasks)

    def pick(self, bucket: int) -> Shard:
        """Returns the shard that serves a bucket.

        Raises:
            ShardMapMismatch: one of the shards holds another map, so this replica might look in the wrong place.
        """
        if self._wrong:
            name, problem = next(iter(self._wrong.items()))
            raise ShardMapMismatch(f"shard {name}: {problem}")
        return self._route[bucket]

    def buckets_of(self, shard: Shard) -> list[int]:
        """Returns the buckets that a shard serves."""
        return [bucket for bucket, serving in enumerate(self._route) if serving is shard]

    def problems(self) -> list[str]:
        """Says why this replica is not ready; nothing when it is.

        One shard that is down does not make it unready, since the others go on; none reachable does, and so does
        a shard that must not be used.
        """
        down = [shard for shard in self.shards if shard.problem]
        wrong = [shard for shard in down if shard.name in self._wrong or shard.evicts]
        named = wrong or (down if len(down) == len(self.shards) else [])
        return [f"shard {shard.name}: {shard.problem}" for shard in named]

    def _add_shards(self) -> list[Shard]:
        added = []
        for name, url in self.record.urls().items():
            if name not in self._shards:
                shard = Shard(
                    name=name,
                    # Two replicas may reach a shard at different addresses; each keeps to its own.
                    url=self._given.get(name, url),
                    guarantee=self._guarantees.of(name),
                    connecting=self._connecting,
                    seen=self.seen,
                    vet=self._vet,
                    on_hint=self._on_hint,
                )
                shard.on_change = self._changed
                shard.on_moved = self._run_elsewhere
                self._shards[name] = shard
                added.append(shard)
        return added

    def _routes(self) -> list[Shard]:
        names = assign(frozenset(self.record.before or self.record.shards))
        return [self._shards[name] for name in names]

    def _changed(self, shard: Shard) -> None:
        self.on_change(self.buckets_of(shard))

    async def _vet(self, shard: Shard, pipeline: Pipeline) -> str:
        """Compares the map that a shard remembers with this replica's; returns why the shard may not be used."""
        reply = await pipeline.call("GET", MAP_KEY)
        if is_error(reply) and str(reply).startswith(("MOVED", "ASK")):
            return ""  # Another node of the Cluster remembers it.
        if reply is None:
            if not self._asked:
                return "it has no shard map yet"
            reply = await self._remember(pipeline)
        if is_error(reply):
            raise ShardUnavailable(f"its shard map cannot be read: {reply}")
        found = read(reply)
        if found is not None and found.epoch < self.record.epoch:
            # It has lost what it knew, and comes back with less.
            reply = await self._remember(pipeline)
            found = None if is_error(reply) else read(reply)
        problem = "it holds a shard map that cannot be read" if found is None else self._compare(found)
        self._wrong.pop(shard.name, None)
        if problem:
            self._wrong[shard.name] = problem
        return problem

    async def _remember(self, pipeline: Pipeline) -> Any:
        record = self.record if self.record.epoch else MapRecord(1, self.record.shards)
        loaded = script.load("map")
        values = loaded.values({"record": record.text(), "epoch": record.epoch})
        return await pipeline.call("EVAL", loaded.text, 1, MAP_KEY, *script.NOBODY, *values)

    def _compare(self, found: MapRecord) -> str:
        known = found.epoch == self.record.epoch and found.shards.keys() == self.record.shards.keys()
        # Whoever has followed one map follows the next wherever it leads; a newcomer must have been given either.
        follows = found.epoch > self.record.epoch and (self.record.epoch > 0 or found.fits(frozenset(self._given)))
        if follows:
            self._adopt(found)
        if known or follows:
            return ""
        theirs, ours = (" ".join(sorted(names)) for names in (found.shards, self.record.shards))
        return f"it belongs to the shard map [{theirs}] and this replica has [{ours}]"

    def _adopt(self, record: MapRecord) -> None:
        if self.record.epoch:
            log.warning("shard map changes", extra={"epoch": record.epoch, "shards": sorted(record.shards)})
        before, self.record = self._route, record
        for shard in self._add_shards():
            self._do(shard.start())
        self._route = self._routes()
        for name in [name for name in self._shards if name not in record.urls()]:
            self._wrong.pop(name, None)
            self._do(self._retire(self._shards.pop(name)))
        self.on_change([b for b in range(BUCKETS) if self._route[b] is not before[b]])

    async def _retire(self, shard: Shard) -> None:
        """Disconnects a shard that has no buckets any more, once the calls that are with it have been answered."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * MOVING_MS_MAX / 1000):
                await self._stopping.wait()
        await shard.stop()
        if shard.name not in self._shards:
            self._connecting.metrics.forget(shard.name)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_elsewhere(
        self, left: Shard, verb: str, bucket: int, arguments: Mapping[str, script.Argument]
    ) -> Reply:
        """Runs a script where its bucket has gone to.

        Raises:
            ShardUnavailable: nobody says where that is. And what Shard.run raises.
        """
        target = self._target(left, bucket)
        if target is left:
            await left.topology.look()
            target = self._target(left, bucket)
        if target is left:
            raise ShardUnavailable(f"shard {left.name}: a part of it has left, and no shard map says where to")
        await target.started.wait()
        return await target.run(verb, bucket, arguments)

    def _target(self, left: Shard, bucket: int) -> Shard:
        if self._route[bucket] is left:
            name = assign(frozenset(self.record.shards))[bucket]
            if name != left.name:
                self._route[bucket] = self._shards[name]
                self.on_change([bucket])
        return self._route[bucket]
