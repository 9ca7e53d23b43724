"""The waiting calls of this replica, and how they are woken.

All order among waiters is kept in Redis; a replica only parks its own callers until it hears that one of them should
look again. A hint may be lost, and may be wrong: whoever wakes asks Redis, and parks again if nothing has changed.
So there is nothing to keep in step here but one count: how many hints a bucket has sent to this replica. The sweep
compares it with how many arrived, and wakes everybody in the bucket when they differ.
"""

import asyncio
import itertools
import secrets
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import Any

from lockservice.errors import Draining, TooManyWaiters
from lockservice.quotas import Quotas


class ParkedCall:
    """A call that may wait. It must exist before Redis hears of the call, since a hint can come at once."""

    __slots__ = ("answer", "bucket", "hinted", "namespace", "waker")

    def __init__(self, bucket: int, namespace: str) -> None:
        self.bucket = bucket
        self.namespace = namespace
        self.hinted = False
        self.answer: list[Any] | None = None
        self.waker: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Makes the call look again."""
        self.hinted = True
        if self.waker is not None and not self.waker.done():
            self.waker.set_result(None)


class Waiters:
    """The parked calls of this replica."""

    def __init__(self, room: "WaitingRoom") -> None:
        self.replica = room.replica
        self._room = room
        self._calls: dict[bytes, ParkedCall] = {}
        self._by_bucket: dict[int, set[bytes]] = defaultdict(set)
        self.hints_heard: dict[int, int] = defaultdict(int)

    def __len__(self) -> int:
        return len(self._calls)

    def open(self, call: str, bucket: int, namespace: str) -> ParkedCall:
        """Registers a call that may wait; `close` ends it.

        Raises:
            TooManyWaiters, QuotaExceeded: this replica, or this namespace, has as many as it may.
        """
        self._room.enter(namespace)
        parked = ParkedCall(bucket, namespace)
        self._calls[call.encode()] = parked
        self._by_bucket[bucket].add(call.encode())
        return parked

    def close(self, call: str) -> None:
        """Forgets a call."""
        parked = self._calls.pop(call.encode())
        of_bucket = self._by_bucket[parked.bucket]
        of_bucket.discard(call.encode())
        if not of_bucket:
            del self._by_bucket[parked.bucket]
            self.hints_heard.pop(parked.bucket, None)
        self._room.leave(parked.namespace)

    async def wait(self, parked: ParkedCall, until: float) -> list[Any] | None:
        """Waits for a hint or an answer, but not longer than until, a time of the event loop; returns the answer.

        Raises:
            Draining: this replica is going away.
        """
        self._room.refuse_when_draining()
        if not parked.hinted:
            loop = asyncio.get_running_loop()
            parked.waker = loop.create_future()
            timer = loop.call_at(until, parked.wake)
            self._room.waiting += 1
            try:
                await parked.waker
            finally:
                self._room.waiting -= 1
                timer.cancel()
                parked.waker = None
        parked.hinted = False
        if parked.answer is not None:
            return parked.answer
        self._room.refuse_when_draining()
        return None

    def hear(self, bucket: int, call: bytes) -> None:
        """Takes a hint from Redis. One for a call that has ended needs nothing: its clean-up is under way."""
        self.hints_heard[bucket] += 1
        parked = self._calls.get(call)
        if parked is not None:
            parked.wake()

    def answer(self, call: bytes, words: list[Any]) -> None:
        """Takes the answer to a waiting call: it was granted the lease.

        One that has ended needs nothing, as above: its clean-up gives the lease back. One that is asking Redis at
        this moment cannot know which of the two answers is the newer one, and asks again.
        """
        parked = self._calls.get(call)
        if parked is not None:
            if parked.waker is not None:
                parked.answer = words
            parked.wake()

    def buckets(self) -> list[int]:
        """Returns the buckets in which calls are parked."""
        return list(self._by_bucket)

    def parked_in(self, bucket: int) -> bool:
        """Says whether calls are parked in a bucket."""
        return bucket in self._by_bucket

    def wake_bucket(self, bucket: int) -> None:
        """Makes every call of a bucket look again."""
        for call in self._by_bucket.get(bucket, ()):
            self._calls[call].wake()

    def wake_buckets(self, buckets: Iterable[int]) -> None:
        """Makes every call of some buckets look again."""
        for bucket in buckets:
            self.wake_bucket(bucket)

    def wake_all(self) -> None:
        """Makes every call look again."""
        self.wake_buckets(self.buckets())


class WaitingRoom:
    """All parked calls of this replica: their number is bounded, and a drain sends all of them on.

    Attributes:
        replica: this process's name among all replicas.
        waiting: how many calls are waiting now.
        waiters: those calls.
    """

    def __init__(self, *, waiters_max: int, quotas: Quotas) -> None:
        self.replica = secrets.token_hex(5)
        self.waiting = 0
        self._open = 0
        self._waiters_max = waiters_max
        self._quotas = quotas
        self._numbers = itertools.count()
        self._draining = False
        self.waiters = Waiters(self)
        self._cleaning: set[asyncio.Task[Any]] = set()

    def name_call(self) -> str:
        """Names a call: unique among all calls of all replicas."""
        return f"{self.replica}.{next(self._numbers)}"

    def enter(self, namespace: str) -> None:
        """Counts a call in. Raises TooManyWaiters, QuotaExceeded."""
        if self._open >= self._waiters_max:
            raise TooManyWaiters(f"this replica has {self._waiters_max} waiting calls already")
        self._quotas.enter(namespace)
        self._open += 1

    def leave(self, namespace: str) -> None:
        """Counts a call out."""
        self._quotas.leave(namespace)
        self._open -= 1

    def refuse_when_draining(self) -> None:
        """Raises Draining once a drain has begun."""
        if self._draining:
            raise Draining("this replica is going away")

    def drain(self) -> None:
        """Tells every waiting call, and all that would wait from now on, to queue at another replica."""
        self._draining = True
        self.waiters.wake_all()

    def clean_up(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs the clean-up of a call that has ended, which nothing may cancel any more."""
        task = asyncio.create_task(coroutine)
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)

    async def cleaned(self) -> None:
        """Returns once every clean-up is done."""
        while self._cleaning:
            await asyncio.wait(self._cleaning)
