"""What an answer is worth: on the primary, on replicas, on the disk; and who may follow a holder after a failover."""

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from harness.groups import SentinelGroup
from harness.redis_server import RedisServer
from harness.service import Service, reason_of, refused, until
from lockservice.guarantee import Guarantees
from lockservice.v1 import lockservice_pb2 as pb

REPLICATED = Guarantees({"": "replicas=1"}, {})
ON_DISK = Guarantees({"": "fsync"}, {})
EXCLUSIVE = Guarantees({}, {"": "exclusive"})


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    """A primary, two replicas, three Sentinels."""
    with SentinelGroup() as made:
        yield made


@pytest.fixture
def server(kind: str) -> Iterator[RedisServer]:
    """A Redis that writes its log."""
    made = RedisServer(kind, appendonly="yes", appendfsync="everysec")
    yield made
    made.remove()


async def lost_over_a_failover(group: SentinelGroup, guarantees: Guarantees) -> tuple[int, int]:
    """Takes leases while replicas are cut off, then loses the primary; returns how many were granted and lost."""
    async with Service([group.url], guarantees=guarantees) as service:
        leases = [await service.grant(f"before:{n}", ttl=60) for n in range(20)]
        with group.primary.connect() as connection:
            connection.config_set("requirepass", "unknown to the replicas")
            connection.execute_command("CLIENT", "KILL", "TYPE", "replica")
        for n in range(20):
            try:
                leases.append(await service.grant(f"after:{n}", ttl=60))
            except grpc.aio.AioRpcError as error:
                assert reason_of(error) in {"OUTCOME_UNKNOWN", "SHARD_UNAVAILABLE"}  # noqa: PT017  some are granted
        group.primary.stop()
        await until(lambda: group.current() is not group.primary, "there is another primary", within=20)

        async def kept(lease: Any) -> bool:
            while True:
                try:
                    return bool(await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)

        still = [await kept(lease) for lease in leases]
    return len(leases), still.count(False)


async def test_replicas_lose_no_answered_grant(group: SentinelGroup) -> None:
    """With replicas=1 what was granted is still held after the primary is lost."""
    granted, lost = await lost_over_a_failover(group, REPLICATED)

    assert granted >= 20
    assert lost == 0


async def test_a_primary_alone_may_lose_them(group: SentinelGroup) -> None:
    """The weaker level that this check catches: what only the primary had is gone."""
    granted, lost = await lost_over_a_failover(group, Guarantees({}, {}))

    assert granted == 40
    assert lost == 20


async def test_a_short_confirmation_is_an_unknown_outcome(group: SentinelGroup) -> None:
    """A replica that does not answer in time costs OUTCOME_UNKNOWN, and the same request_id gives the same lease."""
    async with Service([group.url], guarantees=REPLICATED) as service:
        await service.grant("first", ttl=60)
        for replica in group.replicas:
            replica.signal(signal.SIGSTOP)
        started = time.monotonic()
        error = await refused(service.acquire("second", "w", request_id="r", ttl=60))
        took = time.monotonic() - started
        for replica in group.replicas:
            replica.signal(signal.SIGCONT)
        lease = await service.grant("second", "w", request_id="r", ttl=60)

    assert reason_of(error) == "OUTCOME_UNKNOWN"
    assert "fewer than 1 replicas have it" in (error.details() or "")
    assert took < 0.5
    assert lease.fencing_token


async def test_too_few_replicas_are_refused_before_anything_is_done(server: RedisServer) -> None:
    """A primary without replicas is not usable with replicas=1, and says why."""
    async with Service([server.url], guarantees=REPLICATED) as service:

        async def described() -> Any:
            (shard,) = (await service.admin.DescribeShards(pb.DescribeShardsRequest())).shards
            return shard

        async def says_why() -> bool:
            return "it has 0 replicas, and answers must be on 1" in (await described()).problem

        error = await refused(service.acquire())
        # A machine that is busy may not have connected in time at first.
        await until(says_why, "it says why")
        assert (await described()).guarantee.durability == "replicas=1"

    assert reason_of(error) == "SHARD_UNAVAILABLE"


