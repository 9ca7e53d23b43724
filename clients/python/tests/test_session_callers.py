"""Callers of a session that are cancelled, out of time, or on a stream that is silent."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from lockservice_client import Client, LeaseLost, ServiceError
from lockservice_client.session import Session
from lockservice_client.stream import Stream

PassOn = Callable[[], Awaitable[bytes]]
Until = Callable[..., Awaitable[None]]


async def _queue_after_cancel(client: Client, session_client: Client, resource: str, until: Until) -> int:
    """Returns how many wait half a second after the only waiter was cancelled."""

    async def queue() -> int:
        lock, _ = await client.inspect(resource)
        return lock.queue_length

    async with client.lock(resource):
        waiting = asyncio.create_task(session_client.acquire(resource, wait=20, request_id=""))
        while await queue() == 0:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.5)
        return await queue()


async def test_s05_a_cancelled_call_leaves_the_queue(
    client: Client, session_client: Client, resource: str, until: Until
) -> None:
    """Who cancels a waiting call waits at the service no longer."""
    assert await _queue_after_cancel(client, session_client, resource, until) == 0


async def test_s05_a_cancel_that_is_not_sent_would_be_seen(
    client: Client, session_client: Client, resource: str, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same check catches a client that only forgets its call."""
    monkeypatch.setattr(Stream, "cancel", lambda *_: None)
    assert await _queue_after_cancel(client, session_client, resource, until) == 1


def crossing(method: str, granted: asyncio.Event) -> Callable[..., Awaitable[bytes]]:
    """Makes a fault that answers a method only when its caller has cancelled."""

    async def fault(name: str, context: Any, pass_on: PassOn) -> bytes:
        reply = await pass_on()
        if name == method:
            granted.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                return reply
        return reply

    return fault


@pytest.mark.parametrize("named", [None, "", "named"])
async def test_s31_a_grant_to_a_caller_that_has_gone_is_given_back(
    session_client: Client, client: Client, proxy: Any, resource: str, named: str | None
) -> None:
    """A cancel that crosses the grant frees the lease as RETRY; only who named the request may come back for it."""
    granted = asyncio.Event()
    proxy.fault = crossing("Acquire", granted)
    asking = asyncio.create_task(session_client.acquire(resource, ttl=30, request_id=named, event_id="e"))
    await granted.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    outcome = (await client.acquire(resource, wait=0.5, event_id="e")).outcome
    assert outcome == ("held" if named else "granted")


async def test_s31_a_claim_to_a_caller_that_has_gone_is_given_back(
    session_client: Client, client: Client, proxy: Any, resource: str
) -> None:
    """A cancel that crosses FIRST frees the key."""
    granted = asyncio.Event()
    proxy.fault = crossing("Dedupe", granted)
    asking = asyncio.create_task(session_client.dedupe(resource, claim_ttl=30))
    await granted.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await client.dedupe(resource, claim_ttl=30, wait=2)).outcome == "first"


