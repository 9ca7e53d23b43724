"""What the service answers, as frozen values. Times are in seconds."""

from datetime import datetime
from typing import Literal, NamedTuple

AcquireOutcome = Literal["granted", "held", "duplicate", "stale", "early"]
DedupeOutcome = Literal["first", "duplicate", "in_progress", "mismatch"]
PreviousLease = Literal["", "released", "expired", "forced"]


class Grant(NamedTuple):
    """A lease.

    Attributes:
        lease_id: the secret that renew and release present.
        fencing_token: rises with every grant of the resource; give it to the store that you write to.
        ttl: seconds, counted from sent_at.
        sent_at: when the request left, on time.monotonic().
    """

    resource: str
    lease_id: str
    fencing_token: int
    ttl: float
    sent_at: float


class Holder(NamedTuple):
    """Who holds a resource."""

    owner: str
    fencing_token: int
    remaining: float


class Acquired(NamedTuple):
    """The answer of an Acquire.

    Attributes:
        grant: the lease, with the outcome "granted".
        holder: who holds it, with "held", if anybody does.
        waited: seconds in the queue.
        completed_version: the highest version released as done, if any.
        previous_lease: how the lease before this one ended; after "expired" or "forced" work may be half done.
    """

    outcome: AcquireOutcome
    grant: Grant | None
    holder: Holder | None
    waited: float
    completed_version: int | None
    previous_lease: PreviousLease


class Deduped(NamedTuple):
    """The answer of a Dedupe.

    Attributes:
        claim_id: with "first" and a claim_ttl.
        result: with "duplicate": what was left when the claim was settled.
        retry_after: with "in_progress": seconds until the claim runs out.
        sent_at: when the request left, on time.monotonic().
    """

    outcome: DedupeOutcome
    claim_id: str
    first_seen: datetime
    result: bytes
    retry_after: float
    sent_at: float


class Hold(NamedTuple):
    """A resource kept for the retry of an event; an empty event_id keeps everybody off."""

    owner: str
    event_id: str
    remaining: float


class Lock(NamedTuple):
    """A resource as operators see it; held says for how many seconds its holder has held it."""

    resource: str
    shard: str
    holder: Holder | None
    queue_length: int
    completed_version: int | None
    hold: Hold | None
    held: float | None


class Waiter(NamedTuple):
    """A caller in the queue of a resource."""

    owner: str
    waiting: float
    version: int | None
    after_version: int | None


class RedisServer(NamedTuple):
    """A Redis behind a shard.

    Attributes:
        problem: why it may not be used; while it is empty the rest is known.
        version: the program and its version.
        clock_offset: seconds that its clock is ahead of the replica's, as far as that is certain.
        memory_max_bytes: 0: it has no bound of its own.
        replicas: how many are connected to it and in step.
    """

    address: str
    problem: str
    version: str
    clock_offset: float
    eviction_policy: str
    append_only: bool
    persistence_problem: str
    memory_bytes: int
    memory_max_bytes: int
    replicas: int


class Shard(NamedTuple):
    """One shard of the map; latencies in seconds, durability and exclusion say what its answers are worth.

    Its calls are those that the replica which was asked has made to it.
    """

    name: str
    address: str
    healthy: bool
    latency_p50: float
    latency_p99: float
    locks_held: int
    waiters: int
    problem: str
    durability: str
    exclusion: str
    servers: tuple[RedisServer, ...]
    calls: int


class Overview(NamedTuple):
    """The service as one replica sees it.

    Attributes:
        server_version: of that replica; empty: it is too old to say.
        replica: its name, a new one for each of its starts.
        map_epoch: counts the changes of the shard map that it follows.
        time: its clock when it answered.
    """

    shards: tuple[Shard, ...]
    server_version: str
    replica: str
    map_epoch: int
    time: datetime
