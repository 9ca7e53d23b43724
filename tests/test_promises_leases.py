"""The promises about leases, one test each."""

import asyncio
import base64
import time

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from harness.redis_server import RedisServer
from harness.service import Service, reason_of
from lockservice.v1 import lockservice_pb2 as pb


async def test_mutual_exclusion_among_many_callers(service: Service, other: Service) -> None:
    """Of 200 callers at two replicas at once exactly one is granted."""
    answers = await asyncio.gather(*((service, other)[n % 2].acquire(owner=f"w{n}") for n in range(200)))

    assert sum(answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED for answer in answers) == 1


async def test_lease_id_is_128_random_bits(service: Service) -> None:
    """A lease id is unguessable, and never the same twice."""
    leases = [await service.grant(f"order:{n}") for n in range(100)]

    assert len({lease.lease_id for lease in leases}) == 100
    assert all(len(base64.urlsafe_b64decode(lease.lease_id + "==")) == 16 for lease in leases)


async def test_owner_checked_release_after_expiry_spares_the_next_holder(service: Service) -> None:
    """A release that comes after expiry never touches the next holder's lease."""
    late = await service.grant(owner="late", ttl=0.1)
    lease = (await service.acquire(owner="next", wait=5)).lease

    assert await service.release(late) == pb.RELEASE_OUTCOME_NOT_HELD
    assert await service.renew(late) == pb.RENEW_OUTCOME_NOT_HELD
    assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED


async def test_renew_never_brings_an_expired_lease_back(service: Service) -> None:
    """Even if nobody took it since."""
    lease = await service.grant(ttl=0.1)
    await asyncio.sleep(0.15)  # the lease's own time has to pass

    assert await service.renew(lease) == pb.RENEW_OUTCOME_NOT_HELD


async def test_renew_without_a_ttl_takes_the_granted_one(service: Service) -> None:
    """The ttl of the grant, also after a renewal with another."""
    lease = await service.grant(ttl=30)
    await service.renew(lease, ttl=5)

    response = await service.locks.Renew(pb.RenewRequest(resource=lease.resource, lease_id=lease.lease_id))

    assert response.ttl == Duration(seconds=30)


async def test_default_ttl_is_ten_seconds(service: Service) -> None:
    """A request without a ttl gets the server's default."""
    assert (await service.grant()).ttl == Duration(seconds=10)


async def test_same_request_id_gives_the_same_lease(service: Service, other: Service) -> None:
    """A retry after a lost reply, at another replica too, is no second lease and no HELD."""
    first = await service.grant(owner="w", request_id="r-1")
    again = await other.grant(owner="w", request_id="r-1")

    assert (again.lease_id, again.fencing_token) == (first.lease_id, first.fencing_token)
    assert (await other.acquire(owner="another", request_id="r-1")).outcome == pb.ACQUIRE_OUTCOME_HELD


async def test_a_repeated_request_lasts_its_whole_ttl_again(service: Service) -> None:
    """The caller counts the ttl from when it sent the repetition, so the lease must not end sooner."""
    await service.grant(owner="w", request_id="r-1", ttl=1)
    await asyncio.sleep(0.5)  # half of the lease's time has to pass
    await service.grant(owner="w", request_id="r-1", ttl=1)

    remaining = (await service.inspect()).lock.holder.remaining
    assert remaining.ToMilliseconds() > 900


async def test_same_request_id_with_other_fields_is_refused(service: Service) -> None:
    """FAILED_PRECONDITION, since one of the two requests is a mistake."""
    await service.grant(owner="w", request_id="r-1", version=1)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.acquire(owner="w", request_id="r-1", version=2)

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(refused.value) == "REQUEST_ID_REUSED"


async def test_leases_are_not_reentrant(service: Service) -> None:
    """Without a request id an owner that asks again for what it holds is HELD like anybody."""
    await service.grant(owner="w")

    assert (await service.acquire(owner="w")).outcome == pb.ACQUIRE_OUTCOME_HELD


async def test_release_is_repeatable(service: Service) -> None:
    """The same release says RELEASED again, and leaves the next holder alone."""
    lease = await service.grant()
    await service.release(lease)
    following = await service.grant(owner="next")

    assert await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED
    assert await service.renew(following) == pb.RENEW_OUTCOME_RENEWED


