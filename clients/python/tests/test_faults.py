"""Lost replies, services that are away, frozen, or slow to answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import UNAVAILABLE
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from lockservice_client import Client, LeaseLost, ServiceError, Unavailable
from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.renewal import Renewal

PassOn = Callable[[], Awaitable[bytes]]


def times(count: int, what: Callable[[Any, PassOn], Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
    """Makes a fault that happens to the first calls only."""
    left = count

    async def fault(_: str, context: Any, pass_on: PassOn) -> bytes:
        nonlocal left
        left -= 1
        return await (what(context, pass_on) if left >= 0 else pass_on())

    return fault


async def lose_reply(context: Any, pass_on: PassOn) -> bytes:
    """The service does it, and nobody hears of it."""
    await pass_on()
    return bytes(await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed"))


async def away(context: Any, _: PassOn) -> bytes:
    """The service is not there."""
    return bytes(await context.abort(grpc.StatusCode.UNAVAILABLE, "not there"))


async def drain(context: Any, _: PassOn) -> bytes:
    """The replica goes away, and says when to come again."""
    status = Status(code=UNAVAILABLE, message="draining")
    for detail in (
        ErrorInfo(reason="DRAINING", domain="lockservice"),
        RetryInfo(retry_delay=Duration(nanos=300_000_000)),
    ):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(await context.abort_with_status(rpc_status.to_status(status)))


async def test_s11_a_lost_reply_gives_the_same_lease(far_client: Client, proxy: Any, resource: str) -> None:
    """The retry after a lost reply carries the same ids and is given the lease that nobody heard of."""
    proxy.fault = times(1, lose_reply)
    answer = await far_client.acquire(resource, ttl=30)
    assert answer.grant is not None
    first, second = (pb.AcquireRequest.FromString(data) for data in proxy.requests("Acquire"))
    assert first == second
    assert first.request_id
    lock, _ = await far_client.inspect(resource)
    assert lock.holder is not None
    assert lock.holder.fencing_token == answer.grant.fencing_token


async def test_s11_without_a_request_id_the_retry_would_be_refused(
    far_client: Client, proxy: Any, resource: str
) -> None:
    """The broken variant, a retry without memory, is told HELD by its own lease."""
    proxy.fault = times(1, lose_reply)
    answer = await far_client.acquire(resource, ttl=30, request_id="")
    assert answer.outcome == "held"


async def test_s20_a_lost_reply_leaves_first_first(far_client: Client, proxy: Any, resource: str) -> None:
    """Who claimed an event and did not hear it is still told FIRST."""
    proxy.fault = times(1, lose_reply)
    assert await far_client.first(resource)
    assert len(proxy.requests("Dedupe")) == 2


async def test_an_unavailable_service_is_asked_again_with_the_same_ids(
    far_client: Client, proxy: Any, resource: str
) -> None:
    """Three failures are followed by a fourth attempt, all with one request_id."""
    proxy.fault = times(3, away)
    assert (await far_client.acquire(resource)).outcome == "granted"
    ids = {pb.AcquireRequest.FromString(data).request_id for data in proxy.requests("Acquire")}
    assert len(proxy.requests("Acquire")) == 4
    assert len(ids) == 1


async def test_retries_end(far_client: Client, proxy: Any, resource: str) -> None:
    """A service that stays away is given up after retry_for."""
    proxy.fault = times(10_000, away)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await far_client.acquire(resource)
    assert 0.5 < time.monotonic() - began < 2.5
    assert len(proxy.requests("Acquire")) < 20


async def test_retry_info_is_honoured(far_client: Client, proxy: Any, resource: str) -> None:
    """A draining replica that names 300 ms is not asked sooner."""
    proxy.fault = times(1, drain)
    began = time.monotonic()
    assert (await far_client.acquire(resource)).outcome == "granted"
    assert time.monotonic() - began >= 0.3


async def test_a_repeated_wait_is_cut_to_what_is_left(
    far_client: Client, client: Client, proxy: Any, resource: str
) -> None:
    """The second attempt of a waiting call waits only for the rest of its time."""
    async with client.lock(resource):

        async def break_off(context: Any, _: PassOn) -> bytes:
            await asyncio.sleep(0.5)
            return await away(context, _)

        proxy.fault = times(1, break_off)
        began = time.monotonic()
        assert (await far_client.acquire(resource, wait=1.0)).outcome == "held"
        assert 0.9 < time.monotonic() - began < 1.4
        waits = [
            pb.AcquireRequest.FromString(data).wait_timeout.ToMilliseconds() for data in proxy.requests("Acquire")
        ]
        assert waits[0] == 1000
        assert waits[1] < 520


async def test_other_codes_are_not_repeated(far_client: Client, proxy: Any, resource: str) -> None:
    """RESOURCE_EXHAUSTED goes to the caller at once."""

    async def full(context: Any, _: PassOn) -> bytes:
        return bytes(await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full"))

    proxy.fault = times(10, full)
    with pytest.raises(ServiceError, match="RESOURCE_EXHAUSTED: full"):
        await far_client.acquire(resource)
    assert len(proxy.seen) == 1


async def test_renewals_outlive_a_short_absence(far_client: Client, proxy: Any, resource: str) -> None:
    """Renewals that fail for half a ttl are repeated, and the lease is kept."""
    async with far_client.lock(resource, ttl=1.2) as lease:
        gone_until = time.monotonic() + 0.9

        async def fault(_: str, context: Any, pass_on: PassOn) -> bytes:
            return await (away(context, pass_on) if time.monotonic() < gone_until else pass_on())

        proxy.fault = fault
        await asyncio.sleep(1.8)
        lease.check()
    assert len(proxy.requests("Renew")) >= 3


async def test_a_renewal_that_is_forbidden_tells_at_once(far_client: Client, proxy: Any, resource: str) -> None:
    """What no retry can mend is told at the first renewal, with the reason."""

    async def forbid(_: str, context: Any, __: PassOn) -> bytes:
        return bytes(await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not yours"))

    began = time.monotonic()
    with pytest.raises(LeaseLost, match="not yours"):  # noqa: PT012  the block is what is lost
        async with far_client.lock(resource, ttl=1.5):
            proxy.fault = forbid
            await asyncio.sleep(10)
    assert time.monotonic() - began < 1.0


async def test_s08_a_loss_is_told_before_the_lease_can_end(frozen: Any) -> None:
    """When the service freezes, the block has ended before the lease does, counted from its last renewal."""
    ttl = 1.5
    async with Client(frozen.address) as client:
        with pytest.raises(LeaseLost):  # noqa: PT012  the block is what is lost
            async with client.lock("frozen:1", ttl=ttl) as lease:
                frozen.freeze()
                renewed_at = lease._renewal._sent_at
                await asyncio.sleep(30)
        told_at = time.monotonic()
    assert renewed_at + 0.9 * ttl < told_at < renewed_at + ttl


class CountsFromReply(Renewal):
    """Broken on purpose: believes in the lease from the moment of the answer."""

    async def _once(self, *, timeout: float, retry_for: float) -> bool:
        held = await super()._once(timeout=timeout, retry_for=retry_for)
        self._sent_at = time.monotonic()
        return held


async def _lateness(client: Client, far_client: Client, proxy: Any, resource: str) -> float:
    """Returns how many seconds after another was granted the lease its holder was told: negative is in time.

    The only renewal that comes through is answered 200 ms after it was done, within the time of one attempt.
    """
    renewals = 0

    async def fault(method: str, context: Any, pass_on: PassOn) -> bytes:
        nonlocal renewals
        if method != "Renew":
            return await pass_on()
        renewals += 1
        if renewals > 1:
            return await away(context, pass_on)
        reply = await pass_on()
        await asyncio.sleep(0.2)
        return reply

    proxy.fault = fault
    began = time.monotonic()
    with pytest.raises(LeaseLost):  # noqa: PT012  the block is what is lost
        async with far_client.lock(resource, ttl=1.8):
            waiting = asyncio.create_task(client.acquire(resource, wait=10))
            granted_at: list[float] = []
            waiting.add_done_callback(lambda _: granted_at.append(time.monotonic()))
            await asyncio.sleep(30)
    told_at = time.monotonic()
    answer = await waiting
    assert answer.outcome == "granted"
    assert told_at - began > 2.2, "the renewal that was answered late must have counted"
    return told_at - granted_at[0]


async def test_s16_a_slow_reply_does_not_stretch_the_lease(
    client: Client, far_client: Client, proxy: Any, resource: str
) -> None:
    """A holder whose renewal was answered late is told before anybody else is granted."""
    assert await _lateness(client, far_client, proxy, resource) < 0


async def test_s16_counting_from_the_reply_would_be_too_late(
    client: Client, far_client: Client, proxy: Any, monkeypatch: pytest.MonkeyPatch, resource: str
) -> None:
    """The same check catches a client that counts from the reply."""
    monkeypatch.setattr("lockservice_client.lease.Renewal", CountsFromReply)
    assert await _lateness(client, far_client, proxy, resource) > 0
