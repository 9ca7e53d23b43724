"""Looks through the buckets for the console, a bounded part of them at a time.

Each look asks every bucket for its last fencing token, then some of those in which something was granted, and a few
others in turn, how much is in them, and walks a few leases further in each. What has been found to be held
longest, or waited for most, is looked at again each time; anything else comes back only if it exceeds that.
So a look costs the same with a hundred thousand leases as with a thousand: it only takes longer until all were seen.
"""

import asyncio
import contextlib
import heapq
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from lockservice.errors import LockServiceError
from lockservice.inspection import lock_of, resource_of, waiter_of
from lockservice.lease import Lock, Waiter
from lockservice.limits import (
    BUCKETS,
    CONSOLE_BUSIEST,
    CONSOLE_ENDED,
    CONSOLE_FEW_LOCKS,
    CONSOLE_GRANTED_BUCKETS,
    CONSOLE_LONGEST,
    CONSOLE_LOOKS,
    CONSOLE_LOOKS_FEW,
    CONSOLE_OTHER_BUCKETS,
    CONSOLE_WAITERS,
    INSPECT_WAITERS_MAX,
)
from lockservice.shards.keys import BUCKET_PREFIXES, name_prefix, place
from lockservice.shards.shard import Reply, Shard
from lockservice.shards.shard_map import ShardMap

# In place of a time that nothing is as long ago as.
_NEVER_MS: Final = 10**15


class Seen(NamedTuple):
    """A resource and its first waiters."""

    lock: Lock
    waiters: tuple[Waiter, ...]


class Ended(NamedTuple):
    """A lease that was not released: it expired or was forced, at_ms since 1970 by its shard's clock."""

    at_ms: int
    kind: str
    resource: str
    owner: str
    token: int
    held_ms: int | None
    by: str
    reason: str


class Findings(NamedTuple):
    """What the looks so far have found. Numbers count what could be seen at the last look; waiting by shard."""

    locks: dict[str, int]
    waiting: dict[str, int]
    holds: int
    longest: tuple[Seen, ...]
    busiest: tuple[Seen, ...]
    ended: tuple[Ended, ...]


class _Bucket:
    """What is known of a bucket, and how far the walk through it has come."""

    __slots__ = ("ended_ms", "holds", "locks", "passed", "shard", "token", "waiting", "waiting_passed")

    def __init__(self) -> None:
        self.shard = ""
        self.token: bytes | None = None
        self.locks = self.holds = self.waiting = 0
        self.passed = self.waiting_passed = self.ended_ms = 0

    def forget(self) -> None:
        """It cannot be looked at now."""
        self.locks = self.holds = self.waiting = 0
        self.token = None

    def take(self, locks: int, holds: int, looked: int, queued: int, looks: int) -> None:
        self.locks, self.holds = locks, holds
        self.passed += looked
        self.waiting_passed += queued
        if looked < looks:
            # The walk has come to the end, and begins again.
            self.waiting, self.waiting_passed, self.passed = self.waiting_passed, 0, 0


