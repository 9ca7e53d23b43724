"""redis.conf and acl.conf on real servers of both kinds, under the real service."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import redis

from harness.manifests import DEPLOY, compose, pod_of, servers
from harness.redis_server import KINDS, RedisServer
from harness.service import Service, until
from lockservice.shards.script import MAP_NAMES, NAMES, load
from lockservice.v1 import lockservice_pb2 as pb

PASSWORD = "CHANGE-THIS-PASSWORD"
Start = Callable[..., RedisServer]


@pytest.fixture(params=["valkey", "redis"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts servers with redis.conf as it is, but for the directory; with acl: with the last line at work too."""
    if KINDS[request.param] is None:
        assert os.environ.get("CI") != "true", "CI needs redis-server"
        pytest.skip("redis-server is not installed")
    started: list[RedisServer] = []

    def start_one(*, acl: bool = False, denied: str = "") -> RedisServer:
        (tmp_path / "data").mkdir(exist_ok=True)
        shipped = (DEPLOY / "redis/redis.conf").read_text()
        text = shipped.replace("\ndir /data\n", f"\ndir {tmp_path}/data\n")
        assert text != shipped
        if acl:
            text = text.replace("# include /etc/redis/acl.conf", f"include {tmp_path}/acl.conf")
            users = (DEPLOY / "redis/acl.conf").read_text().replace(f" +{denied} " if denied else "\0", " ")
            (tmp_path / "acl.conf").write_text(users)
        (tmp_path / "redis.conf").write_text(text)
        started.append(RedisServer(request.param, include=str(tmp_path / "redis.conf")))
        return started[-1]

    yield start_one
    for server in started:
        server.remove()


def url_of(server: RedisServer, user: str = "lockservice", password: str = PASSWORD) -> str:
    """Returns the URL of a server with a user of acl.conf."""
    return f"unix://{user}:{password}@{server.socket}"


async def use_everything(service: Service) -> None:
    """Makes every kind of call, with a hand-off, an expiry, a retry and a claim among them."""
    lease = await service.grant(ttl=5, version=1, event_id="e1")
    waiting = service.waiting(owner="other", request_id="r1")
    await service.queued(1)
    assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED
    assert await service.release(lease, retry=True, hold=0.2) == pb.RELEASE_OUTCOME_RELEASED
    assert (await waiting).outcome == pb.ACQUIRE_OUTCOME_GRANTED
    early = service.waiting("order:1002", after_version=1)
    await service.queued(1, "order:1002")
    early.cancel()
    await service.queued(0, "order:1002")
    await service.grant("order:1003", ttl=0.1)
    again = await service.acquire("order:1003", "other", wait=5, version=5, event_id="e3")
    assert await service.release(again.lease) == pb.RELEASE_OUTCOME_RELEASED
    assert (await service.acquire("order:1003", version=6, event_id="e3")).outcome == pb.ACQUIRE_OUTCOME_DUPLICATE
    assert (await service.acquire("order:1003", version=4)).outcome == pb.ACQUIRE_OUTCOME_STALE
    claim = await service.dedupe("event-1", claim_ttl=5)
    assert claim.outcome == pb.DEDUPE_OUTCOME_FIRST
    await service.locks.RenewClaim(pb.RenewClaimRequest(key="event-1", claim_id=claim.claim_id))
    assert await service.settle("event-1", claim.claim_id) == pb.SETTLE_OUTCOME_SETTLED
    await service.dedupe("event-2")
    forced = await service.grant("order:1004")
    assert [lock async for lock in service.admin.ListLocks(pb.ListLocksRequest())]
    order = pb.ForceReleaseRequest(resource="order:1004", fencing_token=forced.fencing_token)
    await service.admin.ForceRelease(order)
    described = await service.admin.DescribeShards(pb.DescribeShardsRequest())
    assert all(server.version and server.memory_bytes for shard in described.shards for server in shard.servers)


async def test_redis_conf_makes_a_shard(start: Start) -> None:
    """Both kinds of server take the file, and the service uses them for everything."""
    server = start()
    with server.connect() as connection:
        wanted = {
            "maxmemory-policy": "noeviction",
            "maxmemory": str(512 << 20),
            "appendfsync": "everysec",
            "save": "",
        }
        for name, value in wanted.items():
            assert connection.config_get(name)[name] == value
    async with Service([server.url]) as service:
        await use_everything(service)
        assert service.server.problems() == []


