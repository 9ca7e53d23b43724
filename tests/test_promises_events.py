"""The promises about versions, holds, events and claims, one test each."""

import asyncio
import time

import grpc
import pytest

from harness.service import Service, reason_of, until
from lockservice.v1 import lockservice_pb2 as pb


async def complete(service: Service, version: int, resource: str = "order:1001") -> None:
    """Completes a version."""
    await service.release(await service.grant(resource, version=version))


async def test_done_raises_the_completed_version_and_retry_does_not(service: Service) -> None:
    """Only finished work counts."""
    await service.release(await service.grant(version=5), retry=True)
    assert not (await service.inspect()).lock.HasField("completed_version")

    await complete(service, 5)
    assert (await service.inspect()).lock.completed_version == 5


async def test_equal_is_not_stale_and_shows_a_tie(service: Service) -> None:
    """Two events of one instant: the second is granted, and sees its own version completed."""
    await complete(service, 5)

    response = await service.acquire(version=5)

    assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert response.completed_version == 5


async def test_allow_stale_lets_an_older_version_in(service: Service) -> None:
    """And its release does not lower the completed version."""
    await complete(service, 5)

    lease = await service.grant(version=3, allow_stale=True)
    await service.release(lease)

    assert (await service.inspect()).lock.completed_version == 5


async def test_a_waiter_that_becomes_stale_hears_it_at_once(service: Service, other: Service) -> None:
    """It need not wait for its turn: others that are ahead of it may take long."""
    lease = await service.grant(version=9)
    ahead = service.waiting(owner="ahead")
    await service.queued(1)
    stale = other.waiting(owner="stale", version=4)
    await service.queued(2)

    await service.release(lease)

    assert (await asyncio.wait_for(stale, 1)).outcome == pb.ACQUIRE_OUTCOME_STALE
    assert (await ahead).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_after_version_does_not_block_those_behind(service: Service) -> None:
    """Who waits for an earlier event lets everybody else pass."""
    early = service.waiting(owner="early", version=3, after_version=2)
    await service.queued(1)

    lease = await service.grant(owner="other", version=1)
    await service.release(lease)
    await complete(service, 2)

    assert (await early).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_after_version_that_never_comes_is_early(service: Service) -> None:
    """EARLY, also when somebody holds the lease then, and at once for a try-call."""
    await service.grant(owner="holder", version=1)

    assert (await service.acquire(after_version=7)).outcome == pb.ACQUIRE_OUTCOME_EARLY
    assert (await service.acquire(after_version=7, wait=0.1)).outcome == pb.ACQUIRE_OUTCOME_EARLY
    await service.queued(0)


async def test_completed_versions_are_remembered_for_the_setting(shards: list[str]) -> None:
    """24 h by default; here one second."""
    async with Service(shards, version_retention_ms=1_000) as service:
        await complete(service, 9)
        assert (await service.acquire(version=1)).outcome == pb.ACQUIRE_OUTCOME_STALE

        async def forgotten() -> bool:
            return not (await service.inspect()).lock.HasField("completed_version")

        await until(forgotten, "the version is forgotten", within=3)


async def test_a_hold_without_event_keeps_everybody_off(service: Service) -> None:
    """A cool-off: waiters and try-calls wait until it ends."""
    await service.release(await service.grant(), retry=True, hold=0.4)
    started = time.monotonic()

    assert (await service.acquire()).outcome == pb.ACQUIRE_OUTCOME_HELD
    assert (await service.acquire(wait=5)).outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert 0.3 < time.monotonic() - started < 0.6


async def test_a_hold_lets_the_retry_pass_all_waiters(service: Service) -> None:
    """The retry goes ahead of everybody, also when it is already waiting; the others keep their order."""
    lease = await service.grant(event_id="e-1")
    ahead = service.waiting(owner="ahead")
    await service.queued(1)
    waiting_retry = service.waiting(owner="retry", event_id="e-1")
    await service.queued(2)

    await service.release(lease, retry=True, hold=30)

    retry = (await asyncio.wait_for(waiting_retry, 1)).lease
    assert not ahead.done()
    await service.release(retry)
    assert (await ahead).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_holds_are_shown(service: Service) -> None:
    """Inspect and ListLocks show who asked for the hold and whose retry is let in."""
    await service.release(await service.grant(owner="w", event_id="e-1"), retry=True, hold=30)

    hold = (await service.inspect()).lock.hold
    assert (hold.owner, hold.event_id) == ("w", "e-1")
    assert 29 <= hold.remaining.seconds <= 30
    listed = [lock async for page in service.admin.ListLocks(pb.ListLocksRequest()) for lock in page.locks]
    assert [lock.hold.event_id for lock in listed] == ["e-1"]


