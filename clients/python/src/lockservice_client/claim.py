"""A claim on an event key that is held while a block runs."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lockservice_client.errors import LeaseLost, claim_refusal
from lockservice_client.renewal import OnLost, Renewal
from lockservice_client.values import Deduped

if TYPE_CHECKING:
    from lockservice_client.client import Client


class Claim:
    """What a block knows of its claim.

    Attributes:
        key: the event key.
        claim_id: the secret that settles it.
        first_seen: when the key was first seen.
        result: set it to up to 4096 bytes; later duplicates are handed it.
        lost: set when the claim is lost.
        check: raises LeaseLost then.
    """

    def __init__(self, key: str, answer: Deduped, renewal: Renewal) -> None:
        self.key = key
        self.claim_id = answer.claim_id
        self.first_seen = answer.first_seen
        self.result = b""
        self.lost = renewal.lost
        self.check = renewal.check


class ClaimBlock:
    """Claims a key when it is entered and settles it when it is left. Made by `Client.once`."""

    def __init__(self, client: "Client", key: str, asked: dict[str, Any], *, on_lost: OnLost) -> None:
        self._client = client
        self._key = key
        self._asked = asked
        self._on_lost = on_lost
        self._claim: Claim | None = None
        self._renewal: Renewal | None = None

    async def __aenter__(self) -> Claim:
        """Claims. Raises Duplicate, InProgress, Mismatch, LeaseLost, ServiceError."""
        answer = await self._client.dedupe(self._key, **self._asked)
        if answer.outcome != "first":
            raise claim_refusal(self._key, answer)
        self._renewal = Renewal(
            lambda timeout: self._client.renew_claim(self._key, answer.claim_id, timeout=timeout),
            ttl=self._asked["claim_ttl"],
            sent_at=answer.sent_at,
            what=f"the claim on {self._key}",
            on_lost=self._on_lost,
        )
        self._claim = Claim(self._key, answer, self._renewal)
        await self._renewal.start()
        return self._claim

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Settles as done, or after an exception frees the key. Raises LeaseLost when it had been lost."""
        assert self._claim is not None
        assert self._renewal is not None
        await self._renewal.stop(error)
        settled = await asyncio.shield(
            self._client.settle(self._key, self._claim.claim_id, done=error is None, result=self._claim.result)
        )
        if not settled and error is None:
            raise LeaseLost(f"the claim on {self._key} had ended before the work did: nothing was recorded")