class Survey:
    """The walk for those who may see the same.

    Args:
        shard_map: where to look.
        namespace: whose resources are shown.
        prefixes: the beginnings of their names; "" stands for all.
    """

    def __init__(self, shard_map: ShardMap, namespace: str, prefixes: Iterable[str]) -> None:
        self._map = shard_map
        self._namespace = namespace
        self._prefixes = "\n".join(name_prefix(namespace, prefix) for prefix in prefixes)
        self._buckets = [_Bucket() for _ in range(BUCKETS)]
        self._next = 0
        self._looked = False
        self._longest: list[Seen] = []
        self._busiest: list[Seen] = []
        self._ended: deque[Ended] = deque(maxlen=CONSOLE_ENDED)

    async def look(self) -> Findings:
        """Looks further, and returns what has been found. What is on a shard that does not answer is left out."""
        few = sum(bucket.locks for bucket in self._buckets) <= CONSOLE_FEW_LOCKS
        looks = CONSOLE_LOOKS_FEW if few else CONSOLE_LOOKS
        named: dict[int, dict[str, None]] = {}
        for seen in (*self._longest, *self._busiest):
            name, bucket = place(self._namespace, seen.lock.resource)
            named.setdefault(bucket, {})[name] = None
        bounds = {
            "held_ms_min": -1 if len(self._longest) < CONSOLE_LONGEST else self._longest[-1].lock.held_ms or 0,
            "queued_min": 0 if len(self._busiest) < CONSOLE_BUSIEST else self._busiest[-1].lock.queue_length + 1,
        }
        buckets = await self._choose() | named.keys() if self._looked else range(BUCKETS)
        self._looked = True
        answers = await asyncio.gather(
            *(self._ask(bucket, named.get(bucket, {}), looks, **bounds) for bucket in buckets)
        )
        return self._judge([answer for answer in answers if answer], looks)

    async def find(self, resource: str) -> Seen:
        """Looks at one resource. Raises what Shard.run raises."""
        name, bucket = place(self._namespace, resource)
        shard = self._map.pick(bucket)
        reply = await self._run(
            shard, bucket, [name], 0, held_ms_min=0, queued_min=0, waiters_max=INSPECT_WAITERS_MAX, after_ms=_NEVER_MS
        )
        return self._seen(shard, reply[5][0])

    async def _choose(self) -> set[int]:
        """Returns the buckets to look at: some of those in which something was granted, and a few in turn."""
        reading: dict[int, asyncio.Future[Any]] = {}
        for bucket in range(BUCKETS):
            with contextlib.suppress(LockServiceError):
                node = self._map.pick(bucket).topology.by_bucket[bucket]
                reading[bucket] = node.read("GET", BUCKET_PREFIXES[bucket] + b"token")
        tokens = dict(zip(reading, await asyncio.gather(*reading.values(), return_exceptions=True), strict=True))
        granted = []
        for bucket, known in enumerate(self._buckets):
            token = tokens.get(bucket)
            if not isinstance(token, bytes):
                known.forget()
            elif token != known.token:
                granted.append((bucket - self._next) % BUCKETS)
        first, self._next = self._next, (self._next + CONSOLE_OTHER_BUCKETS) % BUCKETS
        turns = {*sorted(granted)[:CONSOLE_GRANTED_BUCKETS], *range(CONSOLE_OTHER_BUCKETS)}
        chosen = {(first + turn) % BUCKETS for turn in turns}
        for bucket in chosen:
            # What was granted in the others is still new at the next look.
            self._buckets[bucket].token = tokens.get(bucket)
        return chosen

    async def _ask(
        self, bucket: int, named: Iterable[str], looks: int, *, held_ms_min: int, queued_min: int
    ) -> tuple[int, Shard, Reply] | None:
        known = self._buckets[bucket]
        try:
            shard = self._map.pick(bucket)
            reply = await self._run(
                shard, bucket, named, looks,
                held_ms_min=held_ms_min, queued_min=queued_min,
                waiters_max=CONSOLE_WAITERS, after_ms=known.ended_ms,
            )  # fmt: skip
        except LockServiceError:
            known.forget()
            return None
        return bucket, shard, reply

    async def _run(self, shard: Shard, bucket: int, named: Iterable[str], looks: int, **bounds: int) -> Reply:
        arguments: dict[str, str | int] = {
            "prefixes": self._prefixes,
            "named": "\n".join(named),
            "first": self._buckets[bucket].passed,
            "looked_max": looks,
            **bounds,
        }
        return await shard.run("survey", bucket, arguments)

    def _judge(self, answers: Iterable[tuple[int, Shard, Reply]], looks: int) -> Findings:
        found, ended = [], []
        for bucket, shard, reply in answers:
            _, held, holds, looked, queued, resources, ends = reply
            known = self._buckets[bucket]
            known.take(int(held), int(holds), int(looked), int(queued), looks)
            known.shard = shard.name
            found += [self._seen(shard, resource) for resource in resources]
            ended += [self._end(end) for end in ends]
            if ends:
                known.ended_ms = max(int(end[8]) for end in ends)
        used = [seen for seen in found if seen.lock.holder or seen.lock.hold]
        queued = [seen for seen in found if seen.lock.queue_length]
        self._longest = heapq.nlargest(CONSOLE_LONGEST, used, key=lambda seen: seen.lock.held_ms or 0)
        self._busiest = heapq.nlargest(CONSOLE_BUSIEST, queued, key=lambda seen: seen.lock.queue_length)
        self._ended.extend(sorted(ended))
        locks, waiting = Counter[str](), Counter[str]()
        for known in self._buckets:
            locks[known.shard] += known.locks
            waiting[known.shard] += known.waiting
        return Findings(
            locks=locks,
            waiting=waiting,
            holds=sum(bucket.holds for bucket in self._buckets),
            longest=tuple(self._longest),
            busiest=tuple(self._busiest),
            ended=tuple(reversed(self._ended)),
        )

    def _seen(self, shard: Shard, resource: list[Any]) -> Seen:
        name, state, queued, *waiters = resource
        lock = lock_of(resource_of(self._namespace, name), shard, state, queued)
        return Seen(lock, tuple(waiter_of(waiter) for waiter in waiters))

    def _end(self, end: list[bytes]) -> Ended:
        name, owner, token, held_ms, kind, by, reason, at_ms, _ = end
        return Ended(
            at_ms=int(at_ms),
            kind=kind.decode(),
            resource=resource_of(self._namespace, name),
            owner=owner.decode(),
            token=int(token),
            held_ms=int(held_ms) if held_ms else None,
            by=by.decode(),
            reason=reason.decode(),
        )
