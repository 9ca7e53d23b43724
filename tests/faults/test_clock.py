"""The clock of a Redis that a test moves while it runs."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from harness.clock import Clock
from harness.redis_server import RedisServer
from harness.service import Service, reason_of, refused, until
from lockservice.shards.node import Node
from lockservice.shards.script import Script
from lockservice.v1 import lockservice_pb2 as pb

HOUR_S = 3600.0


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that can be moved."""
    with Clock() as made:
        yield made


@pytest.fixture
def server(kind: str, clock: Clock) -> Iterator[RedisServer]:
    """A Redis on that clock."""
    made = RedisServer(kind, launcher=clock.launcher)
    yield made
    made.remove()


def ahead_s(server: RedisServer) -> float:
    """Asks a Redis for the time, and says how far it is ahead of this machine's."""
    with server.connect() as connection:
        seconds, micros = connection.time()
    return float(seconds + micros / 1e6 - time.time())


def test_time_moves_while_redis_runs(server: RedisServer, clock: Clock) -> None:
    """Forward, back to before the true time, by fractions, and home again, each time at once."""
    for offset_s in (0.0, 60.0, -HOUR_S, 0.25, 0.0):
        clock.set_offset(offset_s)
        assert ahead_s(server) == pytest.approx(offset_s, abs=0.1)


def test_scripts_and_expiry_follow_the_clock(server: RedisServer, clock: Clock) -> None:
    """A key runs out early when the clock jumps forward, and late when it is put back: what faults rest on."""
    with server.connect() as connection:
        connection.set("early", 1, px=30_000)
        clock.set_offset(60)
        assert connection.get("early") is None
        assert float(connection.eval("return redis.call('TIME')[1]", 0)) == pytest.approx(time.time() + 60, abs=2)

        connection.set("late", 1, px=30_000)
        clock.set_offset(60 - HOUR_S)
        assert connection.pttl("late") > HOUR_S * 1000


def test_monotonic_time_stays(server: RedisServer, clock: Clock) -> None:
    """A blocked client's timeout is kept by the monotonic clock, so that jumps do not end or prolong it."""
    with server.connect() as connection:
        clock.set_offset(HOUR_S)
        started = time.monotonic()
        assert connection.blpop(["nothing"], timeout=0.3) is None
        assert 0.2 < time.monotonic() - started < 5


def test_each_clock_is_its_own(server: RedisServer, clock: Clock, kind: str) -> None:
    """A Redis without the clock, or with another, is not moved; one that starts again keeps the offset."""
    with Clock() as another:
        beside = [RedisServer(kind), RedisServer(kind, launcher=another.launcher)]
        try:
            clock.set_offset(HOUR_S)
            assert [ahead_s(one) for one in beside] == pytest.approx([0, 0], abs=0.1)
            server.stop()
            server.start()
            assert ahead_s(server) == pytest.approx(HOUR_S, abs=0.1)
        finally:
            for one in beside:
                one.remove()


async def test_a_clock_that_jumps_forward_grants_nothing(server: RedisServer, clock: Clock) -> None:
    """A minute ahead, what is held stays held: CLOCK_UNSAFE from the first call on, until it is right again."""
    async with Service([server.url]) as service:
        lease = await service.grant(ttl=30)
        waiter = service.waiting(owner="next", wait=0.8)
        await service.queued(1)
        clock.set_offset(60)
        started = time.monotonic()
        errors = [await refused(service.acquire(owner=f"w{n}")) for n in range(100)]
        errors.append(await refused(service.dedupe("event", claim_ttl=1)))
        waited = await refused(waiter)
        await until(lambda: "clock" in shard_problem(service), "operators are told")
        noticed_s = time.monotonic() - started
        offset = service.metric("lockservice_shard_clock_offset_seconds", shard="s1")
        clock.set_offset(0)
        await until(lambda: not shard_problem(service), "operators are told that it is right")
        assert (await service.acquire(owner="other")).outcome == pb.ACQUIRE_OUTCOME_HELD
        assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED

    assert {reason_of(error) for error in (*errors, waited)} == {"CLOCK_UNSAFE"}
    assert noticed_s < 1.5
    assert offset == pytest.approx(60, abs=0.5)


