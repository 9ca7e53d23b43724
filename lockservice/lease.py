"""What is asked of a resource and what comes of it: frozen values that the domain and the wire exchange.

Durations are in milliseconds. They are named tuples because several are made for every call.
"""

from enum import StrEnum
from typing import NamedTuple

from lockservice.guarantee import Guarantee


class Previous(StrEnum):
    """How the lease before a grant ended."""

    UNKNOWN = ""
    RELEASED = "released"
    EXPIRED = "expired"
    FORCED = "forced"


class AcquireAsk(NamedTuple):
    """A request for a lease. Unset numbers are None, unset texts are empty."""

    namespace: str
    resource: str
    owner: str
    ttl_ms: int
    wait_ms: int
    request_id: str
    version: int | None
    after_version: int | None
    allow_stale: bool
    event_id: str
    retention_ms: int


class Grant(NamedTuple):
    """A lease, and what its holder should know."""

    lease_id: str
    token: int
    ttl_ms: int
    previous: Previous
    completed: int | None
    waited_ms: float
    waited: bool


class Held(NamedTuple):
    """Others hold the resource, or are queued for it, or it is kept for a retry."""

    holder: "Holder | None"
    completed: int | None
    waited_ms: float
    waited: bool


class Refused(NamedTuple):
    """The event need not, must not or cannot be processed now: duplicate, stale or early."""

    word: str
    completed: int | None
    waited_ms: float
    waited: bool


class Holder(NamedTuple):
    """Who holds a resource."""

    owner: str
    token: int
    remaining_ms: int


class Hold(NamedTuple):
    """A resource kept for the retry of an event."""

    owner: str
    event_id: str
    remaining_ms: int


class Waiter(NamedTuple):
    """A caller in the queue of a resource."""

    owner: str
    waiting_ms: int
    version: int | None
    after_version: int | None


class Lock(NamedTuple):
    """A resource as operators see it."""

    resource: str
    shard: str
    guarantee: Guarantee
    holder: Holder | None
    queue_length: int
    completed: int | None
    held_ms: int | None
    hold: Hold | None


class DedupeAsk(NamedTuple):
    """A request to claim an event key; without claim_ttl_ms it is remembered at once."""

    namespace: str
    key: str
    retention_ms: int
    claim_ttl_ms: int | None
    owner: str
    request_id: str
    fingerprint: bytes
    wait_ms: int


class Claim(NamedTuple):
    """What is known of an event key: first, duplicate, in_progress or mismatch."""

    word: str
    claim_id: str
    first_seen_ms: int
    result: bytes
    retry_after_ms: int
