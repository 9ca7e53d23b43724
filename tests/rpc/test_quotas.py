"""Limits of a namespace: refused with RESOURCE_EXHAUSTED and when to try again, and never to the cost of another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from harness.service import Service, reason_of, refused, until
from harness.stream import Stream, acquire, reason, release
from harness.tenant import AuthFile, Caller
from lockservice import census
from lockservice.credentials import Credentials
from lockservice.errors import QuotaExceeded
from lockservice.quotas import Quotas, Rate, slot
from lockservice.v1 import lockservice_pb2 as pb


@pytest.fixture(autouse=True)
def _quick_census(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is asked a dozen times as often as in use, so that tests need not wait for it."""
    monkeypatch.setattr(census, "_SLICE_S", 0.025)
    monkeypatch.setattr(census, "LEDGER_MS", 100)


@asynccontextmanager
async def limited(
    shards: list[str], directory: Path, **limits: int
) -> AsyncIterator[tuple[Caller, Caller, AuthFile]]:
    """A service on which the namespace shop is limited and the namespace bank is not, and a caller of each."""
    auth = AuthFile(directory)
    auth.add("shop", "shop")
    auth.add("bank", "bank")
    auth.limit("shop", **limits)
    async with (
        Service(shards, auth_file=auth.path) as running,
        Caller(running.server, auth.tokens["shop"]) as shop,
        Caller(running.server, auth.tokens["bank"]) as bank,
    ):
        yield shop, bank, auth


def _is_quota(error: grpc.aio.AioRpcError, word: str) -> bool:
    """Says whether it is a refusal of a quota, which names it and says when to try again."""
    status = rpc_status.from_call(error)
    assert status is not None
    assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details), error
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return reason_of(error) == "QUOTA_EXCEEDED" and word in str(error.details()) and "shop" in str(error.details())


async def test_leases(shards: list[str], tmp_path: Path) -> None:
    """As many leases as it may, and one more once one was released; another tenant holds what it likes."""
    async with limited(shards, tmp_path, leases=3) as (shop, bank, _):
        leases = [await shop.grant(f"order:{number}") for number in range(3)]
        assert _is_quota(await refused(shop.acquire("order:3")), "3 leases")
        assert [await shop.renew(lease) for lease in leases] == [pb.RENEW_OUTCOME_RENEWED] * 3
        for number in range(10):
            await bank.grant(f"order:{number}")
        await shop.release(leases[0])
        await shop.grant("order:3")
        assert _is_quota(await refused(shop.acquire("order:0")), "3 leases")


