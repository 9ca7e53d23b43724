"""What the manifests tell the service, against what the service knows."""

import os
from pathlib import Path

import aiohttp
import click
import pytest
import yaml
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness.manifests import OVERLAYS, Manifest, compose, environment, of_kind, pod_of, servers
from harness.service import Service
from harness.tenant import AuthFile, Authority
from lockservice import config
from lockservice.cli import serve
from lockservice.durations import parse_ms

WHERE = pytest.mark.parametrize("where", ["compose", *OVERLAYS])
PLAIN = pytest.mark.parametrize("where", ["compose", "dev", "production"])
# What the image sets by itself.
IMAGE = {"LOCKSERVICE_GRPC_ADDR": "0.0.0.0:50051", "LOCKSERVICE_OPS_ADDR": "0.0.0.0:9090"}


def taken(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    """Reads variables as `lockservice serve` does, with nothing else of ours set."""
    for name in [name for name in os.environ if name.startswith(config.PREFIX)]:
        monkeypatch.delenv(name)
    read: list[config.Settings] = []

    @click.command()
    @config.options
    def command(**values: object) -> None:
        read.append(config.check(values))

    result = CliRunner().invoke(command, [], env=IMAGE | variables)
    assert read, result.output
    return read[0]


@WHERE
def test_every_variable_is_a_setting(where: str) -> None:
    """No manifest sets a variable that the service does not know, and a misspelt one would be noticed."""
    for variables in environment(where):
        assert variables
        assert config.unknown_variables(variables, serve) == []
    assert config.unknown_variables({"LOCKSERVICE_SHARD": "a=redis://redis-a:6379"}, serve) != []


@PLAIN
def test_the_settings_are_accepted(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service starts with what the manifests say, and would refuse the same without `insecure`."""
    for variables in environment(where):
        settings = taken(variables, monkeypatch)
        assert [shard.name for shard in settings.shards] == ["a", "b", "c"]
        assert settings.grpc_addr == "0.0.0.0:50051"
        with pytest.raises(AssertionError, match="insecure"):
            taken({**variables, "LOCKSERVICE_INSECURE": "false"}, monkeypatch)


def test_tls_is_read_from_what_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the files of the Secrets the service starts, speaks TLS and asks for credentials; it is never insecure."""
    (variables,) = environment("production-tls")
    pod = pod_of(of_kind("Deployment", "production-tls")["lockservice"])
    (container,) = pod["containers"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: secrets[mount["name"]] for mount in container["volumeMounts"]}
    paths = {name: Path(value) for name, value in variables.items() if value.startswith("/")}
    keys = {name: (mounts[str(path.parent)], path.name) for name, path in paths.items()}
    assert keys == {
        "LOCKSERVICE_TLS_CERT": ("lockservice-tls", "tls.crt"),
        "LOCKSERVICE_TLS_KEY": ("lockservice-tls", "tls.key"),
        "LOCKSERVICE_AUTH_FILE": ("lockservice-credentials", "credentials.toml"),
        "LOCKSERVICE_SHARDS_FILE": ("lockservice-shards", "shards"),
    }
    authority, credentials = Authority(tmp_path), AuthFile(tmp_path)
    credentials.add("shop-workers", "shop")
    (tmp_path / "shards").write_text("a=rediss://lockservice:secret@a.example.com:6379\n")
    files = {"TLS_CERT": authority.cert, "TLS_KEY": authority.key, "AUTH_FILE": credentials.path}
    files["SHARDS_FILE"] = tmp_path / "shards"
    mounted = variables | {f"LOCKSERVICE_{name}": str(path) for name, path in files.items()}
    read = config.read_secret_files(mounted)
    settings = taken(mounted | read, monkeypatch)
    assert not settings.insecure
    assert settings.tls_cert
    assert settings.auth_file
    with pytest.raises(AssertionError, match="auth-file"):
        taken({**mounted, **read, "LOCKSERVICE_AUTH_FILE": ""}, monkeypatch)


@PLAIN
def test_all_replicas_have_one_map(where: str) -> None:
    """Replicas with different maps would refuse one another's shards."""
    assert len({variables["LOCKSERVICE_SHARDS"] for variables in environment(where)}) == 1


@pytest.mark.parametrize("where", ["compose", "dev"])
def test_every_shard_is_a_server(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shard of the map is a server of the manifests, at its port, and no server is left out."""
    shards = taken(environment(where)[0], monkeypatch).shards
    if where == "compose":
        found = {name for name in compose()["services"] if name.startswith("redis")}
    else:
        found = set(servers("shard", where))
        assert {of_kind("Service", where)[name]["spec"]["ports"][0]["port"] for name in found} == {6379}
    assert {shard.url for shard in shards} == {f"redis://{name}:6379" for name in found}


def test_a_pod_has_time_to_drain() -> None:
    """Kubernetes and compose kill no replica before it has slept, waited for its drain delay and used its grace."""
    for overlay in OVERLAYS:
        (settings,) = environment(overlay)
        pod = pod_of(of_kind("Deployment", overlay)["lockservice"])
        sleep_ms = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] * 1000
        assert sleep_ms >= 5_000
        needed_ms = parse_ms(settings["LOCKSERVICE_DRAIN_DELAY"]) + parse_ms(settings["LOCKSERVICE_SHUTDOWN_GRACE"])
        assert pod["terminationGracePeriodSeconds"] * 1000 >= sleep_ms + needed_ms + 5_000
    replica = compose()["services"]["lockservice-1"]
    needed_ms = sum(
        parse_ms(replica["environment"][f"LOCKSERVICE_{name}"]) for name in ("DRAIN_DELAY", "SHUTDOWN_GRACE")
    )
    assert parse_ms(replica["stop_grace_period"]) >= needed_ms + 5_000


def probes() -> dict[str, Manifest]:
    """Returns the gRPC probes of a replica by what they are for."""
    (container,) = pod_of(of_kind("Deployment")["lockservice"])["containers"]
    return {kind: container[f"{kind}Probe"]["grpc"] for kind in ("startup", "liveness", "readiness")}


async def test_probes_ask_what_the_server_offers(service: Service) -> None:
    """Each probe names a health service that a running replica answers for, on the port that it listens on."""
    asked = probes()
    assert {kind: probe["service"] for kind, probe in asked.items()} == {
        "startup": "liveness",
        "liveness": "liveness",
        "readiness": "readiness",
    }
    assert {probe["port"] for probe in asked.values()} == {int(IMAGE["LOCKSERVICE_GRPC_ADDR"].rpartition(":")[2])}
    health = health_pb2_grpc.HealthStub(service.channel)
    for probe in asked.values():
        answer = await health.Check(health_pb2.HealthCheckRequest(service=probe["service"]))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_shard_that_is_away_restarts_no_pod() -> None:
    """With no shard at all, the readiness probe fails and the liveness probe does not."""
    async with Service(["unix:///nonexistent/redis"]) as alone:
        health = health_pb2_grpc.HealthStub(alone.channel)
        answers = {}
        for kind, probe in probes().items():
            answer = await health.Check(health_pb2.HealthCheckRequest(service=probe["service"]))
            answers[kind] = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    assert answers == {"startup": "SERVING", "liveness": "SERVING", "readiness": "NOT_SERVING"}


async def test_probes_under_tls_ask_what_the_operators_port_offers(service: Service) -> None:
    """With TLS each probe names a page of the operators' port, the port has that name, and all of them say yes."""
    (container,) = pod_of(of_kind("Deployment", "production-tls")["lockservice"])["containers"]
    asked = {kind: container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
    assert not any("grpc" in probe for probe in asked.values())
    paths = {kind: probe["httpGet"]["path"] for kind, probe in asked.items()}
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {ports[probe["httpGet"]["port"]] for probe in asked.values()} == {9090}
    async with aiohttp.ClientSession() as session:
        for path in paths.values():
            async with session.get(f"http://{service.server.ops_addr}{path}") as answer:
                assert answer.status == 200


def test_compose_publishes_on_loopback_only() -> None:
    """Nobody beyond this machine reaches what compose starts, and no port of a shard is published at all."""
    for name, of in compose()["services"].items():
        published = of.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in published), name
        assert bool(published) != name.startswith("redis"), name
    assert compose()["networks"]["shards"]["internal"] is True
    assert yaml.safe_dump(compose()).count("privileged: true") == 0
