"""Chapter two: waiting one's turn."""

from harness.service import Service
from lockservice.v1 import lockservice_pb2 as pb


async def test_a_waiter_is_granted_when_the_holder_releases(service: Service) -> None:
    """Nobody polls: the release itself hands the lease to the next in the queue."""
    lease = await service.grant("order:1001", "worker-1")
    waiter = service.waiting("order:1001", "worker-2")
    await service.queued(1)

    await service.release(lease)

    assert (await waiter).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_waiters_are_granted_in_the_order_of_arrival(service: Service) -> None:
    """First come, first served."""
    lease = await service.grant("order:1001", "worker-0")
    waiters = []
    for number in range(1, 4):
        waiters.append(service.waiting("order:1001", f"worker-{number}"))
        await service.queued(number)

    story = []
    for number, waiter in enumerate(waiters, 1):
        await service.release(lease)
        lease = (await waiter).lease
        story.append((await service.inspect("order:1001")).lock.holder.owner)
        assert story[-1] == f"worker-{number}"


async def test_a_wait_that_runs_out_ends_in_held(service: Service) -> None:
    """The time to wait is the caller's choice; afterwards it is no longer in the queue."""
    await service.grant("order:1001")

    response = await service.acquire("order:1001", "worker-2", wait=0.1)

    assert response.outcome == pb.ACQUIRE_OUTCOME_HELD
    assert response.waited.ToMilliseconds() >= 100
    await service.queued(0)


async def test_a_waiter_at_another_replica_is_granted_too(service: Service, other: Service) -> None:
    """The queue is kept in Redis, so it does not matter which replica a worker talks to."""
    lease = await service.grant("order:1001", "worker-1")
    waiter = other.waiting("order:1001", "worker-2")
    await service.queued(1)

    await service.release(lease)

    assert (await waiter).outcome == pb.ACQUIRE_OUTCOME_GRANTED