async def test_on_the_disk(server: RedisServer, kind: str) -> None:
    """With fsync an answer is on the disk: Redis says so itself, or flushes before it answers."""
    # A disk that others use may take longer than the 150 ms of the default timeout that are for confirming.
    async with Service([server.url], guarantees=ON_DISK, redis_timeout_ms=2_000) as service:
        if kind == "redis":
            (shard,) = (await service.admin.DescribeShards(pb.DescribeShardsRequest())).shards
            assert "set appendfsync always" in shard.problem
            with server.connect() as connection:
                connection.config_set("appendfsync", "always")
            await until(lambda: not service.server.problems(), "it is usable")
            await service.grant()
            return
        await service.grant()
        with server.connect() as connection:
            assert connection.info("commandstats")["cmdstat_waitaof"]["calls"] >= 1
            connection.config_set("appendfsync", "no")
        error = await refused(service.acquire("order:2"))

    assert reason_of(error) == "OUTCOME_UNKNOWN"
    assert "it is not on the disk" in (error.details() or "")


async def test_no_log_is_no_disk(shards: list[str]) -> None:
    """A Redis without appendonly is not usable with fsync."""
    async with Service(shards, guarantees=ON_DISK) as service:
        assert "appendonly is no" in service.server.problems()[0]


async def test_an_exclusive_shard_holds_off_after_a_change(server: RedisServer) -> None:
    """After a restart holders renew and nobody new is granted anything until the longest ttl has passed."""
    async with Service([server.url], guarantees=EXCLUSIVE, hold_off_ms=3_000) as service:
        assert reason_of(await refused(service.acquire("first", ttl=1))) == "HOLD_OFF"
        lease = await granted_after(service, "held", ttl=3)
        server.stop()
        server.start()
        changed = time.monotonic()
        await until(lambda: service.metric("lockservice_shard_incarnations_total", shard="s1") == 2, "it is back")
        assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED
        waiter = service.waiting("held", "next", wait=20, ttl=1)
        await service.queued(1, "held")
        error = await refused(service.acquire("other", ttl=1))
        dedupe = await refused(service.dedupe("event", claim_ttl=1))
        held = await service.acquire("held", "third", ttl=1)
        await service.release(lease)
        await granted_after(service, "other", ttl=1)
        waited = time.monotonic() - changed
        granted = await waiter

    assert reason_of(error) == reason_of(dedupe) == "HOLD_OFF"
    assert 0 < retry_s(error) <= 3
    assert held.outcome == pb.ACQUIRE_OUTCOME_HELD
    assert 2.5 < waited < 4
    assert granted.lease.fencing_token > lease.fencing_token


async def test_a_fenced_shard_goes_on_at_once(server: RedisServer) -> None:
    """The other choice, which would break exclusion: a new grant right after a change."""
    async with Service([server.url]) as service:
        await service.grant()
        server.stop()
        server.start()
        await until(lambda: service.metric("lockservice_shard_incarnations_total", shard="s1") == 2, "it is back")
        await service.grant("other")


async def test_a_ttl_longer_than_the_hold_off_is_refused(server: RedisServer) -> None:
    """An exclusive shard could not wait for such a lease."""
    async with Service([server.url], guarantees=EXCLUSIVE, hold_off_ms=1_000) as service:
        for call in (service.acquire(ttl=2), service.dedupe("event", claim_ttl=2)):
            error = await refused(call)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "at most 1s on shard s1, which is exclusive" in (error.details() or "")
        lease = await granted_after(service, "order:1", ttl=1)
        with pytest.raises(grpc.aio.AioRpcError, match="at most 1s"):
            await service.renew(lease, ttl=2)


async def test_operators_see_what_a_grant_is_worth(server: RedisServer) -> None:
    """Inspect and DescribeShards name durability and exclusion."""
    levels = Guarantees({"": "primary", "s1": "fsync"}, {"s1": "exclusive"})
    async with Service([server.url], guarantees=levels) as service:
        (shard,) = (await service.admin.DescribeShards(pb.DescribeShardsRequest())).shards
        assert (shard.guarantee.durability, shard.guarantee.exclusion) == ("fsync", "exclusive")


def retry_s(error: grpc.aio.AioRpcError) -> float:
    """Reads after how long a retry makes sense."""
    status = rpc_status.from_call(error)
    assert status is not None
    info = RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.retry_delay.ToNanoseconds() / 1e9


async def granted_after(service: Service, resource: str, **how: Any) -> Any:
    """Acquires until it is granted."""
    until_s = time.monotonic() + 10
    while True:
        try:
            return await service.grant(resource, **how)
        except grpc.aio.AioRpcError as error:
            assert reason_of(error) == "HOLD_OFF", error  # noqa: PT017  it is asked again
            assert time.monotonic() < until_s
            await asyncio.sleep(retry_s(error))
