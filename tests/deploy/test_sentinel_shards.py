"""How shards under Sentinel start and stop in Kubernetes: the shipped scripts and files on three hosts, one a pod."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from harness.groups import wait_until
from harness.manifests import DEPLOY, environment, of_kind, pod_of, program, servers
from harness.network import Host, Network
from lockservice.config import shards
from lockservice.shard_url import problem_with

FILES = DEPLOY / "kustomize/components/sentinel"
NAMES = ("one", "two", "three")


class Pods:
    """Three hosts; on each a Redis of shard a and a Sentinel can be started as their containers start them."""

    def __init__(self, network: Network, directory: Path, script: str) -> None:
        self.hosts = [network[name] for name in NAMES]
        self._directory = directory
        self._programs = directory / "programs"
        self._programs.mkdir()
        for name, real in (("valkey-cli", "redis-cli"), ("valkey-server", "redis-server")):
            (self._programs / name).symlink_to(program(real))
        (directory / "start.sh").write_text(script)
        self.redis: dict[Host, subprocess.Popen[bytes]] = {}

    def _place(self, text: str, own: Path) -> str:
        """Puts what is this machine's in place of names of pods and of paths in containers."""
        for number, host in enumerate(self.hosts):
            text = re.sub(rf"redis-\w-{number}\.redis-\w\b", host.address, text)
        return text.replace("/etc/redis", str(DEPLOY / "redis")).replace("dir /data", f"dir {own}")

    def start_sentinel(self, host: Host) -> None:
        """Starts a Sentinel with the shipped file."""
        own = self._directory / f"sentinel-{host.address}"
        own.mkdir()
        (own / "sentinel.conf").write_text(self._place((FILES / "sentinel.conf").read_text(), own))
        host.start([program("redis-server"), str(own / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL)
        wait_until(self.connect(host, 26379).ping, "the Sentinel answers")

    def environment(self, host: Host) -> dict[str, str]:
        """Returns what the pod's script is told."""
        own = self._directory / host.address
        own.mkdir(exist_ok=True)
        config = self._place((DEPLOY / "redis/redis.conf").read_text(), own)
        (own / "redis.conf").write_text(config)
        replication = (FILES / "replication.conf").read_text()
        (own / "replication.conf").write_text(replication.replace("/etc/redis/", f"{own}/"))
        return {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "SERVER": host.address,
            "SHARD": "a",
            "SENTINELS": " ".join(other.address for other in self.hosts),
            "SENTINEL_PORT": "26379",
            "REDIS_PORT": "6379",
            "CONFIG": str(own / "replication.conf"),
        }

    def start(self, host: Host) -> None:
        """Begins to start a server, as its container does."""
        words = ["sh", str(self._directory / "start.sh")]
        log = (self._directory / f"{host.address}.log").open("wb")
        with log:
            self.redis[host] = host.start(words, env=self.environment(host), stdout=log, stderr=log)

    def said(self, host: Host) -> str:
        """Returns what a server has printed."""
        return (self._directory / f"{host.address}.log").read_text()

    def hand_over(self, host: Host) -> None:
        """Runs what runs before a server stops."""
        command = [*host.launcher, "sh", str(FILES / "stop.sh")]
        environment = self.environment(host)
        ran = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=30)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    @staticmethod
    def connect(host: Host, port: int = 6379) -> "redis.Redis[str]":
        """Opens a connection of the test's own."""
        return redis.Redis(host=host.address, port=port, decode_responses=True, socket_timeout=20)

    def roles(self) -> list[str]:
        """Returns the role of each server that runs."""
        return [str(self.connect(host).info("replication")["role"]) for host in self.redis]

    def primary(self) -> Host:
        """Returns the host that the Sentinels name."""
        address, _ = self.connect(self.hosts[-1], 26379).sentinel_get_master_addr_by_name("a")
        return next(host for host in self.hosts if host.address == address)

    def in_sync(self, primary: Host, replicas: int) -> bool:
        """Says whether so many replicas have what a primary has."""
        return str(self.connect(primary).info("replication")).count("'state': 'online'") == replicas


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    """Three hosts on which nothing runs yet."""
    with Network(*NAMES) as network:
        yield Pods(network, tmp_path, (FILES / "start.sh").read_text())


def test_a_server_starts_in_the_role_that_two_sentinels_agree_on(pods: Pods) -> None:
    """With one Sentinel it waits; with two the one that they name is the primary, and the others follow it."""
    one, two, three = pods.hosts
    pods.start_sentinel(one)
    pods.start(one)
    wait_until(lambda: pods.said(one).count("waiting for two Sentinels") >= 2, "it waits for a second Sentinel")
    for host in (two, three):
        pods.start_sentinel(host)
        pods.start(host)
    wait_until(lambda: pods.in_sync(one, 2), "the replicas follow the primary")
    assert pods.roles() == ["master", "slave", "slave"]
    assert pods.connect(one).config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert pods.connect(one).config_get("min-replicas-to-write") == {"min-replicas-to-write": "1"}


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_primary_that_stops_hands_over_without_loss(pods: Pods) -> None:
    """Before it stops another takes over; nothing that it confirmed is lost; it comes back as a replica."""
    one = pods.hosts[0]
    for host in pods.hosts:
        pods.start_sentinel(host)
    for host in pods.hosts:
        pods.start(host)
    wait_until(lambda: pods.in_sync(one, 2), "the replicas follow the primary")
    sentinels = [pods.connect(host, 26379) for host in pods.hosts]
    wait_until(
        lambda: all(len(found.sentinel_slaves("a")) == 2 for found in sentinels), "Sentinels know the replicas"
    )
    confirmed: list[str] = []
    writer = threading.Thread(target=_write, args=(pods.connect(one), confirmed))
    writer.start()
    wait_until(lambda: len(confirmed) > 100, "there is something to lose")

    pods.hand_over(one)
    assert pods.connect(one).info("replication")["role"] == "slave", sentinels[0].sentinel_master("a")
    writer.join(20)
    assert pods.primary() is not one
    kept = set(pods.connect(pods.primary()).lrange("written", 0, -1))
    assert set(confirmed) <= kept

    pods.redis[one].terminate()
    pods.redis[one].wait()
    pods.start(one)
    # On a machine that is busy Sentinel may choose once more, so it is asked who it is.
    wait_until(lambda: pods.in_sync(pods.primary(), 2), "all follow one primary again", within=60)
    assert sorted(pods.roles()) == ["master", "slave", "slave"]


def _write(connection: "redis.Redis[str]", confirmed: list[str]) -> None:
    number = 0
    try:
        while True:
            connection.rpush("written", str(number))
            confirmed.append(str(number))
            number += 1
    except redis.RedisError:
        return


def test_one_sentinel_is_not_enough_for_a_reason(tmp_path: Path) -> None:
    """A script that believes a single Sentinel starts at once, which the test above would notice."""
    shipped = (FILES / "start.sh").read_text()
    careless = shipped.replace("$1 >= 2", "$1 >= 1")
    assert careless != shipped
    with Network(*NAMES) as network:
        pods = Pods(network, tmp_path, careless)
        one = pods.hosts[0]
        pods.start_sentinel(one)
        pods.start(one)
        wait_until(pods.connect(one).ping, "it starts")
        assert "waiting" not in pods.said(one)


def test_each_shard_is_watched_under_its_name() -> None:
    """Sentinel's names, its first primaries and its hosts are those of the manifests and of LOCKSERVICE_SHARDS."""
    text = (FILES / "sentinel.conf").read_text()
    monitored = re.findall(r"^sentinel monitor (\w+) (\S+) 6379 2$", text, re.MULTILINE)
    assert [(name, f"redis-{name}-0.redis-{name}") for name in "abc"] == monitored
    for setting in ("down-after-milliseconds", "failover-timeout"):
        assert re.findall(rf"^sentinel {setting} (\w+) \d+$", text, re.MULTILINE) == ["a", "b", "c"]
    (settings,) = environment("production")
    named = shards(settings["LOCKSERVICE_SHARDS"].split())
    hosts = ",".join(f"sentinel-{number}.sentinel:26379" for number in range(3))
    assert [(shard.name, shard.url) for shard in named] == [
        (name, f"redis+sentinel://{hosts}/{name}") for name, _ in monitored
    ]
    assert not any(problem_with(shard.url) for shard in named)
    assert of_kind("StatefulSet")["sentinel"]["spec"]["replicas"] == 3


def test_the_pods_tell_the_scripts_what_they_ask_for() -> None:
    """Every variable of the scripts is set in the pods, the shard's name by its label, and the paths are mounted."""
    asked = set(
        re.findall(r"\$\{?([A-Z_]+)", "".join((FILES / f"{name}.sh").read_text() for name in ("start", "stop")))
    )
    assert asked
    for name, shard in servers("shard").items():
        (container,) = pod_of(shard)["containers"]
        given = {variable["name"]: variable for variable in container["env"]}
        assert asked <= set(given)
        assert given["SERVER"]["value"] == "$(POD).$(INSTANCE)"
        labels = shard["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == name == f"redis-{labels['lockservice-shard']}"
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {str(Path(container["command"][-1]).parent), "/data", "/etc/redis"} <= mounts
    assert shutil.which("sh")
