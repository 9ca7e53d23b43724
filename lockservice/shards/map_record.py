"""The shard map as every shard remembers it, so that replicas can tell theirs from another, and learn of a change."""

import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import blake2b

from lockservice.limits import BUCKETS


@dataclass(frozen=True, slots=True)
class MapRecord:
    """A shard map.

    Attributes:
        epoch: rises with each change.
        shards: the URL of each shard by its name.
        before: while buckets are on their way, the shards that they come from; empty otherwise.
    """

    epoch: int
    shards: dict[str, str] = field(hash=False)
    before: dict[str, str] = field(default_factory=dict, hash=False)

    def text(self) -> str:
        """Writes it as it is kept."""
        return json.dumps(asdict(self), sort_keys=True)

    def urls(self) -> dict[str, str]:
        """Returns all shards that may have buckets."""
        return {**self.before, **self.shards}

    def fits(self, names: frozenset[str]) -> bool:
        """Says whether a replica that was given these names may follow it."""
        return names in (frozenset(self.shards), frozenset(self.before))


# Each shard is asked for it with every probe, and hardly ever says anything new.
@lru_cache(maxsize=64)
def read(text: bytes) -> MapRecord | None:
    """Reads a record; None when it is none."""
    try:
        return MapRecord(**json.loads(text))
    except (ValueError, TypeError):
        return None


@lru_cache(maxsize=64)
def assign(names: frozenset[str]) -> tuple[str, ...]:
    """Assigns each bucket to a shard, by the shards' names alone, and as evenly as whole buckets allow.

    Each bucket has an order of preference over the shards, from a hash of both, and goes to the first that has room.
    So when a shard is added, hardly more than its own share of buckets moves.

    Sources: Thaler and Ravishankar, "A name-based mapping scheme for rendezvous" (1996), for the order; Mirrokni,
    Thorup and Zadimoghaddam, "Consistent hashing with bounded loads" (2018), for the room.
    """
    room = dict.fromkeys(sorted(names), -(-BUCKETS // len(names)))
    weights = sorted(
        (blake2b(b"%d" % bucket, digest_size=8, key=name.encode()).digest(), bucket, name)
        for name in names
        for bucket in range(BUCKETS)
    )
    assigned: dict[int, str] = {}
    # The strongest wishes of all come first, so that it does not depend on a bucket's number who finds room.
    for _, bucket, name in reversed(weights):
        if bucket not in assigned and room[name]:
            assigned[bucket] = name
            room[name] -= 1
    return tuple(assigned[bucket] for bucket in range(BUCKETS))
