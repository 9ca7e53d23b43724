"""One Redis behind a shard: kept connected, checked again and again, and asked to run scripts."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from lockservice.errors import OutcomeUnknown, ShardUnavailable
from lockservice.guarantee import Guarantee
from lockservice.limits import CLOCK_ERROR_MS_MAX, PROBE_MS, RECONNECT_MS_MAX, RECONNECT_MS_MIN
from lockservice.metrics import Metrics
from lockservice.shards import script
from lockservice.shards.call import Shared
from lockservice.shards.condition import Condition, check
from lockservice.shards.confirmed import ConfirmedPipeline, confirmation
from lockservice.shards.connection import connect
from lockservice.shards.keys import BUCKET_BY_PREFIX, BUCKET_PREFIXES, INBOX
from lockservice.shards.pipeline import Pipeline, is_error

log = logging.getLogger(__name__)

_CLOCK_ERROR_US: Final = CLOCK_ERROR_MS_MAX * 1000
# For each verb and, in a Cluster, each bucket.
_SHARED_KEPT: Final = 4_096
# These read only, so nobody need have a copy of anything before they are answered.
_READING: Final = frozenset({"inspect", "list", "count", "survey"})


@dataclass(frozen=True, slots=True)
class Connecting:
    """What all nodes of a replica have in common.

    Attributes:
        replica: this replica's name, whose inbox is subscribed.
        timeout_s: how long an answer may take.
        memory_ms: how long completed versions are remembered.
        hold_off_ms: how long an exclusive shard grants nothing after a change of primary.
        metrics: where calls are measured.
    """

    replica: str
    timeout_s: float
    memory_ms: int
    hold_off_ms: int
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Owner:
    """The shard that a node works for.

    Attributes:
        name: of the shard.
        guarantee: what its answers are worth.
        vet: looks at a Redis before it is used, and whenever it is checked; returns why it may not be used.
        on_change: is called when the node can be used from now on, or cannot any more.
        on_look: is called whenever the node has been looked at.
        on_doubt: is called when it may not be the primary any more.
        on_hint: is called with the node, the bucket, and the name of a waiting call that should look again.
    """

    name: str
    guarantee: Guarantee
    vet: Callable[[Pipeline], Awaitable[str]]
    on_change: Callable[[], None]
    on_look: Callable[[], None]
    on_doubt: Callable[[], None]
    on_hint: "Callable[[Node, int, bytes], None]"


@lru_cache(maxsize=_SHARED_KEPT)
def _shared(sha: bytes, many_sha: bytes, run_id: str, memory_ms: int, slot: bytes) -> Shared:
    return Shared(sha, many_sha, (run_id, memory_ms), slot)


class Node:
    """Keeps one connection to one Redis.

    Args:
        owner: the shard.
        locate: finds the URL to connect to, anew for each attempt; raises ShardUnavailable.
        connecting: what it has in common with all others.
    """

    def __init__(self, owner: Owner, locate: Callable[[], Awaitable[str]], connecting: Connecting) -> None:
        self.owner = owner
        self.condition = Condition(problem="not connected yet")
        self.url = ""
        self._locate = locate
        self._connecting = connecting
        self._batch = connecting.metrics.redis_batch_size.labels(owner.name).observe
        self._late_us = _CLOCK_ERROR_US + round(connecting.timeout_s * 1_000_000)
        self._pipeline: Pipeline | None = None
        self._task: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._again = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._last_run_id = ""
        self._evicted = 0
        self.tried = asyncio.Event()
        self.holding: set[int] = set()

    def start(self) -> None:
        """Begins to connect; `tried` is set once the first attempt is over, however it ended."""
        self._task = asyncio.create_task(self._stay_connected(), name=f"shard {self.owner.name}")

    async def stop(self) -> None:
        """Closes the connection for good."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._pipeline is not None:
            self._pipeline.close("this replica stops")

    def call(
        self, loaded: script.Script, command: str, bucket: int, values: Sequence[script.Argument]
    ) -> asyncio.Future[Any]:
        """Runs a script, with EVALSHA, or with EVAL when Redis does not know it yet.

        Raises:
            ShardUnavailable: nothing was sent.
        """
        pipeline, condition = self._pipeline, self.condition
        if pipeline is None or condition.problem:
            raise ShardUnavailable(f"shard {self.owner.name}: {condition.problem or 'not connected'}")
        send = pipeline.call if loaded.name in _READING else pipeline.answer
        run_id = condition.run_id + ":holding" if bucket in self.holding else condition.run_id
        if loaded.timed:
            now_us = time.time_ns() // 1000
            values = (now_us - _CLOCK_ERROR_US, now_us + self._late_us, *values)
        prefix, memory_ms = BUCKET_PREFIXES[bucket], self._connecting.memory_ms
        if loaded.many and command == "EVALSHA":
            slot = prefix if condition.facts.clustered else b""
            return pipeline.share(_shared(loaded.sha, loaded.many_sha, run_id, memory_ms, slot), prefix, values)
        if loaded.many:
            # It has forgotten its scripts; EVAL makes it know the other one again.
            pipeline.call("SCRIPT", "LOAD", loaded.many)
        text = loaded.sha if command == "EVALSHA" else loaded.text
        return send(command, text, 1, prefix, run_id, memory_ms, *values)

    def hurry(self) -> None:
        """Sends what has been called, for a call that others wait for."""
        if self._pipeline is not None:
            self._pipeline.hurry()

    def read(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """Sends a command that only reads. Raises ShardUnavailable: nothing was sent."""
        return self._connected().call(*command)

    def send(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """Sends any command, whose reply is confirmed like a script's. Raises ShardUnavailable: nothing was sent."""
        return self._connected().answer(*command)

    def _connected(self) -> Pipeline:
        if self._pipeline is None or self.condition.problem:
            raise ShardUnavailable(f"shard {self.owner.name}: {self.condition.problem or 'not connected'}")
        return self._pipeline

    async def look(self) -> None:
        """Checks whether the Redis may be used, and returns when that is known."""
        pipeline = self._pipeline
        if pipeline is not None and not pipeline.closed.done():
            with contextlib.suppress(ShardUnavailable, OutcomeUnknown):
                self._become(await self._check(pipeline))

    def check_now(self) -> None:
        """Has the Redis looked at now rather than at the next probe."""
        self._look.set()

    async def look_at_clock(self) -> str:
        """Looks at its clock now, once for all who ask meanwhile; returns what is wrong with it."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self.look(), name=f"clock of {self.owner.name}")
        await asyncio.shield(self._looking)
        return self.condition.clock_problem

    def relocate(self, reason: str) -> None:
        """Closes the connection, if there is one, and finds out now where to connect."""
        self._again.set()
        if self._pipeline is not None:
            self._pipeline.close(reason)

    async def _stay_connected(self) -> None:
        pause_ms = RECONNECT_MS_MIN
        while True:
            try:
                await self._connect()
                pause_ms = RECONNECT_MS_MIN
                await self._stay_checked()
            except (ShardUnavailable, OutcomeUnknown) as error:
                self._become(Condition(problem=str(error)))
            except Exception as error:
                # Whatever goes wrong once must not leave the shard without anybody who connects to it.
                log.exception("shard cannot be used", extra={"shard": self.owner.name})
                self._become(Condition(problem=f"{type(error).__name__}: {error}"))
            finally:
                self.tried.set()
                if self._pipeline is not None:
                    self._pipeline.close("reconnecting")
                    self._pipeline = None
            self.owner.on_doubt()
            # The jitter keeps replicas from coming back to a restarted Redis all at once.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_ms / 1000 * random.uniform(0.5, 1.0)):  # noqa: S311  no secret
                    await self._again.wait()
            self._again.clear()
            pause_ms = min(pause_ms * 2, RECONNECT_MS_MAX)

    async def _connect(self) -> None:
        guarantee, connecting = self.owner.guarantee, self._connecting
        self.url = await self._locate()
        kind = ConfirmedPipeline if guarantee.replicas or guarantee.fsync else Pipeline
        pipeline = kind(timeout_s=connecting.timeout_s, on_push=self._hear, on_batch=self._batch)
        await connect(self.url, pipeline)
        self._pipeline = pipeline
        condition = await self._check(pipeline)
        texts = [(one.name, text) for one in script.load_all() for text in (one.text, one.many) if text]
        replies = await asyncio.gather(*(pipeline.call("SCRIPT", "LOAD", text) for _, text in texts))
        for (name, _), reply in zip(texts, replies, strict=True):
            if is_error(reply):
                raise ShardUnavailable(f"it refuses {name}.lua: {reply}")
        reply = await pipeline.subscribe(INBOX + connecting.replica)
        if is_error(reply):
            raise ShardUnavailable(f"it refuses the inbox: {reply}")
        if isinstance(pipeline, ConfirmedPipeline):
            how = confirmation(guarantee, waitaof=condition.waitaof, timeout_s=connecting.timeout_s)
            pipeline.confirm_by(how, self.owner.on_doubt)
        self.holding.clear()
        self._become(condition)
        self.tried.set()

    async def _check(self, pipeline: Pipeline) -> Condition:
        condition = await check(pipeline, self.owner.guarantee)
        if condition.problem:
            return condition
        return replace(condition, problem=await self.owner.vet(pipeline))

    async def _stay_checked(self) -> None:
        """Looks again and again whether the Redis may be used, until the connection ends."""
        pipeline = self._pipeline
        assert pipeline is not None
        pipeline.closed.add_done_callback(lambda _: self._look.set())
        while not pipeline.closed.done():
            self._look.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_MS / 1000):
                    await self._look.wait()
            if not pipeline.closed.done():
                self._become(await self._check(pipeline))
        raise ShardUnavailable("the connection was lost")

    def _become(self, condition: Condition) -> None:
        before, self.condition = self.condition, condition
        metrics, shard = self._connecting.metrics, self.owner.name
        if condition.run_id and condition.run_id != self._last_run_id:
            self._last_run_id = condition.run_id
            self._evicted = 0
            metrics.shard_incarnations.labels(shard).inc()
        if condition.run_id:
            metrics.evicted_keys.labels(shard).inc(max(0, condition.facts.evicted_keys - self._evicted))
            self._evicted = condition.facts.evicted_keys
        if condition.clock_problem != before.clock_problem and condition.clock_problem:
            log.error("clock is unsafe", extra={"shard": shard, "problem": condition.clock_problem})
        if condition.problem != before.problem:
            self.owner.on_change()
        self.owner.on_look()

    def _hear(self, push: list[Any]) -> None:
        if push[0] == b"message":
            prefix, _, call = push[2].partition(b" ")
            bucket = BUCKET_BY_PREFIX.get(prefix)
            if bucket is not None:
                self.owner.on_hint(self, bucket, call)