async def test_a_clock_that_is_put_back_grants_nothing(server: RedisServer, clock: Clock) -> None:
    """An hour behind, a new lease would end when the clock is right again: nothing is granted until then."""
    async with Service([server.url]) as service:
        lease = await service.grant(ttl=30)
        clock.set_offset(-HOUR_S)
        errors = [await refused(service.acquire(f"order:{n}")) for n in range(20)]
        assert await service.renew(lease, ttl=30) == pb.RENEW_OUTCOME_RENEWED
        assert await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED
        clock.set_offset(0)
        await service.grant()

    assert {reason_of(error) for error in errors} == {"CLOCK_UNSAFE"}


async def _told_after_a_release_by_a_wrong_clock(server: RedisServer, clock: Clock) -> str:
    """Returns what the next waiter hears when the lease is released while the clock is an hour behind."""
    async with Service([server.url]) as service:
        lease = await service.grant(ttl=30)
        waiter = service.waiting(owner="next", request_id="r1", ttl=30)
        await service.queued(1)
        clock.set_offset(-HOUR_S)
        assert await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED
        try:
            told = pb.AcquireOutcome.Name((await waiter).outcome)
        except grpc.aio.AioRpcError as error:
            told = reason_of(error)
        clock.set_offset(0)
    return told


async def test_a_release_by_a_wrong_clock_hands_nothing_on(server: RedisServer, clock: Clock) -> None:
    """The lease ends, and the next waiter hears what any other acquire does."""
    assert await _told_after_a_release_by_a_wrong_clock(server, clock) == "CLOCK_UNSAFE"


async def test_a_release_that_did_not_look_would_hand_it_on(
    server: RedisServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: a release whose times any clock is within, as if it carried none."""
    call = Node.call

    def without_times(self: Node, loaded: Script, command: str, bucket: int, values: Any) -> Any:
        if loaded.name != "release":
            return call(self, loaded, command, bucket, values)
        return call(self, replace(loaded, timed=False), command, bucket, (0, 10**18, *values))

    monkeypatch.setattr(Node, "call", without_times)
    assert await _told_after_a_release_by_a_wrong_clock(server, clock) == "ACQUIRE_OUTCOME_GRANTED"


async def test_a_clock_that_is_put_back_with_the_data_lost(server: RedisServer, clock: Clock) -> None:
    """Nothing seeds tokens from such a clock, so none is repeated."""
    async with Service([server.url]) as service:
        before = await service.grant()
        with server.connect() as connection:
            connection.flushall()
        clock.set_offset(-HOUR_S)
        assert reason_of(await refused(service.acquire())) == "CLOCK_UNSAFE"
        clock.set_offset(0)
        after = await service.grant()

    assert after.fencing_token > before.fencing_token


def shard_problem(service: Service) -> str:
    """Says what is wrong with the only shard."""
    replica = service.server._replica
    assert replica is not None
    return replica.shard_map.shards[0].problem


async def test_without_the_guard_a_jump_makes_a_second_holder(
    server: RedisServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: who does not compare the clocks grants what another still holds."""
    monkeypatch.setattr("lockservice.shards.node._CLOCK_ERROR_US", 10**12)
    async with Service([server.url]) as service:
        await service.grant(ttl=30)
        clock.set_offset(60)
        await service.grant(owner="second")


async def test_a_call_that_was_held_up_is_asked_again(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is right, so the call is repeated instead of blaming it: once, though many come late together."""
    async with Service([server.url]) as service:
        replica = service.server._replica
        assert replica is not None
        (node,) = set(replica.shard_map.shards[0].topology.by_bucket)
        looks = 0
        look = node.look

        async def look_and_be_quick() -> None:
            nonlocal looks
            looks += 1
            await look()
            monkeypatch.setattr(node, "_late_us", on_time_us)

        on_time_us = node._late_us
        monkeypatch.setattr(node, "look", look_and_be_quick)
        # As if each call were ten seconds on its way to Redis.
        monkeypatch.setattr(node, "_late_us", -10_000_000)
        leases = await asyncio.gather(*(service.grant(f"order:{n}") for n in range(50)))

    assert len(leases) == 50
    assert looks < 10
