"""LockAdminService: each call becomes one call of the domain, and its value one response."""

import time
from collections.abc import AsyncIterator

from lockservice import __version__
from lockservice.credentials import Principal
from lockservice.inspection import Inspection, ServerView
from lockservice.lease import Lock, Waiter
from lockservice.limits import LIST_LOCKS_DEFAULT, LIST_LOCKS_MAX, REASON_BYTES_MAX, RESOURCE_BYTES_MAX
from lockservice.rpc import validation
from lockservice.rpc.admission import own
from lockservice.rpc.lock_service import duration, holder
from lockservice.v1 import lockservice_pb2 as pb

# How many resources travel in one message of a list.
_LOCKS_A_MESSAGE = 200


class LockAdminService:
    """Serves operators and tools."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection

    async def Inspect(self, request: pb.InspectRequest, caller: Principal) -> pb.InspectResponse:
        """Shows one resource."""
        lock, waiters = await self._inspection.inspect(
            caller.namespace, own(caller, validation.resource(request.resource))
        )
        return pb.InspectResponse(lock=_lock(lock), waiters=map(_waiter, waiters))

    async def ListLocks(self, request: pb.ListLocksRequest, caller: Principal) -> AsyncIterator[pb.ListLocksResponse]:
        """Shows held and kept resources."""
        prefix = validation.text("prefix", request.prefix, bytes_max=RESOURCE_BYTES_MAX, required=False)
        limit = min(request.limit or LIST_LOCKS_DEFAULT, LIST_LOCKS_MAX)
        async for locks in self._inspection.list_locks(caller.namespace, own(caller, prefix), limit):
            for start in range(0, len(locks), _LOCKS_A_MESSAGE):
                yield pb.ListLocksResponse(locks=map(_lock, locks[start : start + _LOCKS_A_MESSAGE]))

    async def ForceRelease(self, request: pb.ForceReleaseRequest, caller: Principal) -> pb.ForceReleaseResponse:
        """Takes a lease away from its holder."""
        released = await self._inspection.force_release(
            caller,
            own(caller, validation.resource(request.resource)),
            validation.token(request.fencing_token),
            validation.text("reason", request.reason, bytes_max=REASON_BYTES_MAX, required=False),
        )
        return pb.ForceReleaseResponse(released=released)

    async def DescribeShards(self, request: pb.DescribeShardsRequest, caller: Principal) -> pb.DescribeShardsResponse:
        """Shows the shards."""
        shards = [
            pb.Shard(
                name=view.name,
                address=view.address,
                healthy=not view.problem,
                latency_p50=duration(view.latency_p50_ms),
                latency_p99=duration(view.latency_p99_ms),
                locks_held=view.locks_held,
                waiters=view.waiters,
                problem=view.problem,
                guarantee=pb.Guarantee(durability=view.durability, exclusion=view.exclusion),
                servers=map(_server, view.servers),
                calls=view.calls,
            )
            for view in await self._inspection.shards()
        ]
        response = pb.DescribeShardsResponse(
            shards=shards,
            server_version=__version__,
            replica=self._inspection.replica,
            map_epoch=self._inspection.map_epoch,
        )
        response.time.FromNanoseconds(time.time_ns())
        return response


def _server(view: ServerView) -> pb.RedisServer:
    facts = view.facts
    server = pb.RedisServer(
        address=view.address,
        problem=view.problem,
        version=facts.version,
        eviction_policy=facts.eviction_policy,
        append_only=facts.append_only,
        persistence_problem=facts.persistence_problem,
        memory_bytes=facts.memory_bytes,
        memory_max_bytes=facts.memory_max_bytes,
        replicas=facts.replicas,
    )
    server.clock_offset.FromMicroseconds(round(view.clock_off_s * 1e6))
    return server


def _lock(value: Lock) -> pb.LockInfo:
    hold = value.hold and pb.Hold(
        owner=value.hold.owner, event_id=value.hold.event_id, remaining=duration(value.hold.remaining_ms)
    )
    return pb.LockInfo(
        resource=value.resource,
        shard=value.shard,
        holder=holder(value.holder),
        queue_length=value.queue_length,
        completed_version=value.completed,
        hold=hold,
        held=None if value.held_ms is None else duration(value.held_ms),
        guarantee=pb.Guarantee(durability=value.guarantee.durability, exclusion=value.guarantee.exclusion),
    )


def _waiter(value: Waiter) -> pb.Waiter:
    return pb.Waiter(
        owner=value.owner,
        waiting=duration(value.waiting_ms),
        version=value.version,
        after_version=value.after_version,
    )
