"""A tenant that floods within its limits costs another next to nothing."""

import asyncio
import statistics
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.abuse import Abuse, Neighbour
from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from harness.service import Service
from harness.tenant import AuthFile, Caller
from lockservice import limits
from lockservice.rpc import admission

CALLERS = 8
LIMIT = 20
FLOOD_S = 2.0
ROUNDS = 5
ROUND_S = 3.0
# A second's worth of calls may come at once, and is over by then; a flood is what goes on.
BURST_S = 1.5
RATIO_MAX = 2.0
# Kinds of flood, and how many callers, streams or connections of each.
FLOODS = [("calls", 64), ("waits", 64), ("frames", 4), ("idle", 1_000), ("streams", 5_000), ("half_messages", 200)]


async def refusals(shards: list[str], directory: Path) -> int:
    """Counts what callers that call again at every answer are refused in a while."""
    auth = AuthFile(directory)
    auth.add("shop", "shop")
    auth.limit("shop", calls_a_second=LIMIT)
    count = 0
    async with Service(shards, auth_file=auth.path) as running, Caller(running.server, auth.tokens["shop"]) as shop:
        for _ in range(LIMIT):
            await shop.release(await shop.grant("order:1"))
        ends = asyncio.get_running_loop().time() + FLOOD_S

        async def caller(number: int) -> None:
            nonlocal count
            while asyncio.get_running_loop().time() < ends:
                try:
                    await shop.acquire(f"order:{number}")
                except Exception:  # noqa: BLE001  refused, which is counted
                    count += 1

        await asyncio.gather(*map(caller, range(CALLERS)))
    return count


MOST = CALLERS * (FLOOD_S * 1000 / limits.REFUSAL_MS_MIN + 1)


async def test_who_calls_again_at_every_answer_is_slowed(shards: list[str], tmp_path: Path) -> None:
    """A refusal is kept back for a quarter of a second at least, so that it costs no more than it must."""
    assert 0 < await refusals(shards, tmp_path) <= MOST


async def test_refusals_at_once_would_be_noticed(
    shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant."""
    monkeypatch.setattr(admission, "REFUSAL_MS_MIN", 0)
    monkeypatch.setattr(admission, "REFUSAL_MS_MAX", 0)

    assert await refusals(shards, tmp_path) > MOST


@pytest.fixture
async def tenants(tmp_path: Path) -> AsyncIterator[tuple[str, AuthFile]]:
    """A replica with a tenant that floods, within limits, and another; its address and their tokens."""
    auth = AuthFile(tmp_path)
    auth.add("flood", "flood")
    auth.add("bank", "bank")
    auth.limit("flood", calls_a_second=200, waiters=32)
    redis = RedisServer("valkey")
    async with ServiceProcess([redis.url], "--auth-file", str(auth.path), "--redis-timeout", "5s") as process:
        yield process.ready["grpc"], auth
    redis.remove()


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "count"), FLOODS)
async def test_p99_at_most_doubles(tenants: tuple[str, AuthFile], kind: str, count: int) -> None:
    """Medians of rounds in turns, with the flood and without it."""
    address, auth = tenants
    calm, flooded = [], []
    for _ in range(ROUNDS):
        calm.append(await p99(address, auth.tokens["bank"]))
        async with Abuse(kind, address, count, token=auth.tokens["flood"]):
            await asyncio.sleep(BURST_S)
            flooded.append(await p99(address, auth.tokens["bank"]))
    ratio = statistics.median(flooded) / statistics.median(calm)
    print(f"{kind}: p99 {statistics.median(calm) * 1e3:.2f} ms, flooded {statistics.median(flooded) * 1e3:.2f} ms")  # noqa: T201

    assert ratio <= RATIO_MAX


async def p99(address: str, token: str) -> float:
    """Measures for a while, in seconds."""
    async with Neighbour(address, token=token) as neighbour:
        await asyncio.sleep(ROUND_S)
    return statistics.quantiles(neighbour.latencies, n=100)[-1]
