"""One Acquire on its way: ask, wait for a hint when told to wait, ask again, and leave the queue on any way out."""

import asyncio
import time
from collections.abc import Coroutine
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from lockservice.durations import format_ms
from lockservice.errors import (
    ClockUnsafe,
    InvalidField,
    LockServiceError,
    OutcomeUnknown,
    RequestIdReused,
    ShardUnavailable,
    TooManyWaiters,
)
from lockservice.lease import AcquireAsk, Grant, Held, Holder, Previous, Refused
from lockservice.limits import LEAVE_AGAIN_MS, PLACE_KEPT_MS
from lockservice.secret_ids import next_secret_id
from lockservice.shards.keys import place
from lockservice.shards.shard import Reply, Shard
from lockservice.waiters import ParkedCall

if TYPE_CHECKING:
    from lockservice.locks import Locks
    from lockservice.shards.script import Argument

Answer = Grant | Held | Refused

_PREVIOUS: Final = {word.value.encode(): word for word in Previous}


# After these the call has neither a lease nor a place in the queue.
_NOTHING_LEFT: Final = (ShardUnavailable, RequestIdReused, TooManyWaiters)


def hash_of(*fields: object) -> str:
    """Hashes fields to 16 characters, each with its length so that no two lists of fields read alike."""
    text = "".join([f"{len(part)}:{part}" for part in map(str, fields)])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _print(ask: AcquireAsk) -> str:
    # wait_timeout is left out: a caller that repeats its request has less time left.
    return hash_of(ask.event_id, ask.ttl_ms, ask.version, ask.after_version, ask.allow_stale, ask.retention_ms)


def number(text: bytes) -> int | None:
    """Reads a number that may be unset."""
    return int(text) if text else None


def check_ttl(field: str, ttl_ms: int | None, shard: Shard) -> None:
    """Raises InvalidField when an exclusive shard could not wait for such a lease after a change of primary."""
    if shard.hold_off_ms and ttl_ms is not None and ttl_ms > shard.hold_off_ms:
        raise InvalidField(field, f"at most {format_ms(shard.hold_off_ms)} on shard {shard.name}, which is exclusive")


class Acquisition:
    """One call of Acquire, from the first question to the answer."""

    __slots__ = (
        "_arguments",
        "_ask",
        "_bucket",
        "_call",
        "_locks",
        "_started",
        "_waited",
    )

    def __init__(self, locks: "Locks", ask: AcquireAsk) -> None:
        name, self._bucket = place(ask.namespace, ask.resource)
        self._locks = locks
        self._ask = ask
        check_ttl("ttl", ask.ttl_ms, locks.shard_map.pick(self._bucket))
        self._call = locks.room.name_call()
        self._started = time.perf_counter()
        self._waited = False
        lease = next_secret_id()
        self._arguments: dict[str, Argument] = {
            "name": name,
            "waiter": hash_of(ask.owner, ask.request_id) if ask.request_id else lease,
            "call": self._call,
            "owner": ask.owner,
            "lease": lease,
            "print": _print(ask) if ask.request_id else "",
            "ttl": ask.ttl_ms,
            "version": "" if ask.version is None else ask.version,
            "after_version": "" if ask.after_version is None else ask.after_version,
            "allow_stale": "1" if ask.allow_stale else "",
            "event_id": ask.event_id,
            "retention": ask.retention_ms,
            "waiters_max": locks.waiters_max,
            "again": "",
        }

    async def run(self) -> Answer:
        """Returns the answer. Raises what Locks.acquire raises."""
        waiters = self._locks.room.waiters
        # Redis may send a hint before its reply has been read, so the call is parked before it asks.
        parked = waiters.open(self._call, self._bucket, self._ask.namespace) if self._ask.wait_ms else None
        try:
            reply = await self._question(self._ask.wait_ms)
            if parked is not None:
                reply = await self._wait(parked, reply)
            return self._answer(reply)
        except BaseException as error:
            # Nobody will hear of a lease or a place in the queue that this call may have now.
            if not isinstance(error, _NOTHING_LEFT):
                self._locks.room.clean_up(self._leave())
            raise
        finally:
            if parked is not None:
                waiters.close(self._call)

    def _question(self, wait_ms: int) -> Coroutine[Any, Any, Reply]:
        self._arguments["wait_ms"] = wait_ms
        return self._locks.shard_map.pick(self._bucket).run("acquire", self._bucket, self._arguments)

    async def _wait(self, parked: ParkedCall, reply: Reply) -> Reply:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._ask.wait_ms / 1000 - (time.perf_counter() - self._started)
        while reply[0] == b"waiting":
            self._waited = True
            self._arguments["again"] = "1"
            self._locks.sweeper.expect(self._bucket, int(reply[1]))
            granted = await self._locks.room.waiters.wait(parked, until)
            # The last question is asked without waiting: it leaves the queue, or takes what was just handed over.
            reply = granted or await self._question(max(0, round((until - loop.time()) * 1000)))
        return reply

    def _answer(self, reply: Reply) -> Answer:
        waited_ms = (time.perf_counter() - self._started) * 1000
        match reply[0]:
            case b"granted":
                return self._granted(reply, waited_ms)
            case b"held":
                holder = Holder(reply[1].decode(), int(reply[2]), int(reply[3])) if reply[1] else None
                return Held(holder, number(reply[4]), waited_ms, self._waited)
            case b"early" | b"duplicate" | b"stale":
                return Refused(reply[0].decode(), number(reply[1]), waited_ms, self._waited)
            case b"reused":
                raise RequestIdReused("this request_id is in use with other fields")
            case b"superseded":
                raise OutcomeUnknown("a later call with the same request_id has taken this one's place")
            case b"full":
                limit = self._locks.waiters_max
                raise TooManyWaiters(f"{limit} calls wait for this resource already")
            case _:
                raise AssertionError(reply)

    def _granted(self, reply: Reply, waited_ms: float) -> Grant:
        _, lease, token, ended, completed, handoff_us, queued = reply
        token = int(token)
        seen = self._locks.shard_map.seen
        seen[self._bucket] = max(token, seen[self._bucket])
        if queued:
            self._locks.sweeper.expect(self._bucket, self._ask.ttl_ms)
        if handoff_us:
            self._handed_off(int(handoff_us) / 1e6)
        return Grant(
            lease.decode(),
            token,
            self._ask.ttl_ms,
            _PREVIOUS[ended],
            number(completed),
            waited_ms,
            self._waited,
        )

    def _handed_off(self, seconds: float) -> None:
        metrics = self._locks.metrics
        metrics.handoff_duration.observe(seconds)
        if metrics.tracing is not None:
            metrics.tracing.event("handoff", seconds)
            metrics.handoff_duration.mark(seconds, metrics.tracing.trace_id())

    async def _leave(self) -> None:
        """Tells Redis that the call has ended, for as long as Redis could still act on it."""
        keep = "1" if self._ask.request_id else ""
        arguments = {"keep": keep, **{name: self._arguments[name] for name in ("name", "waiter", "call")}}
        loop = asyncio.get_running_loop()
        until = loop.time() + PLACE_KEPT_MS / 1000
        while loop.time() < until:
            try:
                await self._locks.shard_map.pick(self._bucket).run("leave", self._bucket, arguments)
            except (ShardUnavailable, OutcomeUnknown, ClockUnsafe):
                await asyncio.sleep(LEAVE_AGAIN_MS / 1000)
            except LockServiceError:
                return
            else:
                return
