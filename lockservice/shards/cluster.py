"""A shard that is a Redis Cluster: each bucket is one hash tag, so it has one slot and is served by one primary.

Nodes are asked for the slots all the time; between two answers MOVED corrects what has changed. A slot that is being
migrated answers ASK, since the key that every script declares is none that exists: so a script runs either where all
keys of its bucket are or not at all, and the call waits until the slot has arrived.
"""

import asyncio
from collections import Counter
from typing import Any, Final

from redis.crc import key_slot

from lockservice.limits import BUCKETS
from lockservice.shard_url import Group, Host
from lockservice.shards.keys import BUCKET_PREFIXES
from lockservice.shards.node import Connecting, Node, Owner
from lockservice.shards.pipeline import is_error
from lockservice.shards.witness import Witness

_SLOTS: Final = tuple(key_slot(prefix) for prefix in BUCKET_PREFIXES)
_QUESTIONS: Final = (("CLUSTER", "SLOTS"),)


class Cluster:
    """The primaries of a Cluster, and which of them serves a bucket."""

    def __init__(self, owner: Owner, group: Group, connecting: Connecting) -> None:
        self._owner = owner
        self._group = group
        self._connecting = connecting
        self._nodes: dict[Host, Node] = {}
        self._witnesses: dict[Host, Witness] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._known = asyncio.Event()
        # Stands for the primary of a bucket until it is known.
        self._unknown = Node(owner, self._nowhere, connecting)
        self.by_bucket = [self._unknown] * BUCKETS

    async def _nowhere(self) -> str:
        raise AssertionError("it is never started")

    async def start(self) -> None:
        """Begins to ask and to connect, and returns once the first attempts are over."""
        for host in self._group.hosts:
            self._ask(host)
        try:
            async with asyncio.timeout(2 * self._connecting.timeout_s):
                await self._known.wait()
                await asyncio.gather(*(node.tried.wait() for node in self._nodes.values()))
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Disconnects."""
        await asyncio.gather(*(witness.stop() for witness in self._witnesses.values()))
        await asyncio.gather(*(node.stop() for node in self._nodes.values()), *self._stopping)

    async def look(self) -> None:
        """Checks at once whether its nodes may be used."""
        await asyncio.gather(*(node.look() for node in self._nodes.values()))

    def doubt(self) -> None:
        """Looks whether the nodes are still primaries; they are being asked for the slots all the time."""
        for node in self._nodes.values():
            node.check_now()

    def redirect(self, bucket: int, address: str) -> bool:
        """Takes what a node says of where a bucket is, HOST:PORT; the slots that are told later may correct it."""
        name, _, port = address.rpartition(":")
        if not port.isdigit():
            return False
        self.by_bucket[bucket] = self._node(Host(name or "127.0.0.1", int(port)))
        return True

    def _ask(self, host: Host) -> None:
        witness = Witness(
            self._group.server(host),
            _QUESTIONS,
            timeout_s=self._connecting.timeout_s,
            on_answer=self._weigh,
        )
        self._witnesses[host] = witness
        witness.start()

    def _node(self, host: Host) -> Node:
        if host not in self._nodes:

            async def locate() -> str:
                return self._group.server(host)

            node = self._nodes[host] = Node(self._owner, locate, self._connecting)
            node.start()
        return self._nodes[host]

    def _weigh(self) -> None:
        """Takes over what most of those that answer say of each bucket."""
        views = [_primaries(w.answers[0], host) for host, w in self._witnesses.items() if _told(w)]
        for bucket, slot in enumerate(_SLOTS):
            named = Counter(host for view in views for first, last, host in view if first <= slot <= last)
            if named:
                self.by_bucket[bucket] = self._node(named.most_common(1)[0][0])
        if self._unknown not in self.by_bucket:
            self._known.set()
        self._forget()

    def _forget(self) -> None:
        """Asks every primary, and lets those go that serve nothing any more."""
        serving = set(map(id, self.by_bucket))
        for host in [host for host, node in self._nodes.items() if id(node) not in serving]:
            node = self._nodes.pop(host)
            task = asyncio.create_task(node.stop())
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
        for host in self._nodes:
            if host not in self._witnesses:
                self._ask(host)


def _told(witness: Witness) -> bool:
    return bool(witness.answers) and not is_error(witness.answers[0])


def _primaries(slots: list[Any], asked: Host) -> list[tuple[int, int, Host]]:
    """Reads an answer; a node that does not know its own name is where it was asked."""
    found = []
    for first, last, primary, *_ in slots:
        name = primary[0].decode() if primary[0] else asked.name
        found.append((int(first), int(last), Host(name, int(primary[1]))))
    return found
