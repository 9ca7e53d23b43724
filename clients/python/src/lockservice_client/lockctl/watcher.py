"""Looks at the service again and again on a thread of its own, so that a terminal never waits for an answer."""

import threading
import time
from collections import deque
from concurrent.futures import CancelledError
from datetime import datetime
from typing import Final

from lockservice_client import blocking, errors
from lockservice_client.lockctl.picture import Look
from lockservice_client.values import Lock, Overview

_PROBLEMS_KEPT: Final = 100
_STOP_S: Final = 0.5


class Watcher:
    """Looks, and remembers the last look and what went wrong lately.

    Args:
        client: to ask with.
        interval: seconds between looks.
        prefix: of the resources to list.
        limit: how many to list at most.

    Attributes:
        look: the last that came to an end; None: none has yet.
        error: why there has been none since; empty: it is fresh.
        problems: what went wrong lately, in words.
    """

    def __init__(self, client: blocking.Client, *, interval: float, prefix: str, limit: int) -> None:
        self.look: Look | None = None
        self.error = ""
        self.problems: deque[str] = deque(maxlen=_PROBLEMS_KEPT)
        self._client = client
        self._interval = interval
        self._prefix = prefix
        self._limit = limit
        self._at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lockctl-top", daemon=True)

    @property
    def age(self) -> float:
        """Seconds since the last look came to an end, or since it was made without one."""
        return time.monotonic() - self._at

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stops looking; a look that hangs is left to end with the client."""
        self._stopping.set()
        self._thread.join(_STOP_S)

    def once(self) -> Look:
        """Looks now. Raises ServiceError."""
        overview, at = self._client.overview(), time.monotonic()
        locks, unlisted = self._list()
        look = Look(overview, self._rates(overview, at), locks, unlisted)
        self._compare(overview)
        self.look, self.error, self._at = look, "", at
        return look

    def _run(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                was = self.error
                self.once()
                if was:
                    self._note("the service answers again")
            except errors.ServiceError as error:
                if not self.error:
                    self._note(str(error))
                self.error = str(error)
            except CancelledError:
                return  # The client was closed meanwhile.
            self._stopping.wait(max(0.0, started + self._interval - time.monotonic()))

    def _list(self) -> tuple[tuple[Lock, ...], str]:
        """Lists what is held; when only that fails, since a shard is down, the last list stays."""
        try:
            return tuple(self._client.list_locks(self._prefix, limit=self._limit)), ""
        except errors.ServiceError as error:
            if not error.reason:
                raise
            return (() if self.look is None else self.look.locks), str(error)

    def _rates(self, overview: Overview, at: float) -> dict[str, float]:
        if self.look is None or self.look.overview.replica != overview.replica or at <= self._at:
            return {}
        before = {shard.name: shard.calls for shard in self.look.overview.shards}
        passed = at - self._at
        return {s.name: (s.calls - before[s.name]) / passed for s in overview.shards if s.name in before}

    def _compare(self, overview: Overview) -> None:
        known = {} if self.look is None else {shard.name: shard.problem for shard in self.look.overview.shards}
        for shard in overview.shards:
            if shard.problem and shard.problem != known.get(shard.name):
                self._note(f"shard {shard.name}: {shard.problem}")
            elif not shard.problem and known.get(shard.name):
                self._note(f"shard {shard.name} is up again")
        if self.look is not None and self.look.overview.replica != overview.replica:
            self._note("another replica answers: calls a second are counted anew")

    def _note(self, words: str) -> None:
        self.problems.append(f"{datetime.now().astimezone():%H:%M:%S} {words}")
