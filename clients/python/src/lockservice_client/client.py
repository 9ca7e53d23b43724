"""The asyncio client: every call of the service, and the two blocks that most workers need, `lock` and `once`."""

from typing import Final

from lockservice_client import messages, values
from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.claim import Claim, ClaimBlock
from lockservice_client.connection import CALL_S
from lockservice_client.lease import Lease, LockBlock
from lockservice_client.messages import duration
from lockservice_client.operations import Operations
from lockservice_client.options import AcquireOptions, OnceOptions, OnLost, Seconds, seconds

_CLAIM_S: Final = 30.0


class Client(Operations):
    """Talks to lockservice from asyncio. Make it inside a running event loop, and close it, or use `async with`.

    Every call raises `ServiceError` when the service cannot or will not do it. What may be unavailable for a moment
    is repeated with the same ids for retry_for seconds.

    Args:
        address: HOST:PORT, or `dns:///HOST:PORT` for several replicas; None: LOCKSERVICE_ADDR, else 127.0.0.1:50051.
        owner: who holds leases, for people and tools; None: host and process id.
        token: bearer token; None: LOCKSERVICE_TOKEN.
        ca, cert, key: PEM files; ca or cert turns TLS on.
        insecure: send a token in the clear beyond loopback.
        retry_for: seconds; for a call that waits, at least its wait.
        unary: make each call a gRPC call of its own. Otherwise the calls of a moment share a message of a stream,
            which costs far less processor time. Use it where a proxy passes no streams and does not say so.
        unready: call a replica though it says that it is not ready: for looking at it, not for work.
        stream_age: seconds after which such a stream is followed by another, which may lead to another replica.

    Example:
        async with Client() as client, client.lock("order:1001", wait=10) as lease:
            await write(order, fence=lease.fencing_token)
    """

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
        request_id: str | None = None,
        on_lost: OnLost = "cancel",
        retry_hold: Seconds = 0.0,
    ) -> LockBlock[Lease]:
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
            request_id: the same id gives the same lease again while it lives; None: a random one.
            on_lost: when the lease is lost, "cancel" the block, which then raises LeaseLost, or only set the
                "event" lease.lost.
            retry_hold: seconds, 0 to 3600.

        Raises (when it is entered):
            Held, Duplicate, Stale, Early: it was not granted.

        Raises (when it is left):
            LeaseLost: the lease ended before the work did; nothing was recorded.
        """
        asked: AcquireOptions = {
            "ttl": ttl,
            "wait": wait,
            "version": version,
            "after_version": after_version,
            "allow_stale": allow_stale,
            "event_id": event_id,
            "event_retention": event_retention,
            "request_id": request_id,
        }
        return LockBlock(self, resource, asked, on_lost=on_lost, retry_hold=retry_hold, kind=Lease)

    def once(
        self,
        key: str,
        *,
        claim_ttl: Seconds = _CLAIM_S,
        retention: Seconds | None = None,
        fingerprint: bytes = b"",
        wait: Seconds = 0.0,
        request_id: str | None = None,
        on_lost: OnLost = "cancel",
    ) -> ClaimBlock[Claim]:
        """Processes an event once, in two phases: `async with client.once("shopify:" + webhook_id) as claim:`.

        The claim is renewed at a third of its ttl. The block's end remembers the key and `claim.result`; an
        exception frees it, so that a redelivery is processed.

        Args:
            key: 1 to 512 bytes.
            claim_ttl: seconds, 0.1 to 3600.
            retention: seconds that the key is remembered after it was settled; None: a day.
            fingerprint: hash of the payload, up to 64 bytes.
            wait: seconds to wait while another has claimed it.
            request_id: the same id gets the same answer again; None: a random one.
            on_lost: as in lock.

        Raises (when it is entered):
            Duplicate, InProgress, Mismatch: this caller is not the first.
        """
        asked: OnceOptions = {
            "claim_ttl": claim_ttl,
            "retention": retention,
            "fingerprint": fingerprint,
            "wait": wait,
            "request_id": request_id,
        }
        return ClaimBlock(self, key, asked, on_lost=on_lost, kind=Claim)

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
        wait_s = seconds(wait)
        request = pb.AcquireRequest(
            resource=resource,
            owner=self.owner,
            ttl=duration(ttl),
            wait_timeout=duration(wait) if wait_s else None,
            request_id=self._new_request_id() if request_id is None else request_id,
            version=version,
            after_version=after_version,
            allow_stale=allow_stale,
            event_id=event_id,
            event_retention=duration(event_retention),
        )
        response, sent_at = await self._asking.call(
            "Acquire",
            request,
            timeout=CALL_S,
            retry_for=self.retry_for,
            wait=wait_s,
            # Who has named a request may come back for its grant; to another nobody can.
            gives_back=not request_id,
        )
        return messages.acquired(response, sent_at)

    async def renew(
        self,
        resource: str,
        lease_id: str,
        *,
        ttl: Seconds | None = None,
        timeout: float = CALL_S,
        retry_for: float | None = None,
    ) -> bool:
        """Extends a lease, and says whether it is still held; if not, stop the work.

        Args:
            resource: as it was acquired.
            lease_id: of the grant.
            ttl: seconds from now, 0.1 to 3600; None: the ttl it was granted with.
            timeout: seconds for one attempt.
            retry_for: seconds during which an unavailable service is asked again; None: the client's.
        """
        retry_for = self.retry_for if retry_for is None else retry_for
        request = pb.RenewRequest(resource=resource, lease_id=lease_id, ttl=duration(ttl))
        response, _ = await self._keeping.call("Renew", request, timeout=timeout, retry_for=retry_for)
        return bool(response.outcome == pb.RENEW_OUTCOME_RENEWED)

    async def release(
        self,
        resource: str,
        lease_id: str,
        *,
        done: bool = True,
        hold: Seconds = 0.0,
        within: float | None = None,
    ) -> bool:
        """Gives a lease back, and says whether it was still held.

        Args:
            resource: as it was acquired.
            lease_id: of the grant.
            done: record the version and the event; otherwise nothing is recorded, and a redelivery is processed.
            hold: not done: keep the resource for the retry of the same event this many seconds, 0 to 3600.
            within: seconds after which it is given up; None: the client's.
        """
        request = pb.ReleaseRequest(
            resource=resource,
            lease_id=lease_id,
            disposition=messages.disposition(done=done),
            hold=duration(hold) if hold else None,
        )
        timeout, retry_for = self._limits(within)
        response, _ = await self._keeping.call("Release", request, timeout=timeout, retry_for=retry_for)
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
        wait_s = seconds(wait)
        request = pb.DedupeRequest(
            key=key,
            retention=duration(retention),
            claim_ttl=duration(claim_ttl),
            owner=self.owner,
            request_id=self._new_request_id() if request_id is None else request_id,
            fingerprint=fingerprint,
            wait_timeout=duration(wait) if wait_s else None,
        )
        response, sent_at = await self._asking.call(
            "Dedupe",
            request,
            timeout=CALL_S,
            retry_for=self.retry_for,
            wait=wait_s,
            # Who has named a request may come back for its grant; to another nobody can.
            gives_back=not request_id,
        )
        return messages.deduped(response, sent_at)

    async def renew_claim(
        self,
        key: str,
        claim_id: str,
        *,
        claim_ttl: Seconds | None = None,
        timeout: float = CALL_S,
        retry_for: float | None = None,
    ) -> bool:
        """Extends a claim, and says whether it is still held. Arguments as in `renew`."""
        retry_for = self.retry_for if retry_for is None else retry_for
        request = pb.RenewClaimRequest(key=key, claim_id=claim_id, claim_ttl=duration(claim_ttl))
        response, _ = await self._keeping.call("RenewClaim", request, timeout=timeout, retry_for=retry_for)
        return bool(response.outcome == pb.RENEW_OUTCOME_RENEWED)

    async def settle(
        self, key: str, claim_id: str, *, done: bool = True, result: bytes = b"", within: float | None = None
    ) -> bool:
        """Ends a claim, and says whether it was still held.

        Args:
            key: as it was claimed.
            claim_id: of the claim.
            done: remember the key; otherwise it is free again.
            result: up to 4096 bytes, handed to later duplicates.
            within: seconds after which it is given up; None: the client's.
        """
        request = pb.SettleRequest(
            key=key, claim_id=claim_id, disposition=messages.disposition(done=done), result=result
        )
        timeout, retry_for = self._limits(within)
        response, _ = await self._keeping.call("Settle", request, timeout=timeout, retry_for=retry_for)
        return bool(response.outcome == pb.SETTLE_OUTCOME_SETTLED)
