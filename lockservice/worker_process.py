"""A worker as the supervisor sees it: started, asked, started again when it ends by itself, drained."""

import asyncio
import contextlib
import json
import logging
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lockservice import merge
from lockservice.config import Settings
from lockservice.ops import ask
from lockservice.process import StartError
from lockservice.shards import orphan

log = logging.getLogger(__name__)

# A worker that ended is started again after this long, which doubles until one stays up.
_RESTART_S_MIN: Final = 0.1
_RESTART_S_MAX: Final = 10.0
_STAYED_UP_S: Final = 30.0
# So long a worker may take to answer the supervisor.
_ANSWER_S: Final = 1.0


class WorkerProcess:
    """One worker.

    Args:
        number: which one, from 1.
        settings: what all workers are given.
        directory: where its unix socket is made; nobody else may look into it.
    """

    def __init__(self, number: int, settings: Settings, directory: Path) -> None:
        self.number = number
        self._socket = directory / f"{number}.sock"
        self._settings = replace(settings, ops_addr=f"unix:{self._socket}")
        self._process: asyncio.subprocess.Process | None = None
        self._leaving = asyncio.Event()
        self._seen: merge.Families = []
        self._left: merge.Families = []

    async def start(self) -> None:
        """Starts it, and returns once it serves.

        Raises:
            StartError: it ended instead; it has logged why.
            OSError: there can be no further process.
        """
        own = str(os.getpid())
        worker = (sys.executable, "-m", "lockservice.worker", str(self.number), own)
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", orphan.__file__, own, *worker,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C in a terminal is for the supervisor, which drains the workers.
            start_new_session=True,
        )  # fmt: skip
        if self._leaving.is_set():
            self.signal_drain()
        assert process.stdin is not None
        assert process.stdout is not None
        # One that ends early shows that at its output.
        with contextlib.suppress(ConnectionError):
            # Not in its arguments: addresses of shards hold passwords.
            process.stdin.write(pickle.dumps(self._settings))
            await process.stdin.drain()
        process.stdin.close()
        if not await process.stdout.readline():
            raise StartError(f"worker {self.number} ended with exit code {await process.wait()}")

    async def keep(self) -> None:
        """Starts it again whenever it ends by itself; returns when it has ended because it was to drain."""
        pause = _RESTART_S_MIN
        while True:
            started = time.monotonic()
            assert self._process is not None
            code = await self._process.wait()
            self._left, self._seen = merge.merge([self._left, merge.lasting(self._seen)]), []
            if self._leaving.is_set():
                return
            log.warning("worker ended", extra={"worker": self.number, "exit_code": code})
            if time.monotonic() - started > _STAYED_UP_S:
                pause = _RESTART_S_MIN
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), pause)
                return
            pause = min(2 * pause, _RESTART_S_MAX)
            with contextlib.suppress(StartError, OSError):
                await self.start()
                log.info("worker serves again", extra={"worker": self.number})

    def signal_drain(self) -> None:
        """Tells it to drain, and not to come back."""
        self._leaving.set()
        if self._runs():
            assert self._process is not None
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        self._leaving.set()
        if self._runs():
            assert self._process is not None
            self._process.kill()

    async def ended(self) -> None:
        """Returns once it is gone."""
        if self._process is not None:
            await self._process.wait()

    def _runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def _ask(self, path: str, body: Any = None) -> tuple[int, str] | None:
        """Returns status and text, or nothing when it does not answer in time."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await ask(self._socket, path, body)
        except (OSError, TimeoutError):
            return None

    async def problems(self) -> list[str]:
        """Says why it is not ready; nothing when it is."""
        answer = await self._ask("/readyz")
        if answer is None:
            return [f"worker {self.number} does not answer"]
        status, text = answer
        ready = status == 200  # noqa: PLR2004  OK
        return [] if ready else [f"worker {self.number}: {line}" for line in text.splitlines()]

    async def metrics(self) -> merge.Families:
        """Returns its metrics, with what those before it under its number have counted."""
        asked = self._process
        answer = await self._ask("/metrics") if self._runs() else None
        if answer is not None:
            seen = await asyncio.to_thread(merge.read, answer[1])
            # What a process said that ended meanwhile has been kept already.
            if self._process is asked and self._runs():
                self._seen = seen
        return [*self._left, *self._seen]

    async def tell(self, path: str, body: Any) -> Any:
        """Posts a body as JSON, and returns the JSON of the answer, or nothing when it does not answer."""
        answer = await self._ask(path, body) if self._runs() else None
        return None if answer is None else json.loads(answer[1])
