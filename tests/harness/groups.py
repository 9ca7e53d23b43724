"""Sentinel groups and Clusters of real Redis servers on ports of loopback, each process to be killed or frozen."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import redis

from lockservice.shards import orphan

START_S = 20.0


def free_port() -> int:
    """Finds a port; its Cluster bus port must be one too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port: int = found.getsockname()[1]
        if port < 50_000:
            return port


def wait_until(look: Callable[[], object], what: str, within: float = START_S) -> None:
    """Looks until it is so."""
    until = time.monotonic() + within
    while True:
        try:
            if look():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < until, f"not within {within} s: {what}"
        time.sleep(0.02)


class Member:
    """One process: a Redis, or a Sentinel."""

    def __init__(self, directory: Path, *words: str, port: int | None = None, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self.directory = directory
        self._words = words
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and returns once it answers."""
        self.directory.mkdir(exist_ok=True, parents=True)
        program = shutil.which("redis-server")
        assert program, "Debian's redis-server is missing"
        file = self.directory / "redis.conf"
        if not file.exists():
            file.touch()
        words = [program, str(file), "--port", str(self.port), "--dir", str(self.directory), *self._words]
        words += ["--sentinel"] if self._sentinel else []
        # They would outlive a test run that is killed.
        guard = [sys.executable, "-I", "-S", orphan.__file__, str(os.getpid())]
        self._process = subprocess.Popen([*guard, *words], stdout=subprocess.DEVNULL)
        with self.connect() as connection:
            wait_until(connection.ping, "it answers")

    def connect(self, **how: object) -> redis.Redis:
        """Opens a connection of the test's own."""
        return redis.Redis(port=self.port, decode_responses=True, **how)  # type: ignore[arg-type]

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        """Kills it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Group:
    """Processes with one directory, gone afterwards."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ls-"))
        self.members: list[Member] = []

    def member(self, name: str, *words: str, sentinel: bool = False) -> Member:
        """Starts one."""
        made = Member(self.directory / name, *words, sentinel=sentinel)
        self.members.append(made)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class SentinelGroup(Group):
    """One primary, its replicas, and three Sentinels.

    Args:
        replicas: how many.
        down_after_ms: after which silence a Sentinel holds a Redis for dead.
        options: further words for every Redis.
        credentials: of the service, as they stand in a URL before @.
        sentinel_words: further lines of the Sentinels' configuration.
    """

    NAME = "main"

    def __init__(
        self,
        *,
        replicas: int = 2,
        down_after_ms: int = 500,
        options: tuple[str, ...] = (),
        credentials: str = "",
        sentinel_lines: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        words = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", *options)
        self.primary = self.member("primary", *words)
        self.replicas = [
            self.member(f"replica-{n}", *words, "--replicaof", "127.0.0.1", str(self.primary.port))
            for n in range(replicas)
        ]
        wait_until(lambda: self._in_sync() == replicas, "the replicas are in sync")
        lines = (
            f"sentinel monitor {self.NAME} 127.0.0.1 {self.primary.port} 2",
            f"sentinel down-after-milliseconds {self.NAME} {down_after_ms}",
            f"sentinel failover-timeout {self.NAME} 3000",
            *sentinel_lines,
        )
        self.sentinels = [self._sentinel(n, lines) for n in range(3)]
        for sentinel in self.sentinels:
            with sentinel.connect() as connection:
                wait_until(lambda c=connection: self._knows_all(c, replicas), "the Sentinels know one another")  # type: ignore[misc]
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{credentials}{'@' if credentials else ''}{hosts}/{self.NAME}"

    def _in_sync(self) -> int:
        with self.primary.connect() as connection:
            return str(connection.info("replication")).count("'state': 'online'")

    def _sentinel(self, number: int, lines: tuple[str, ...]) -> Member:
        directory = self.directory / f"sentinel-{number}"
        directory.mkdir()
        (directory / "redis.conf").write_text("\n".join(lines) + "\n")
        return self.member(f"sentinel-{number}", sentinel=True)

    def _knows_all(self, connection: redis.Redis, replicas: int) -> bool:
        state = connection.sentinel_master(self.NAME)
        return int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == replicas

    def current(self) -> Member:
        """Returns the primary that the Sentinels name."""
        with self.sentinels[0].connect() as connection:
            _, port = connection.sentinel_get_master_addr_by_name(self.NAME)
        return next(m for m in self.members if m.port == int(port))


class Cluster(Group):
    """Three primaries with a replica each.

    Args:
        node_timeout_ms: after which silence a node holds another for dead.
        options: further words for every node.
    """

    def __init__(self, *, node_timeout_ms: int = 1_000, options: tuple[str, ...] = ()) -> None:
        super().__init__()
        words = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms)),
            *("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", *options),
        )
        self.nodes = [self.member(f"node-{n}", *words) for n in range(6)]
        addresses = [node.address for node in self.nodes]
        self.cli("--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes")
        for node in self.nodes:
            with node.connect() as connection:
                wait_until(lambda c=connection: self._is_whole(c), "the Cluster is whole")  # type: ignore[misc]
        self.url = "redis+cluster://" + ",".join(addresses[:2])

    def cli(self, *words: str) -> str:
        """Runs redis-cli, and returns what it says."""
        done = subprocess.run(["redis-cli", *words], capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    def _is_whole(self, connection: redis.Redis) -> bool:
        info = str(connection.execute_command("CLUSTER INFO"))
        nodes = str(connection.execute_command("CLUSTER NODES"))
        return "cluster_state:ok" in info.replace("'cluster_state': 'ok'", "cluster_state:ok") and "fail" not in nodes

    def primaries(self) -> list[Member]:
        """Returns the nodes that are primaries now."""
        found = []
        for node in self.nodes:
            try:
                with node.connect(socket_timeout=0.5) as connection:
                    if connection.info("replication")["role"] == "master":
                        found.append(node)
            except redis.RedisError:
                continue
        return found

    def serving(self, bucket: int) -> Member:
        """Returns the primary that serves a bucket."""
        for node in self.primaries():
            with node.connect() as connection:
                try:
                    connection.get(f"ls:{{b{bucket}}}:token")
                except redis.RedisError:
                    continue
                return node
        raise AssertionError("nobody serves it")
