"""One shard: a Redis that is kept connected, checked, and asked to run scripts."""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lockservice.errors import (
    ClockUnsafe,
    LockServiceError,
    OutcomeUnknown,
    ShardOutOfMemory,
    ShardUnavailable,
)
from lockservice.limits import (
    BUCKETS,
    CLOCK_ERROR_MS_MAX,
    PROBE_MS,
    RECONNECT_MS_MAX,
    RECONNECT_MS_MIN,
)
from lockservice.metrics import Metrics
from lockservice.shards import script
from lockservice.shards.condition import Condition, check
from lockservice.shards.keys import BUCKET_BY_PREFIX, BUCKET_PREFIXES, INBOX
from lockservice.shards.pipeline import Pipeline, connect, is_error

log = logging.getLogger(__name__)

Reply = list[Any]
OnHint = Callable[[int, bytes], None]

# Error replies that mean: nothing was done, and the shard may take the call later or at another address.
_UNAVAILABLE: Final = frozenset(
    (
        *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "MISCONF", "BUSY"),
        *("TRYAGAIN", "MOVED", "ASK", "NOAUTH", "NOPERM", "WRONGPASS"),
    )
)
_LATENCIES_KEPT: Final = 2_048
# These go to many buckets at once and wait for one another, so their latency says nothing of a worker's call.
_IN_BULK: Final = frozenset({"sweep", "list", "count"})


