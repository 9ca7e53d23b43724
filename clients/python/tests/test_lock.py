"""A lease held by a block: taken, kept alive, given back."""

import asyncio
import time
from datetime import timedelta

import pytest

from lockservice_client import Client, Duplicate, Early, Held, InvalidRequest, LeaseLost, Refused, ServiceError, Stale


async def test_s01_a_block_holds_the_resource_and_gives_it_back(client: Client) -> None:
    """Within the block others are refused by name; after it the next one goes on with a higher token."""
    async with client.lock("basic:1", ttl=timedelta(seconds=5)) as lease:
        assert 4 < lease.remaining <= 5
        with pytest.raises(Held) as refused:
            await client.lock("basic:1").__aenter__()
        assert refused.value.holder is not None
        assert refused.value.holder.owner == client.owner
    async with client.lock("basic:1") as following:
        assert following.previous_lease == "released"
        assert following.fencing_token > lease.fencing_token


async def test_refusals_are_no_service_errors() -> None:
    """Contention cannot be caught by who catches faults, nor faults by who catches contention."""
    assert all(issubclass(kind, Refused) for kind in (Held, Duplicate, Stale, Early))
    assert not issubclass(Refused, ServiceError)
    assert not issubclass(ServiceError, Refused)


async def test_s12_an_exception_releases_as_retry(client: Client) -> None:
    """A block that raises records neither event nor version, so its redelivery is processed."""
    for _ in range(2):
        with pytest.raises(KeyError):
            async with client.lock("retry:1", event_id="e", version=7):
                raise KeyError
    async with client.lock("retry:1", event_id="e", version=7) as lease:
        assert lease.completed_version is None
    with pytest.raises(Duplicate):
        await client.lock("retry:1", event_id="e", version=7).__aenter__()


async def test_s12_a_held_retry_lets_only_its_event_in(client: Client) -> None:
    """After `lease.retry(hold=…)` the same event comes first and another is refused."""
    async with client.lock("hold:1", event_id="a") as lease:
        lease.retry(hold=30)
    with pytest.raises(Held):
        await client.lock("hold:1", event_id="b").__aenter__()
    async with client.lock("hold:1", event_id="a"):
        pass
    async with client.lock("hold:1", event_id="b"):
        pass


async def test_s12_retry_hold_holds_after_an_exception(client: Client) -> None:
    """`retry_hold` keeps the resource when the block raises."""
    with pytest.raises(KeyError):
        async with client.lock("hold:2", event_id="a", retry_hold=30):
            raise KeyError
    lock, _ = await client.inspect("hold:2")
    assert lock.hold is not None
    assert lock.hold.event_id == "a"


async def test_s14_versions_are_ordered(client: Client) -> None:
    """An older version is Stale, an equal one a tie, one too early is Early."""
    async with client.lock("version:1", version=5) as lease:
        assert not lease.tie
    with pytest.raises(Stale):
        await client.lock("version:1", version=4).__aenter__()
    with pytest.raises(Early):
        await client.lock("version:1", after_version=6).__aenter__()
    async with client.lock("version:1", version=5) as lease:
        assert lease.tie
        assert lease.completed_version == 5
    async with client.lock("version:1", version=4, allow_stale=True) as lease:
        assert not lease.tie


async def test_s06_a_lease_is_renewed_past_its_ttl(client: Client) -> None:
    """A block longer than several ttls keeps its lease."""
    async with client.lock("renewed:1", ttl=0.3) as lease:
        await asyncio.sleep(1.0)
        lease.check()
        assert not lease.lost.is_set()


async def test_s16_a_waiter_that_waited_long_holds_its_lease(client: Client) -> None:
    """A lease granted after a wait of several ttls is renewed before the block begins, so it is believed in."""
    async with client.lock("waited:1", ttl=2):
        waiting = asyncio.create_task(client.lock("waited:1", ttl=0.4, wait=10).__aenter__())
        await asyncio.sleep(1.0)
        assert not waiting.done()
    lease = await waiting
    assert lease.waited >= 0.9
    assert lease.remaining > 0.2
    assert await client.release("waited:1", lease.lease_id)
    lease._renewal.abandon()


