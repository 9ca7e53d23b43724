"""Which shard a name belongs to: rendezvous hashing over the shards' names.

Source: Thaler and Ravishankar, "A name-based mapping scheme for rendezvous" (1996): each shard gets a weight from the
name and its own, the highest wins, so a shard that is added takes names from all others and moves nothing else.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from lockservice.shards.shard import Shard


def choose(names: Sequence[str], text: str) -> int:
    """Chooses the shard that a name belongs to and returns its index."""
    weights = [blake2b(text.encode(), digest_size=8, key=name.encode()).digest() for name in names]
    return weights.index(max(weights))


class ShardMap:
    """The shards of this service, and which of them a name belongs to."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = tuple(shards)
        names = [shard.name for shard in self.shards]
        self._choose = lru_cache(maxsize=16_384)(lambda text: choose(names, text))

    async def start(self) -> None:
        """Connects to all shards at once; those that are down are tried again for as long as it takes."""
        await asyncio.gather(*(shard.start() for shard in self.shards))

    async def stop(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(shard.stop() for shard in self.shards))

    def pick(self, name: str) -> Shard:
        """Returns the shard of an encoded name.

        Raises:
            ShardMapMismatch: one of the shards holds another map, so this replica might look in the wrong place.
        """
        for shard in self.shards:
            if shard.condition.other_map:
                shard.condition.refuse(shard.name)
        return self.shards[self._choose(name)]

    def problems(self) -> list[str]:
        """Says why this replica is not ready; nothing when it is.

        One shard that is down does not make it unready, since the others go on; none reachable does, and so does
        a shard that must not be used.
        """
        wrong = [s for s in self.shards if s.condition.other_map or s.condition.evicts]
        down = [s for s in self.shards if s.condition.problem]
        named = wrong or (down if len(down) == len(self.shards) else [])
        return [f"shard {shard.name}: {shard.condition.problem}" for shard in named]


def map_names(names: Sequence[str]) -> str:
    """Writes a shard map as each shard keeps it: what matters is the set of names."""
    return " ".join(sorted(names))
