"""The lock-set test: how many acknowledged updates are lost when holders pause longer than their leases last.

After the analysis of etcd 3.4.3 by Jepsen (2020): five processes add elements to one set, by reading and writing it
under a lock with a ttl of 2 s, and every 5 s the holder is stopped for 3.5 s. `make lock-set` prints the table.
"""

import asyncio
import json
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple

from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from lock_set import worker
from lockservice_client.fencing import FENCES

CHECKS: Final = ("none", "deadline", "token")
WORKERS: Final = 5
PAUSE_EVERY_S: Final = 5.0
PAUSE_S: Final = 3.5
SECONDS: Final = 100.0


class Result(NamedTuple):
    """What a run came to: elements that workers were told they had added, of these lost, and writes refused."""

    added: int
    lost: int
    refused: int
    pauses: int


class Run:
    """One run with one kind of check before the write.

    Args:
        address: of the service.
        path: of the store.
        check: none, deadline or token.
    """

    def __init__(self, address: str, path: Path, check: str) -> None:
        self._path = path
        self._words = (sys.executable, worker.__file__, address, str(path))
        self._check = check
        self._added: set[str] = set()
        self._refused = 0
        self._pauses = 0
        # Whoever has read the set and has not written it yet.
        self._reader: asyncio.subprocess.Process | None = None

    async def play(self, seconds: float) -> Result:
        """Lets workers work and pauses them."""
        store = sqlite3.connect(self._path)
        store.execute(FENCES)
        store.execute("CREATE TABLE one_set (elements TEXT)")
        store.execute("INSERT INTO one_set VALUES ('[]')")
        store.commit()
        async with AsyncExitStack() as leave:
            readers = [await self._start(leave, f"w{number}") for number in range(WORKERS)]
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await asyncio.sleep(PAUSE_EVERY_S - PAUSE_S)
                await self._pause()
            # What a paused holder wrote is overwritten or has overwritten by then.
            await asyncio.sleep(PAUSE_S)
        await asyncio.gather(*readers)
        found = set(json.loads(store.execute("SELECT elements FROM one_set").fetchone()[0]))
        store.close()
        return Result(len(self._added), len(self._added - found), self._refused, self._pauses)

    async def _start(self, leave: AsyncExitStack, name: str) -> asyncio.Task[None]:
        process = await asyncio.create_subprocess_exec(
            *self._words, name, self._check, stdout=asyncio.subprocess.PIPE
        )

        async def end() -> None:
            process.kill()
            await process.wait()

        leave.push_async_callback(end)
        return asyncio.create_task(self._listen(process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            word, element = line.decode().split()
            if word == "read":
                self._reader = process
                continue
            if self._reader is process:
                self._reader = None
            if word == "added":
                self._added.add(element)
            else:
                self._refused += 1

    async def _pause(self) -> None:
        """Stops a holder between its read and its write, for longer than its lease lasts."""
        until = time.monotonic() + PAUSE_EVERY_S
        while (holder := self._reader) is None and time.monotonic() < until:
            await asyncio.sleep(0.005)
        if holder is None:
            return
        self._pauses += 1
        holder.send_signal(signal.SIGSTOP)
        await asyncio.sleep(PAUSE_S)
        holder.send_signal(signal.SIGCONT)


async def play(check: str, seconds: float) -> Result:
    """Plays a run on a service and a store of its own."""
    server = RedisServer()
    try:
        with tempfile.TemporaryDirectory() as directory:
            async with ServiceProcess([server.url]) as service:
                return await Run(service.ready["grpc"], Path(directory, "store"), check).play(seconds)
    finally:
        server.remove()


async def main() -> None:
    """Prints how many updates each kind of check lost."""
    print("check before the write | updates | lost | stale writes refused", flush=True)
    for check in CHECKS:
        done = await play(check, SECONDS)
        share = 100 * done.lost / max(done.added, 1)
        print(f"{check:22} | {done.added:7} | {done.lost} ({share:.1f} %) | {done.refused}", flush=True)
    print("reported elsewhere: etcd 3.4.3, no check, about 18 %; a plain lock on Redis, no check, 5 %")


if __name__ == "__main__":
    asyncio.run(main())
