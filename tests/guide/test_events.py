"""Chapter three: events that arrive twice, and in the wrong order."""

from harness.service import Service
from lockservice.v1 import lockservice_pb2 as pb


async def test_an_event_is_processed_once(service: Service) -> None:
    """With event_id, lock and deduplication cost one call together."""
    lease = await service.grant("order:1001", event_id="webhook-1")
    await service.release(lease)

    again = await service.acquire("order:1001", event_id="webhook-1")

    assert again.outcome == pb.ACQUIRE_OUTCOME_DUPLICATE


async def test_an_event_that_failed_is_processed_again(service: Service) -> None:
    """Released as RETRY, or lost in a crash, nothing is recorded."""
    lease = await service.grant("order:1001", event_id="webhook-1")
    await service.release(lease, retry=True)

    await service.grant("order:1001", event_id="webhook-1")


async def test_an_older_version_is_stale(service: Service) -> None:
    """The moment an event was triggered, in microseconds, makes a good version of its entity."""
    lease = await service.grant("order:1001", version=200)
    await service.release(lease)

    late = await service.acquire("order:1001", version=100)

    assert late.outcome == pb.ACQUIRE_OUTCOME_STALE
    assert late.completed_version == 200


async def test_an_update_waits_for_its_create(service: Service) -> None:
    """With after_version an event that came too early waits for the one before it, and blocks nobody meanwhile."""
    update = service.waiting("order:1001", "updater", version=2, after_version=1)
    await service.queued(1)

    create = await service.grant("order:1001", "creator", version=1)
    await service.release(create)

    assert (await update).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_a_claim_without_a_lock(service: Service) -> None:
    """Dedupe in two phases: claim the key, do the work, settle. Later callers get the result."""
    first = await service.dedupe("email:1001", claim_ttl=10)
    assert first.outcome == pb.DEDUPE_OUTCOME_FIRST
    assert (await service.dedupe("email:1001", claim_ttl=10)).outcome == pb.DEDUPE_OUTCOME_IN_PROGRESS

    await service.settle("email:1001", first.claim_id, result=b"message 7")

    later = await service.dedupe("email:1001", claim_ttl=10)
    assert later.outcome == pb.DEDUPE_OUTCOME_DUPLICATE
    assert later.result == b"message 7"


async def test_a_failed_event_keeps_its_place_with_a_hold(service: Service) -> None:
    """For deltas such as refunds: until the retry has been done, or the hold ends, nobody else goes on."""
    lease = await service.grant("order:1001", event_id="refund-1")
    await service.release(lease, retry=True, hold=30)

    assert (await service.acquire("order:1001", event_id="refund-2")).outcome == pb.ACQUIRE_OUTCOME_HELD
    retry = await service.grant("order:1001", event_id="refund-1")
    await service.release(retry)
    await service.grant("order:1001", event_id="refund-2")
