"""Leases: acquire, renew, release."""

import asyncio
import time
from typing import Final

from lockservice.acquisition import Acquisition, Answer, check_ttl
from lockservice.errors import OutcomeUnknown
from lockservice.lease import AcquireAsk, Grant, Held
from lockservice.metrics import Metrics
from lockservice.quotas import Quotas
from lockservice.shards.keys import place
from lockservice.shards.shard import Reply
from lockservice.shards.shard_map import ShardMap
from lockservice.sweeper import Sweeper
from lockservice.waiters import WaitingRoom

# Of a release's answer; more say who has been granted the lease since.
_RELEASE_WORDS: Final = 3


class Locks:
    """The leases of all shards, for the callers of this replica.

    Every decision is taken by a script on the shard that the resource belongs to.
    """

    def __init__(
        self,
        *,
        shard_map: ShardMap,
        room: WaitingRoom,
        sweeper: Sweeper,
        metrics: Metrics,
        quotas: Quotas,
        waiters_max: int,
    ) -> None:
        self.shard_map = shard_map
        self.room = room
        self.sweeper = sweeper
        self.metrics = metrics
        self._quotas = quotas
        self.waiters_max = waiters_max

    async def acquire(self, ask: AcquireAsk) -> Answer:
        """Takes a lease, waiting up to ask.wait_ms for it.

        Raises:
            RequestIdReused, TooManyWaiters, QuotaExceeded, Draining, and what Shard.run raises.
        """
        started = time.perf_counter()
        outcome, waited = "error", False
        try:
            self._quotas.check_leases(ask.namespace, ask.resource)
            if ask.event_id:
                self._quotas.check_events(ask.namespace, ask.resource)
            answer = await Acquisition(self, ask).run()
            outcome = _outcome(answer)
            if outcome == "granted":
                self._quotas.count_lease(ask.namespace, place(ask.namespace, ask.resource).bucket, 1)
            waited = answer.waited
            if waited and outcome == "granted":
                outcome = "granted_after_wait"
        finally:
            elapsed = time.perf_counter() - started
            self.metrics.acquire_duration[outcome].observe(elapsed)
            tracing = self.metrics.tracing
            if tracing is not None:
                self.metrics.acquire_duration[outcome].mark(elapsed, tracing.trace_id())
                if waited:
                    tracing.event("wait", elapsed)
            if waited:
                self.metrics.wait_duration[outcome].observe(elapsed)
        return answer

    async def renew(self, namespace: str, resource: str, lease_id: str, ttl_ms: int | None) -> int | None:
        """Extends a lease and returns its ttl in ms, or None when it is not held. Raises what Shard.run raises."""
        name, bucket = place(namespace, resource)
        check_ttl("ttl", ttl_ms, self.shard_map.pick(bucket))
        arguments = {"name": name, "lease": lease_id, "ttl": ttl_ms or ""}
        reply = await self.shard_map.pick(bucket).run("renew", bucket, arguments)
        renewed = reply[0] == b"renewed"
        self.metrics.renew["renewed" if renewed else "not_held"].inc()
        return int(reply[1]) if renewed else None

    async def release(self, namespace: str, resource: str, lease_id: str, *, done: bool, hold_ms: int) -> bool:
        """Ends a lease, and says whether it was still held, or had been released with this id before.

        Raises what Shard.run raises.
        """
        name, bucket = place(namespace, resource)
        arguments = {
            "name": name,
            "lease": lease_id,
            "done": "1" if done else "",
            "hold_ms": hold_ms,
            "replica": self.room.replica,
        }
        started = time.perf_counter()
        try:
            # Redis begins at once with a release that a call here waits for.
            awaited = self.room.waiters.parked_in(bucket)
            reply = await self.shard_map.pick(bucket).run("release", bucket, arguments, awaited=awaited)
        except (OutcomeUnknown, asyncio.CancelledError):
            # Who was granted the lease by an answer that nobody reads must ask.
            self.room.waiters.wake_bucket(bucket)
            raise
        if len(reply) > _RELEASE_WORDS:
            self._hand_on(reply[_RELEASE_WORDS:], time.perf_counter() - started)
        released: bool = reply[0] == b"released"
        self.metrics.release["released" if released else "not_held"].inc()
        if released and reply[1]:
            self.metrics.hold_duration["released"].observe(int(reply[1]) / 1000)
            self._quotas.count_lease(namespace, bucket, -1)
            if reply[2]:
                self._quotas.count_event(namespace, int(reply[2]))
        return released

    def _hand_on(self, words: Reply, handoff_s: float) -> None:
        """Answers a call that waits here and was granted what has just been released."""
        call, lease, token, ended, completed, queued = words
        handoff_us = round(handoff_s * 1_000_000)
        self.room.waiters.answer(call, [b"granted", lease, token, ended, completed, handoff_us, queued])


def _outcome(answer: Answer) -> str:
    match answer:
        case Grant():
            return "granted"
        case Held():
            return "held"
        case _:
            return answer.word
