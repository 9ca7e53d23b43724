"""A shard that is one Redis."""

from lockservice.limits import BUCKETS
from lockservice.shards.node import Connecting, Node, Owner


class Standalone:
    """One node that serves every bucket."""

    def __init__(self, owner: Owner, url: str, connecting: Connecting) -> None:
        async def locate() -> str:
            return url

        self._node = Node(owner, locate, connecting)
        self.by_bucket = [self._node] * BUCKETS

    async def start(self) -> None:
        """Begins to connect, and returns once the first attempt is over."""
        self._node.start()
        await self._node.tried.wait()

    async def stop(self) -> None:
        """Disconnects."""
        await self._node.stop()

    async def look(self) -> None:
        """Checks at once whether it may be used."""
        await self._node.look()

    def doubt(self) -> None:
        """Looks whether it is still a primary."""
        self._node.check_now()

    def redirect(self, bucket: int, address: str) -> bool:
        """Takes what a Redis says of where a bucket is; there is nowhere else to go to."""
        return False
