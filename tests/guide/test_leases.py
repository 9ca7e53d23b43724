"""Chapter one: leases. Read these tests from the top; each shows one idea."""

from harness.service import Service
from lockservice.v1 import lockservice_pb2 as pb


async def test_a_lease_is_granted_on_a_free_resource(service: Service) -> None:
    """Whoever asks first holds the resource."""
    response = await service.acquire("order:1001", "worker-1", ttl=10)

    assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert response.lease.resource == "order:1001"
    assert response.lease.lease_id
    assert response.lease.ttl.seconds == 10


async def test_others_hear_who_holds_it(service: Service) -> None:
    """Contention is an answer, not an error: it names the holder and how long its lease still lasts."""
    await service.grant("order:1001", "worker-1", ttl=10)

    response = await service.acquire("order:1001", "worker-2")

    assert response.outcome == pb.ACQUIRE_OUTCOME_HELD
    assert response.holder.owner == "worker-1"
    assert 0 < response.holder.remaining.ToMilliseconds() <= 10_000


async def test_other_resources_are_free(service: Service) -> None:
    """Resources have nothing to do with one another."""
    await service.grant("order:1001")

    await service.grant("order:1002")


async def test_release_frees_it(service: Service) -> None:
    """After a release the next caller is granted, and told that all was finished."""
    lease = await service.grant("order:1001")

    assert await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED

    response = await service.acquire("order:1001", "worker-2")
    assert response.previous_lease == pb.PREVIOUS_LEASE_RELEASED


async def test_every_grant_has_a_higher_fencing_token(service: Service) -> None:
    """Give the token to the store that you write to, and let it refuse a lower one than it has seen."""
    first = await service.grant("order:1001")
    await service.release(first)
    second = await service.grant("order:1001")

    assert second.fencing_token > first.fencing_token


async def test_renew_extends_a_lease(service: Service) -> None:
    """Long work renews its lease, usually at a third of the ttl; the client libraries do it by themselves."""
    lease = await service.grant("order:1001", ttl=1)

    assert await service.renew(lease, ttl=60) == pb.RENEW_OUTCOME_RENEWED

    remaining = (await service.inspect("order:1001")).lock.holder.remaining
    assert remaining.seconds >= 59


async def test_a_crashed_holder_is_followed_by_the_next(service: Service) -> None:
    """A lease that nobody renews ends by itself, and the next holder is told that work may be half done."""
    await service.grant("order:1001", "worker-1", ttl=0.2)

    response = await service.acquire("order:1001", "worker-2", wait=5)

    assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert response.previous_lease == pb.PREVIOUS_LEASE_EXPIRED
