"""How the Redis servers of a shard are found: one address, Sentinels, or the nodes of a Cluster."""

from typing import Protocol

from lockservice.shard_url import group
from lockservice.shards.cluster import Cluster
from lockservice.shards.node import Connecting, Node, Owner
from lockservice.shards.sentinel import Sentinel
from lockservice.shards.standalone import Standalone


class Topology(Protocol):
    """How a shard's Redis servers are found."""

    by_bucket: list[Node]

    async def start(self) -> None:
        """Begins to connect, and returns once the first attempts are over."""

    async def stop(self) -> None:
        """Disconnects."""

    async def look(self) -> None:
        """Checks at once whether its Redis servers may be used."""

    def doubt(self) -> None:
        """Has them checked soon, since one may not be a primary any more."""

    def redirect(self, bucket: int, address: str) -> bool:
        """Takes what a Redis says of where a bucket is; False: it means nothing here."""


def topology_of(owner: Owner, url: str, connecting: Connecting) -> Topology:
    """Makes what the URL of a shard asks for."""
    several = group(url)
    if several is None:
        return Standalone(owner, url, connecting)
    return Sentinel(owner, several, connecting) if several.name else Cluster(owner, several, connecting)