async def test_s09_a_forced_release_cancels_the_block(client: Client) -> None:
    """Whose lease is taken away is cancelled and gets LeaseLost, and the task is not left cancelled."""
    began = time.monotonic()
    with pytest.raises(LeaseLost):  # noqa: PT012  the block is what is lost
        async with client.lock("forced:1", ttl=0.6) as lease:
            assert await client.force_release("forced:1", lease.fencing_token, reason="test")
            await asyncio.sleep(30)
    assert time.monotonic() - began < 1
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_loss_can_be_told_by_the_event_alone(client: Client) -> None:
    """With on_lost="event" the block runs on, and its end says that nothing was recorded."""
    reached = False
    with pytest.raises(LeaseLost):  # noqa: PT012  the block is what is lost
        async with client.lock("event:1", ttl=0.6, on_lost="event") as lease:
            await client.force_release("event:1", lease.fencing_token, reason="test")
            await asyncio.wait_for(lease.lost.wait(), 1)
            with pytest.raises(LeaseLost):
                lease.check()
            await asyncio.sleep(0.01)
            reached = True
    assert reached


async def test_a_cancellation_from_outside_stays_one(client: Client) -> None:
    """A cancelled worker gets CancelledError, not LeaseLost, and its lease is given back for a retry."""
    entered = asyncio.Event()

    async def work() -> None:
        async with client.lock("cancelled:1", event_id="e", ttl=30):
            entered.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with client.lock("cancelled:1", event_id="e", wait=2):
        pass


async def _lost_behind_waiters(client: Client, far_client: Client, resource: str) -> bool:
    """Says whether a lease of 600 ms is lost while as many acquires wait as one connection may have calls."""
    blocker = await client.acquire(f"{resource}:blocker", ttl=30)
    assert blocker.grant is not None
    lease = await far_client.lock(resource, ttl=0.6, on_lost="event").__aenter__()
    waiting = [asyncio.create_task(far_client.acquire(f"{resource}:blocker", wait=20)) for _ in range(100)]
    await asyncio.sleep(2.0)
    lost = lease.lost.is_set()
    lease._renewal.abandon()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await client.release(f"{resource}:blocker", blocker.grant.lease_id)
    return lost


async def test_s07_renewals_do_not_queue_behind_waiting_acquires(
    client: Client, far_client: Client, resource: str
) -> None:
    """While 100 acquires fill the connection that they wait on, a lease is renewed for three ttls."""
    assert not await _lost_behind_waiters(client, far_client, resource)


@pytest.mark.parametrize("far_client", ["unary"], indirect=True)
async def test_s07_renewals_on_the_same_channel_would_queue(client: Client, far_client: Client) -> None:
    """The same check catches a client with one channel for everything."""
    own, far_client._apart = far_client._apart, far_client._asking
    assert await _lost_behind_waiters(client, far_client, "busy:2")
    far_client._apart = own


async def test_a_bad_field_is_named(client: Client) -> None:
    """A ttl out of range is an InvalidRequest that names the field and the limit."""
    with pytest.raises(InvalidRequest, match="ttl must be 100 ms") as refused:
        await client.acquire("bad:1", ttl=0.001)
    assert refused.value.reason == "INVALID_FIELD"


async def test_s11_a_repeated_request_id_gives_the_same_lease(client: Client) -> None:
    """The same id again is the same lease; other fields under it are refused by reason."""
    first = await client.acquire("same:1", request_id="r")
    again = await client.acquire("same:1", request_id="r")
    assert first.grant is not None
    assert again.grant is not None
    assert first.grant.lease_id == again.grant.lease_id
    with pytest.raises(ServiceError) as refused:
        await client.acquire("same:1", request_id="r", version=3)
    assert refused.value.reason == "REQUEST_ID_REUSED"
