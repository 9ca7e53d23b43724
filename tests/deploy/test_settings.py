"""What the manifests tell the service, against what the service knows."""

import os

import click
import pytest
import yaml
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness.manifests import Manifest, compose, environment, of_kind, pod_of
from harness.service import Service
from lockservice import config
from lockservice.cli import serve
from lockservice.durations import parse_ms

WHERE = pytest.mark.parametrize("where", ["compose", "kubernetes"])
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


@WHERE
def test_the_settings_are_accepted(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service starts with what the manifests say, and would refuse the same without `insecure`."""
    for variables in environment(where):
        settings = taken(variables, monkeypatch)
        assert [shard.name for shard in settings.shards] == ["a", "b", "c"]
        assert settings.grpc_addr == "0.0.0.0:50051"
        with pytest.raises(AssertionError, match="insecure"):
            taken({**variables, "LOCKSERVICE_INSECURE": "false"}, monkeypatch)


@WHERE
def test_all_replicas_have_one_map(where: str) -> None:
    """Replicas with different maps would refuse one another's shards."""
    assert len({variables["LOCKSERVICE_SHARDS"] for variables in environment(where)}) == 1


@WHERE
def test_every_shard_is_a_server(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shard of the map is a server of the manifests, at its port, and no server is left out."""
    shards = taken(environment(where)[0], monkeypatch).shards
    if where == "compose":
        servers = {name for name in compose()["services"] if name.startswith("redis")}
    else:
        servers = set(of_kind("StatefulSet"))
        assert {of_kind("Service")[name]["spec"]["ports"][0]["port"] for name in servers} == {6379}
    assert {shard.url for shard in shards} == {f"redis://{name}:6379" for name in servers}


def test_a_pod_has_time_to_drain() -> None:
    """Kubernetes and compose kill no replica before it has waited for its drain delay and its grace."""
    (settings,) = environment("kubernetes")
    needed_ms = parse_ms(settings["LOCKSERVICE_DRAIN_DELAY"]) + parse_ms(settings["LOCKSERVICE_SHUTDOWN_GRACE"])
    assert pod_of(of_kind("Deployment")["lockservice"])["terminationGracePeriodSeconds"] * 1000 >= needed_ms + 5_000
    replica = compose()["services"]["lockservice-1"]
    grace_ms = parse_ms(replica["environment"]["LOCKSERVICE_SHUTDOWN_GRACE"])
    assert parse_ms(replica["stop_grace_period"]) >= grace_ms + 5_000


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


def test_compose_publishes_on_loopback_only() -> None:
    """Nobody beyond this machine reaches what compose starts, and no port of a shard is published at all."""
    for name, of in compose()["services"].items():
        published = of.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in published), name
        assert bool(published) != name.startswith("redis"), name
    assert compose()["networks"]["shards"]["internal"] is True
    assert yaml.safe_dump(compose()).count("privileged: true") == 0