async def test_leases_outlive_the_server(start: Start) -> None:
    """A server with this file that is killed and started again still knows its leases and events."""
    server = start()
    async with Service([server.url]) as service:
        lease = await service.grant(ttl=60)
        await service.dedupe("event")
        server.signal(signal.SIGKILL)
        server.stop()
        server.start()

        async def renewed() -> bool:
            try:
                return bool(await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED)
            except grpc.aio.AioRpcError:
                return False

        await until(renewed, "the lease is renewed")
        assert (await service.dedupe("event")).outcome == pb.DEDUPE_OUTCOME_DUPLICATE


async def test_the_acl_lets_the_service_do_everything(start: Start) -> None:
    """With the user of acl.conf each call works, and no call is refused."""
    async with Service([url_of(start(acl=True))]) as service:
        await use_everything(service)
        assert service.server.problems() == []


def test_the_acl_names_each_command_of_the_scripts() -> None:
    """No script calls a command that the user lacks, however rarely, and no other data command is allowed."""
    own = {"ping", "info", "client|setname", "subscribe", "script|load", "eval", "evalsha", "wait", "cluster|slots"}
    # The shard map is read outside of scripts, and so is the clock.
    assert granted("lockservice") == own | called_by((*NAMES, "map")) | {"get", "time"}
    moving = {"client|tracking", "dump", "pexpiretime", "scan", "unlink"}
    assert granted("reshard") == granted("lockservice") | called_by(MAP_NAMES) | moving


def called_by(names: tuple[str, ...]) -> set[str]:
    """Finds the commands in scripts, with the parts that they share."""
    return {word.lower() for name in names for word in re.findall(r"redis\.p?call\('(\w+)'", load(name).text)}


def granted(user: str) -> set[str]:
    """Reads the commands that a user of acl.conf may use."""
    (line,) = re.findall(rf"^user {user} (.*)$", (DEPLOY / "redis/acl.conf").read_text(), re.MULTILINE)
    return {word.removeprefix("+") for word in line.split() if word.startswith("+")}


@pytest.mark.parametrize("denied", ["evalsha", "info", "zadd"])
async def test_an_acl_that_lacks_a_command_is_noticed(start: Start, denied: str) -> None:
    """Without a command that it needs, the service cannot do everything."""
    server = start(acl=True, denied=denied)
    with redis.Redis.from_url(url_of(server, "operator", f"{PASSWORD}-TOO"), decode_responses=True) as connection:
        assert f"+{denied} " not in str(connection.acl_getuser("lockservice")["commands"]) + " "
    async with Service([url_of(server)]) as service:
        with pytest.raises((grpc.aio.AioRpcError, AssertionError)):
            await use_everything(service)


def test_the_acl_lets_it_do_nothing_else(start: Start) -> None:
    """It reaches no foreign key or channel and no command that harms; without a password there is only PING."""
    server = start(acl=True)
    refused = [
        "GET foreign",
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET maxmemory",
        "PUBLISH foreign x",
        "ACL LIST",
        "DEBUG SLEEP 0",
    ]
    with redis.Redis.from_url(url_of(server)) as service:
        for command in refused:
            with pytest.raises(redis.exceptions.NoPermissionError):
                service.execute_command(*command.split())
        with pytest.raises(redis.exceptions.ResponseError, match=r"access a(t least one of the)? key"):
            service.eval("return redis.call('GET', 'foreign')", 0)
        service.get("ls:{b0}:map")
    with server.connect() as anybody:
        assert anybody.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            anybody.get("ls:{b0}:map")
    guess = redis.Redis.from_url(url_of(server, password="guessed"))
    with guess, pytest.raises(redis.exceptions.AuthenticationError):
        guess.ping()


def test_a_shard_has_twice_its_bound_of_memory() -> None:
    """The containers leave room for the copy that rewriting the log makes, as redis.conf asks."""
    (megabytes,) = re.findall(r"^maxmemory (\d+)mb$", (DEPLOY / "redis/redis.conf").read_text(), re.MULTILINE)
    assert int(megabytes) * 2 == 1024
    for shard in servers("shard").values():
        (container,) = pod_of(shard)["containers"]
        assert container["resources"]["limits"]["memory"] == "1Gi"
    shards = [of for name, of in compose()["services"].items() if name.startswith("redis")]
    assert [of["mem_limit"] for of in shards] == ["1g"] * 3
