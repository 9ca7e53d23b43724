"""Event keys: claim, renew a claim, settle it."""

import asyncio

from lockservice.acquisition import check_ttl, hash_of
from lockservice.errors import LockServiceError, RequestIdReused
from lockservice.lease import Claim, DedupeAsk
from lockservice.metrics import Metrics
from lockservice.quotas import Quotas
from lockservice.secret_ids import next_secret_id
from lockservice.shards.keys import Place, place
from lockservice.shards.script import Argument
from lockservice.shards.shard import Reply
from lockservice.shards.shard_map import ShardMap
from lockservice.sweeper import Sweeper
from lockservice.waiters import ParkedCall, WaitingRoom


class Dedupe:
    """The event keys of all shards, for the callers of this replica."""

    def __init__(
        self, *, shard_map: ShardMap, room: WaitingRoom, sweeper: Sweeper, metrics: Metrics, quotas: Quotas
    ) -> None:
        self._map = shard_map
        self._room = room
        self._sweeper = sweeper
        self._metrics = metrics
        self._quotas = quotas

    async def claim(self, ask: DedupeAsk) -> Claim:
        """Claims a key, waiting up to ask.wait_ms for the end of another's claim.

        Raises:
            RequestIdReused, TooManyWaiters, QuotaExceeded, Draining, and what Shard.run raises.
        """
        self._quotas.check_events(ask.namespace, ask.key)
        where = place(ask.namespace, ask.key)
        check_ttl("claim_ttl", ask.claim_ttl_ms, self._map.pick(where.bucket))
        call = self._room.name_call()
        arguments = _arguments(ask, where, call)
        waiters = self._room.waiters
        # Redis may send a hint before its reply has been read, so the call is parked before it asks.
        parked = waiters.open(call, where.bucket, ask.namespace) if ask.wait_ms else None
        try:
            reply = await self._ask(where.bucket, arguments)
            if parked is not None:
                reply = await self._wait(ask, parked, reply, arguments)
        except BaseException:
            if not ask.request_id:
                self._room.clean_up(self._leave(where, call, str(arguments["claim"])))
            raise
        finally:
            if parked is not None:
                waiters.close(call)
        if reply[0] == b"first" and int(reply[4]):
            # A claim counts as an event for its first claim_ttl; settled as done it counts for its retention.
            remembered_ms = ask.retention_ms if ask.claim_ttl_ms is None else ask.claim_ttl_ms
            self._quotas.count_event(ask.namespace, remembered_ms)
        return self._answer(reply)

    async def _ask(self, bucket: int, arguments: dict[str, Argument]) -> Reply:
        return await self._map.pick(bucket).run("dedupe", bucket, arguments)

    async def _wait(
        self,
        ask: DedupeAsk,
        parked: ParkedCall,
        reply: Reply,
        arguments: dict[str, Argument],
    ) -> Reply:
        loop = asyncio.get_running_loop()
        until = loop.time() + ask.wait_ms / 1000
        while reply[0] == b"waiting":
            self._sweeper.expect(parked.bucket, int(reply[2]))
            await self._room.waiters.wait(parked, until)
            arguments["wait_ms"] = max(0, round((until - loop.time()) * 1000))
            reply = await self._ask(parked.bucket, arguments)
        return reply

    async def _leave(self, where: Place, call: str, claim: str) -> None:
        try:
            await self._map.pick(where.bucket).run(
                "unwatch", where.bucket, {"name": where.name, "call": call, "claim": claim}
            )
        except LockServiceError:
            # The claim runs out by itself, and a hint to a call that has ended is ignored.
            return

    def _answer(self, reply: Reply) -> Claim:
        word = reply[0].decode()
        if word == "reused":
            raise RequestIdReused("this request_id is in use with other fields")
        self._metrics.dedupe[word].inc()
        match word:
            case "first":
                self._metrics.claim_expirations.inc(int(reply[3]))
                return Claim(word, reply[1].decode(), int(reply[2]), b"", 0)
            case "duplicate":
                return Claim(word, "", int(reply[1]), reply[2], 0)
            case "in_progress":
                return Claim(word, "", int(reply[1]), b"", int(reply[2]))
            case _:
                return Claim(word, "", int(reply[1]), b"", 0)

    async def renew(self, namespace: str, key: str, claim_id: str, claim_ttl_ms: int | None) -> int | None:
        """Extends a claim and returns its ttl in ms, or None when it is not held. Raises what Shard.run raises."""
        name, bucket = place(namespace, key)
        check_ttl("claim_ttl", claim_ttl_ms, self._map.pick(bucket))
        arguments = {"name": name, "claim": claim_id, "claim_ttl": claim_ttl_ms or ""}
        reply = await self._map.pick(bucket).run("renew_claim", bucket, arguments)
        renewed = reply[0] == b"renewed"
        self._metrics.renew_claim["renewed" if renewed else "not_held"].inc()
        self._metrics.claim_expirations.inc(int(reply[-1]))
        return int(reply[1]) if renewed else None

    async def settle(self, namespace: str, key: str, claim_id: str, *, done: bool, result: bytes) -> bool:
        """Ends a claim, and says whether it was still held, or had been settled with this id before.

        Raises what Shard.run raises.
        """
        name, bucket = place(namespace, key)
        arguments: dict[str, Argument] = {
            "name": name,
            "claim": claim_id,
            "done": "1" if done else "",
            "result": result,
        }
        reply = await self._map.pick(bucket).run("settle", bucket, arguments)
        settled: bool = reply[0] == b"settled"
        self._metrics.settle["settled" if settled else "not_held"].inc()
        self._metrics.claim_expirations.inc(int(reply[1]))
        if settled and reply[2]:
            self._quotas.count_event(namespace, int(reply[2]))
        return settled


def _arguments(ask: DedupeAsk, where: Place, call: str) -> dict[str, Argument]:
    two_phases = ask.claim_ttl_ms is not None
    return {
        "name": where.name,
        "request": hash_of(ask.owner, ask.request_id) if ask.request_id else "",
        "print": hash_of(ask.retention_ms, ask.claim_ttl_ms) if ask.request_id else "",
        "fingerprint": ask.fingerprint,
        "retention": ask.retention_ms,
        "claim": next_secret_id() if two_phases else "",
        "claim_ttl": ask.claim_ttl_ms if ask.claim_ttl_ms is not None else "",
        "call": call,
        "wait_ms": ask.wait_ms,
    }
