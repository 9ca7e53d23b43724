"""LockService: each call becomes one call of the domain, and its value one response."""

import asyncio
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from lockservice.credentials import Principal
from lockservice.dedupe import Dedupe
from lockservice.lease import Grant, Held, Holder, Previous
from lockservice.limits import RESULT_BYTES_MAX
from lockservice.locks import Locks
from lockservice.rpc import validation
from lockservice.rpc.admission import StreamGate, own
from lockservice.rpc.handlers import Context
from lockservice.rpc.session import Behaviour, Session
from lockservice.v1 import lockservice_pb2 as pb

_PREVIOUS: Final = {
    Previous.UNKNOWN: pb.PREVIOUS_LEASE_UNSPECIFIED,
    Previous.RELEASED: pb.PREVIOUS_LEASE_RELEASED,
    Previous.EXPIRED: pb.PREVIOUS_LEASE_EXPIRED,
    Previous.FORCED: pb.PREVIOUS_LEASE_FORCED,
}
_REFUSED: Final = {
    "duplicate": pb.ACQUIRE_OUTCOME_DUPLICATE,
    "stale": pb.ACQUIRE_OUTCOME_STALE,
    "early": pb.ACQUIRE_OUTCOME_EARLY,
}
_DEDUPE: Final = {
    "first": pb.DEDUPE_OUTCOME_FIRST,
    "duplicate": pb.DEDUPE_OUTCOME_DUPLICATE,
    "in_progress": pb.DEDUPE_OUTCOME_IN_PROGRESS,
    "mismatch": pb.DEDUPE_OUTCOME_MISMATCH,
}


def duration(ms: float) -> Duration:
    """Writes milliseconds as a Duration."""
    message = Duration()
    _write(message, ms)
    return message


def _write(into: Duration, ms: float) -> None:
    micros = int(ms * 1000)
    into.seconds, into.nanos = micros // 1_000_000, micros % 1_000_000 * 1000


def _granted(resource: str, grant: Grant) -> pb.AcquireResponse:
    # Half the time of passing finished messages, which are copied, and this is the most frequent answer.
    response = pb.AcquireResponse(outcome=pb.ACQUIRE_OUTCOME_GRANTED, previous_lease=_PREVIOUS[grant.previous])
    if grant.completed is not None:
        response.completed_version = grant.completed
    _write(response.waited, grant.waited_ms)
    lease = response.lease
    lease.resource = resource
    lease.lease_id = grant.lease_id
    lease.fencing_token = grant.token
    _write(lease.ttl, grant.ttl_ms)
    return response


def holder(value: Holder | None) -> pb.Holder | None:
    """Writes who holds a resource."""
    if value is None:
        return None
    return pb.Holder(owner=value.owner, fencing_token=value.token, remaining=duration(value.remaining_ms))


class LockService:
    """Serves workers."""

    def __init__(self, locks: Locks, dedupe: Dedupe) -> None:
        self._locks = locks
        self._dedupe = dedupe
        self._sessions: set[Session] = set()
        self._part = asyncio.Lock()
        self._behaviours: dict[str, Behaviour] = {
            "acquire": self.Acquire,
            "renew": self.Renew,
            "release": self.Release,
            "dedupe": self.Dedupe,
            "settle": self.Settle,
            "renew_claim": self.RenewClaim,
        }

    async def Session(self, context: Context, gate: StreamGate) -> None:
        """Serves one stream of operations."""
        session = Session(self._behaviours, context, gate, self._part, self._locks.metrics)
        self._sessions.add(session)
        self._locks.metrics.sessions.inc()
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self._locks.metrics.sessions.dec()

    def drain(self) -> None:
        """Ends the streams once what was begun on them has been answered."""
        for session in list(self._sessions):
            session.leave()

    async def Acquire(self, request: pb.AcquireRequest, caller: Principal) -> pb.AcquireResponse:
        """Takes a lease, or says why not."""
        ask = validation.acquire(request, caller.namespace)
        own(caller, ask.resource)
        # While it waits, a request that came in a Session would keep its whole message in memory.
        del request
        answer = await self._locks.acquire(ask)
        match answer:
            case Grant():
                return _granted(ask.resource, answer)
            case Held():
                return pb.AcquireResponse(
                    outcome=pb.ACQUIRE_OUTCOME_HELD,
                    holder=holder(answer.holder),
                    waited=duration(answer.waited_ms),
                    completed_version=answer.completed,
                )
            case _:
                return pb.AcquireResponse(
                    outcome=_REFUSED[answer.word],
                    waited=duration(answer.waited_ms),
                    completed_version=answer.completed,
                )

    async def Renew(self, request: pb.RenewRequest, caller: Principal) -> pb.RenewResponse:
        """Extends a lease."""
        ttl_ms = await self._locks.renew(
            caller.namespace,
            own(caller, validation.resource(request.resource)),
            validation.lease_id(request.lease_id),
            validation.ttl(request, "ttl"),
        )
        if ttl_ms is None:
            return pb.RenewResponse(outcome=pb.RENEW_OUTCOME_NOT_HELD)
        return pb.RenewResponse(outcome=pb.RENEW_OUTCOME_RENEWED, ttl=duration(ttl_ms))

    async def Release(self, request: pb.ReleaseRequest, caller: Principal) -> pb.ReleaseResponse:
        """Ends a lease."""
        done = validation.disposition(request.disposition)
        released = await self._locks.release(
            caller.namespace,
            own(caller, validation.resource(request.resource)),
            validation.lease_id(request.lease_id),
            done=done,
            hold_ms=validation.hold(request, done=done),
        )
        return pb.ReleaseResponse(outcome=pb.RELEASE_OUTCOME_RELEASED if released else pb.RELEASE_OUTCOME_NOT_HELD)

    async def Dedupe(self, request: pb.DedupeRequest, caller: Principal) -> pb.DedupeResponse:
        """Claims an event key."""
        ask = validation.dedupe(request, caller.namespace)
        own(caller, ask.key)
        del request
        claim = await self._dedupe.claim(ask)
        seen_ms = claim.first_seen_ms
        return pb.DedupeResponse(
            outcome=_DEDUPE[claim.word],
            claim_id=claim.claim_id,
            first_seen=Timestamp(seconds=seen_ms // 1000, nanos=seen_ms % 1000 * 1_000_000),
            result=claim.result,
            retry_after=duration(claim.retry_after_ms) if claim.retry_after_ms else None,
        )

    async def RenewClaim(self, request: pb.RenewClaimRequest, caller: Principal) -> pb.RenewClaimResponse:
        """Extends a claim."""
        ttl_ms = await self._dedupe.renew(
            caller.namespace,
            own(caller, validation.key(request.key)),
            validation.claim_id(request.claim_id),
            validation.ttl(request, "claim_ttl"),
        )
        if ttl_ms is None:
            return pb.RenewClaimResponse(outcome=pb.RENEW_OUTCOME_NOT_HELD)
        return pb.RenewClaimResponse(outcome=pb.RENEW_OUTCOME_RENEWED, claim_ttl=duration(ttl_ms))

    async def Settle(self, request: pb.SettleRequest, caller: Principal) -> pb.SettleResponse:
        """Ends a claim."""
        settled = await self._dedupe.settle(
            caller.namespace,
            own(caller, validation.key(request.key)),
            validation.claim_id(request.claim_id),
            done=validation.disposition(request.disposition),
            result=validation.octets("result", request.result, bytes_max=RESULT_BYTES_MAX),
        )
        return pb.SettleResponse(outcome=pb.SETTLE_OUTCOME_SETTLED if settled else pb.SETTLE_OUTCOME_NOT_HELD)
