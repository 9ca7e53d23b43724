"""What operators see of resources and shards, and the one thing they may do to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, NamedTuple
from urllib.parse import unquote

from lockservice.audit import Audit
from lockservice.credentials import Principal
from lockservice.errors import LockServiceError
from lockservice.lease import Hold, Holder, Lock, Waiter
from lockservice.limits import BUCKETS, INSPECT_WAITERS_MAX
from lockservice.metrics import Metrics
from lockservice.shard_url import address_of
from lockservice.shards.facts import Facts
from lockservice.shards.keys import name_prefix, place
from lockservice.shards.node import Node
from lockservice.shards.shard import Reply, Shard
from lockservice.shards.shard_map import ShardMap

_BUCKETS_AT_ONCE: Final = 32


class ServerView(NamedTuple):
    """A Redis behind a shard as operators see it; problem is empty while it may be used."""

    address: str
    problem: str
    clock_off_s: float
    facts: Facts


class ShardView(NamedTuple):
    """A shard as operators see it.

    Latencies are in milliseconds, of the last few thousand script calls; calls are all that this replica has made.
    """

    name: str
    address: str
    problem: str
    latency_p50_ms: float
    latency_p99_ms: float
    locks_held: int
    waiters: int
    durability: str
    exclusion: str
    calls: int
    servers: tuple[ServerView, ...]


class Inspection:
    """Looks into the shards.

    Attributes:
        replica: the name of this replica.
    """

    def __init__(self, *, shard_map: ShardMap, metrics: Metrics, audit: Audit, replica: str) -> None:
        self.replica = replica
        self._map = shard_map
        self._metrics = metrics
        self._audit = audit

    async def inspect(self, namespace: str, resource: str) -> tuple[Lock, list[Waiter]]:
        """Returns a resource and its first waiters in the order of their turn. Raises what Shard.run raises."""
        name, bucket = place(namespace, resource)
        shard = self._map.pick(bucket)
        reply = await shard.run("inspect", bucket, {"name": name, "waiters_max": INSPECT_WAITERS_MAX})
        return lock_of(resource, shard, reply[1], reply[2]), [waiter_of(waiter) for waiter in reply[3:]]

    async def list_locks(self, namespace: str, prefix: str, limit: int) -> AsyncIterator[list[Lock]]:
        """Yields the held and the kept resources whose names begin with a prefix, some at a time.

        Raises what Shard.run raises.
        """
        text = name_prefix(namespace, prefix)
        for first in range(0, BUCKETS, _BUCKETS_AT_ONCE):
            buckets = range(first, first + _BUCKETS_AT_ONCE)
            replies = await asyncio.gather(*(self._list(bucket, text, limit) for bucket in buckets))
            found = [entry for entries in replies for entry in entries][:limit]
            limit -= len(found)
            if found:
                yield [
                    lock_of(resource_of(namespace, name), shard, state, queued)
                    for shard, name, state, queued in found
                ]
            if limit <= 0:
                return

    async def _list(self, bucket: int, prefix: str, limit: int) -> list[tuple[Shard, bytes, Reply, int]]:
        shard = self._map.pick(bucket)
        reply = await shard.run("list", bucket, {"prefix": prefix, "locks_max": limit})
        return [(shard, *entry) for entry in reply[1:]]

    async def force_release(self, operator: Principal, resource: str, token: int, reason: str) -> bool:
        """Takes a lease away, or ends the hold after it, and says whether there was one of this token.

        The audit log says by whom and why. Raises what Shard.run raises.
        """
        name, bucket = place(operator.namespace, resource)
        arguments: dict[str, str | int] = {"name": name, "token": token, "by": operator.name, "reason": reason}
        reply = await self._map.pick(bucket).run("force_release", bucket, arguments)
        forced: bool = reply[0] == b"forced"
        if forced and reply[1]:
            self._metrics.hold_duration["forced"].observe(int(reply[1]) / 1000)
        self._audit.force_released(operator.name, resource, token, reason, forced)
        return forced

    @property
    def map_epoch(self) -> int:
        """Counts the changes of the shard map that this replica follows."""
        return self._map.record.epoch

    async def shards(self) -> list[ShardView]:
        """Describes every shard, those that are down too."""
        return list(await asyncio.gather(*(self._shard(shard) for shard in self._map.shards)))

    async def _count(self, shard: Shard) -> tuple[int, int]:
        replies = await asyncio.gather(*(shard.run("count", bucket, {}) for bucket in self._map.buckets_of(shard)))
        return sum(int(reply[1]) for reply in replies), sum(int(reply[2]) for reply in replies)

    async def _shard(self, shard: Shard) -> ShardView:
        held = waiters = 0
        problem = shard.problem
        if not problem:
            try:
                held, waiters = await self._count(shard)
            except LockServiceError as error:
                problem = str(error)
        latencies = sorted(shard.latencies_s)
        return ShardView(
            name=shard.name,
            address=address_of(shard.url),
            problem=problem,
            latency_p50_ms=_quantile_ms(latencies, 0.5),
            latency_p99_ms=_quantile_ms(latencies, 0.99),
            locks_held=held,
            waiters=waiters,
            durability=shard.guarantee.durability,
            exclusion=shard.guarantee.exclusion,
            calls=shard.calls_timed,
            servers=tuple(map(_server, shard.nodes)),
        )


def _server(node: Node) -> ServerView:
    condition = node.condition
    problem = condition.problem or condition.clock_problem
    return ServerView(address_of(node.url), problem, condition.clock_off_s, condition.facts)


def _quantile_ms(ordered: list[float], quantile: float) -> float:
    return ordered[int(len(ordered) * quantile)] * 1000 if ordered else 0.0


def _number(text: bytes) -> int | None:
    return int(text) if text else None


def resource_of(namespace: str, name: bytes) -> str:
    """Reads the encoded name of a resource of a namespace."""
    text = name.decode()
    return unquote(text.partition("/")[2] if namespace else text)


def waiter_of(waiter: Reply) -> Waiter:
    """Reads a waiter as scripts show it."""
    owner, waiting_ms, version, after_version = waiter
    return Waiter(owner.decode(), int(waiting_ms), _number(version), _number(after_version))


def lock_of(resource: str, shard: Shard, state: Reply, queued: int) -> Lock:
    """Reads a resource as scripts show it."""
    owner, token, remaining_ms, completed, hold_owner, hold_event, hold_ms, held_ms = state
    return Lock(
        resource=resource,
        shard=shard.name,
        guarantee=shard.guarantee,
        holder=Holder(owner.decode(), int(token), int(remaining_ms)) if token else None,
        queue_length=int(queued),
        completed=_number(completed),
        held_ms=int(held_ms) if held_ms else None,
        hold=Hold(hold_owner.decode(), hold_event.decode(), int(hold_ms)) if hold_ms else None,
    )
