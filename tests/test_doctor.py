"""`lockctl doctor` on real services with real faults: it names the fault, says what to do, and exits with 1."""

import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness import lockctl
from harness.clock import Clock
from harness.redis_server import RedisServer
from harness.service import Service, until
from harness.tenant import AuthFile
from lockservice import __version__
from lockservice_client.lockctl import reach, verdicts
from lockservice_client.values import Overview, RedisServer as Told, Shard
from lockservice_stand.certificates import Certificates

GOOD = {"maxmemory": "100mb", "appendonly": "yes"}


async def doctor(service: Service, *words: str, host: str = "127.0.0.1", **variables: str) -> tuple[int, Any]:
    """Runs doctor, and returns its exit code and its findings by check."""
    server = f"{host}:{service.server.grpc_addr.rpartition(':')[2]}"
    code, found = await lockctl.lines("--server", server, *words, "doctor", **variables)
    for finding in found:
        assert finding["advice"] or finding["level"] == "ok", finding
    return code, {finding["check"]: finding for finding in found}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis as the shipped settings would have it."""
    made = RedisServer(**GOOD)
    yield made
    made.remove()


@pytest.fixture
async def one(server: RedisServer) -> AsyncIterator[Service]:
    """A service on it."""
    async with Service([server.url]) as running:
        yield running


async def test_all_is_well(one: Service) -> None:
    """Every check is made and finds nothing; the exit code is 0, and nothing is left behind."""
    code, found = await doctor(one, host="localhost")
    assert code == 0
    assert {finding["level"] for finding in found.values()} == {"ok"}
    checks = ("name", "connection", "tls", "health", "credentials", "clock", "version", "shard map")
    assert set(found) == {*checks, "shard s1", "redis s1", "lease"}
    assert f"server {__version__}" in found["version"]["found"]
    assert "valkey 9" in found["redis s1"]["found"]
    code, out, _ = await lockctl.run("--server", one.server.grpc_addr, "doctor")
    assert code == 0
    assert out.splitlines()[-1] == "11 ok, 0 warnings, 0 failed"
    assert not (await one.inspect("lockctl:doctor")).lock.HasField("holder")


async def test_a_shard_that_is_down(server: RedisServer) -> None:
    """The shard fails with its address, the other one is fine."""
    other = RedisServer(**GOOD)
    async with Service([server.url, other.url]) as service:
        other.remove()
        code, found = await doctor(service, "--token", "")
        assert code == 1
        assert found["shard s1"]["level"] == "ok"
        assert found["shard s2"]["level"] == "fail"
        assert str(other.socket) in found["shard s2"]["found"]
        assert "Redis runs" in found["shard s2"]["advice"]


async def test_a_redis_that_evicts(one: Service, server: RedisServer) -> None:
    """The policy is named, and the command that mends it; running that makes all well again."""
    with server.connect() as connection:
        connection.config_set("maxmemory-policy", "volatile-lru")
        await until(lambda: _problem(one), "seen by the replica")
        code, found = await doctor(one)
        assert code == 1
        assert "volatile-lru" in found["shard s1"]["found"]
        assert "CONFIG SET maxmemory-policy noeviction" in found["shard s1"]["advice"]
        assert found["health"]["level"] == "fail"
        connection.config_set("maxmemory-policy", "noeviction")
    await until(lambda: not _problem(one), "mended")
    assert (await doctor(one))[0] == 0


def _problem(service: Service) -> list[str]:
    return service.server.problems()


async def test_a_redis_that_forgets() -> None:
    """Without a log on its disk it works, with a warning and exit code 0."""
    server = RedisServer()
    async with Service([server.url]) as service:
        code, found = await doctor(service)
    server.remove()
    assert code == 0
    assert found["redis s1"]["level"] == "warn"
    assert "appendonly yes" in found["redis s1"]["advice"]


async def test_a_clock_that_is_off() -> None:
    """A shard whose clock is off fails with how far, and what to do."""
    with Clock() as clock:
        server = RedisServer(launcher=clock.launcher, **GOOD)
        async with Service([server.url]) as service:
            clock.set_offset(7.0)
            await until(lambda: _shard(service).problem, "seen by the replica")
            code, found = await doctor(service)
        server.remove()
    assert code == 1
    assert "clock is +7." in found["shard s1"]["found"] or "clock is +6.9" in found["shard s1"]["found"]
    assert "time synchronisation" in found["shard s1"]["advice"]


def _shard(service: Service) -> Any:
    replica = service.server._replica
    assert replica is not None
    return replica.shard_map.shards[0]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Certificates of an authority."""
    return Certificates(tmp_path)