async def test_a_limit_of_leases_that_is_not_checked_would_be_noticed(
    shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: leases are not compared with the limit."""
    monkeypatch.setattr(Quotas, "check_leases", lambda *_: None)
    with pytest.raises(AssertionError, match="answered"):
        await test_leases(shards, tmp_path)


async def test_leases_of_all_replicas_count(shards: list[str], tmp_path: Path) -> None:
    """Leases that were granted elsewhere, before this replica started and since, are found by the census.

    So are those that ran out.
    """
    async with limited(shards, tmp_path, leases=4) as (shop, _, auth), Service(shards, auth_file=auth.path) as other:
        for number in range(2):
            await shop.grant(f"order:{number}", ttl=3)
        async with Caller(other.server, auth.tokens["shop"]) as there:
            await _held(other, 2)
            await there.grant("order:2", ttl=3)
            await there.grant("order:3", ttl=60)
            assert _is_quota(await refused(there.acquire("order:4")), "4 leases")
            await _held(shop, 4)
            assert _is_quota(await refused(shop.acquire("order:4")), "4 leases")
            await _held(shop, 1)
            await shop.grant("order:4")


async def _held(service: Any, count: int) -> None:
    """Returns once a replica has heard that the namespace shop holds so many leases; within two counts of it."""
    admission = service.server._admission
    assert admission is not None
    await until(lambda: admission.quotas.uses["shop"].held == count, f"{count} leases", within=8)


async def test_waiters(shards: list[str], tmp_path: Path) -> None:
    """As many waiting calls as it may, those for leases and those for claims together."""
    async with limited(shards, tmp_path, waiters=2) as (shop, bank, _):
        lease = await shop.grant("order:1")
        await shop.dedupe("event", claim_ttl=30)
        first = shop.waiting("order:1")
        await shop.queued(1, "order:1")
        second = asyncio.create_task(shop.dedupe("event", claim_ttl=30, wait=20))
        await until(lambda: _waiters(shop) == 2, "two waiters")
        assert _is_quota(await refused(shop.acquire("order:1", wait=5)), "2 waiting calls")
        assert _is_quota(await refused(shop.dedupe("event", claim_ttl=30, wait=5)), "2 waiting calls")
        assert (await shop.acquire("order:1")).outcome == pb.ACQUIRE_OUTCOME_HELD
        await bank.grant("order:1")
        other = bank.waiting("order:1")
        second.cancel()
        await until(lambda: _waiters(shop) == 1, "one waiter")
        await shop.release(lease)
        assert (await first).outcome == pb.ACQUIRE_OUTCOME_GRANTED
        await until(lambda: _waiters(shop) == 0, "no waiter")
        other.cancel()


def _waiters(service: Caller) -> int:
    admission = service.server._admission
    assert admission is not None
    return admission.quotas.uses["shop"].waiters


async def test_remembered_events(shards: list[str], tmp_path: Path) -> None:
    """Event keys of one phase, of two, and of leases count together; what is known stays known."""
    async with limited(shards, tmp_path, remembered_events=3) as (shop, bank, _):
        await shop.dedupe("one", request_id="r")
        await shop.dedupe("one", request_id="r")
        claim = await shop.dedupe("two", claim_ttl=1)
        lease = await shop.grant("order:1", event_id="three")
        late = await shop.grant("order:2", event_id="four")
        await shop.release(lease)
        assert _is_quota(await refused(shop.dedupe("five")), "3 remembered events")
        assert _is_quota(await refused(shop.acquire("order:3", event_id="five")), "3 remembered events")
        assert await shop.settle("two", claim.claim_id) == pb.SETTLE_OUTCOME_SETTLED
        assert await shop.release(late) == pb.RELEASE_OUTCOME_RELEASED
        await shop.grant("order:3")
        for number in range(10):
            await bank.dedupe(f"event:{number}")


async def test_remembered_events_of_all_replicas_count_until_they_are_forgotten(
    shards: list[str], tmp_path: Path
) -> None:
    """Another replica hears of them within seconds, and they stop counting when their time is over."""
    async with limited(shards, tmp_path, remembered_events=2) as (shop, _, auth):
        await shop.dedupe("one", retention=3)
        await shop.dedupe("two", retention=60)
        async with (
            Service(shards, auth_file=auth.path) as other,
            Caller(other.server, auth.tokens["shop"]) as there,
        ):
            await until(lambda: _events(there) == 2, "both to be heard of", within=10)
            assert _is_quota(await refused(there.dedupe("three")), "2 remembered events")
            await until(lambda: _events(there) == 1, "the first to be forgotten", within=10)
            assert (await there.dedupe("three")).outcome == pb.DEDUPE_OUTCOME_FIRST


def _events(service: Caller) -> int:
    admission = service.server._admission
    assert admission is not None
    return admission.quotas.uses["shop"].events


class Clock:
    """A clock that a test moves, so that all calls come in one moment, however slow the machine is."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _stopped_clock(service: Caller) -> Clock:
    admission = service.server._admission
    assert admission is not None
    clock = admission.quotas._clock = Clock()
    return clock


async def test_calls_a_second(shards: list[str], tmp_path: Path) -> None:
    """A second's worth at once, then refusals; what is held can be renewed and released meanwhile."""
    async with limited(shards, tmp_path, calls_a_second=20) as (shop, bank, _):
        clock = _stopped_clock(shop)
        lease = await shop.grant("order:0", ttl=30)
        calls = [shop.acquire(f"order:{number}") for number in range(1, 60)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert len(answers) - len(errors) == 19
        assert all(_is_quota(error, "20 calls a second") for error in errors)
        assert await shop.renew(lease) == pb.RENEW_OUTCOME_RENEWED
        assert await shop.release(lease) == pb.RELEASE_OUTCOME_RELEASED
        for number in range(60):
            await bank.grant(f"order:{number}")
        clock.now += 0.05
        await shop.grant("order:0")
        assert _is_quota(await refused(shop.acquire("order:60")), "20 calls a second")


async def test_calls_a_second_in_a_session(shards: list[str], tmp_path: Path) -> None:
    """Each operation is a call, as opening the stream is: a stream is no way around."""
    async with limited(shards, tmp_path, calls_a_second=20) as (shop, _, _auth):
        _stopped_clock(shop)
        async with Stream(shop) as stream:
            await stream.send(*[acquire(number, f"order:{number}") for number in range(100)])
            results = await stream.results(100)
            refusals = [result for result in results.values() if result.HasField("error")]
            assert len(refusals) == 81
            assert {reason(result) for result in refusals} == {"QUOTA_EXCEEDED"}
            (granted, *_) = [result.acquire.lease for result in results.values() if result.HasField("acquire")]
            await stream.send(release(200, granted))
            assert (await stream.result()).release.outcome == pb.RELEASE_OUTCOME_RELEASED


async def test_limits_that_change(shards: list[str], tmp_path: Path) -> None:
    """A limit that is raised, or taken away, counts without a restart, and what is held stays counted."""
    async with limited(shards, tmp_path, leases=1) as (shop, _, auth):
        admission = shop.server._admission
        assert admission is not None
        assert admission.credentials is not None
        await shop.grant("order:1")
        assert _is_quota(await refused(shop.acquire("order:2")), "1 leases")
        auth.limit("shop", leases=2)
        admission.credentials.look()
        await shop.grant("order:2")
        assert _is_quota(await refused(shop.acquire("order:3")), "2 leases")
        auth.limit("shop")
        admission.credentials.look()
        await shop.grant("order:3")


def test_workers_share_what_is_counted_in_each(tmp_path: Path) -> None:
    """Of 5 calls and 3 waiters, each of two workers lets in its half, rounded up."""
    auth = AuthFile(tmp_path)
    auth.add("shop", "shop")
    auth.limit("shop", calls_a_second=5, waiters=3)
    quotas = Quotas(Credentials(auth.path), sharers=2, clock=lambda: 1.0)

    def until_refused(use: Callable[[], None]) -> int:
        for count in range(100):
            try:
                use()
            except QuotaExceeded:
                return count
        return 100

    assert until_refused(lambda: quotas.call("shop", keeps=False)) == 3
    assert until_refused(lambda: quotas.call("shop", keeps=True)) == 3
    assert until_refused(lambda: quotas.enter("shop")) == 2
    assert until_refused(lambda: quotas.call("bank", keeps=False)) == 100


def test_a_rate() -> None:
    """So many at once, none more at the same moment, and then one for each part of a second."""
    rate = Rate()
    assert [rate.take(3, 10.0) for _ in range(5)] == [True, True, True, False, False]
    assert [rate.take(3, 10.34) for _ in range(2)] == [True, False]
    assert [rate.take(3, 99.0) for _ in range(4)] == [True, True, True, False]


def test_slots_are_few_and_little_too_late() -> None:
    """Events are counted out up to a sixteenth of their time too late, never too early, at few moments."""
    for remembered_s in (1, 3, 60, 86_400, 30 * 86_400):
        late = [slot(now, remembered_s) - now - remembered_s for now in range(1_700_000_000, 1_700_100_000, 77)]
        assert min(late) >= 0
        assert max(late) <= max(1, remembered_s / 16 + 1)
    assert len({slot(1_700_000_000 + second, 86_400) for second in range(86_400)}) <= 33
