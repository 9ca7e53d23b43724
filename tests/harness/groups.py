"""Sentinel groups and Clusters of real Redis servers on ports of loopback, each process to be killed or frozen."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import redis

from harness.manifests import DEPLOY
from harness.network import Host
from lockservice.shards import orphan
from lockservice_stand.certificates import Certificates

START_S = 20.0
# Both below those that the kernel gives to outgoing connections: one of them would take the port of a member that is
# down for a moment, and it could not start again.
_PORTS, _BUS = range(10_000, 20_000), 10_000
_CREDENTIALS = "lockservice:CHANGE-THIS-PASSWORD@"
_REPLICATING = ("--masteruser", "replica", "--masterauth", "CHANGE-THIS-PASSWORD-FOUR")


def free_port() -> int:
    """Finds a port that is free, its Cluster bus port too, and stays so while its member is down."""
    while True:
        port = secrets.choice(_PORTS)
        try:
            for one in (port, port + _BUS):
                socket.create_server(("127.0.0.1", one)).close()
        except OSError:
            continue
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


class Security:
    """TLS on every link, and the users that the project ships; nobody else gets in.

    Args:
        directory: where certificates and users are written.
    """

    def __init__(self, directory: Path) -> None:
        certificates = Certificates(directory)
        self.ca = certificates.ca
        cert, key = certificates.server(expired=False)
        files = {"tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": self.ca}
        self.tls = tuple(word for name, path in files.items() for word in (f"--{name}", str(path)))
        self.tls += ("--tls-auth-clients", "no", "--tls-replication", "yes")
        acl = (DEPLOY / "redis/acl.conf").read_text()
        self.users = tuple(line for line in acl.splitlines() if line.startswith("user "))
        self.sentinel_lines = tuple(
            line
            for line in (DEPLOY / "redis/sentinel.conf").read_text().splitlines()
            if line.startswith(("user ", "sentinel sentinel-", "sentinel auth-"))
        )

    def url(self, url: str, **more: str) -> str:
        """Adds TLS and what else is given to the URL of a group."""
        query = urlencode({"ssl_ca_certs": str(self.ca), **more})
        return f"{url.replace('redis+', 'rediss+')}?{query}"


class Member:
    """One process: a Redis, or a Sentinel."""

    def __init__(
        self,
        directory: Path,
        *words: str,
        security: Security | None = None,
        sentinel: bool = False,
        host: Host | None = None,
    ) -> None:
        self.port = free_port()
        self.host = host.address if host else "127.0.0.1"
        self._launcher = host.launcher if host else ()
        if host:
            words += ("--protected-mode", "no")
        self.directory = directory
        self._security = security
        self._words = words
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Starts it, and returns once it answers."""
        self.directory.mkdir(exist_ok=True, parents=True)
        program = shutil.which("redis-server")
        assert program, "Debian's redis-server is missing"
        file = self.directory / "redis.conf"
        if not file.exists():
            file.write_text("\n".join(self._security.users) + "\n" if self._security else "")
        words = [program, str(file), "--dir", str(self.directory), *self._words]
        if self._security:
            words += ["--port", "0", "--tls-port", str(self.port), *self._security.tls]
        else:
            words += ["--port", str(self.port)]
        words += ["--sentinel"] if self._sentinel else []
        # They would outlive a test run that is killed.
        guard = [sys.executable, "-I", "-S", orphan.__file__, str(os.getpid())]
        self._process = subprocess.Popen([*self._launcher, *guard, *words], stdout=subprocess.DEVNULL)
        with self.connect() as connection:
            wait_until(connection.ping, "it answers")

    def connect(self, **how: object) -> redis.Redis:
        """Opens a connection of the test's own."""
        if self._security:
            user, password = ("sentinel", "-SEVEN") if self._sentinel else ("operator", "-TOO")
            how |= {"username": user, "password": f"CHANGE-THIS-PASSWORD{password}"}
            how |= {"ssl": True, "ssl_ca_certs": str(self._security.ca), "host": "localhost"}
        how = {"host": self.host, **how}
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

    def __init__(self, *, secure: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ls-"))
        self.security = Security(self.directory) if secure else None
        self.members: list[Member] = []

    def member(self, name: str, *words: str, sentinel: bool = False, host: Host | None = None) -> Member:
        """Starts one."""
        made = Member(self.directory / name, *words, security=self.security, sentinel=sentinel, host=host)
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
        secure: with TLS and users.
        hosts: three, for the primary and the replicas, each with a Sentinel; none: all are on loopback.
    """

    NAME = "main"

    def __init__(
        self,
        *,
        replicas: int = 2,
        down_after_ms: int = 500,
        options: tuple[str, ...] = (),
        secure: bool = False,
        hosts: Sequence[Host | None] = (None, None, None),
    ) -> None:
        super().__init__(secure=secure)
        options += _REPLICATING if secure else ()
        words = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", *options)
        self.primary = self.member("primary", *words, host=hosts[0])
        self.replicas = [
            self.member(
                f"replica-{n}", *words, "--replicaof", self.primary.host, str(self.primary.port), host=hosts[n + 1]
            )
            for n in range(replicas)
        ]
        wait_until(lambda: self._in_sync() == replicas, "the replicas are in sync")
        lines = (
            f"sentinel monitor {self.NAME} {self.primary.host} {self.primary.port} 2",
            f"sentinel down-after-milliseconds {self.NAME} {down_after_ms}",
            f"sentinel failover-timeout {self.NAME} 3000",
        )
        self.sentinels = [self._sentinel(n, lines, host) for n, host in enumerate(hosts)]
        for sentinel in self.sentinels:
            with sentinel.connect() as connection:
                wait_until(lambda c=connection: self._knows_all(c, replicas), "the Sentinels know one another")  # type: ignore[misc]
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{_CREDENTIALS if secure else ''}{hosts}/{self.NAME}"
        if self.security:
            own = {"sentinel_username": "lockservice", "sentinel_password": "CHANGE-THIS-PASSWORD-SIX"}
            self.url = self.security.url(self.url, **own)

    def _in_sync(self) -> int:
        with self.primary.connect() as connection:
            return str(connection.info("replication")).count("'state': 'online'")

    def _sentinel(self, number: int, lines: tuple[str, ...], host: Host | None) -> Member:
        directory = self.directory / f"sentinel-{number}"
        directory.mkdir()
        lines += self.security.sentinel_lines if self.security else ()
        (directory / "redis.conf").write_text("\n".join(lines) + "\n")
        return self.member(f"sentinel-{number}", sentinel=True, host=host)

    def _knows_all(self, connection: redis.Redis, replicas: int) -> bool:
        state = connection.sentinel_master(self.NAME)
        return int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == replicas

    def current(self) -> Member:
        """Returns the primary that the Sentinels name."""
        # The last is never on the primary's host, so never cut off with it.
        with self.sentinels[-1].connect() as connection:
            host, port = connection.sentinel_get_master_addr_by_name(self.NAME)
        return next(m for m in self.members if m.port == int(port) and m.host == host)


class Cluster(Group):
    """Three primaries with a replica each.

    Args:
        node_timeout_ms: after which silence a node holds another for dead.
        secure: with TLS and users.
    """

    def __init__(self, *, node_timeout_ms: int = 1_000, secure: bool = False) -> None:
        super().__init__(secure=secure)
        options = (*_REPLICATING, "--tls-cluster", "yes") if secure else ()
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
        self.url = f"redis+cluster://{_CREDENTIALS if secure else ''}" + ",".join(addresses[:2])
        if self.security:
            self.url = self.security.url(self.url)

    def cli(self, *words: str) -> str:
        """Runs redis-cli, and returns what it says."""
        if self.security:
            words += ("--tls", "--cacert", str(self.security.ca), "--no-auth-warning")
            words += ("--user", "operator", "--pass", "CHANGE-THIS-PASSWORD-TOO")
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
