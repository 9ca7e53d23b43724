"""Shards that are down, wrong, full, flushed or slow."""

import asyncio
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from harness.redis_server import RedisServer
from harness.service import Service, reason_of, until
from lockservice.limits import BUCKETS
from lockservice.shards.keys import place
from lockservice.shards.map_record import assign
from lockservice.v1 import lockservice_pb2 as pb


@pytest.fixture
def pair() -> Iterator[list[RedisServer]]:
    """Two shards that a test may break."""
    made = [RedisServer(), RedisServer()]
    yield made
    for server in made:
        server.remove()


def on_shard(index: int, count: int = 2) -> str:
    """Finds a resource that belongs to a shard."""
    assigned = assign(frozenset(f"s{number}" for number in range(1, count + 1)))
    names = (f"order:{n}" for n in range(1000))
    return next(name for name in names if assigned[place("", name).bucket] == f"s{index + 1}")


async def refused(service: Service, resource: str) -> grpc.aio.AioRpcError:
    """Acquires what must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await service.acquire(resource)
    return error.value


async def test_one_shard_down_leaves_the_others_unharmed(pair: list[RedisServer]) -> None:
    """Its keys get UNAVAILABLE within the Redis timeout; all others are served, and the replica stays ready."""
    async with Service([server.url for server in pair]) as service:
        await service.grant(on_shard(0))
        pair[0].stop()

        started = time.monotonic()
        error = await refused(service, on_shard(0))
        assert time.monotonic() - started < 0.5
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(error) in {"SHARD_UNAVAILABLE", "OUTCOME_UNKNOWN"}
        await service.grant(on_shard(1))
        assert service.server.problems() == []

        pair[0].start()
        await until(lambda: service.metric("lockservice_shard_up", shard="s1") == 1, "the shard is back")
        await service.grant(on_shard(0))


async def test_a_frozen_shard_is_unavailable_within_the_timeout(pair: list[RedisServer]) -> None:
    """A Redis that does not answer costs 250 ms, and its late answers reach nobody."""
    async with Service([server.url for server in pair]) as service:
        await service.grant(on_shard(0))
        pair[0].signal(signal.SIGSTOP)
        started = time.monotonic()
        error = await refused(service, on_shard(0))
        waited = time.monotonic() - started
        pair[0].signal(signal.SIGCONT)

        assert reason_of(error) == "OUTCOME_UNKNOWN"
        assert waited < 0.25 * 1.25 + 0.1
        await until(lambda: service.metric("lockservice_shard_up", shard="s1") == 1, "the shard is back")
        assert (await service.acquire(on_shard(0), "w")).outcome == pb.ACQUIRE_OUTCOME_HELD


async def test_a_shard_may_be_down_at_the_start(pair: list[RedisServer]) -> None:
    """The service starts, serves the others, and takes the shard in when it comes."""
    pair[0].stop()
    async with Service([server.url for server in pair]) as service:
        await service.grant(on_shard(1))
        assert reason_of(await refused(service, on_shard(0))) == "SHARD_UNAVAILABLE"
        pair[0].start()
        await until(lambda: service.metric("lockservice_shard_up", shard="s1") == 1, "the shard is there")
        await service.grant(on_shard(0))


async def test_no_shard_at_all_is_not_ready(pair: list[RedisServer]) -> None:
    """With none reachable the replica says so."""
    for server in pair:
        server.stop()
    async with Service([server.url for server in pair]) as service:
        assert len(service.server.problems()) == 2


async def test_another_shard_map_is_refused(pair: list[RedisServer]) -> None:
    """A replica with another map is not ready, serves nothing, and names both maps."""
    async with Service([server.url for server in pair]):
        pass
    async with Service([pair[0].url]) as other:
        error = await refused(other, "order:1")
        problems = other.server.problems()

    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "SHARD_MAP_MISMATCH"
    assert "[s1 s2]" in problems[0]
    assert "[s1]" in problems[0]


async def test_a_shard_that_evicts_is_not_ready(pair: list[RedisServer]) -> None:
    """An eviction policy would delete live leases: the replica says so until it is noeviction again."""
    async with Service([server.url for server in pair]) as service:
        with pair[0].connect() as connection:
            connection.config_set("maxmemory-policy", "allkeys-lru")
        await until(service.server.problems, "not ready")
        assert "maxmemory-policy is allkeys-lru" in service.server.problems()[0]
        assert reason_of(await refused(service, on_shard(0))) == "SHARD_UNAVAILABLE"

        with pair[0].connect() as connection:
            connection.config_set("maxmemory-policy", "noeviction")
        await until(lambda: not service.server.problems(), "ready again")
        await service.grant(on_shard(0))


async def test_out_of_memory_refuses_new_leases_only(pair: list[RedisServer]) -> None:
    """Acquire and Dedupe get RESOURCE_EXHAUSTED; renew, release, hand-off, RenewClaim and settle go on."""
    resource = on_shard(0)
    key = resource
    async with Service([server.url for server in pair]) as service:
        lease = await service.grant(resource)
        waiter = service.waiting(resource, "next")
        await service.queued(1, resource)
        claim = await service.dedupe(key, claim_ttl=60)
        with pair[0].connect() as connection:
            connection.config_set("maxmemory", "1mb")

        for call in (service.acquire(resource, "third"), service.dedupe(key, claim_ttl=60)):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(error.value) == "SHARD_OUT_OF_MEMORY"
        assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED
        renewed = await service.locks.RenewClaim(pb.RenewClaimRequest(key=key, claim_id=claim.claim_id))
        assert renewed.outcome == pb.RENEW_OUTCOME_RENEWED
        assert await service.settle(key, claim.claim_id, result=b"r") == pb.SETTLE_OUTCOME_SETTLED
        assert await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED

        # Before there is memory again: it has to ask for what it was handed.
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await waiter
        assert reason_of(error.value) == "SHARD_OUT_OF_MEMORY"
        with pair[0].connect() as connection:
            connection.config_set("maxmemory", "0")
        await service.grant(resource, "third", wait=5)


async def test_script_flush_is_invisible(pair: list[RedisServer]) -> None:
    """Scripts that Redis forgot are sent again."""
    async with Service([server.url for server in pair]) as service:
        lease = await service.grant(on_shard(0))
        with pair[0].connect() as connection:
            connection.script_flush()

        assert await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED
        await service.grant(on_shard(0))


async def test_a_busy_shard_is_unavailable(pair: list[RedisServer]) -> None:
    """While a foreign script blocks Redis its keys are unavailable, and afterwards they are served again."""
    async with Service([server.url for server in pair]) as service:
        await service.grant(on_shard(0))

        def block() -> None:
            with pair[0].connect() as connection:
                connection.eval("local t=redis.call('TIME')[1] repeat until redis.call('TIME')[1]-t>=2", 0)

        blocked = asyncio.create_task(asyncio.to_thread(block))
        await until(lambda: service.metric("lockservice_shard_up", shard="s1") == 0, "the shard is noticed")
        assert (await refused(service, on_shard(0))).code() is grpc.StatusCode.UNAVAILABLE
        await blocked
        await until(lambda: service.metric("lockservice_shard_up", shard="s1") == 1, "the shard is back")


async def test_a_cancelled_call_never_leaves_its_reply_to_the_next(pair: list[RedisServer]) -> None:
    """2,000 calls, half of them cancelled on the way: every answer belongs to its own question."""
    async with Service([server.url for server in pair]) as service:
        replica = service.server._replica
        assert replica is not None
        pipeline = replica.shard_map.shards[0].topology.by_bucket[0]._pipeline
        assert pipeline is not None
        for _ in range(20):
            calls = [pipeline.call("ECHO", f"{n}") for n in range(100)]
            for n in range(0, 100, 2):
                calls[n].cancel()
            answers = await asyncio.gather(*calls[1::2])
            assert answers == [f"{n}".encode() for n in range(1, 100, 2)]


async def test_too_few_replicas_is_unavailable(pair: list[RedisServer]) -> None:
    """A Redis that refuses writes for want of replicas (NOREPLICAS) is UNAVAILABLE until it takes them again."""
    async with Service([server.url for server in pair]) as service:
        lease = await service.grant(on_shard(0))
        with pair[0].connect() as connection:
            connection.config_set("min-replicas-to-write", "1")
            assert reason_of(await refused(service, on_shard(0))) == "SHARD_UNAVAILABLE"
            connection.config_set("min-replicas-to-write", "0")
        assert await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED


async def test_a_full_disk_is_unavailable(tmp_path: Path) -> None:
    """A Redis that cannot write its log (MISCONF) refuses every write: UNAVAILABLE, and it recovers by itself."""
    mounted = await asyncio.to_thread(
        subprocess.run, ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    server = RedisServer("valkey", directory=tmp_path, appendonly="yes", appendfsync="everysec")
    try:
        async with Service([server.url]) as service:
            lease = await service.grant(ttl=60)
            filler = tmp_path / "filler"
            with pytest.raises(OSError, match="No space left"):
                filler.write_bytes(b"x" * 2**21)

            async def unavailable() -> bool:
                try:
                    await service.release(await service.grant("order:2"))
                except grpc.aio.AioRpcError as error:
                    return bool(error.code() is grpc.StatusCode.UNAVAILABLE)
                return False

            await until(unavailable, "writes are refused", within=10)
            filler.unlink()

            async def released() -> bool:
                try:
                    return bool(await service.release(lease) == pb.RELEASE_OUTCOME_RELEASED)
                except grpc.aio.AioRpcError:
                    return False

            await until(released, "writes are taken again", within=10)
    finally:
        server.stop()
        await asyncio.to_thread(subprocess.run, ["umount", tmp_path], check=True)
        server.remove()


@pytest.mark.parametrize("count", range(1, 12))
def test_a_new_shard_takes_its_share_and_hardly_more(count: int) -> None:
    """Buckets are shared out evenly, and of those that move nearly all move to the new shard."""
    before = assign(frozenset(f"s{n}" for n in range(count)))
    after = assign(frozenset(f"s{n}" for n in range(count + 1)))

    shares = Counter(after).values()
    moved = [new for old, new in zip(before, after, strict=True) if new != old]
    assert max(shares) == -(-BUCKETS // (count + 1))
    assert min(shares) > BUCKETS // (count + 1) - 5
    assert moved.count(f"s{count}") == Counter(after)[f"s{count}"]
    assert len(moved) < 1.5 * BUCKETS / (count + 1)
