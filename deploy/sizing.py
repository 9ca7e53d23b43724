"""Measures what lockservice takes of a Redis, and works out what a number of orders a day asks for.

Run from a checkout after `make setup`: `.venv/bin/python deploy/sizing.py` (half a minute), or with `--recorded` for
the table of sizing.md, without measuring.
"""

# ruff: noqa: INP001  a script, no package

import asyncio
import math
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from redis.asyncio import Redis

from lockservice_client import Client

_MIB: Final = 2**20
_DAY_S: Final = 86_400
_COUNT: Final = 20_000
_AT_ONCE: Final = 500
# What an order does: so many events, each an Acquire with event_id and version, and a Release; held for so long.
EVENTS: Final = 4
CALLS: Final = 2
HELD_S: Final = 0.5
# The busiest second of the day against the mean one.
PEAK: Final = 10
# Of maxmemory, so that a day that is busier than thought fits too.
FILL: Final = 0.7
# What one core of a replica is given to do, half of what it does with a gRPC call for each call; and one Redis.
CORE_CALLS_S: Final = 1_400
SHARD_CALLS_S: Final = 5_000
SHARD_MIB: Final = (512, 8_192)
ORDERS: Final = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


class Bytes(NamedTuple):
    """Bytes of Redis for one of each.

    Attributes:
        lease: that is held.
        event: that was completed under a lease, and is remembered.
        key: that was claimed by Dedupe, and is remembered.
        version: a resource that nobody holds, whose completed version is remembered.
    """

    lease: int
    event: int
    key: int
    version: int


# Measured by this program on Valkey 9.1 and Redis 7.0, the largest of a few runs, rounded up.
RECORDED: Final = Bytes(lease=400, event=200, key=280, version=245)


class Need(NamedTuple):
    """What a number of orders a day asks for; shards by how many MiB each has."""

    orders: int
    calls_s: int
    memory_mib: int
    shards: tuple[int, ...]
    replicas: int


def need(orders: int, cost: Bytes) -> Need:
    """Works out what a number of orders a day asks for, with events and versions remembered for 24 h."""
    calls_s = orders * EVENTS * CALLS / _DAY_S * PEAK
    leases = orders * EVENTS / _DAY_S * PEAK * HELD_S
    memory = orders * (EVENTS * cost.event + cost.version) + leases * cost.lease
    by_calls = math.ceil(calls_s / SHARD_CALLS_S)
    shards = tuple(max(by_calls, math.ceil(memory / (mib * _MIB * FILL))) for mib in SHARD_MIB)
    # One more than the load needs, so that one may be away.
    replicas = math.ceil(calls_s / CORE_CALLS_S) + 1
    return Need(orders, round(calls_s), math.ceil(memory / _MIB), shards, replicas)


def table(cost: Bytes) -> str:
    """Writes the table of sizing.md."""
    head = "| orders a day | calls/s at the peak | memory, 24 h | shards of 512 MiB | or of 8 GiB | replica cores |"
    rows = [
        f"| {n.orders:,} | {n.calls_s:,} | {n.memory_mib:,} MiB | {n.shards[0]} | {n.shards[1]} | {n.replicas} |"
        for n in (need(orders, cost) for orders in ORDERS)
    ]
    return "\n".join((head, "| --- | --- | --- | --- | --- | --- |", *rows))


@asynccontextmanager
async def _service() -> AsyncIterator[tuple[Client, Redis]]:
    """Starts the service on one embedded Redis."""
    program = str(Path(sys.executable).parent / "lockservice")
    ports = ("--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--embedded-shards", "1")
    with tempfile.TemporaryDirectory(prefix="ls-") as directory:
        words = (program, "serve", *ports, "--data-dir", directory, "--log-format", "text")
        process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            while "ready grpc=" not in (line := (await process.stderr.readline()).decode()):
                if not line:
                    raise SystemExit("the service does not start")
            address = line.split("grpc=")[1].split()[0]
            async with Client(address) as client, Redis(unix_socket_path=f"{directory}/s1.sock") as redis:
                yield client, redis
        finally:
            process.terminate()
            await process.communicate()


async def _cost(redis: Redis, count: int, make: Callable[[int], Awaitable[None]]) -> int:
    """Returns the bytes that one of so many takes."""
    before = await _used(redis)
    for start in range(0, count, _AT_ONCE):
        await asyncio.gather(*(make(number) for number in range(start, min(start + _AT_ONCE, count))))
    return round((await _used(redis) - before) / count)


async def _used(redis: Redis) -> int:
    """Returns what it holds, without what passes through it, and what is remembered for two minutes at most."""
    passing = [key async for key in redis.scan_iter("*:released:*", count=1_000)]
    if passing:
        await redis.delete(*passing)
    memory = await redis.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_aof_buffer"]) - int(memory["mem_clients_normal"])


async def measure(count: int) -> tuple[str, Bytes]:
    """Returns the Redis that was measured and what it takes; names of 16, event keys of 40 characters."""
    async with _service() as (client, redis):
        told = await redis.info("server")
        kind = f"valkey {told['valkey_version']}" if "valkey_version" in told else f"redis {told['redis_version']}"

        async def lease(number: int) -> None:
            await client.acquire(f"order:{number:010}", ttl=3_600)

        async def event(number: int) -> None:
            async with client.lock(f"order:{number % _AT_ONCE:010}", event_id=f"shopify:{number:032}"):
                pass

        async def key(number: int) -> None:
            await client.dedupe(f"shopify:{number:032}")

        async def version(number: int) -> None:
            grant = (await client.acquire(f"cart:{number:011}", version=number)).grant
            assert grant is not None
            await client.release(grant.resource, grant.lease_id)

        costs = [await _cost(redis, count, make) for make in (event, lease, key, version)]
        return kind, Bytes(lease=costs[1], event=costs[0], key=costs[2], version=costs[3])


def main() -> None:
    """Prints what was measured, and the table for it."""
    cost = RECORDED
    if "--recorded" not in sys.argv:
        kind, cost = asyncio.run(measure(_COUNT))
        words = (f"{name} {size}" for name, size in cost._asdict().items())
        print(f"{kind}, bytes of one: {', '.join(words)}")  # noqa: T201  it is a command
    print(table(cost))  # noqa: T201  it is a command


if __name__ == "__main__":
    main()
