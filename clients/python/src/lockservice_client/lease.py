"""A lease that is held while a block runs."""

import asyncio
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lockservice_client.errors import LeaseLost, refusal
from lockservice_client.renewal import OnLost, Renewal
from lockservice_client.values import Acquired, Grant, PreviousLease

if TYPE_CHECKING:
    from lockservice_client.client import Client


class Lease:
    """What a block knows of its lease.

    Attributes:
        resource: what is locked.
        lease_id: the secret that renew and release present.
        fencing_token: rises with every grant of the resource. Let the store refuse a lower one than it has seen:
            `UPDATE … WHERE fence < :token`.
        previous_lease: how the lease before this one ended; after "expired" or "forced" work may be half done.
        completed_version: the highest version released as done, if any.
        tie: completed_version equals this event's version: two events of one instant, so fetch the entity afresh.
        waited: seconds in the queue.
        lost: set when the lease is lost.
    """

    def __init__(self, grant: Grant, answer: Acquired, version: int | None, renewal: Renewal) -> None:
        self.resource = grant.resource
        self.lease_id = grant.lease_id
        self.fencing_token = grant.fencing_token
        self.previous_lease: PreviousLease = answer.previous_lease
        self.completed_version = answer.completed_version
        self.tie = version is not None and version == answer.completed_version
        self.waited = answer.waited
        self.lost = renewal.lost
        self._renewal = renewal
        self._retry: float | None = None

    @property
    def remaining(self) -> float:
        """How many seconds the holder may still believe that it holds."""
        return 0.0 if self.lost.is_set() else max(0.0, self._renewal.deadline - time.monotonic())

    def check(self) -> None:
        """Raises LeaseLost when the lease is lost."""
        self._renewal.check()

    def retry(self, *, hold: float = 0.0) -> None:
        """Has the end of the block release as not done; with hold the resource is kept that many seconds for it."""
        self._retry = hold

    def disposition(self, *, failed: bool, retry_hold: float) -> tuple[bool, float]:
        """Says how to release: done or not, and for how many seconds the resource is kept."""
        if self._retry is not None:
            return False, self._retry
        return not failed, retry_hold if failed else 0.0


class LockBlock:
    """Takes a lease when it is entered and gives it back when it is left. Made by `Client.lock`."""

    def __init__(
        self, client: "Client", resource: str, asked: dict[str, Any], *, on_lost: OnLost, retry_hold: float
    ) -> None:
        self._client = client
        self._resource = resource
        self._asked = asked
        self._on_lost = on_lost
        self._retry_hold = retry_hold
        self._lease: Lease | None = None
        self._renewal: Renewal | None = None

    async def __aenter__(self) -> Lease:
        """Acquires. Raises Held, Duplicate, Stale, Early, LeaseLost, ServiceError."""
        answer = await self._client.acquire(self._resource, **self._asked)
        if answer.grant is None:
            raise refusal(self._resource, answer)
        grant = answer.grant
        self._renewal = Renewal(
            lambda timeout: self._client.renew(self._resource, grant.lease_id, timeout=timeout),
            ttl=self._asked["ttl"],
            sent_at=grant.sent_at,
            what=f"the lease on {self._resource}",
            on_lost=self._on_lost,
        )
        self._lease = Lease(grant, answer, self._asked["version"], self._renewal)
        await self._renewal.start()
        return self._lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Releases as done, or after an exception as to be retried. Raises LeaseLost when it had been lost."""
        assert self._lease is not None
        assert self._renewal is not None
        await self._renewal.stop(error)
        done, hold = self._lease.disposition(failed=error is not None, retry_hold=self._retry_hold)
        # A worker that is being cancelled must still let the next one go on.
        released = await asyncio.shield(
            self._client.release(self._resource, self._lease.lease_id, done=done, hold=hold)
        )
        if not released and error is None:
            raise LeaseLost(f"the lease on {self._resource} had ended before the work did: nothing was recorded")
