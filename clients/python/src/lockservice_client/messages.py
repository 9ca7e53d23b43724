"""Turns messages of the wire into values. Times become seconds."""

import functools
from datetime import UTC
from typing import Any, Final, Literal

from google.protobuf.duration_pb2 import Duration

from lockservice_client import values
from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.errors import unknown_error
from lockservice_client.options import Seconds, seconds

_ACQUIRE: Final[dict[int, values.AcquireOutcome]] = {
    pb.ACQUIRE_OUTCOME_GRANTED: "granted",
    pb.ACQUIRE_OUTCOME_HELD: "held",
    pb.ACQUIRE_OUTCOME_DUPLICATE: "duplicate",
    pb.ACQUIRE_OUTCOME_STALE: "stale",
    pb.ACQUIRE_OUTCOME_EARLY: "early",
}
_PREVIOUS: Final[dict[int, values.PreviousLease]] = {
    pb.PREVIOUS_LEASE_UNSPECIFIED: "",
    pb.PREVIOUS_LEASE_RELEASED: "released",
    pb.PREVIOUS_LEASE_EXPIRED: "expired",
    pb.PREVIOUS_LEASE_FORCED: "forced",
}
_DEDUPE: Final[dict[int, values.DedupeOutcome]] = {
    pb.DEDUPE_OUTCOME_FIRST: "first",
    pb.DEDUPE_OUTCOME_DUPLICATE: "duplicate",
    pb.DEDUPE_OUTCOME_IN_PROGRESS: "in_progress",
    pb.DEDUPE_OUTCOME_MISMATCH: "mismatch",
}


@functools.lru_cache(maxsize=64)
def duration(value: Seconds | None) -> Duration | None:
    """Writes seconds as a Duration, to the microsecond. Callers share it: a message that it is put in copies it."""
    if value is None:
        return None
    micros = round(seconds(value) * 1e6)
    # A negative Duration has both parts negative; the service refuses it by name.
    sign = -1 if micros < 0 else 1
    return Duration(seconds=sign * (abs(micros) // 1_000_000), nanos=sign * (abs(micros) % 1_000_000 * 1000))


def disposition(*, done: bool) -> pb.Disposition.ValueType:
    """Writes how the work ended."""
    return pb.DISPOSITION_DONE if done else pb.DISPOSITION_RETRY


def _span(value: Duration) -> float:
    return value.seconds + value.nanos / 1e9


def _optional(message: Any, field: Literal["version", "after_version", "completed_version"]) -> int | None:
    return getattr(message, field) if message.HasField(field) else None


def _holder(message: pb.Holder) -> values.Holder:
    return values.Holder(message.owner, message.fencing_token, _span(message.remaining))


def acquired(response: pb.AcquireResponse, sent_at: float) -> values.Acquired:
    """Reads the answer of an Acquire that was sent at sent_at."""
    outcome = _ACQUIRE.get(response.outcome)
    if outcome is None:
        raise unknown_error(f"outcome {response.outcome}")
    grant = holder = None
    if outcome == "granted":
        lease = response.lease
        grant = values.Grant(lease.resource, lease.lease_id, lease.fencing_token, _span(lease.ttl), sent_at)
    elif response.HasField("holder"):
        holder = _holder(response.holder)
    completed_version = response.completed_version if response.HasField("completed_version") else None
    previous_lease = _PREVIOUS.get(response.previous_lease, "")
    # By position: this is the hot path, and names double its cost.
    return values.Acquired(outcome, grant, holder, _span(response.waited), completed_version, previous_lease)


def deduped(response: pb.DedupeResponse, sent_at: float) -> values.Deduped:
    """Reads the answer of a Dedupe that was sent at sent_at."""
    outcome = _DEDUPE.get(response.outcome)
    if outcome is None:
        raise unknown_error(f"outcome {response.outcome}")
    return values.Deduped(
        outcome=outcome,
        claim_id=response.claim_id,
        first_seen=response.first_seen.ToDatetime(tzinfo=UTC),
        result=response.result,
        retry_after=_span(response.retry_after),
        sent_at=sent_at,
    )


def lock(message: pb.LockInfo) -> values.Lock:
    """Reads a resource as operators see it."""
    hold = message.hold
    return values.Lock(
        resource=message.resource,
        shard=message.shard,
        holder=_holder(message.holder) if message.HasField("holder") else None,
        queue_length=message.queue_length,
        completed_version=_optional(message, "completed_version"),
        hold=values.Hold(hold.owner, hold.event_id, _span(hold.remaining)) if message.HasField("hold") else None,
        held=_span(message.held) if message.HasField("held") else None,
    )


def waiter(message: pb.Waiter) -> values.Waiter:
    """Reads a caller in a queue."""
    return values.Waiter(
        owner=message.owner,
        waiting=_span(message.waiting),
        version=_optional(message, "version"),
        after_version=_optional(message, "after_version"),
    )


def shard(message: pb.Shard) -> values.Shard:
    """Reads one Redis of the shard map."""
    return values.Shard(
        name=message.name,
        address=message.address,
        healthy=message.healthy,
        latency_p50=_span(message.latency_p50),
        latency_p99=_span(message.latency_p99),
        locks_held=message.locks_held,
        waiters=message.waiters,
        problem=message.problem,
        durability=message.guarantee.durability,
        exclusion=message.guarantee.exclusion,
        servers=tuple(map(_redis_server, message.servers)),
        calls=message.calls,
    )


def _redis_server(message: pb.RedisServer) -> values.RedisServer:
    return values.RedisServer(
        address=message.address,
        problem=message.problem,
        version=message.version,
        clock_offset=_span(message.clock_offset),
        eviction_policy=message.eviction_policy,
        append_only=message.append_only,
        persistence_problem=message.persistence_problem,
        memory_bytes=message.memory_bytes,
        memory_max_bytes=message.memory_max_bytes,
        replicas=message.replicas,
    )


def overview(message: pb.DescribeShardsResponse) -> values.Overview:
    """Reads the service as one replica sees it."""
    return values.Overview(
        shards=tuple(map(shard, message.shards)),
        server_version=message.server_version,
        replica=message.replica,
        map_epoch=message.map_epoch,
        time=message.time.ToDatetime(tzinfo=UTC),
    )