async def test_a_release_is_known_in_the_minute_after_its_own(service: Service, servers: list[RedisServer]) -> None:
    """However many there are of a bucket, one key remembers those of a minute, for two minutes at most."""
    leases = []
    for _ in range(50):
        leases.append(await service.grant())
        await service.release(leases[-1])
    with servers[0].connect() as one, servers[1].connect() as two:
        connection = one if one.keys("*:released:*") else two
        *older, key = sorted(map(str, connection.keys("*:released:*")))
        assert len(older) <= 1
        assert 60 < connection.ttl(key) <= 120

        def move(minutes_ago: int) -> None:
            nonlocal key
            moved = f"{key.rpartition(':')[0]}:{connection.time()[0] // 60 - minutes_ago}"
            connection.rename(key, moved)
            key = moved

        move(minutes_ago=1)
        assert await service.release(leases[-1]) == pb.RELEASE_OUTCOME_RELEASED
        move(minutes_ago=2)
        assert await service.release(leases[-1]) == pb.RELEASE_OUTCOME_NOT_HELD


async def test_expiry_within_50_ms(service: Service) -> None:
    """A lease ends after its ttl: not sooner, and at most 50 ms later."""
    started = time.monotonic()
    await service.grant(ttl=0.4)
    asked = time.monotonic()
    answer = await service.acquire(owner="next", wait=5)
    waited = time.monotonic() - started

    assert answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert waited >= 0.4
    assert waited <= (asked - started) + 0.4 + 0.05


async def test_expiry_needs_no_replica(shards: list[str]) -> None:
    """A lease ends though every replica was away when its time came."""
    async with Service(shards) as first:
        await first.grant(ttl=0.1)
    await asyncio.sleep(0.1)  # the lease's own time has to pass
    async with Service(shards) as second:
        response = await second.acquire(owner="next")

    assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert response.previous_lease == pb.PREVIOUS_LEASE_EXPIRED


async def test_previous_lease_says_how_the_one_before_ended(service: Service) -> None:
    """Nothing, released, forced: each is told to the next holder."""
    response = await service.acquire()
    assert response.previous_lease == pb.PREVIOUS_LEASE_UNSPECIFIED
    await service.release(response.lease)

    response = await service.acquire()
    assert response.previous_lease == pb.PREVIOUS_LEASE_RELEASED
    token = response.lease.fencing_token
    forced = await service.admin.ForceRelease(
        pb.ForceReleaseRequest(resource="order:1001", fencing_token=token, reason="test")
    )
    assert forced.released

    assert (await service.acquire()).previous_lease == pb.PREVIOUS_LEASE_FORCED


async def test_force_release_hits_only_the_grant_that_is_meant(service: Service) -> None:
    """A token of an earlier grant releases nothing."""
    old = await service.grant()
    await service.release(old)
    lease = await service.grant()

    request = pb.ForceReleaseRequest(resource="order:1001", fencing_token=old.fencing_token, reason="test")
    assert not (await service.admin.ForceRelease(request)).released
    assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED


async def test_tokens_are_exact_and_below_2_to_the_53(service: Service) -> None:
    """Tokens cross Lua, Redis and the wire without becoming floats."""
    tokens = []
    for _ in range(50):
        lease = await service.grant()
        tokens.append(lease.fencing_token)
        await service.release(lease)

    assert tokens == [tokens[0] + n for n in range(50)]
    assert tokens[-1] < 2**53


async def test_inspect_and_list_show_what_is_held(service: Service) -> None:
    """Operators see holders, queues and shards; a prefix narrows the list."""
    await service.grant("order:1", "alice")
    await service.grant("order:2", "bob")
    await service.grant("cart:1", "carol")
    waiter = service.waiting("order:1", "dave", version=3)
    await service.queued(1, "order:1")

    view = await service.inspect("order:1")
    assert view.lock.holder.owner == "alice"
    assert [(w.owner, w.version) for w in view.waiters] == [("dave", 3)]
    listed = [
        lock
        async for response in service.admin.ListLocks(pb.ListLocksRequest(prefix="order:"))
        for lock in response.locks
    ]
    assert sorted(lock.resource for lock in listed) == ["order:1", "order:2"]
    described = await service.admin.DescribeShards(pb.DescribeShardsRequest())
    assert [shard.name for shard in described.shards] == ["s1", "s2"]
    assert all(shard.healthy for shard in described.shards)
    assert sum(shard.locks_held for shard in described.shards) == 3
    assert sum(shard.waiters for shard in described.shards) == 1
    waiter.cancel()
