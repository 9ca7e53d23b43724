"""Fixtures: shards, one or two replicas on them, and what must be true after every test."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator

import pytest

from harness.redis_server import KINDS, RedisServer
from harness.service import Service

# The only keys that stay for ever: a few for each bucket, and the shard map.
PERMANENT = re.compile(r"ls:\{b\d+\}:(map|token|incarnation|ticket|leases|holds|claims)")


@pytest.fixture(scope="session", params=["valkey", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which Redis the shards are: Valkey 9, which is embedded, and Debian's Redis 7.0."""
    if KINDS[request.param] is None and os.environ.get("CI") != "true":
        pytest.skip("no redis-server on this machine")
    return str(request.param)


@pytest.fixture(scope="session")
def servers(kind: str) -> Iterator[list[RedisServer]]:
    """Two Redis servers for the session."""
    made = [RedisServer(kind), RedisServer(kind)]
    yield made
    for server in made:
        server.remove()


@pytest.fixture
def shards(servers: list[RedisServer]) -> Iterator[list[str]]:
    """Two empty shards; afterwards every key in them must have a ttl or be meant to stay."""
    for server in servers:
        with server.connect() as connection:
            connection.flushall()
    yield [server.url for server in servers]
    leaked: list[str] = []
    for server in servers:
        with server.connect() as connection:
            keys = [key for key in connection.scan_iter(count=1000) if not PERMANENT.fullmatch(key)]
            leaked += [key for key in keys if connection.ttl(key) == -1]
    assert not leaked, f"keys without a ttl: {leaked}"


@pytest.fixture
async def service(shards: list[str]) -> AsyncIterator[Service]:
    """A replica on two shards; afterwards no task of it is left."""
    before = asyncio.all_tasks()
    async with Service(shards) as running:
        yield running
    left = [task for task in asyncio.all_tasks() - before if "lockservice" in str(task.get_coro())]
    assert not left, left


@pytest.fixture
async def other(shards: list[str]) -> AsyncIterator[Service]:
    """A second replica on the same shards."""
    async with Service(shards) as running:
        yield running