class Shard:
    """Keeps one connection to a shard's Redis and runs scripts on it.

    Args:
        name: its name in the shard map.
        url: a redis-py URL, perhaps with credentials.
        map_names: the names of all shards, as each shard remembers them.
        replica: this replica's name, whose inbox is subscribed.
        timeout_ms: how long an answer may take.
        memory_ms: how long completed versions are remembered.
        metrics: where calls are measured.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        map_names: str,
        replica: str,
        timeout_ms: int,
        memory_ms: int,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.url = url
        self.condition = Condition(problem="not connected yet")
        self.seen = [0] * BUCKETS
        self.latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self.on_hint: OnHint = lambda _bucket, _call: None
        self.on_change: Callable[[bool], None] = lambda _up: None
        self._map_names = map_names
        self._replica = replica
        self._timeout_s = timeout_ms / 1000
        self._memory_ms = memory_ms
        self._metrics = metrics
        self._pipeline: Pipeline | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._duration = metrics.redis(name)
        self._batch = metrics.redis_batch_size.labels(name).observe

    async def start(self) -> None:
        """Begins to connect, and returns once the first attempt is over, however it ended."""
        self._task = asyncio.create_task(self._stay_connected(), name=f"shard {self.name}")
        await self._tried.wait()

    async def stop(self) -> None:
        """Closes the connection for good."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._pipeline is not None:
            self._pipeline.close("this replica stops")

    async def run(self, verb: str, bucket: int, arguments: Mapping[str, script.Argument]) -> Reply:
        """Runs a script on a bucket and returns its words.

        Raises:
            ShardUnavailable: nothing was done.
            OutcomeUnknown: it may have been done.
            ShardOutOfMemory, ClockUnsafe, ShardMapMismatch: nothing was done.
        """
        loaded = script.load(verb)
        values = loaded.values(arguments)
        started = time.perf_counter()
        try:
            reply = await self._call("EVALSHA", loaded.sha, bucket, values)
            # Nearly every reply is the words of the script; the rest is sorted out apart.
            if type(reply) is not list or reply[0] == b"reseed":
                reply = await self._insist(loaded, bucket, values, reply)
        except LockServiceError as error:
            self._metrics.redis_errors.labels(self.name, type(error).__name__).inc()
            raise
        elapsed = time.perf_counter() - started
        if verb not in _IN_BULK:
            self.latencies_s.append(elapsed)
            self._duration[verb].observe(elapsed)
        return reply

    def _call(
        self, command: str, text: str | bytes, bucket: int, values: Sequence[script.Argument]
    ) -> asyncio.Future[Any]:
        pipeline = self._pipeline
        if pipeline is None or self.condition.problem:
            self.condition.refuse(self.name)
        return pipeline.call(
            command, text, 1, BUCKET_PREFIXES[bucket], self.condition.run_id, self._memory_ms, *values
        )

    async def _insist(
        self, loaded: script.Script, bucket: int, values: Sequence[script.Argument], reply: Any
    ) -> Reply:
        """Runs a script that Redis does not know yet, or whose bucket is not seeded yet."""
        while True:
            if is_error(reply) and str(reply).startswith("NOSCRIPT"):
                reply = await self._call("EVAL", loaded.text, bucket, values)
            if is_error(reply):
                raise self._refusal(str(reply))
            if reply[0] != b"reseed":
                return reply  # type: ignore[no-any-return]  # hiredis gives what Redis sent
            await self._seed(bucket)
            reply = await self._call("EVALSHA", loaded.sha, bucket, values)

    def _refusal(self, text: str) -> Exception:
        word = text.split(" ", 1)[0]
        if word == "OOM":
            return ShardOutOfMemory(f"shard {self.name} is out of memory")
        # What the ACL forbids inside a script has no word of its own before Redis 7.2.
        if word in _UNAVAILABLE or "user executing the script" in text or "ACL failure in script" in text:
            return ShardUnavailable(f"shard {self.name} answers {word}")
        return RuntimeError(f"shard {self.name}: {text}")

    async def _seed(self, bucket: int) -> None:
        loaded = script.load("seed")
        values = (self.seen[bucket], time.time_ns() // 1000, CLOCK_ERROR_MS_MAX * 1000)
        reply = await self._call("EVAL", loaded.text, bucket, values)
        if is_error(reply):
            raise self._refusal(str(reply))
        if reply[0] == b"clock_unsafe":
            raise ClockUnsafe(
                f"the clock of shard {self.name} is {int(reply[1]) / 1e6:+.3f} s off this replica's; "
                f"at most {CLOCK_ERROR_MS_MAX} ms are safe to seed fencing tokens from"
            )

    async def _stay_connected(self) -> None:
        pause_ms = RECONNECT_MS_MIN
        while True:
            try:
                await self._connect()
                pause_ms = RECONNECT_MS_MIN
                await self._stay_checked()
            except (ShardUnavailable, OutcomeUnknown) as error:
                self._become(Condition(problem=str(error)))
            finally:
                self._tried.set()
                if self._pipeline is not None:
                    self._pipeline.close("reconnecting")
                    self._pipeline = None
            # The jitter keeps replicas from coming back to a restarted Redis all at once.
            await asyncio.sleep(pause_ms / 1000 * random.uniform(0.5, 1.0))  # noqa: S311  no secret
            pause_ms = min(pause_ms * 2, RECONNECT_MS_MAX)

    async def _connect(self) -> None:
        pipeline = await connect(self.url, timeout_s=self._timeout_s, on_push=self._hear, on_batch=self._batch)
        self._pipeline = pipeline
        condition = await check(pipeline, self._map_names)
        for loaded in script.load_all():
            reply = await pipeline.call("SCRIPT", "LOAD", loaded.text)
            if is_error(reply):
                raise ShardUnavailable(f"it refuses {loaded.name}.lua: {reply}")
        reply = await pipeline.subscribe(INBOX + self._replica)
        if is_error(reply):
            raise ShardUnavailable(f"it refuses the inbox: {reply}")
        self._become(condition)
        self._tried.set()

    async def _stay_checked(self) -> None:
        """Looks again and again whether the shard may be used, until the connection ends."""
        pipeline = self._pipeline
        assert pipeline is not None
        while not pipeline.closed.done():
            await asyncio.wait([pipeline.closed], timeout=PROBE_MS / 1000)
            if not pipeline.closed.done():
                self._become(await check(pipeline, self._map_names))
        raise ShardUnavailable("the connection was lost")

    def _become(self, condition: Condition) -> None:
        before, self.condition = self.condition, condition
        self._metrics.shard_up.labels(self.name).set(0 if condition.problem else 1)
        if condition.run_id and condition.run_id != before.run_id:
            self._metrics.shard_incarnations.labels(self.name).inc()
        if condition.problem != before.problem:
            if condition.problem:
                log.warning("shard is not usable", extra={"shard": self.name, "problem": condition.problem})
            else:
                log.info("shard is up", extra={"shard": self.name})
            self.on_change(not condition.problem)

    def _hear(self, push: Reply) -> None:
        if push[0] == b"message":
            prefix, _, call = push[2].partition(b" ")
            bucket = BUCKET_BY_PREFIX.get(prefix)
            if bucket is not None:
                self.on_hint(bucket, call)
