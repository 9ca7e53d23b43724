"""Looks after the buckets, so that nothing in Redis depends on the replica that wrote it.

A sweep of a bucket ends the leases, holds and claims that have run out, hands their resources on, says that this
replica lives, and answers when something runs out next. Buckets in which this replica has waiting calls are swept
when that moment comes, and at least every SWEEP_MS; all others once in SWEEP_ALL_MS, which counts and forgets what
nobody waits for. A shard that answers late holds up the sweeps of its own buckets only.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict

from lockservice.errors import LockServiceError
from lockservice.limits import BUCKETS, CONFIRM_MS, SWEEP_ALL_MS, SWEEP_MS, SWEEP_MS_MIN
from lockservice.metrics import Metrics
from lockservice.shards.shard import Shard
from lockservice.shards.shard_map import ShardMap
from lockservice.waiters import Waiters

log = logging.getLogger(__name__)

# Expiry is decided on the shard's clock in whole milliseconds, so a sweep comes one later.
_AFTER_MS = 1
_SLICE = 16


class Sweeper:
    """Sweeps the shards for the waiting calls of this replica."""

    def __init__(self, *, shard_map: ShardMap, waiters: Waiters, metrics: Metrics) -> None:
        self._map = shard_map
        self._waiters = waiters
        self._metrics = metrics
        self._due: dict[int, float] = {}
        self._holds = [0] * BUCKETS
        self._next_of_all = 0
        self._swept_at: dict[Shard, float] = {}
        self._sweeping: dict[Shard, asyncio.Task[None]] = {}
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to sweep."""
        self._map.on_change = self._waiters.wake_buckets
        self._task = asyncio.create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        """Stops sweeping."""
        tasks = [self._task] if self._task is not None else []
        for task in [*tasks, *self._sweeping.values()]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def holds(self) -> int:
        """How many resources are kept for a retry, as of the last sweeps."""
        return sum(self._holds)

    def expect(self, bucket: int, in_ms: float) -> None:
        """Sweeps a bucket when something in it runs out, in_ms from now, and no later than SWEEP_MS from now."""
        due = asyncio.get_running_loop().time() + (min(in_ms, SWEEP_MS) + _AFTER_MS) / 1000
        if due < self._due.get(bucket, float("inf")):
            self._due[bucket] = due
            self._sooner.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        slice_s = SWEEP_ALL_MS / 1000 * _SLICE / BUCKETS
        next_slice = loop.time()
        while True:
            now = loop.time()
            for bucket in self._waiters.buckets():
                self._due.setdefault(bucket, now)
            due = {bucket for bucket, at in self._due.items() if at <= now}
            if now >= next_slice:
                next_slice = now + slice_s
                due |= {(self._next_of_all + i) % BUCKETS for i in range(_SLICE)}
                self._next_of_all = (self._next_of_all + _SLICE) % BUCKETS
            for bucket in due:
                self._due.pop(bucket, None)
            self._begin(due, now)
            self._sooner.clear()
            pause = min([next_slice, now + SWEEP_MS / 1000, *self._due.values()]) - loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(pause, SWEEP_MS_MIN / 1000)):
                    await self._sooner.wait()
                    # Something runs out sooner than it was thought; it is not due this very moment.
                    await asyncio.sleep(SWEEP_MS_MIN / 1000)

    def _begin(self, due: set[int], now: float) -> None:
        """Begins to sweep what is due, shard by shard; one that has not answered the last sweep yet is left out."""
        of_shard: dict[Shard, list[int]] = defaultdict(list)
        for bucket in sorted(due):
            with contextlib.suppress(LockServiceError):
                of_shard[self._map.pick(bucket)].append(bucket)
        for shard, buckets in of_shard.items():
            if shard not in self._sweeping:
                task = self._sweeping[shard] = asyncio.create_task(self._sweep_shard(shard, buckets, now))
                task.add_done_callback(lambda _, shard=shard: self._sweeping.pop(shard, None))  # type: ignore[misc]  # mypy cannot type a default of a lambda

    async def _sweep_shard(self, shard: Shard, buckets: list[int], now: float) -> None:
        # A replica that was frozen for longer than it is believed to live has missed hints for certain.
        if now - self._swept_at.get(shard, now) > CONFIRM_MS / 1000:
            self._waiters.wake_all()
        self._swept_at[shard] = now
        answers = await asyncio.gather(*(self._sweep(bucket) for bucket in buckets), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, LockServiceError):
                log.info("sweep failed", extra={"shard": shard.name, "problem": str(answer)})
                return
            if isinstance(answer, BaseException):
                # Without the next sweep waiters would wait for nothing.
                log.error("bug", exc_info=answer)

    async def _sweep(self, bucket: int) -> None:
        waiters = self._waiters
        parked = waiters.parked_in(bucket)
        arguments = {"replica": waiters.replica, "parked": "1" if parked else ""}
        reply = await self._map.pick(bucket).run("sweep", bucket, arguments)
        hints, next_ms, self._holds[bucket] = int(reply[1]), int(reply[2]), int(reply[3])
        self._metrics.claim_expirations.inc(int(reply[4]))
        for held_ms in reply[5:]:
            self._metrics.lease_expirations.inc()
            self._metrics.hold_duration["expired"].observe(int(held_ms) / 1000)
        if not waiters.parked_in(bucket):
            return
        if parked and hints != waiters.hints_heard.get(bucket, 0):
            waiters.hints_heard[bucket] = max(hints, 0)
            waiters.wake_bucket(bucket)
        self.expect(bucket, next_ms if next_ms >= 0 else SWEEP_MS)