@pytest.mark.parametrize(
    ("fault", "level", "words"),
    [
        ("", "warn", "renew it"),
        ("expired", "fail", "renew it"),
        ("wrong ca", "fail", "another CA has signed it"),
        ("plaintext", "fail", "--ca"),
        ("wrong name", "fail", "call the server by a name"),
        ("no certificate", "fail", "give --cert and --key"),
    ],
)
async def test_tls(server: RedisServer, certificates: Certificates, fault: str, level: str, words: str) -> None:
    """What is wrong with TLS is told apart; a certificate with a day left is a warning."""
    cert, key = certificates.server(expired=fault == "expired")
    mutual = certificates.ca if fault == "no certificate" else None
    files = ("--ca", str(certificates.other_ca if fault == "wrong ca" else certificates.ca))
    host = "127.9.9.9" if fault == "wrong name" else "localhost"
    tls = {"grpc_addr": f"{host}:0", "tls_cert": cert, "tls_key": key, "tls_client_ca": mutual}
    async with Service([server.url], **tls) as service:
        code, found = await doctor(service, *(() if fault == "plaintext" else files), host=host)
        # Only the certificate was wrong: with the right files of this client every check comes to its end.
        if fault == "no certificate":
            files = (*files, "--cert", str(certificates.cert), "--key", str(certificates.key))
            assert "lease" in (await doctor(service, *files, host="localhost"))[1]
    assert (found["tls"]["level"], code) == (level, int(level == "fail"))
    assert words in found["tls"]["advice"]
    assert ("lease" in found) == (level == "warn")
    if fault in {"", "expired", "wrong ca", "wrong name"}:
        assert "Testing CA" in found["tls"]["found"], found["tls"]
        assert "localhost" in found["tls"]["found"]


async def test_tls_to_a_server_without(one: Service, certificates: Certificates) -> None:
    """The mismatch is explained the other way round too."""
    code, found = await doctor(one, "--ca", str(certificates.ca))
    assert code == 1
    assert "plaintext" in found["tls"]["advice"]


async def test_credentials(server: RedisServer, tmp_path: Path) -> None:
    """No token, an unknown one, one for other names, a worker's and an operator's are told apart."""
    auth = AuthFile(tmp_path)
    auth.add("all", "", roles=("worker", "operator"))
    auth.add("worker", "", roles=("worker",))
    auth.add("narrow", "", roles=("worker",), prefixes=("order:",))
    async with Service([server.url], auth_file=auth.path) as service:
        for token in ("", "x" * 43):
            code, found = await doctor(service, LOCKSERVICE_TOKEN=token)
            assert (code, found["credentials"]["level"]) == (1, "fail")
            assert "--auth-file" in found["credentials"]["advice"]
            assert "x" * 43 not in str(found)
            assert "lease" not in found
        code, found = await doctor(service, LOCKSERVICE_TOKEN=auth.tokens["narrow"])
        assert (code, found["credentials"]["level"]) == (1, "fail")
        assert "--resource" in found["credentials"]["advice"]
        code, found = await doctor(service, LOCKSERVICE_TOKEN=auth.tokens["worker"])
        assert (code, found["role"]["level"], found["lease"]["level"] != "fail") == (0, "warn", True)
        code, found = await doctor(service, LOCKSERVICE_TOKEN=auth.tokens["all"])
        assert code == 0
        assert found["shard s1"]["level"] == "ok"
        words = ("--server", service.server.grpc_addr, "doctor", "--resource", "order:probe")
        code, _ = await lockctl.lines(*words, LOCKSERVICE_TOKEN=auth.tokens["narrow"])
        assert code == 0


