"""Takes events from a Redis Stream for a worker, and hands back what the worker could not finish.

An entry is deleted when it is settled. One of a worker that has not said for SILENT_S that it is still at it is
claimed by another. A worker that cannot go on with one says so by making it look almost that old.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Redis

from flash_sale.names import AGAIN_S, GROUP, HEARTBEAT_S, OUTCOMES, SHARES, SILENT_S, STREAM
from flash_sale.store import Store

Entry = tuple[bytes, dict[bytes, bytes]]
# Returns the word for how it ended, or None: not now.
Handle = Callable[[dict[bytes, bytes]], Awaitable[str | None]]

_BATCH: Final = 64
_BLOCK_MS: Final = 200
_LOOK_S: Final = 0.25


class Consumer:
    """Keeps up to slots entries in work at once.

    Args:
        url: of the Redis that has the stream.
        store: for everything that does not block; the same Redis.
        name: of this consumer in its group.
        slots: entries.
        handle: works on one entry.
    """

    def __init__(self, url: str, store: Store, *, name: str, slots: int, handle: Handle) -> None:
        self._redis = Redis.from_url(url)
        self._store = store
        self._name = name
        self._slots = slots
        self._handle = handle
        self._open: dict[bytes, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Works until it is cancelled, or until handle raises; what is open then comes to its end elsewhere."""
        async with asyncio.TaskGroup() as self._tasks:
            tasks = self._tasks
            tasks.create_task(self._read())
            tasks.create_task(self._claim())
            tasks.create_task(self._keep())

    async def _read(self) -> None:
        while True:
            free = await self._free()
            answer: Any = await self._redis.xreadgroup(
                GROUP, self._name, {STREAM: ">"}, count=min(free, _BATCH), block=_BLOCK_MS
            )
            for _, entries in answer or []:
                self._take(entries)

    async def _free(self) -> int:
        while len(self._open) >= self._slots:
            self._changed.clear()
            await self._changed.wait()
        return self._slots - len(self._open)

    async def _claim(self) -> None:
        start: Any = b"0-0"
        while True:
            free = await self._free()
            start, entries, *_ = await self._store.run(
                "XAUTOCLAIM", STREAM, GROUP, self._name, round(SILENT_S * 1000), start, "COUNT", min(free, _BATCH)
            )
            self._take(entries)
            if start == b"0-0":
                await asyncio.sleep(_LOOK_S)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self._open:
                await self._claim_again(0, *self._open)

    async def _hand_back(self, name: bytes) -> None:
        self._store.run("HINCRBY", OUTCOMES, "handed back", 1)
        await self._claim_again(round((SILENT_S - AGAIN_S) * 1000), name)

    async def _claim_again(self, idle_ms: int, *names: bytes) -> None:
        """Sets how long ago entries were heard of."""
        await self._store.run(
            "XCLAIM", STREAM, GROUP, self._name, 0, *names, "IDLE", idle_ms, "JUSTID", parse_justid=True
        )

    def _take(self, entries: list[Entry]) -> None:
        for name, fields in entries:
            if name not in self._open:
                self._open[name] = self._tasks.create_task(self._work(name, fields))

    async def _work(self, name: bytes, fields: dict[bytes, bytes]) -> None:
        try:
            outcome = await self._handle(fields)
            if outcome is None:
                await self._hand_back(name)
                return
            self._store.run("HINCRBY", OUTCOMES, outcome, 1)
            self._store.run("HINCRBY", SHARES, self._name, 1)
            # In this order: should the worker die between them, the next XAUTOCLAIM tidies up.
            self._store.run("XDEL", STREAM, name)
            await self._store.run("XACK", STREAM, GROUP, name)
        finally:
            del self._open[name]
            self._changed.set()
