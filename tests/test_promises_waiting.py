"""The promises about waiting, one test each."""

import asyncio
import random
import time

import grpc
import pytest

from harness.service import Service, reason_of, until
from lockservice.v1 import lockservice_pb2 as pb


async def test_order_is_version_then_arrival(service: Service) -> None:
    """No version counts as the lowest; equal versions go by arrival."""
    lease = await service.grant()
    waiters = {}
    for number, (owner, version) in enumerate(
        [("v9", 9), ("v5", 5), ("none", None), ("v5-later", 5), ("none-later", None)], 1
    ):
        how = {} if version is None else {"version": version}
        waiters[owner] = service.waiting(owner=owner, **how)
        await service.queued(number)

    view = await service.inspect()
    assert [w.owner for w in view.waiters] == ["none", "none-later", "v5", "v5-later", "v9"]
    for owner in ["none", "none-later", "v5", "v5-later", "v9"]:
        await service.release(lease)
        lease = (await waiters[owner]).lease


async def test_nobody_overtakes_a_waiter(service: Service, other: Service) -> None:
    """A try-call that comes while others wait is HELD, also at the moment of a release."""
    lease = await service.grant()
    waiter = service.waiting(owner="first")
    await service.queued(1)

    tries = [asyncio.create_task(other.acquire(owner=f"try{n}")) for n in range(50)]
    await service.release(lease)
    tries += [asyncio.create_task(other.acquire(owner=f"later{n}")) for n in range(50)]

    assert (await waiter).outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert {answer.outcome for answer in await asyncio.gather(*tries)} == {pb.ACQUIRE_OUTCOME_HELD}


async def test_a_cancelled_waiter_blocks_nobody(service: Service) -> None:
    """It is out of the queue from that moment, and without a request id it is gone."""
    lease = await service.grant()
    gone = service.waiting(owner="gone")
    await service.queued(1)
    following = service.waiting(owner="following")
    await service.queued(2)

    gone.cancel()
    await service.queued(1)
    await service.release(lease)

    assert (await asyncio.wait_for(following, 1)).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_a_deadline_of_the_caller_leaves_nothing_behind(service: Service) -> None:
    """The call ends as DEADLINE_EXCEEDED, and no queue entry is left."""
    await service.grant()

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await service.acquire(owner="w", wait=20, deadline=0.2)

    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await service.queued(0)


async def test_a_request_id_keeps_ones_place(service: Service, other: Service) -> None:
    """A waiting call that was cut off and comes back within 5 s, at any replica, goes on from its place."""
    lease = await service.grant()
    cut = service.waiting(owner="first", request_id="r-1")
    await service.queued(1)
    second = service.waiting(owner="second")
    await service.queued(2)

    cut.cancel()
    await service.queued(1)
    back = other.waiting(owner="first", request_id="r-1")
    await service.queued(2)

    assert [w.owner for w in (await service.inspect()).waiters] == ["first", "second"]
    await service.release(lease)
    first = (await back).lease
    await service.release(first)
    assert (await second).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_a_kept_place_is_passed_over_meanwhile(service: Service) -> None:
    """Who was cut off delays nobody: the release goes to the next, and the place is still there afterwards."""
    lease = await service.grant()
    cut = service.waiting(owner="first", request_id="r-1")
    await service.queued(1)
    second = service.waiting(owner="second")
    await service.queued(2)
    third = service.waiting(owner="third")
    await service.queued(3)

    cut.cancel()
    await service.queued(2)
    await service.release(lease)
    held = (await asyncio.wait_for(second, 1)).lease
    back = service.waiting(owner="first", request_id="r-1")
    await service.queued(2)

    assert [w.owner for w in (await service.inspect()).waiters] == ["first", "third"]
    await service.release(held)
    await service.release((await back).lease)
    await third


async def test_hand_off_wakes_one(service: Service) -> None:
    """One release of a resource with 1,000 waiters grants one of them and costs few commands."""
    lease = await service.grant(owner="holder")
    waiters = [service.waiting(owner=f"w{n}", wait=60) for n in range(1_000)]
    await until(lambda: service.server._replica.waiting == 1_000, "1,000 waiting", within=20)  # type: ignore[union-attr]
    before = service.metric("lockservice_redis_duration_seconds_count", shard="s1", script="acquire")
    before += service.metric("lockservice_redis_duration_seconds_count", shard="s2", script="acquire")

    await service.release(lease)
    done, _ = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    await service.queued(999)

    asked = service.metric("lockservice_redis_duration_seconds_count", shard="s1", script="acquire")
    asked += service.metric("lockservice_redis_duration_seconds_count", shard="s2", script="acquire")
    assert len(done) == 1
    assert asked - before == 1
    for waiter in waiters:
        waiter.cancel()
    await service.queued(0)


