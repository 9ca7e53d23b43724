"""A shard that is a Sentinel group: its primary is whom the last failover made it.

One Sentinel alone may be cut off together with an old primary, and would have this replica go on there. So every
Sentinel is asked, all the time, and a primary is believed when most of them answer. Among their answers that of the
highest configuration epoch counts, since a majority has agreed to it: the Sentinel that leads a failover knows of it
up to a second before the others do.

That Sentinel in turn names the new primary only after its next INFO, up to a second after it has made it one. But it
says before whom it promotes. So this replica goes there at once, and waits there for the promotion: it neither loses
that second nor grants anything in it by an old primary that still answers. A promotion that does not come about is
given up after the group's failover-timeout.
"""

import asyncio
import contextlib
from typing import Any

from lockservice.errors import ShardUnavailable
from lockservice.limits import BUCKETS
from lockservice.shard_url import Group, Host
from lockservice.shards.node import Connecting, Node, Owner
from lockservice.shards.pipeline import is_error
from lockservice.shards.witness import Witness


class Sentinel:
    """One node that serves every bucket, wherever the Sentinels say that it is."""

    def __init__(self, owner: Owner, group: Group, connecting: Connecting) -> None:
        self._group = group
        self._timeout_s = connecting.timeout_s
        self._primary: Host | None = None
        self._agreed = asyncio.Event()
        self._node = Node(owner, self._locate, connecting)
        self.by_bucket = [self._node] * BUCKETS
        questions = [("SENTINEL", what, group.name) for what in ("GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS")]
        self._witnesses = [
            Witness(group.sentinel(host), questions, timeout_s=connecting.timeout_s, on_answer=self._weigh)
            for host in group.hosts
        ]

    async def start(self) -> None:
        """Begins to ask and to connect, and returns once the first attempt is over."""
        for witness in self._witnesses:
            witness.start()
        self._node.start()
        await self._node.tried.wait()

    async def stop(self) -> None:
        """Disconnects."""
        await asyncio.gather(*(witness.stop() for witness in self._witnesses))
        await self._node.stop()

    async def look(self) -> None:
        """Checks at once whether it may be used."""
        await self._node.look()

    def doubt(self) -> None:
        """Looks whether it is still a primary; the Sentinels are being asked all the time."""
        self._node.check_now()

    def redirect(self, bucket: int, address: str) -> bool:
        """Takes what a Redis says of where a bucket is; only the Sentinels know."""
        return False

    def _weigh(self) -> None:
        answers = [witness.answers for witness in self._witnesses]
        views = [_read(*answer) for answer in answers if answer and not any(map(is_error, answer[:2]))]
        if len(views) <= len(self._witnesses) // 2:
            # Without a majority no primary is connected to anew. The one that is connected stays: nobody has put
            # another in its place.
            self._agreed.clear()
            return
        *_, primary = max(views)
        if primary != self._primary:
            self._primary = primary
            self._node.relocate("the Sentinels name another primary")
        self._agreed.set()

    async def _locate(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * self._timeout_s):
                await self._agreed.wait()
        if not self._agreed.is_set() or self._primary is None:
            raise ShardUnavailable(f"no majority of its {len(self._witnesses)} Sentinels answers")
        return self._group.server(self._primary)


def _read(address: list[bytes], master: Any, replicas: Any) -> tuple[int, bool, Host]:
    """Reads what a Sentinel says: the epoch of the last failover, whether it promotes another now, and who is it.

    One that does not let its replicas be asked for is followed when it names a primary.
    """
    epoch = int(_fields(master)[b"config-epoch"])
    for replica in [] if is_error(replicas) else map(_fields, replicas):
        if b"promoted" in replica[b"flags"].split(b","):
            return epoch, True, Host(replica[b"ip"].decode(), int(replica[b"port"]))
    return epoch, False, Host(address[0].decode(), int(address[1]))


def _fields(told: Any) -> dict[bytes, bytes]:
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