async def test_s31_a_grant_in_the_turn_of_the_cancel_is_given_back(
    session_client: Client, client: Client, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that is cancelled between the arrival of its grant and its next step leaves no lease."""
    session = session_client._asking._session
    assert session is not None
    answered = session.answered

    def cancel_too(*args: Any) -> None:
        answered(*args)
        asking.cancel()

    monkeypatch.setattr(session, "answered", cancel_too)
    asking = asyncio.create_task(session_client.acquire(resource, ttl=30))
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await client.acquire(resource, wait=2)).outcome == "granted"


async def test_a_call_without_an_answer_ends_in_time(session_client: Client, proxy: Any, resource: str) -> None:
    """Its timeout ends a call as it ends a unary one, and a stream that is silent is left."""
    answer = await session_client.acquire(resource, ttl=30)
    assert answer.grant is not None

    async def hang(*_: Any) -> bytes:
        await asyncio.sleep(30)
        return b""

    proxy.fault = hang
    for unary, streams in ((False, 1), (True, 1), (False, 2)):
        client = Client(proxy.address, unary=True) if unary else session_client
        began = time.monotonic()
        with pytest.raises(ServiceError, match=r"^DEADLINE_EXCEEDED: .*Deadline Exceeded") as ended:
            await client.renew(resource, answer.grant.lease_id, timeout=0.2)
        assert 0.19 < time.monotonic() - began < 0.4
        assert ended.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert proxy.streams == streams
        if unary:
            await client.close()


async def _kept_beside_waiters(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Says whether a lease can be renewed and released while as many acquires as a stream takes wait for it."""
    monkeypatch.setattr("lockservice_client.pending.OPEN_MAX", 5)
    held = (await session_client.acquire(resource, ttl=30)).grant
    assert held is not None
    waiting = [asyncio.create_task(session_client.acquire(resource, wait=20)) for _ in range(8)]
    while len(proxy.requests("Acquire")) < 1 + 5:
        await asyncio.sleep(0.01)
    try:
        assert await session_client.renew(resource, held.lease_id, timeout=0.5)
        assert await session_client.release(resource, held.lease_id)
    except ServiceError:
        return False
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return True


async def test_s07_a_stream_full_of_waiters_has_room_for_renewals(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps or ends a lease is sent though all that wait for it fill the stream."""
    assert await _kept_beside_waiters(session_client, proxy, resource, monkeypatch)


async def test_s07_without_that_room_they_would_wait_for_each_other(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same check catches a client that treats all operations alike."""
    monkeypatch.setattr("lockservice_client.pending.KEEPING_MAX", 0)
    assert not await _kept_beside_waiters(session_client, proxy, resource, monkeypatch)


async def test_an_answer_after_the_timeout_is_given_back(
    session_client: Client, client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grant that comes when the call's time is over leaves no lease, while the stream is otherwise alive."""
    monkeypatch.setattr("lockservice_client.client.CALL_S", 0.3)
    proxy.fault = crossing("Acquire", asyncio.Event())
    asking = asyncio.create_task(session_client.acquire(resource, ttl=30))
    while not asking.done():
        await session_client.dedupe(f"{resource}:alive")
        await asyncio.sleep(0.01)
    with pytest.raises(ServiceError, match="DEADLINE_EXCEEDED"):
        await asking
    assert proxy.streams == 1
    assert (await client.acquire(resource, wait=2)).outcome == "granted"


async def _lost_at_a_frozen_replica(client: Client, proxy: Any, resource: str) -> bool:
    """Says whether a lease of 1.5 s is lost while the stream that its first renewals travel on is silent."""

    async def fault(method: str, context: Any, pass_on: PassOn) -> bytes:
        if method == "Renew" and context.session is first:
            await asyncio.sleep(30)
        return await pass_on()

    async with client.lock(f"{resource}:other"):
        pass
    first = proxy.live[-1]
    proxy.fault = fault
    try:
        async with client.lock(resource, ttl=1.5):
            await asyncio.sleep(2.5)
    except LeaseLost:
        return True
    return False


async def test_a_silent_stream_loses_no_lease(session_client: Client, proxy: Any, resource: str) -> None:
    """Renewals go on over another stream when nothing comes on theirs."""
    assert not await _lost_at_a_frozen_replica(session_client, proxy, resource)


async def test_staying_on_a_silent_stream_would_lose_it(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same check catches a client that stays on its stream."""
    monkeypatch.setattr(Stream, "is_silent", lambda *_: False)
    assert await _lost_at_a_frozen_replica(session_client, proxy, resource)


async def _asked_again_for_a_late_renewal(client: Client, proxy: Any, resource: str) -> int:
    """Returns how often somebody who waits has asked, beside a renewal on the same stream that is not answered."""
    held = (await client.acquire(resource, ttl=30)).grant
    assert held is not None

    async def fault(method: str, context: Any, pass_on: PassOn) -> bytes:
        if method == "Renew" and context.session is first:
            await asyncio.sleep(30)
        return await pass_on()

    first = proxy.live[-1]
    proxy.fault = fault
    waiting = asyncio.create_task(client.acquire(resource, wait=20))
    while len(proxy.requests("Acquire")) < 2:
        await asyncio.sleep(0.01)
    with pytest.raises(ServiceError, match="DEADLINE_EXCEEDED"):
        await client.renew(resource, held.lease_id, timeout=0.2)
    assert await client.renew(resource, held.lease_id, timeout=2)
    assert proxy.streams == 2
    assert await client.release(resource, held.lease_id)
    assert (await waiting).outcome == "granted"
    return len(proxy.requests("Acquire")) - 1


async def test_a_late_renewal_takes_no_waiter_along(session_client: Client, proxy: Any, resource: str) -> None:
    """It goes on over another stream, and who waits on the first stays there."""
    assert await _asked_again_for_a_late_renewal(session_client, proxy, resource) == 1


async def test_leaving_the_stream_would_ask_for_all_again(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same count catches a client that ends a silent stream whatever is open on it."""
    go_elsewhere = Session._go_elsewhere
    monkeypatch.setattr(
        Session, "_go_elsewhere", lambda session, stream, **_: go_elsewhere(session, stream, waited=True)
    )
    assert await _asked_again_for_a_late_renewal(session_client, proxy, resource) == 2


async def test_releases_leave_before_acquires_and_in_order(session_client: Client, proxy: Any, resource: str) -> None:
    """What is asked for in one moment is sent releases first, each kind as it was asked for."""

    async def call(number: int) -> None:
        name = f"{resource}:{number}"
        await (session_client.acquire(name) if number % 2 else session_client.release(name, "no lease"))

    await asyncio.gather(*(call(number) for number in range(20)))
    sent = [operation for frame in proxy.frames for operation in frame.operations]
    names = [getattr(operation, operation.WhichOneof("kind")).resource for operation in sent]
    assert names == [f"{resource}:{number}" for number in (*range(0, 20, 2), *range(1, 20, 2))]
