"""One shard of the map: it runs scripts on the Redis that serves a bucket, and insists as far as that is safe."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from lockservice.errors import ClockUnsafe, HoldOff, LockServiceError, ShardOutOfMemory, ShardUnavailable
from lockservice.guarantee import Guarantee
from lockservice.limits import CLOCK_ERROR_MS_MAX, MOVING_MS, MOVING_MS_MAX
from lockservice.shards import script
from lockservice.shards.node import Connecting, Node, Owner
from lockservice.shards.pipeline import Pipeline, is_error
from lockservice.shards.topology import topology_of

log = logging.getLogger(__name__)

Reply = list[Any]

# Error replies that mean: nothing was done, and the shard may take the call later or at another address.
_UNAVAILABLE: Final = frozenset(
    (
        *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "MISCONF", "BUSY"),
        *("MOVED", "NOAUTH", "NOPERM", "WRONGPASS"),
    )
)
# Those of them that a Redis answers which is not the primary any more, or not fit to be it.
_DOUBTFUL: Final = frozenset(("READONLY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN"))
# A slot of a Cluster is on its way: nothing was done, and the call can be repeated in a moment.
_MIGRATING: Final = frozenset(("ASK", "TRYAGAIN"))
_LATENCIES_KEPT: Final = 2_048
# These go to many buckets at once, or nobody waits for them, so their latency says nothing of a worker's call.
_IN_BULK: Final = frozenset({"sweep", "list", "count", "survey", "census", "ledger"})
# These would grant something that a lost lease may still cover.
_HELD_OFF: Final = frozenset({"acquire", "dedupe"})


class Shard:
    """Runs scripts on the Redis servers of one shard.

    Args:
        name: its name in the shard map.
        url: where it is.
        guarantee: what its answers are worth.
        connecting: what all connections of this replica have in common.
        seen: the highest fencing token that this replica knows of in each bucket.
        vet: looks at a Redis of it before that is used.
        on_hint: is called with the bucket and the name of a waiting call that should look again.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        guarantee: Guarantee,
        connecting: Connecting,
        seen: list[int],
        vet: Callable[["Shard", Pipeline], Awaitable[str]],
        on_hint: Callable[[int, bytes], None],
    ) -> None:
        self.name = name
        self.url = url
        self.guarantee = guarantee
        self.hold_off_ms = connecting.hold_off_ms if guarantee.exclusive else 0
        self.latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self.calls_timed = 0
        self.started = asyncio.Event()
        self.on_change: Callable[[Shard], None] = lambda _shard: None
        # Where a call goes on whose bucket has gone to another shard.
        self.on_moved: Callable[[Shard, str, int, Mapping[str, script.Argument]], Awaitable[Reply]] | None = None
        self._seen = seen
        self._metrics = connecting.metrics
        self._duration = connecting.metrics.redis(name)
        self._problem = "not connected yet"

        def hear(node: Node, bucket: int, call: bytes) -> None:
            # Every node of a Cluster repeats what one of them publishes.
            if self._by_bucket[bucket] is node:
                on_hint(bucket, call)

        owner = Owner(
            name=name,
            guarantee=guarantee,
            vet=lambda pipeline: vet(self, pipeline),
            on_change=self._changed,
            on_look=self._show,
            on_doubt=lambda: self.topology.doubt(),  # noqa: PLW0108  it is not there yet
            on_hint=hear,
        )
        self.topology = topology_of(owner, url, connecting)
        self._by_bucket = self.topology.by_bucket

    @property
    def problem(self) -> str:
        """Says why a part of it cannot be used; empty when all can."""
        for node in self.nodes:
            problem = node.condition.problem or node.condition.clock_problem
            if problem:
                return problem
        return ""

    @property
    def nodes(self) -> list[Node]:
        """Its Redis servers that serve buckets."""
        return list(dict.fromkeys(self._by_bucket))

    @property
    def evicts(self) -> bool:
        """Whether a Redis of it deletes keys when its memory is full."""
        return any(node.condition.evicts for node in self._by_bucket)

    async def start(self) -> None:
        """Begins to connect, and returns once the first attempt is over, however it ended."""
        self._metrics.shard_up.labels(self.name).set(0)
        await self.topology.start()
        self.started.set()

    async def stop(self) -> None:
        """Disconnects for good."""
        await self.topology.stop()

    def _changed(self) -> None:
        before, self._problem = self._problem, self.problem
        self._metrics.shard_up.labels(self.name).set(0 if self._problem else 1)
        if self._problem and self._problem != before:
            log.warning("shard is not usable", extra={"shard": self.name, "problem": self._problem})
        elif before and not self._problem:
            log.info("shard is up", extra={"shard": self.name})
        self.on_change(self)

    def _show(self) -> None:
        """Shows the worst of what is known of its Redis servers."""
        metrics, nodes = self._metrics, dict.fromkeys(self._by_bucket)
        conditions = [node.condition for node in nodes]
        metrics.clock_offset.labels(self.name).set(max((one.clock_off_s for one in conditions), key=abs))
        metrics.hold_off.labels(self.name).set(any(node.holding for node in nodes))
        metrics.evicts.labels(self.name).set(self.evicts)
        metrics.memory_ratio.labels(self.name).set(max(one.facts.memory_ratio for one in conditions))

    async def run(
        self, verb: str, bucket: int, arguments: Mapping[str, script.Argument], *, awaited: bool = False
    ) -> Reply:
        """Runs a script on a bucket and returns its words.

        Args:
            verb: the script's name.
            bucket: what it works on.
            arguments: its own, by name.
            awaited: others can go on only when it is done, so it waits for no company.

        Raises:
            ShardUnavailable: nothing was done.
            OutcomeUnknown: it may have been done.
            ShardOutOfMemory, ClockUnsafe, HoldOff, ShardMapMismatch: nothing was done.
        """
        loaded = script.load(verb)
        values = loaded.values(arguments)
        started = time.perf_counter()
        if not self.started.is_set():
            # It has just come into the shard map: its first connection takes a moment.
            await self.started.wait()
        try:
            node = self._by_bucket[bucket]
            asked = node.call(loaded, "EVALSHA", bucket, values)
            if awaited:
                node.hurry()
            reply = await asked
            # Nearly every reply is the words of the script; the rest is sorted out apart.
            if type(reply) is not list or reply[0] in _UNUSUAL:
                reply = await self._insist(loaded, bucket, values, reply)
        except LockServiceError as error:
            self._metrics.redis_errors.labels(self.name, type(error).__name__).inc()
            raise
        if reply[0] == b"moved":
            assert self.on_moved is not None
            return await self.on_moved(self, verb, bucket, arguments)
        elapsed = time.perf_counter() - started
        if verb not in _IN_BULK:
            self.latencies_s.append(elapsed)
            self.calls_timed += 1
            self._duration[verb].observe(elapsed)
            if self._metrics.tracing is not None:
                self._duration[verb].mark(elapsed, self._metrics.tracing.script(self.name, verb, elapsed))
        return reply

    async def _insist(
        self, loaded: script.Script, bucket: int, values: Sequence[script.Argument], reply: Any
    ) -> Reply:
        """Asks again where nothing was done and that can help.

        So for a script that Redis does not know yet, a bucket that is not seeded yet or on its way to another shard,
        a slot that another node of a Cluster has, and a call that came too late to grant anything.
        """
        until = time.monotonic() + MOVING_MS_MAX / 1000
        command = "EVALSHA"
        while True:
            if is_error(reply):
                if str(reply).startswith("NOSCRIPT"):
                    command = "EVAL"
                await self._follow(bucket, str(reply), until)
            elif reply[0] == b"reseed":
                word = await self._seed(bucket, until)
                if word == b"moved":
                    return [word]
            elif reply[0] == b"hold_off":
                raise HoldOff(
                    f"shard {self.name} waits {int(reply[1]) / 1000:.0f} s for leases that may have been lost",
                    int(reply[1]),
                )
            elif reply[0] == b"clock_unsafe":
                await self._doubt_clock(bucket, int(reply[2]), until)
            else:
                return reply  # type: ignore[no-any-return]  # hiredis gives what Redis sent
            reply = await self._by_bucket[bucket].call(loaded, command, bucket, values)

    async def _doubt_clock(self, bucket: int, after_latest_us: int, until: float) -> None:
        """Returns when the clock is right and the call was only held up. Raises ClockUnsafe."""
        node = self._by_bucket[bucket]
        problem = await node.look_at_clock()
        if not problem and (after_latest_us < 0 or time.monotonic() > until):
            problem = f"its clock is not within {CLOCK_ERROR_MS_MAX} ms of this replica's, or it is slow"
        if problem:
            raise ClockUnsafe(f"shard {self.name}: {problem}")

    async def _follow(self, bucket: int, text: str, until: float) -> None:
        """Deals with an error reply after which the call may be repeated. Raises what it means when it may not."""
        word = text.split(" ", 1)[0]
        if word == "NOSCRIPT":
            return
        if word == "MOVED" and self.topology.redirect(bucket, text.rsplit(" ", 1)[-1]) and time.monotonic() < until:
            # The first connection to a node that has just been heard of takes a moment.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - time.monotonic()):
                    await self._by_bucket[bucket].tried.wait()
            return
        if word in _MIGRATING and time.monotonic() < until:
            await asyncio.sleep(MOVING_MS / 1000)
            return
        if word in _DOUBTFUL:
            self.topology.doubt()
        raise self._refusal(word, text)

    def _refusal(self, word: str, text: str) -> Exception:
        if word == "OOM":
            return ShardOutOfMemory(f"shard {self.name} is out of memory")
        # What the ACL forbids inside a script has no word of its own before Redis 7.2.
        forbidden = "user executing the script" in text or "ACL failure in script" in text
        if word in _UNAVAILABLE or word in _MIGRATING or forbidden:
            return ShardUnavailable(f"shard {self.name} answers {word}")
        return RuntimeError(f"shard {self.name}: {text}")

    async def _seed(self, bucket: int, until: float) -> bytes:
        """Has a bucket seeded by the Redis process that serves it now, and returns what has become of it."""
        loaded = script.load("seed")
        node = self._by_bucket[bucket]
        values = (self._seen[bucket], time.time_ns() // 1000, CLOCK_ERROR_MS_MAX * 1000, self.hold_off_ms)
        reply = await node.call(loaded, "EVAL", bucket, values)
        if is_error(reply):
            await self._follow(bucket, str(reply), until)
            return b"again"
        node.holding.discard(bucket)
        match reply[0]:
            case b"clock_unsafe":
                raise ClockUnsafe(
                    f"the clock of shard {self.name} is {int(reply[1]) / 1e6:+.3f} s off this replica's; "
                    f"at most {CLOCK_ERROR_MS_MAX} ms are safe to seed fencing tokens from"
                )
            case b"moving":
                if time.monotonic() > until:
                    raise ShardUnavailable(f"shard {self.name}: a part of it is on its way to another shard")
                await asyncio.sleep(MOVING_MS / 1000)
            case b"holding":
                node.holding.add(bucket)
            case _:
                pass
        return bytes(reply[0])


_UNUSUAL: Final = frozenset((b"reseed", b"hold_off", b"clock_unsafe"))