async def test_without_hold_the_next_waiter_goes_on(service: Service) -> None:
    """RETRY alone frees the resource at once."""
    lease = await service.grant(event_id="e-1")
    waiter = service.waiting(owner="next")
    await service.queued(1)

    await service.release(lease, retry=True)

    assert (await asyncio.wait_for(waiter, 1)).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_event_is_checked_again_at_the_grant(service: Service) -> None:
    """A redelivery that waits while the event is being processed is told DUPLICATE, not granted."""
    lease = await service.grant(event_id="e-1")
    redelivery = service.waiting(owner="second", event_id="e-1")
    await service.queued(1)

    await service.release(lease)

    assert (await asyncio.wait_for(redelivery, 1)).outcome == pb.ACQUIRE_OUTCOME_DUPLICATE


async def test_an_expired_lease_records_no_event(service: Service) -> None:
    """A crash is not an end: the redelivery is processed."""
    await service.grant(event_id="e-1", version=5, ttl=0.1)

    response = await service.acquire(event_id="e-1", wait=5)

    assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert not response.HasField("completed_version")


async def test_events_belong_to_their_resource(service: Service) -> None:
    """The same event id on another resource is another event."""
    await service.release(await service.grant("order:1", event_id="e-1"))

    await service.grant("order:2", event_id="e-1")


async def test_event_retention_ends(service: Service) -> None:
    """After event_retention the event is forgotten."""
    await service.release(await service.grant(event_id="e-1", retention=1))
    assert (await service.acquire(event_id="e-1")).outcome == pb.ACQUIRE_OUTCOME_DUPLICATE

    async def forgotten() -> bool:
        response = await service.acquire(event_id="e-1", owner="again")
        return bool(response.outcome == pb.ACQUIRE_OUTCOME_GRANTED)

    await until(forgotten, "the event is forgotten", within=3)


async def test_one_phase_gives_first_to_exactly_one(service: Service, other: Service) -> None:
    """Of any number of concurrent callers."""
    answers = await asyncio.gather(*((service, other)[n % 2].dedupe(owner=f"w{n}") for n in range(200)))

    assert sum(answer.outcome == pb.DEDUPE_OUTCOME_FIRST for answer in answers) == 1
    assert sum(answer.outcome == pb.DEDUPE_OUTCOME_DUPLICATE for answer in answers) == 199


async def test_in_progress_says_when_to_come_back(service: Service) -> None:
    """retry_after is what is left of the claim."""
    await service.dedupe(claim_ttl=5)

    answer = await service.dedupe(claim_ttl=5)

    assert answer.outcome == pb.DEDUPE_OUTCOME_IN_PROGRESS
    assert 4_000 < answer.retry_after.ToMilliseconds() <= 5_000


async def test_waiting_for_a_claim_to_end(service: Service, other: Service) -> None:
    """With wait_timeout a duplicate waits for the result of the first."""
    first = await service.dedupe(claim_ttl=10)
    waiter = asyncio.create_task(other.dedupe(claim_ttl=10, wait=5))
    await until(lambda: other.server._replica.waiting == 1, "it waits")  # type: ignore[union-attr]

    await service.settle("event", first.claim_id, result=b"done")

    answer = await asyncio.wait_for(waiter, 1)
    assert (answer.outcome, answer.result) == (pb.DEDUPE_OUTCOME_DUPLICATE, b"done")


async def test_a_claim_that_is_freed_goes_to_one_waiter(service: Service) -> None:
    """Settle(RETRY) frees the key: one of those who wait is FIRST, the others go on waiting."""
    first = await service.dedupe(claim_ttl=10)
    waiters = [asyncio.create_task(service.dedupe(claim_ttl=10, wait=3, owner=f"w{n}")) for n in range(5)]
    await until(lambda: service.server._replica.waiting == 5, "all wait")  # type: ignore[union-attr]

    await service.settle("event", first.claim_id, retry=True)
    done, pending = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)

    assert [task.result().outcome for task in done] == [pb.DEDUPE_OUTCOME_FIRST]
    assert len(pending) == 4
    for task in pending:
        task.cancel()


