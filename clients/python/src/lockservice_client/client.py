"""The asyncio client: every call of the service, and the two blocks that most workers need, `lock` and `once`."""

import os
import secrets
import socket
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import grpc
from google.protobuf.duration_pb2 import Duration

from lockservice_client import values
from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.channel import Calls, Target
from lockservice_client.claim import ClaimBlock
from lockservice_client.lease import LockBlock
from lockservice_client.renewal import OnLost

Seconds = float | timedelta

_CALL_S: Final = 5.0
# A waiting call is answered when its wait is over; this is for the way.
_WAIT_MARGIN_S: Final = 5.0
_ACQUIRE: Final[dict[int, values.AcquireOutcome]] = {
    pb.ACQUIRE_OUTCOME_GRANTED: "granted",
    pb.ACQUIRE_OUTCOME_HELD: "held",
    pb.ACQUIRE_OUTCOME_DUPLICATE: "duplicate",
    pb.ACQUIRE_OUTCOME_STALE: "stale",
    pb.ACQUIRE_OUTCOME_EARLY: "early",
}
_PREVIOUS: Final[dict[int, values.PreviousLease]] = {
    pb.PREVIOUS_LEASE_UNSPECIFIED: "",
    pb.PREVIOUS_LEASE_RELEASED: "released",
    pb.PREVIOUS_LEASE_EXPIRED: "expired",
    pb.PREVIOUS_LEASE_FORCED: "forced",
}
_DEDUPE: Final[dict[int, values.DedupeOutcome]] = {
    pb.DEDUPE_OUTCOME_FIRST: "first",
    pb.DEDUPE_OUTCOME_DUPLICATE: "duplicate",
    pb.DEDUPE_OUTCOME_IN_PROGRESS: "in_progress",
    pb.DEDUPE_OUTCOME_MISMATCH: "mismatch",
}


