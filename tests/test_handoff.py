"""The hand-off from a release to the next waiter: by the release's own answer when both are at one replica."""

import asyncio
import contextlib
import random
import statistics
import time
from typing import Any

import grpc
import pytest

from harness.service import Service, until
from lockservice.credentials import EVERYBODY
from lockservice.lease import AcquireAsk
from lockservice.replica import Replica
from lockservice.shards.keys import place
from lockservice.shards.pipeline import Pipeline
from lockservice.v1 import lockservice_pb2 as pb
from lockservice.waiters import Waiters

RESOURCE = "order:1001"
ROUNDS = 60


def scripts(service: Service, script: str) -> float:
    """Counts a kind of script that a replica has run."""
    of_shard = (
        service.metric("lockservice_redis_duration_seconds_count", shard=shard, script=script)
        for shard in ("s1", "s2")
    )
    return sum(of_shard)


def replica(service: Service) -> Replica:
    """Returns what serves there."""
    found = service.server._replica
    assert found is not None
    return found


def ask(request_id: str) -> AcquireAsk:
    """Makes a request that waits."""
    return AcquireAsk(
        "",
        RESOURCE,
        "leaves",
        60_000,
        20_000,
        request_id,
        None,
        None,
        allow_stale=False,
        event_id="",
        retention_ms=60_000,
    )


async def release(service: Service, lease_id: str) -> bool:
    """Releases, not over the network."""
    return await replica(service).locks.release("", RESOURCE, lease_id, done=True, hold_ms=0)


async def test_a_sweep_beside_a_release_wakes_only_the_next(service: Service) -> None:
    """The hint comes right behind the sweep's answer: it is not one that this replica had missed."""
    lease = await service.grant()
    waiters = [service.waiting(owner=f"w{number}") for number in range(5)]
    await service.queued(5)
    asked = scripts(service, "acquire")

    sweep = replica(service).locks.sweeper._sweep(place("", RESOURCE).bucket)
    await asyncio.gather(sweep, release(service, lease.lease_id))
    await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    await service.queued(4)

    assert scripts(service, "acquire") - asked == 1
    for waiter in waiters:
        waiter.cancel()
    await service.queued(0)


