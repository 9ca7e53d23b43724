"""The store of the workers: plain Redis commands, each for itself. No transaction, no script, no lock."""

import asyncio
from typing import Any, Final, cast

import orjson
from redis.asyncio import Redis

from flash_sale.documents import Document

_TIMEOUT_S: Final = 10.0
# What is given within this time travels together; beside the work itself it does not count.
_GATHER_S: Final = 0.004

_Call = tuple[tuple[Any, ...], dict[str, Any], asyncio.Future[Any]]


class Store:
    """Reads and writes documents.

    Commands of one moment travel together; that spares system calls and makes no two of them one.
    """

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, socket_timeout=_TIMEOUT_S)
        self._waiting: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None

    def run(self, *command: Any, **reading: Any) -> asyncio.Future[Any]:
        """Sends a command and returns its answer to come; an error is raised by whoever awaits it.

        Args:
            command: as redis-cli takes it.
            reading: what redis-py needs to know to read the answer.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, reading, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="store")
        return answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_GATHER_S)
                batch, self._waiting = self._waiting, []
                await self._exchange(batch)
        finally:
            self._sending = None

    async def _exchange(self, batch: list[_Call]) -> None:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for command, reading, _ in batch:
                    pipeline.execute_command(*command, **reading)
                answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001  whatever it is, everybody who waits must hear of it
            answers = [error] * len(batch)
        for (*_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def read(self, key: str) -> Document | None:
        """Reads a document."""
        text = await self.run("GET", key)
        return None if text is None else cast("Document", orjson.loads(text))

    async def write(self, key: str, document: Document) -> None:
        """Writes a document over whatever is there."""
        await self.run("SET", key, orjson.dumps(document))

    async def close(self) -> None:
        """Closes the connection."""
        if self._sending is not None:
            await self._sending
        await self._redis.aclose()
