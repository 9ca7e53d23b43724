"""A claim on an event key that is held while a block runs."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from lockservice_client.errors import LeaseLost, ServiceError, claim_refusal
from lockservice_client.options import OnceOptions, OnLost, seconds
from lockservice_client.renewal import Renewal
from lockservice_client.values import Deduped

if TYPE_CHECKING:
    from lockservice_client.client import Client

# A claim that is about to end is still worth one try to free its key.
_FREE_S_MIN: Final = 0.1

C = TypeVar("C", bound="ClaimBase")
D = TypeVar("D", bound="ClaimBase")


class ClaimBase:
    """What a block knows of its claim, in asyncio as in threads.

    Attributes:
        key: the event key.
        claim_id: the secret that settles it.
        first_seen: when the key was first seen.
        result: set it to up to 4096 bytes; later duplicates are handed it.
    """

    def __init__(self, key: str, answer: Deduped, renewal: Renewal) -> None:
        self.key = key
        self.claim_id = answer.claim_id
        self.first_seen = answer.first_seen
        self.result = b""
        self._renewal = renewal

    @property
    def remaining(self) -> float:
        """How many seconds the holder may still believe in its claim."""
        return self._renewal.remaining

    def check(self) -> None:
        """Raises LeaseLost when the claim is lost."""
        self._renewal.check()


class Claim(ClaimBase):
    """What a block of `Client.once` knows of its claim.

    Attributes:
        lost: set when the claim is lost, before it can end at the service.
    """

    def __init__(self, key: str, answer: Deduped, renewal: Renewal) -> None:
        super().__init__(key, answer, renewal)
        self.lost = asyncio.Event()
        renewal.told.append(self.lost.set)


class ClaimBlock(Generic[C]):
    """Claims a key when it is entered and settles it when it is left. Made by `Client.once`."""

    def __init__(self, client: "Client", key: str, asked: OnceOptions, *, on_lost: OnLost, kind: type[C]) -> None:
        self._client = client
        self._key = key
        self._asked = asked
        self._on_lost: OnLost = on_lost
        self._kind = kind
        self._claim: C | None = None
        self._renewal: Renewal | None = None

    def giving(self, kind: type[D]) -> "ClaimBlock[D]":
        """Returns the same block with another kind of claim inside."""
        return ClaimBlock(self._client, self._key, self._asked, on_lost=self._on_lost, kind=kind)

    async def __aenter__(self) -> C:
        """Claims. Raises Duplicate, InProgress, Mismatch, LeaseLost, ServiceError."""
        answer = await self._client.dedupe(self._key, **self._asked)
        if answer.outcome != "first":
            raise claim_refusal(self._key, answer)

        async def renew(*, timeout: float, retry_for: float) -> bool:
            return await self._client.renew_claim(self._key, answer.claim_id, timeout=timeout, retry_for=retry_for)

        self._renewal = Renewal(
            renew,
            ttl=seconds(self._asked["claim_ttl"]),
            sent_at=answer.sent_at,
            what=f"the claim on {self._key}",
            on_lost=self._on_lost,
        )
        self._claim = self._kind(self._key, answer, self._renewal)
        try:
            await self._renewal.start(retry_for=self._client.retry_for)
        except BaseException:
            await self._free()
            raise
        return self._claim

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Settles as done, or after an exception frees the key. Raises LeaseLost when it had been lost."""
        assert self._claim is not None
        assert self._renewal is not None
        await self._renewal.stop(error)
        if self._renewal.lost:
            return
        if error is not None:
            await self._free()
            return
        settled = await self._client.see_through(
            self._client.settle(self._key, self._claim.claim_id, result=self._claim.result)
        )
        if not settled:
            raise LeaseLost(f"the claim on {self._key} had ended before the work did: nothing was recorded")

    def abandon(self) -> None:
        """Renews no more; the claim runs out by itself."""
        if self._renewal is not None:
            self._renewal.abandon()

    async def _free(self) -> None:
        """Frees the key if it can be done while the claim lasts; what the block ended by matters more than this."""
        assert self._claim is not None
        left = max(_FREE_S_MIN, self._claim.remaining)
        try:
            await self._client.see_through(
                self._client.settle(self._key, self._claim.claim_id, done=False, within=left)
            )
        except ServiceError:
            return
