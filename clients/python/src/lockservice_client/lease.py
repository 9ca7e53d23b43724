"""A lease that is held while a block runs."""

import asyncio
import functools
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from lockservice_client.errors import LeaseLost, ServiceError, refusal
from lockservice_client.options import AcquireOptions, OnLost, Seconds, seconds
from lockservice_client.renewal import Renewal
from lockservice_client.values import Acquired, Grant, PreviousLease

if TYPE_CHECKING:
    from lockservice_client.client import Client

# A lease that is about to end is still worth one try to give it back.
_GIVE_BACK_S_MIN: Final = 0.1

L = TypeVar("L", bound="LeaseBase")
M = TypeVar("M", bound="LeaseBase")


class LeaseBase:
    """What a block knows of its lease, in asyncio as in threads.

    Attributes:
        resource: what is locked.
        lease_id: the secret that renew and release present.
        fencing_token: rises with every grant of the resource. Let the store refuse a lower one than it has seen:
            `UPDATE ... WHERE fence <= :token`.
        previous_lease: how the lease before this one ended; after "expired" or "forced" work may be half done.
        completed_version: the highest version released as done, if any.
        tie: completed_version equals this event's version: two events of one instant, so fetch the entity afresh.
        waited: seconds in the queue.
    """

    def __init__(self, grant: Grant, answer: Acquired, version: int | None, renewal: Renewal) -> None:
        self.resource = grant.resource
        self.lease_id = grant.lease_id
        self.fencing_token = grant.fencing_token
        self.previous_lease: PreviousLease = answer.previous_lease
        self.completed_version = answer.completed_version
        self.tie = version is not None and version == answer.completed_version
        self.waited = answer.waited
        self._renewal = renewal
        self._retry: float | None = None

    @property
    def remaining(self) -> float:
        """How many seconds the holder may still believe that it holds."""
        return self._renewal.remaining

    def check(self) -> None:
        """Raises LeaseLost when the lease is lost. Call it between the steps of long work."""
        self._renewal.check()

    def retry(self, *, hold: Seconds = 0.0) -> None:
        """Has the end of the block release as RETRY: nothing is recorded, and a redelivery is processed.

        Args:
            hold: seconds, 0 to 3600, that the resource is kept for the retry of the same event.

        Example:
            async with client.lock("order:1001", event_id=event.id) as lease:
                if not await store.reachable():
                    lease.retry(hold=30)
        """
        self._retry = seconds(hold)

    def disposition(self, *, failed: bool, retry_hold: float) -> tuple[bool, float]:
        """Says how to release: done or not, and for how many seconds the resource is kept."""
        if self._retry is not None:
            return False, self._retry
        return not failed, retry_hold if failed else 0.0


class Lease(LeaseBase):
    """What a block of `Client.lock` knows of its lease.

    Attributes:
        lost: set when the lease is lost, before it can end at the service.
    """

    def __init__(self, grant: Grant, answer: Acquired, version: int | None, renewal: Renewal) -> None:
        super().__init__(grant, answer, version, renewal)
        self.lost = asyncio.Event()
        renewal.told.append(self.lost.set)


class LockBlock(Generic[L]):
    """Takes a lease when it is entered and gives it back when it is left. Made by `Client.lock`."""

    def __init__(
        self,
        client: "Client",
        resource: str,
        asked: AcquireOptions,
        *,
        on_lost: OnLost,
        retry_hold: Seconds,
        kind: type[L],
    ) -> None:
        self._client = client
        self._resource = resource
        self._asked = asked
        self._on_lost: OnLost = on_lost
        self._retry_hold = seconds(retry_hold)
        self._kind = kind
        self._lease: L | None = None
        self._renewal: Renewal | None = None

    def giving(self, kind: type[M]) -> "LockBlock[M]":
        """Returns the same block with another kind of lease inside."""
        return LockBlock(
            self._client, self._resource, self._asked, on_lost=self._on_lost, retry_hold=self._retry_hold, kind=kind
        )

    async def __aenter__(self) -> L:
        """Acquires. Raises Held, Duplicate, Stale, Early, LeaseLost, ServiceError."""
        answer = await self._client.acquire(self._resource, **self._asked)
        grant = answer.grant
        if grant is None:
            raise refusal(self._resource, answer)
        self._renewal = Renewal(
            functools.partial(self._client.renew, self._resource, grant.lease_id),
            ttl=grant.ttl,
            sent_at=grant.sent_at,
            what=f"the lease on {self._resource}",
            on_lost=self._on_lost,
        )
        self._lease = self._kind(grant, answer, self._asked["version"], self._renewal)
        try:
            await self._renewal.start(retry_for=self._client.retry_for)
        except BaseException:
            await self._give_back(done=False, hold=0.0)
            raise
        return self._lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Releases as done, or after an exception as to be retried. Raises LeaseLost when it had been lost."""
        assert self._lease is not None
        assert self._renewal is not None
        await self._renewal.stop(error)
        if self._renewal.lost:
            # The block ends by its own error; a release could only say that nothing is held.
            return
        done, hold = self._lease.disposition(failed=error is not None, retry_hold=self._retry_hold)
        if error is not None:
            await self._give_back(done=done, hold=hold)
            return
        released = await self._client.see_through(
            self._client.release(self._resource, self._lease.lease_id, done=done, hold=hold)
        )
        if not released:
            raise LeaseLost(f"the lease on {self._resource} had ended before the work did: nothing was recorded")

    def abandon(self) -> None:
        """Renews no more; the lease runs out by itself."""
        if self._renewal is not None:
            self._renewal.abandon()

    async def _give_back(self, *, done: bool, hold: float) -> None:
        """Releases if it can be done while the lease lasts; what the block ended by matters more than this."""
        assert self._lease is not None
        left = max(_GIVE_BACK_S_MIN, self._lease.remaining)
        release = self._client.release(self._resource, self._lease.lease_id, done=done, hold=hold, within=left)
        try:
            await self._client.see_through(release)
        except ServiceError:
            return