def _duration(value: Seconds | None) -> Duration | None:
    if value is None:
        return None
    micros = round((value.total_seconds() if isinstance(value, timedelta) else value) * 1e6)
    return Duration(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def _seconds(value: Duration) -> float:
    return value.seconds + value.nanos / 1e9


def _disposition(*, done: bool) -> pb.Disposition.ValueType:
    return pb.DISPOSITION_DONE if done else pb.DISPOSITION_RETRY


class Client:
    """Talks to lockservice from asyncio. Make it inside a running event loop, and close it, or use `async with`.

    Every call raises `ServiceError` when the service cannot or will not do it. What may be unavailable for a moment
    is repeated with the same ids for retry_for seconds.

    Args:
        address: HOST:PORT, or `dns:///HOST:PORT` for several replicas; None: LOCKSERVICE_ADDR, else 127.0.0.1:50051.
        owner: who holds leases, for people and tools; None: host and process id.
        token: bearer token; None: LOCKSERVICE_TOKEN.
        ca, cert, key: PEM files; ca or cert turns TLS on.
        insecure: send a token in the clear beyond loopback.
        retry_for: seconds.

    Example:
        async with Client() as client, client.lock("order:1001", wait=10) as lease:
            await write(order, fence=lease.fencing_token)
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        owner: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        insecure: bool = False,
        retry_for: float = 10.0,
    ) -> None:
        target = Target(address, token=token, ca=ca, cert=cert, key=key, insecure=insecure)
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}"
        self.address = target.address
        self._retry_for = retry_for
        # Renewals and releases have a connection of their own: behind many waiting acquires they could come too late.
        self._asking = Calls(target)
        self._keeping = Calls(target)

    async def __aenter__(self) -> Self:
        """Returns the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connections."""
        await self.close()

    async def close(self) -> None:
        """Closes the connections. Leases that are held run out by themselves."""
        await self._asking.close()
        await self._keeping.close()

    def lock(
        self,
        resource: str,
        *,
        ttl: Seconds = 10.0,
        wait: Seconds = 0.0,
        version: int | None = None,
        after_version: int | None = None,
        allow_stale: bool = False,
        event_id: str = "",
        event_retention: Seconds | None = None,
        on_lost: OnLost = "cancel",
        retry_hold: Seconds = 0.0,
    ) -> LockBlock:
        """Holds a lease while a block runs: `async with client.lock("order:1001", wait=10) as lease:`.

        The lease is renewed at a third of its ttl. The block's end releases it as done, an exception as to be
        retried, with the resource kept for the retry of the same event for retry_hold seconds.

        Args:
            resource: what to lock, 1 to 512 bytes.
            ttl: seconds, 0.1 to 3600.
            wait: seconds to queue, 0 to 3600.
            version: of the entity that this event carries, 0 to 2^53 - 1.
            after_version: wait until the entity has been completed up to this version.
            allow_stale: be granted even if a newer version has been completed.
            event_id: refuse an event that was completed on this resource before.
            event_retention: seconds that event_id is remembered; None: a day.
            on_lost: when the lease is lost, "cancel" the block, which then raises LeaseLost, or only set the
                "event" lease.lost.
            retry_hold: seconds, 0 to 3600.

        Raises (when it is entered):
            Held, Duplicate, Stale, Early: it was not granted.
        """
        asked = {
            "ttl": ttl,
            "wait": wait,
            "version": version,
            "after_version": after_version,
            "allow_stale": allow_stale,
            "event_id": event_id,
            "event_retention": event_retention,
        }
        hold = retry_hold.total_seconds() if isinstance(retry_hold, timedelta) else retry_hold
        return LockBlock(self, resource, asked, on_lost=on_lost, retry_hold=hold)

    def once(
        self,
        key: str,
        *,
        claim_ttl: Seconds = 30.0,
        retention: Seconds | None = None,
        fingerprint: bytes = b"",
        wait: Seconds = 0.0,
        on_lost: OnLost = "cancel",
    ) -> ClaimBlock:
        """Processes an event once, in two phases: `async with client.once("shopify:" + webhook_id) as claim:`.

        The claim is renewed at a third of its ttl. The block's end remembers the key and `claim.result`; an
        exception frees it, so that a redelivery is processed.

        Args:
            key: 1 to 512 bytes.
            claim_ttl: seconds, 0.1 to 3600.
            retention: seconds that the key is remembered after it was settled; None: a day.
            fingerprint: hash of the payload, up to 64 bytes.
            wait: seconds to wait while another has claimed it.
            on_lost: as in lock.

        Raises (when it is entered):
            Duplicate, InProgress, Mismatch: this caller is not the first.
        """
        asked = {"claim_ttl": claim_ttl, "retention": retention, "fingerprint": fingerprint, "wait": wait}
        return ClaimBlock(self, key, asked, on_lost=on_lost)

    async def first(self, key: str, *, retention: Seconds | None = None) -> bool:
        """Remembers a key at once, and says whether this caller is the first.

        Only for work that may be lost: if the caller dies, a redelivery is still a duplicate.
        """
        return (await self.dedupe(key, retention=retention)).outcome == "first"

    async def acquire(
        self,
        resource: str,
        *,
        ttl: Seconds | None = None,
        wait: Seconds = 0.0,
        version: int | None = None,
        after_version: int | None = None,
        allow_stale: bool = False,
        event_id: str = "",
        event_retention: Seconds | None = None,
        request_id: str | None = None,
    ) -> values.Acquired:
        """Takes a lease, or says why not. Nobody renews it: `lock` does, which has the same arguments.

        The same request_id gives the same lease again while it lives; None stands for a new one.
        """
        wait_s = wait.total_seconds() if isinstance(wait, timedelta) else wait
        request = pb.AcquireRequest(
            resource=resource,
            owner=self.owner,
            ttl=_duration(ttl),
            wait_timeout=_duration(wait) if wait_s else None,
            request_id=request_id if request_id is not None else secrets.token_hex(12),
            version=version,
            after_version=after_version,
            allow_stale=allow_stale,
            event_id=event_id,
            event_retention=_duration(event_retention),
        )
        response, sent_at = await self._asking.call(
            "Acquire",
            request,
            timeout=wait_s + _WAIT_MARGIN_S,
            retry_for=max(wait_s, self._retry_for),
        )
        return _acquired(response, sent_at)

    async def renew(
        self, resource: str, lease_id: str, *, ttl: Seconds | None = None, timeout: float = _CALL_S
    ) -> bool:
        """Extends a lease, and says whether it is still held; if not, stop the work. It is not repeated."""
        request = pb.RenewRequest(resource=resource, lease_id=lease_id, ttl=_duration(ttl))
        response, _ = await self._keeping.call("Renew", request, timeout=timeout, retry_for=0.0)
        return bool(response.outcome == pb.RENEW_OUTCOME_RENEWED)

    async def release(self, resource: str, lease_id: str, *, done: bool = True, hold: Seconds = 0.0) -> bool:
        """Gives a lease back, and says whether it was still held.

        Args:
            resource: as it was acquired.
            lease_id: of the grant.
            done: record the version and the event; otherwise nothing is recorded, and a redelivery is processed.
            hold: not done: keep the resource for the retry of the same event this many seconds.
        """
        request = pb.ReleaseRequest(
            resource=resource,
            lease_id=lease_id,
            disposition=_disposition(done=done),
            hold=_duration(hold) if hold else None,
        )
        response, _ = await self._keeping.call("Release", request, timeout=_CALL_S, retry_for=self._retry_for)
        return bool(response.outcome == pb.RELEASE_OUTCOME_RELEASED)

    async def dedupe(
        self,
        key: str,
        *,
        retention: Seconds | None = None,
        claim_ttl: Seconds | None = None,
        fingerprint: bytes = b"",
        wait: Seconds = 0.0,
        request_id: str | None = None,
    ) -> values.Deduped:
        """Claims an event key. Arguments as in `once`; without claim_ttl the key is remembered at once."""
        wait_s = wait.total_seconds() if isinstance(wait, timedelta) else wait
        request = pb.DedupeRequest(
            key=key,
            retention=_duration(retention),
            claim_ttl=_duration(claim_ttl),
            owner=self.owner,
            request_id=request_id if request_id is not None else secrets.token_hex(12),
            fingerprint=fingerprint,
            wait_timeout=_duration(wait) if wait_s else None,
        )
        response, sent_at = await self._asking.call(
            "Dedupe", request, timeout=wait_s + _WAIT_MARGIN_S, retry_for=max(wait_s, self._retry_for)
        )
        return values.Deduped(
            outcome=_DEDUPE[response.outcome],
            claim_id=response.claim_id,
            first_seen=response.first_seen.ToDatetime(tzinfo=UTC),
            result=response.result,
            retry_after=_seconds(response.retry_after),
            sent_at=sent_at,
        )

    async def renew_claim(
        self, key: str, claim_id: str, *, claim_ttl: Seconds | None = None, timeout: float = _CALL_S
    ) -> bool:
        """Extends a claim, and says whether it is still held. It is not repeated."""
        request = pb.RenewClaimRequest(key=key, claim_id=claim_id, claim_ttl=_duration(claim_ttl))
        response, _ = await self._keeping.call("RenewClaim", request, timeout=timeout, retry_for=0.0)
        return bool(response.outcome == pb.RENEW_OUTCOME_RENEWED)

    async def settle(self, key: str, claim_id: str, *, done: bool = True, result: bytes = b"") -> bool:
        """Ends a claim, and says whether it was still held.

        Args:
            key: as it was claimed.
            claim_id: of the claim.
            done: remember the key; otherwise it is free again.
            result: up to 4096 bytes, handed to later duplicates.
        """
        request = pb.SettleRequest(key=key, claim_id=claim_id, disposition=_disposition(done=done), result=result)
        response, _ = await self._keeping.call("Settle", request, timeout=_CALL_S, retry_for=self._retry_for)
        return bool(response.outcome == pb.SETTLE_OUTCOME_SETTLED)

    async def inspect(self, resource: str) -> tuple[values.Lock, list[values.Waiter]]:
        """Shows a resource, and who waits for it in the order of their turn."""
        request = pb.InspectRequest(resource=resource)
        response, _ = await self._keeping.call("Inspect", request, timeout=_CALL_S, retry_for=0.0)
        waiters = [
            values.Waiter(
                owner=waiter.owner,
                waiting=_seconds(waiter.waiting),
                version=_optional(waiter, "version"),
                after_version=_optional(waiter, "after_version"),
            )
            for waiter in response.waiters
        ]
        return _lock(response.lock), waiters

    async def list_locks(self, prefix: str = "", *, limit: int = 1_000) -> AsyncIterator[values.Lock]:
        """Yields the resources that are held or kept for a retry, at most limit."""
        request = pb.ListLocksRequest(prefix=prefix, limit=limit)
        try:
            async for response in self._keeping.stream("ListLocks", request, timeout=30.0):
                for lock in response.locks:
                    yield _lock(lock)
        except grpc.aio.AioRpcError as error:
            raise self._keeping.fault(error) from None

    async def force_release(self, resource: str, fencing_token: int, *, reason: str) -> bool:
        """Takes a lease away from its holder, and says whether it was held under that token."""
        request = pb.ForceReleaseRequest(resource=resource, fencing_token=fencing_token, reason=reason)
        response, _ = await self._keeping.call("ForceRelease", request, timeout=_CALL_S, retry_for=0.0)
        return bool(response.released)

    async def describe_shards(self) -> list[values.Shard]:
        """Shows the shards."""
        request = pb.DescribeShardsRequest()
        response, _ = await self._keeping.call("DescribeShards", request, timeout=_CALL_S, retry_for=0.0)
        return [
            values.Shard(
                name=shard.name,
                address=shard.address,
                healthy=shard.healthy,
                latency_p50=_seconds(shard.latency_p50),
                latency_p99=_seconds(shard.latency_p99),
                locks_held=shard.locks_held,
                waiters=shard.waiters,
                problem=shard.problem,
            )
            for shard in response.shards
        ]


def _optional(message: Any, field: Literal["version", "after_version", "completed_version"]) -> int | None:
    return getattr(message, field) if message.HasField(field) else None


def _holder(message: pb.Holder) -> values.Holder:
    return values.Holder(message.owner, message.fencing_token, _seconds(message.remaining))


def _acquired(response: pb.AcquireResponse, sent_at: float) -> values.Acquired:
    outcome, lease = _ACQUIRE[response.outcome], response.lease
    grant = None
    if outcome == "granted":
        grant = values.Grant(lease.resource, lease.lease_id, lease.fencing_token, _seconds(lease.ttl), sent_at)
    return values.Acquired(
        outcome=outcome,
        grant=grant,
        holder=_holder(response.holder) if response.HasField("holder") else None,
        waited=_seconds(response.waited),
        completed_version=_optional(response, "completed_version"),
        previous_lease=_PREVIOUS[response.previous_lease],
    )


def _lock(message: pb.LockInfo) -> values.Lock:
    hold = message.hold
    return values.Lock(
        resource=message.resource,
        shard=message.shard,
        holder=_holder(message.holder) if message.HasField("holder") else None,
        queue_length=message.queue_length,
        completed_version=_optional(message, "completed_version"),
        hold=values.Hold(hold.owner, hold.event_id, _seconds(hold.remaining)) if message.HasField("hold") else None,
    )
