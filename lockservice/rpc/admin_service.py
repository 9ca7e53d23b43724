"""LockAdminService: each call becomes one call of the domain, and its value one response."""

from collections.abc import AsyncIterator

from lockservice.inspection import Inspection
from lockservice.lease import Lock, Waiter
from lockservice.limits import LIST_LOCKS_DEFAULT, LIST_LOCKS_MAX, REASON_BYTES_MAX, RESOURCE_BYTES_MAX
from lockservice.rpc import validation
from lockservice.rpc.handlers import Context
from lockservice.rpc.lock_service import NAMESPACE, duration, holder
from lockservice.v1 import lockservice_pb2 as pb

# How many resources travel in one message of a list.
_LOCKS_A_MESSAGE = 200


class LockAdminService:
    """Serves operators and tools."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection

    async def Inspect(self, request: pb.InspectRequest, context: Context) -> pb.InspectResponse:
        """Shows one resource."""
        lock, waiters = await self._inspection.inspect(NAMESPACE, validation.resource(request.resource))
        return pb.InspectResponse(lock=_lock(lock), waiters=map(_waiter, waiters))

    async def ListLocks(self, request: pb.ListLocksRequest, context: Context) -> AsyncIterator[pb.ListLocksResponse]:
        """Shows held and kept resources."""
        prefix = validation.text("prefix", request.prefix, bytes_max=RESOURCE_BYTES_MAX, required=False)
        limit = min(request.limit or LIST_LOCKS_DEFAULT, LIST_LOCKS_MAX)
        async for locks in self._inspection.list_locks(NAMESPACE, prefix, limit):
            for start in range(0, len(locks), _LOCKS_A_MESSAGE):
                yield pb.ListLocksResponse(locks=map(_lock, locks[start : start + _LOCKS_A_MESSAGE]))

    async def ForceRelease(self, request: pb.ForceReleaseRequest, context: Context) -> pb.ForceReleaseResponse:
        """Takes a lease away from its holder."""
        released = await self._inspection.force_release(
            NAMESPACE,
            validation.resource(request.resource),
            validation.token(request.fencing_token),
            validation.text("reason", request.reason, bytes_max=REASON_BYTES_MAX, required=False),
        )
        return pb.ForceReleaseResponse(released=released)

    async def DescribeShards(self, request: pb.DescribeShardsRequest, context: Context) -> pb.DescribeShardsResponse:
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
            )
            for view in await self._inspection.shards()
        ]
        return pb.DescribeShardsResponse(shards=shards)


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
        guarantee=pb.Guarantee(durability=value.guarantee.durability, exclusion=value.guarantee.exclusion),
    )


def _waiter(value: Waiter) -> pb.Waiter:
    return pb.Waiter(
        owner=value.owner,
        waiting=duration(value.waiting_ms),
        version=value.version,
        after_version=value.after_version,
    )
