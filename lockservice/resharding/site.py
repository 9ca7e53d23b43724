"""A shard as whoever moves its buckets sees it: commands and scripts on the Redis that serves a bucket now."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from lockservice.errors import ShardUnavailable
from lockservice.limits import BUCKETS, MOVING_MS
from lockservice.shards import script
from lockservice.shards.keys import BUCKET_BY_PREFIX, BUCKET_PREFIXES, MAP_KEY
from lockservice.shards.map_record import MapRecord, read
from lockservice.shards.node import Node
from lockservice.shards.pipeline import is_error
from lockservice.shards.shard import Shard

# So long a slot of a Cluster may be on its way, or a primary being replaced, before a move gives up.
_PATIENCE_S = 30.0
_KEYS_A_SCAN = 500


class Site:
    """Runs on a shard what moving needs.

    Args:
        shard: the shard, connected.
        memory_ms: how long completed versions are remembered.
    """

    def __init__(self, shard: Shard, memory_ms: int) -> None:
        self.name = shard.name
        self._shard = shard
        self._memory_ms = memory_ms

    def nodes(self) -> list[Node]:
        """Returns the Redis servers that serve its buckets."""
        return list(dict.fromkeys(self._shard.topology.by_bucket))

    async def command(self, bucket: int, *words: str | bytes | int) -> Any:
        """Sends a command to the Redis of a bucket.

        Raises:
            ShardUnavailable: it refuses, and went on refusing.
            OutcomeUnknown: no answer came, or too few replicas have what it did.
        """
        until = time.monotonic() + _PATIENCE_S
        while True:
            problem = ""
            try:
                reply = await self._shard.topology.by_bucket[bucket].send(*words)
            except ShardUnavailable as error:
                problem = str(error)
            else:
                if not is_error(reply):
                    return reply
                problem = str(reply)
                if problem.startswith("MOVED"):
                    self._shard.topology.redirect(bucket, problem.rsplit(" ", 1)[-1])
                elif not problem.startswith(_PASSING):
                    raise ShardUnavailable(f"shard {self.name}: {problem}")
            if time.monotonic() > until:
                raise ShardUnavailable(f"shard {self.name}: {problem}")
            await asyncio.sleep(MOVING_MS / 1000)

    async def run(self, name: str, bucket: int, arguments: Mapping[str, script.Argument], *, marker: str = "") -> Any:
        """Runs a script of a move on a bucket, and returns its words. Raises what `command` raises."""
        loaded = script.load(name)
        values = loaded.values(arguments)
        common = (marker, self._memory_ms)
        return await self.command(bucket, "EVAL", loaded.text, 1, BUCKET_PREFIXES[bucket], *common, *values)

    async def record(self) -> MapRecord | None:
        """Returns the shard map that it remembers; None: none. Raises what `command` raises."""
        found = await self.command(0, "GET", MAP_KEY)
        return None if found is None else read(found)

    async def remember(self, record: MapRecord) -> None:
        """Has it remember a shard map, unless it knows a newer one. Raises what `command` raises."""
        loaded = script.load("map")
        values = loaded.values({"record": record.text(), "epoch": record.epoch})
        await self.command(0, "EVAL", loaded.text, 1, MAP_KEY, *script.NOBODY, *values)

    async def clock_ms(self, bucket: int) -> tuple[float, float]:
        """Returns how far the clock of a bucket's Redis is ahead of this process's: at least, and at most."""
        before = time.monotonic() * 1000
        seconds, micros = await self.command(bucket, "TIME")
        theirs = int(seconds) * 1000 + int(micros) / 1000
        return theirs - time.monotonic() * 1000, theirs - before

    async def keys(self, buckets: frozenset[int]) -> AsyncIterator[dict[int, list[bytes]]]:
        """Yields the keys of some buckets, without the buckets' prefixes, some at a time; one may come twice.

        Raises:
            ShardUnavailable, OutcomeUnknown: the shard does not answer.
        """
        for node in self.nodes():
            cursor: bytes = b"0"
            while True:
                reply = await node.send("SCAN", cursor, "MATCH", "ls:{b*", "COUNT", _KEYS_A_SCAN)
                if is_error(reply):
                    raise ShardUnavailable(f"shard {self.name}: {reply}")
                cursor, found = reply
                yield sort_by_bucket(found, buckets)
                if cursor == b"0":
                    break


# Errors that pass: a slot that is being migrated, a primary that is being replaced, a Redis that loads its data.
_PASSING = ("ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY", "NOREPLICAS", "MASTERDOWN", "BUSY")
# Written by the scripts that open and close a bucket, never copied; who is alive says so again at once.
_OF_THE_SHARD = frozenset((b"incarnation", b"holding", b"token", b"map", b"mover"))


def sort_by_bucket(keys: list[bytes], buckets: frozenset[int]) -> dict[int, list[bytes]]:
    """Sorts keys by their bucket, without its prefix; those of other buckets, and a shard's own, are left out."""
    found: dict[int, list[bytes]] = {}
    for key in keys:
        prefix, brace, rest = key.partition(b"}:")
        bucket = BUCKET_BY_PREFIX.get(prefix + brace, BUCKETS)
        if bucket in buckets and rest not in _OF_THE_SHARD:
            found.setdefault(bucket, []).append(rest)
    return found
