"""What the console shows, as values that JSON has. Times are milliseconds; those since 1970 end in at_ms."""

from collections.abc import Iterable, Mapping
from typing import Any

from lockservice.audit import Event
from lockservice.console.survey import Findings, Seen
from lockservice.console.trend import Slice
from lockservice.credentials import Principal
from lockservice.limits import CONSOLE_ENDED
from lockservice.shard_url import address_of
from lockservice.shards.shard import Shard

Picture = dict[str, Any]


def of_resource(seen: Seen) -> Picture:
    """Draws a resource with its holder, its hold and its queue in the order of their turns."""
    lock = seen.lock
    return {
        "resource": lock.resource,
        "shard": lock.shard,
        "owner": lock.holder.owner if lock.holder else None,
        # Beyond 2^53 it would not be exact in a page; tokens stay below.
        "token": lock.holder.token if lock.holder else None,
        "remaining_ms": lock.holder.remaining_ms if lock.holder else None,
        "held_ms": lock.held_ms,
        "completed": lock.completed,
        "hold": lock.hold and lock.hold._asdict(),
        "queue_length": lock.queue_length,
        "waiters": [waiter._asdict() for waiter in seen.waiters],
    }


def of_findings(findings: Findings) -> Picture:
    """Draws what the walk through the buckets has found."""
    return {
        "holds": findings.holds,
        "longest": [of_resource(seen) for seen in findings.longest],
        "busiest": [of_resource(seen) for seen in findings.busiest],
        "ended": [ended._asdict() for ended in findings.ended],
    }


def of_shard(shard: Shard, findings: Findings | None) -> Picture:
    """Draws a shard; how much is in it only where it has been looked for."""
    return {
        "name": shard.name,
        "address": address_of(shard.url),
        "problem": shard.problem,
        "durability": shard.guarantee.durability,
        "exclusion": shard.guarantee.exclusion,
        "locks": findings.locks.get(shard.name, 0) if findings else None,
        "waiting": findings.waiting.get(shard.name, 0) if findings else None,
    }


def of_trends(trends: Mapping[str, Iterable[Slice]]) -> Picture:
    """Draws the latency lines of the shards."""
    return {name: [list(slice_) for slice_ in slices] for name, slices in trends.items()}


def of_refusals(events: Iterable[Event], viewer: Principal) -> list[Picture]:
    """Draws the refused calls that a viewer may know of: its own, and all for an operator of the whole service."""
    whole = not viewer.namespace and "" in viewer.prefixes and "operator" in viewer.roles
    seen = [
        {"at_ms": round(event.at_s * 1000), "owner": event.owner, "resource": event.resource, "detail": event.detail}
        for event in events
        if event.kind == "refused" and (whole or event.owner == viewer.name)
    ]
    return seen[::-1][:CONSOLE_ENDED]


def join_trends(several: Iterable[Picture]) -> Picture:
    """Joins the latency lines of workers: calls are summed, of latencies the worst counts."""
    joined: Picture = {}
    for trends in several:
        for name, slices in trends.items():
            # All have the same number of slices, which begin within one of each other.
            before = joined.get(name, [[None, None, 0]] * len(slices))
            joined[name] = [
                [_worst(a[0], b[0]), _worst(a[1], b[1]), a[2] + b[2]] for a, b in zip(before, slices, strict=False)
            ]
    return joined


def join_refusals(several: Iterable[list[Picture]]) -> list[Picture]:
    """Joins the refusals of workers, the latest first."""
    every = [refusal for refusals in several for refusal in refusals]
    return sorted(every, key=lambda refusal: -refusal["at_ms"])[:CONSOLE_ENDED]


def _worst(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