async def test_expiry_hands_off_within_50_ms(service: Service, other: Service) -> None:
    """When the holder's lease runs out, the next waiter is granted, whichever replica it is at."""
    await service.grant(ttl=0.3)
    started = time.monotonic()
    answer = await other.acquire(owner="next", wait=5)

    assert answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert time.monotonic() - started < 0.35


async def test_every_holder_that_crashes_is_followed_in_time(service: Service, other: Service) -> None:
    """Also the expiry of a lease that was itself handed over is noticed at once, at the replica that waits."""
    await service.grant(ttl=0.2)
    started = time.monotonic()
    waiters = []
    for n in range(4):
        waiters.append((service, other)[n % 2].waiting(owner=f"w{n}", ttl=0.2))
        await service.queued(n + 1)
    answers = await asyncio.gather(*waiters)

    assert {answer.outcome for answer in answers} == {pb.ACQUIRE_OUTCOME_GRANTED}
    assert time.monotonic() - started < 4 * 0.25 + 0.1


async def test_a_lost_wake_up_costs_at_most_a_second(service: Service) -> None:
    """With every pub/sub message dropped a waiter still gets its lease, 1 s later at the most."""
    lease = await service.grant()
    waiter = service.waiting(owner="next")
    await service.queued(1)
    for shard in service.server._replica.shard_map.shards:  # type: ignore[union-attr]
        pipeline = shard.topology.by_bucket[0]._pipeline
        pipeline._on_push = lambda _push: None  # type: ignore[union-attr]  # it is connected

    started = time.monotonic()
    await service.release(lease)

    assert (await waiter).outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert time.monotonic() - started < 1.0


async def test_ten_thousand_cancels_leave_nothing_behind(service: Service, other: Service) -> None:
    """10,000 acquires cancelled at random moments leave no lease and no queue entry."""
    chance = random.Random(7)

    async def one(number: int) -> None:
        replica = (service, other)[number % 2]
        task = replica.waiting(f"order:{chance.randrange(5)}", f"w{number}", wait=5, ttl=60)
        await asyncio.sleep(chance.random() * 0.02)
        task.cancel()
        try:
            response = await task
        except (asyncio.CancelledError, grpc.aio.AioRpcError):
            return
        if response.outcome == pb.ACQUIRE_OUTCOME_GRANTED:
            await replica.release(response.lease)

    for batch in range(20):
        await asyncio.gather(*(one(batch * 500 + n) for n in range(500)))

    # Asked past gRPC: right after a storm of cancels it now and then cancels another call of the same connection.
    inspection = service.server._replica.inspection  # type: ignore[union-attr]

    async def clean() -> bool:
        locks = [(await inspection.inspect("", f"order:{n}"))[0] for n in range(5)]
        return not any(lock.holder or lock.queue_length for lock in locks)

    await until(clean, "no lease and no queue entry", within=3)


async def test_too_many_waiters_on_one_resource(shards: list[str]) -> None:
    """The queue of a resource is bounded; who finds it full is told RESOURCE_EXHAUSTED."""
    async with Service(shards, waiters_per_resource=2) as service:
        await service.grant()
        waiters = [service.waiting(owner=f"w{n}") for n in range(2)]
        await service.queued(2)

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.acquire(owner="one too many", wait=5)

        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refused.value) == "TOO_MANY_WAITERS"
        for waiter in waiters:
            waiter.cancel()
        await service.queued(0)


async def test_too_many_waiters_in_one_replica(shards: list[str]) -> None:
    """The waiting calls of a replica are bounded."""
    async with Service(shards, waiters_per_replica=1) as service:
        await service.grant()
        waiter = service.waiting(owner="w")
        await service.queued(1)

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.acquire("order:2", owner="one too many", wait=5)

        assert reason_of(refused.value) == "TOO_MANY_WAITERS"
        waiter.cancel()
        await service.queued(0)


async def test_a_drain_sends_waiters_on_and_keeps_their_place(service: Service, other: Service) -> None:
    """They are told DRAINING, and go on at another replica from where they were."""
    lease = await other.grant()
    first = service.waiting(owner="first", request_id="r-1")
    await other.queued(1)
    second = other.waiting(owner="second")
    await other.queued(2)

    drain = asyncio.create_task(service.server.drain())
    with pytest.raises(grpc.aio.AioRpcError) as sent_on:
        await first
    back = other.waiting(owner="first", request_id="r-1")
    await other.queued(2)
    await drain

    assert reason_of(sent_on.value) == "DRAINING"
    assert [w.owner for w in (await other.inspect()).waiters] == ["first", "second"]
    await other.release(lease)
    await other.release((await back).lease)
    await second