async def test_a_release_hurries_only_for_those_who_wait(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that nobody waits for shares its write with other calls."""
    hurried = []
    hurry = Pipeline.hurry

    def noted(pipeline: Pipeline) -> None:
        hurried.append(pipeline)
        hurry(pipeline)

    monkeypatch.setattr(Pipeline, "hurry", noted)

    await service.release(await service.grant())
    assert hurried == []

    second = await service.grant()
    waiting = service.waiting(owner="next", ttl=60)
    await service.queued(1)
    await service.release(second)
    await asyncio.wait_for(waiting, 1)
    assert len(hurried) == 1


@pytest.mark.parametrize(
    ("request_id", "at_once"), [("r1", True), ("", False)], ids=["with a request_id", "without one"]
)
async def test_a_waiter_of_the_same_replica_hears_by_the_releases_answer(
    service: Service, request_id: str, *, at_once: bool
) -> None:
    """If it can ask for the lease again, should the replica die now; otherwise it is asked to confirm."""
    first = await service.grant()
    waiting = service.waiting(owner="next", request_id=request_id, ttl=60)
    await service.queued(1)
    asked, handoffs = scripts(service, "acquire"), service.metric("lockservice_handoff_duration_seconds_count")

    await service.release(first)
    answer = await asyncio.wait_for(waiting, 1)

    lock = (await service.inspect()).lock
    assert scripts(service, "acquire") - asked == (0 if at_once else 1)
    assert service.metric("lockservice_handoff_duration_seconds_count") - handoffs == 1
    assert answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert answer.previous_lease == pb.PREVIOUS_LEASE_RELEASED
    assert answer.lease.fencing_token == lock.holder.fencing_token > first.fencing_token
    assert 59 < lock.holder.remaining.ToTimedelta().total_seconds() <= 60
    assert await service.renew(answer.lease) == pb.RENEW_OUTCOME_RENEWED
    assert await service.release(answer.lease) == pb.RELEASE_OUTCOME_RELEASED


async def test_a_waiter_of_another_replica_confirms(service: Service, other: Service) -> None:
    """Whoever releases cannot know whether the other replica still lives."""
    first = await service.grant()
    waiting = other.waiting(owner="next", request_id="r1")
    await service.queued(1)
    asked = scripts(other, "acquire")

    await service.release(first)
    answer = await asyncio.wait_for(waiting, 1)

    assert scripts(other, "acquire") - asked == 1
    assert answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_a_late_release_moves_the_resource_on(service: Service) -> None:
    """Its own lease has run out, and its answer carries the next waiter's grant all the same."""
    first = await service.grant(ttl=0.2)
    waiting = service.waiting(owner="next", request_id="r1")
    await service.queued(1)
    # Only the release shall notice.
    await replica(service)._sweeper.stop()
    await asyncio.sleep(0.25)

    assert await service.release(first) == pb.RELEASE_OUTCOME_NOT_HELD
    answer = await asyncio.wait_for(waiting, 1)

    assert answer.previous_lease == pb.PREVIOUS_LEASE_EXPIRED
    replica(service)._sweeper.start()


async def test_a_caller_that_leaves_at_the_hand_off_holds_nobody_up(service: Service) -> None:
    """Whenever it goes: what it was granted goes to the next one at once, and not at the end of its ttl."""
    random.seed(4)
    told, took_s = 0, await _release_s(service)
    for number in range(ROUNDS):
        held = await service.grant(owner="holder", ttl=60)
        # Not over the network, where an answer may cross the cancellation.
        leaves = asyncio.create_task(replica(service).locks.acquire(ask(f"leaves{number}")))
        await service.queued(1)
        stays = service.waiting(owner="stays", request_id=f"stays{number}", ttl=60)
        await service.queued(2)

        releasing = asyncio.create_task(service.release(held))
        await asyncio.sleep(random.uniform(0, 2 * took_s))
        leaves.cancel()
        await releasing
        with contextlib.suppress(asyncio.CancelledError):
            # It was told before it left.
            told += await release(service, (await leaves).lease_id)
        answer = await asyncio.wait_for(stays, 1)
        await service.release(answer.lease)
    assert 0 < told < ROUNDS, "all left at the same moment"


async def test_a_release_that_is_cancelled_holds_nobody_up(service: Service) -> None:
    """Nobody reads its answer, which would have told the next waiter."""
    random.seed(5)
    cut, took_s = 0, await _release_s(service)
    for number in range(ROUNDS):
        held = await service.grant(owner="holder", ttl=60)
        waiting = service.waiting(owner="next", request_id=f"next{number}", ttl=60)
        await service.queued(1)

        releasing: Any = service.locks.Release(pb.ReleaseRequest(resource=RESOURCE, lease_id=held.lease_id))
        sent = asyncio.create_task(_ended(releasing))
        await asyncio.sleep(random.uniform(0, took_s))
        releasing.cancel()
        cut += await sent
        # If it was cancelled before it was sent, the holder says so again, as clients do.
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        if not done:
            assert (await service.inspect()).lock.holder.owner == "holder", "granted, and not told"
            await service.release(held)
        answer = await asyncio.wait_for(waiting, 1)
        await service.release(answer.lease)
    assert cut > ROUNDS / 4, "too few were cancelled to mean anything"


async def _release_s(service: Service) -> float:
    """Measures how long a release takes here, so that others can happen during one: the median of 15, in seconds."""
    took = []
    for number in range(15):
        lease = await service.grant(f"other:{number}")
        began = time.monotonic()
        await service.release(lease)
        took.append(time.monotonic() - began)
    return statistics.median(took)


async def _ended(call: Any) -> bool:
    """Says whether a call was cancelled."""
    try:
        await call
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        return True
    return False


async def _taken_away_while_asking(service: Service) -> tuple["asyncio.Task[Any]", "asyncio.Task[Any]"]:
    """Hands the lease to a waiter that is asking at that moment, and takes it away again before its question."""
    held = await service.grant(owner="holder", ttl=60)
    first = service.waiting(owner="first", request_id="first", ttl=60)
    await service.queued(1)
    second = service.waiting(owner="second", request_id="second", ttl=60)
    await service.queued(2)
    of_first = next(iter(replica(service).locks.room.waiters._calls.values()))

    # Redis hears all three in this order, and the answer to the first is read when the waiter has asked.
    released = asyncio.create_task(release(service, held.lease_id))
    inspection = replica(service).inspection
    forced = asyncio.create_task(inspection.force_release(EVERYBODY, RESOURCE, held.fencing_token + 1, "a test"))
    await asyncio.sleep(0)
    of_first.wake()
    assert await released
    assert await forced
    await until(lambda: second.done() or first.done(), "somebody holds it")
    await asyncio.sleep(0.05)
    return first, second


async def test_an_answer_that_may_be_older_than_a_question_is_only_a_hint(service: Service) -> None:
    """Who asks at this moment believes what Redis says to that, and not the grant that has ended meanwhile."""
    first, second = await _taken_away_while_asking(service)

    assert second.done()
    assert not first.done()
    await service.release((await second).lease)
    answer = await asyncio.wait_for(first, 1)
    assert answer.lease.fencing_token > (await second).lease.fencing_token
    await service.release(answer.lease)


async def test_that_shows_an_answer_that_is_always_believed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: the waiter is told of a lease that has been taken away, while another one holds it."""

    def believe(self: Waiters, call: bytes, words: list[Any]) -> None:
        parked = self._calls[call]
        parked.answer = words
        parked.wake()

    monkeypatch.setattr(Waiters, "answer", believe)
    first, second = await _taken_away_while_asking(service)

    told = {(await task).lease.fencing_token for task in (first, second)}
    assert len(told) == 2, "both believe that they hold it"