async def test_the_way_to_the_server() -> None:
    """No port, no such name, nobody listening: each stops the examination with its advice."""
    for server, words in (("localhost", "HOST:PORT"), ("no.such.host.invalid:1", "DNS"), ("127.0.0.1:1", "firewall")):
        code, found = await lockctl.lines("--server", server, "doctor")
        assert code == 1
        assert words in found[-1]["advice"]
        assert found[-1]["level"] == "fail"


async def test_a_proxy_is_told(one: Service) -> None:
    """GRPC goes through a proxy that the environment names, unless the host is spared."""
    variables = {"http_proxy": "http://127.0.0.1:1"}
    assert "http_proxy" in (await doctor(one, **variables))[1]["proxy"]["found"]
    assert "proxy" not in (await doctor(one, **variables, no_proxy="127.0.0.1"))[1]


def test_every_address_of_a_name_is_tried() -> None:
    """One that does not accept is a warning while another does, and a failure when none does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        addresses = [reach.Address("127.0.0.1", port), reach.Address("127.0.0.77", port)]
        accepting, findings = reach.connect(addresses)
        assert accepting == addresses[:1]
        assert [finding.level for finding in findings] == ["ok", "warn"]
    accepting, findings = reach.connect(addresses)
    assert not accepting
    assert [finding.level for finding in findings] == ["fail", "fail"]


REDIS = Told(
    address="10.0.0.1:6379",
    problem="",
    version="valkey 9.1.2",
    clock_offset=0.0,
    eviction_policy="noeviction",
    append_only=True,
    persistence_problem="",
    memory_bytes=50 << 20,
    memory_max_bytes=100 << 20,
    replicas=1,
)
SHARD = Shard(
    name="s1",
    address="10.0.0.1:6379",
    healthy=True,
    latency_p50=0.001,
    latency_p99=0.002,
    locks_held=1,
    waiters=0,
    problem="",
    durability="primary",
    exclusion="fenced",
    servers=(REDIS,),
    calls=700,
)
VIEW = Overview((SHARD,), "0.1.0", "r1", 1, datetime.now(UTC))


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({}, "ok", ""),
        ({"memory_bytes": 85 << 20}, "warn", "reshard"),
        ({"memory_bytes": 97 << 20}, "fail", "reshard"),
        ({"memory_max_bytes": 0}, "warn", "maxmemory"),
        ({"append_only": False}, "warn", "appendonly"),
        ({"persistence_problem": "saving a snapshot failed"}, "fail", "disk"),
        ({"clock_offset": -0.2}, "warn", "time synchronisation"),
        ({"eviction_policy": "allkeys-lru"}, "fail", "noeviction"),
    ],
)
def test_a_redis_is_judged(changed: dict[str, Any], level: str, words: str) -> None:
    """Each fact about a Redis has its own level and advice."""
    (finding,) = verdicts.of_server(SHARD, REDIS._replace(**changed))
    assert (finding.level, words in finding.advice) == (level, True)


def test_a_shard_is_judged() -> None:
    """A slow one asks for more shards; one with no replica to spare says so."""
    usable, _ = verdicts.of_shard(SHARD._replace(latency_p99=0.011))
    assert (usable.level, "reshard" in usable.advice) == ("warn", True)
    assert verdicts.of_shard(SHARD._replace(latency_p99=0.011, calls=5))[0].level == "ok"
    (_, spare) = verdicts.of_shard(SHARD._replace(durability="replicas=1"))
    assert (spare.level, "one replica more" in spare.advice) == ("warn", True)


def test_replicas_are_compared() -> None:
    """Versions that differ are a warning, shard maps that differ a failure."""
    other = VIEW._replace(replica="r2")
    assert [f.level for f in (*verdicts.of_versions("0.1.0", [VIEW, other]), *verdicts.of_maps([VIEW, other]))] == [
        "ok",
        "ok",
    ]
    assert verdicts.of_versions("0.1.0", [VIEW, other._replace(server_version="0.1.1")])[0].level == "warn"
    assert verdicts.of_versions("0.2.0", [VIEW])[0].level == "warn"
    assert verdicts.of_maps([VIEW, other._replace(map_epoch=2)])[0].level == "fail"
    assert verdicts.of_maps([VIEW, other._replace(shards=())])[0].level == "fail"