async def test_a_claim_that_runs_out_goes_to_the_waiter(service: Service) -> None:
    """After claim_ttl the next caller gets FIRST."""
    await service.dedupe(claim_ttl=0.3)
    started = time.monotonic()

    answer = await service.dedupe(claim_ttl=5, wait=5)

    assert answer.outcome == pb.DEDUPE_OUTCOME_FIRST
    assert time.monotonic() - started < 0.4


async def test_renew_claim_prolongs_it(service: Service) -> None:
    """Long work renews its claim; one that was taken over is not held."""
    first = await service.dedupe(claim_ttl=0.2)
    renewed = await service.locks.RenewClaim(pb.RenewClaimRequest(key="event", claim_id=first.claim_id))
    assert renewed.outcome == pb.RENEW_OUTCOME_RENEWED
    second = await service.dedupe(claim_ttl=5, wait=5)
    assert second.outcome == pb.DEDUPE_OUTCOME_FIRST

    late = await service.locks.RenewClaim(pb.RenewClaimRequest(key="event", claim_id=first.claim_id))

    assert late.outcome == pb.RENEW_OUTCOME_NOT_HELD


async def test_same_request_id_gets_the_same_answer(service: Service, other: Service) -> None:
    """FIRST stays FIRST, with the same claim, so a lost reply never makes the only processor a duplicate."""
    first = await service.dedupe(owner="w", request_id="r-1", claim_ttl=10)
    again = await other.dedupe(owner="w", request_id="r-1", claim_ttl=10)
    assert (again.outcome, again.claim_id) == (pb.DEDUPE_OUTCOME_FIRST, first.claim_id)

    await service.dedupe("one-phase", owner="w", request_id="r-2")
    assert (await other.dedupe("one-phase", owner="w", request_id="r-2")).outcome == pb.DEDUPE_OUTCOME_FIRST


async def test_dedupe_request_id_with_other_fields_is_refused(service: Service) -> None:
    """FAILED_PRECONDITION, as for Acquire."""
    await service.dedupe(owner="w", request_id="r-1", claim_ttl=10)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.dedupe(owner="w", request_id="r-1", claim_ttl=20)

    assert reason_of(refused.value) == "REQUEST_ID_REUSED"


async def test_settle_is_repeatable(service: Service) -> None:
    """A retry after a lost reply says SETTLED again, after DONE and after RETRY."""
    for key, retry in (("a", False), ("b", True)):
        claim = await service.dedupe(key, claim_ttl=10)
        assert await service.settle(key, claim.claim_id, retry=retry) == pb.SETTLE_OUTCOME_SETTLED
        assert await service.settle(key, claim.claim_id, retry=retry) == pb.SETTLE_OUTCOME_SETTLED


async def test_retention_counts_from_the_settle(service: Service) -> None:
    """A claim that was worked on for long is remembered for its whole retention afterwards."""
    claim = await service.dedupe(claim_ttl=5, retention=1)
    await asyncio.sleep(0.8)  # most of the retention has to pass before the settle
    await service.settle("event", claim.claim_id)
    settled = time.monotonic()

    assert (await service.dedupe(retention=1)).outcome == pb.DEDUPE_OUTCOME_DUPLICATE

    async def forgotten() -> bool:
        return bool((await service.dedupe(retention=1)).outcome == pb.DEDUPE_OUTCOME_FIRST)

    await until(forgotten, "the key is forgotten", within=3)
    assert time.monotonic() - settled >= 0.95


async def test_a_mismatch_changes_nothing(service: Service) -> None:
    """The same key with another payload is told apart, while it is claimed and after it was settled."""
    claim = await service.dedupe(claim_ttl=10, fingerprint=b"one")
    assert (await service.dedupe(claim_ttl=10, fingerprint=b"two")).outcome == pb.DEDUPE_OUTCOME_MISMATCH

    await service.settle("event", claim.claim_id, result=b"r")

    assert (await service.dedupe(fingerprint=b"two")).outcome == pb.DEDUPE_OUTCOME_MISMATCH
    assert (await service.dedupe(fingerprint=b"one")).result == b"r"
