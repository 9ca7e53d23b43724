"""A server that is asked who the primaries are: a Sentinel, or a node of a Redis Cluster."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from lockservice.errors import OutcomeUnknown, ShardUnavailable
from lockservice.limits import TOPOLOGY_MS
from lockservice.shards.connection import connect
from lockservice.shards.pipeline import Pipeline


class Witness:
    """Asks one server the same again and again.

    Args:
        url: a redis-py URL.
        questions: the commands.
        timeout_s: how long an answer may take.
        on_answer: is called after the answers and after each failure.

    Attributes:
        answers: the last ones, as many as there are questions, errors among them; empty while it gives none.
    """

    def __init__(
        self, url: str, questions: Sequence[tuple[str, ...]], *, timeout_s: float, on_answer: Callable[[], None]
    ) -> None:
        self.answers: list[Any] = []
        self._url = url
        self._questions = questions
        self._timeout_s = timeout_s
        self._on_answer = on_answer
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to ask."""
        self._task = asyncio.create_task(self._ask_on(), name="witness")

    async def stop(self) -> None:
        """Stops asking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _ask_on(self) -> None:
        while True:
            pipeline = Pipeline(timeout_s=self._timeout_s, on_push=lambda _: None, on_batch=lambda _: None)
            try:
                await connect(self._url, pipeline)
                while True:
                    self._hear(await asyncio.gather(*(pipeline.call(*question) for question in self._questions)))
                    await asyncio.sleep(TOPOLOGY_MS / 1000)
            except (ShardUnavailable, OutcomeUnknown):
                self._hear([])
            finally:
                pipeline.close()
            await asyncio.sleep(TOPOLOGY_MS / 1000)

    def _hear(self, answers: list[Any]) -> None:
        self.answers = answers
        self._on_answer()
