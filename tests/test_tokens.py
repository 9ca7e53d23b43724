"""Fencing tokens: never repeated, never lower, whatever the shard loses. The broken variant repeats them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import grpc
import pytest

from harness.redis_server import RedisServer
from harness.service import Service, reason_of, until

Mint = Callable[[str], Awaitable[int]]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A shard that persists, so that it can be rolled back."""
    made = RedisServer("valkey", appendonly="yes", appendfsync="always", auto_aof_rewrite_percentage="0")
    yield made
    made.remove()


def roll_back(server: RedisServer, saved: dict[str, bytes]) -> None:
    """Brings a shard back as it was: what a crash without fsync, or a late replica, does."""
    server.stop()
    for name, content in saved.items():
        path = server.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    server.start()


def save(server: RedisServer) -> dict[str, bytes]:
    """Copies a shard's files."""
    return {
        str(path.relative_to(server.directory)): path.read_bytes()
        for path in server.directory.rglob("*")
        if path.is_file()
    }


async def mint_over_a_rollback(server: RedisServer, mint: Mint, *, back: Callable[[], Awaitable[None]]) -> list[int]:
    """Grants 100 tokens, saves, grants 200 more, rolls back, and grants 200 again."""
    tokens = [await mint("order:1001") for _ in range(100)]
    saved = save(server)
    tokens += [await mint("order:1001") for _ in range(200)]
    roll_back(server, saved)
    await back()
    return tokens + [await mint("order:1001") for _ in range(200)]


def repeated(tokens: list[int]) -> int:
    """Counts tokens that are not above every one before."""
    highest, count = 0, 0
    for token in tokens:
        count += token <= highest
        highest = max(highest, token)
    return count


async def test_tokens_rise_over_a_rollback(server: RedisServer) -> None:
    """A shard that lost acknowledged writes never grants a token again."""
    async with Service([server.url]) as service:

        async def mint(resource: str) -> int:
            lease = await service.grant(resource)
            await service.release(lease)
            return int(lease.fencing_token)

        async def back() -> None:
            async def granted() -> bool:
                try:
                    await service.release(await service.grant("order:2"))
                except grpc.aio.AioRpcError:
                    return False
                return True

            await until(granted, "the shard is back")

        tokens = await mint_over_a_rollback(server, mint, back=back)

    assert len(tokens) == 500
    assert repeated(tokens) == 0


async def test_plain_incr_repeats_tokens_over_a_rollback(server: RedisServer) -> None:
    """The broken variant that this check catches: one INCR per resource, as most lock libraries do it."""

    async def mint(resource: str) -> int:
        with server.connect() as connection:
            return int(connection.incr(f"token:{resource}"))

    async def back() -> None:
        return

    tokens = await mint_over_a_rollback(server, mint, back=back)

    assert repeated(tokens) == 200


async def test_tokens_rise_over_a_wipe(server: RedisServer) -> None:
    """Even a shard that lost everything goes on above what it granted before."""
    async with Service([server.url]) as service:
        before = await service.grant()
        with server.connect() as connection:
            connection.flushall()

        after = await service.grant()

    assert after.fencing_token > before.fencing_token


async def test_tokens_rise_at_a_replica_that_knew_nothing(server: RedisServer) -> None:
    """A new replica and an empty new Redis process need no memory: the clock is above all that was granted."""
    async with Service([server.url]) as service:
        before = await service.grant()
    server.stop()
    for path in (server.directory / "appendonlydir").iterdir():
        path.unlink()
    server.start()

    async with Service([server.url]) as service:
        after = await service.grant()

    assert after.fencing_token > before.fencing_token


async def test_a_clock_that_is_off_is_refused(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter is not seeded from a clock that disagrees with the replica's: CLOCK_UNSAFE, and nothing granted."""
    monkeypatch.setattr("lockservice.shards.shard.CLOCK_ERROR_MS_MAX", 0)
    async with Service([server.url]) as service:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.grant()

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused.value) == "CLOCK_UNSAFE"


async def test_seeding_starts_above_what_the_replica_has_seen(server: RedisServer) -> None:
    """A clock that went back together with the data is caught by the replica's own memory."""
    async with Service([server.url]) as service:
        before = await service.grant()
        replica = service.server._replica
        assert replica is not None
        far = before.fencing_token + 10**12
        seen = replica.shard_map.seen
        seen[:] = [far] * len(seen)
        with server.connect() as connection:
            connection.flushall()

        after = await service.grant()
        await asyncio.sleep(0)

    assert after.fencing_token > far
