"""What DescribeShards tells operators of each Redis, and of the replica that answers."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from harness.redis_server import RedisServer
from harness.service import Service, until
from lockservice import __version__
from lockservice.shards.facts import Facts, read
from lockservice.v1 import lockservice_pb2 as pb


@pytest.fixture
def server(kind: str) -> Iterator[RedisServer]:
    """A Redis with a bound of memory and a log."""
    made = RedisServer(kind, maxmemory="100mb", appendonly="yes")
    yield made
    made.remove()


async def told(service: Service) -> Any:
    """Returns what the service says of the one Redis of its one shard."""
    (shard,) = (await service.admin.DescribeShards(pb.DescribeShardsRequest())).shards
    (found,) = shard.servers
    return found


async def test_a_redis_is_described(server: RedisServer, kind: str) -> None:
    """Version, memory, eviction and log are told, and follow what the server is set to."""
    async with Service([server.url]) as service:
        found = await told(service)
        assert (found.problem, found.version.split()[0]) == ("", kind)
        assert (found.eviction_policy, found.append_only, found.replicas) == ("noeviction", True, 0)
        assert found.memory_max_bytes == 100 * 2**20
        assert 0 < found.memory_bytes < found.memory_max_bytes
        with server.connect() as connection:
            connection.config_set("appendonly", "no")
            connection.config_set("maxmemory-policy", "volatile-lru")

        async def followed() -> bool:
            now = await told(service)
            return (now.append_only, now.eviction_policy) == (False, "volatile-lru") and "noeviction" in now.problem

        await until(followed, "another description")


async def test_the_replica_is_described(service: Service, other: Service) -> None:
    """Two replicas have a name each and the same version and map; calls are those of the replica that is asked."""
    for number in range(8):
        await service.grant(f"order:{number}")
    answers = [await asked.admin.DescribeShards(pb.DescribeShardsRequest()) for asked in (service, other)]
    assert answers[0].replica != answers[1].replica
    assert {answer.server_version for answer in answers} == {__version__}
    assert answers[0].map_epoch == answers[1].map_epoch == 1
    assert abs((answers[0].time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) < 5
    assert [sum(shard.calls for shard in answer.shards) for answer in answers] == [8, 0]


async def test_how_long_a_lease_is_held_is_shown(service: Service) -> None:
    """From the grant on, over renewals, and not for a resource that nobody holds."""
    lease = await service.grant(ttl=5)

    async def held() -> float:
        return float((await service.inspect()).lock.held.ToNanoseconds() / 1e9)

    await until(lambda: _above(held, 0.2), "held for 200 ms")
    await service.renew(lease)
    assert 0.2 <= await held() < 5
    await service.release(lease)
    assert not (await service.inspect()).lock.HasField("held")


async def _above(held: Any, seconds: float) -> bool:
    return bool(await held() >= seconds)


def test_trouble_with_the_disk_is_read_from_info() -> None:
    """Each of the three things that Redis reports gives words; none of them gives none."""
    assert read({"redis_version": "7.0.15"}) == Facts("redis 7.0.15", "noeviction")
    assert read({"aof_last_write_status": "ok", "rdb_last_bgsave_status": "ok"}).persistence_problem == ""
    for field in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        assert read({field: "err"}).persistence_problem
