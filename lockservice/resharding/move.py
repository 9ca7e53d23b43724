"""Moves buckets from one shard to another: copies them while they are in use, and stops each for the last difference.

The steps of a bucket are in an order that leaves it at exactly one shard, wherever they are interrupted. Until
`depart` it is at the source: a freeze that nobody ends runs out by itself. From `depart` on it is at the target,
where everything lies that was copied, and the first call that is sent there by the source's answer opens it.
"""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lockservice.errors import LockServiceError, OutcomeUnknown, ShardUnavailable
from lockservice.resharding.site import Site
from lockservice.resharding.watch import Watch
from lockservice.shards.keys import BUCKET_PREFIXES
from lockservice.shards.script import Argument

_KEYS_AT_ONCE: Final = 100
# A bucket that is frozen begins again by itself after this; a move takes a few milliseconds of it.
_FREEZE_MS: Final = 2_000
# With fewer changed keys than this the rest is copied while the bucket stands still.
_REST_KEYS: Final = 50
_ROUNDS_MAX: Final = 20
_AGAIN_S: Final = 0.5
_GONE: Final = -2
# Long enough to be thawed by whoever froze.
_TOUCH_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """What moving a bucket has cost.

    Attributes:
        keys: how many were copied in the end, after the first copy of all.
        paused_ms: for how long its callers had to wait.
    """

    keys: int
    paused_ms: float


class Mover:
    """Moves buckets from one shard to another.

    Args:
        source: the shard that has them.
        target: the shard that shall have them.
        who: names this run of the command among others.
        watch: what changes at the source.
    """

    def __init__(self, source: Site, target: Site, who: str, watch: Watch) -> None:
        self._source = source
        self._target = target
        self._marker = f"copying {who}"
        self._watch = watch
        self._ahead_ms = 0.0

    async def prepare(self, bucket: int) -> bool:
        """Makes the target ready to take a bucket; False: it has taken it already.

        Raises:
            ShardUnavailable: the target is in use with data of its own.
        """
        if not await touch(self._source, bucket):
            return False
        reply = await self._target.run("prepare", bucket, {"marker": self._marker})
        if reply[0] == b"open":
            raise ShardUnavailable(
                f"shard {self._target.name} has data of its own in bucket {bucket}: empty it first"
            )
        source, target = await self._source.clock_ms(bucket), await self._target.clock_ms(bucket)
        self._ahead_ms = target[1] - source[0]
        return True

    async def copy(self, bucket: int, keys: Iterable[bytes]) -> int:
        """Copies keys of a bucket as they are now, and returns how many.

        Raises:
            ShardUnavailable, OutcomeUnknown: not everything was copied.
        """
        wanted = list(keys)
        for first in range(0, len(wanted), _KEYS_AT_ONCE):
            await asyncio.gather(*(self._copy(bucket, key) for key in wanted[first : first + _KEYS_AT_ONCE]))
        return len(wanted)

    async def _copy(self, bucket: int, key: bytes) -> None:
        whole = BUCKET_PREFIXES[bucket] + key
        dump, expires = await asyncio.gather(
            self._source.command(bucket, "DUMP", whole), self._source.command(bucket, "PEXPIRETIME", whole)
        )
        # -1: it never runs out; -2: it has just done so.
        expires_ms = max(1, round(expires + self._ahead_ms)) if expires > 0 else 0
        gone = dump is None or expires == _GONE
        arguments = {"key": key, "expires_ms": expires_ms, "dump": b"" if gone else dump}
        await self._put(bucket, "put", arguments)

    async def _put(self, bucket: int, name: str, arguments: Mapping[str, Argument]) -> None:
        reply = await self._target.run(name, bucket, arguments, marker=self._marker)
        if reply[0] == b"reseed":
            raise ShardUnavailable(f"bucket {bucket} is being moved by another run of this command")

    async def finish(self, bucket: int) -> Moved:
        """Copies what has changed, and gives the bucket to the target.

        Raises:
            ShardUnavailable, OutcomeUnknown: it is at the source, or not known to be at the target; do it again.
        """
        for _ in range(_ROUNDS_MAX):
            changed = await self._watch.changed(bucket)
            await self.copy(bucket, changed)
            if len(changed) < _REST_KEYS:
                break
        while True:
            began = time.monotonic()
            frozen = await self._source.run("freeze", bucket, {"freeze_ms": _FREEZE_MS})
            if frozen[0] != b"holding":
                break
            # Leases that a change of primary may have lost must run out where they were.
            await asyncio.sleep(_AGAIN_S)
        if frozen[0] == b"moved":
            return Moved(0, 0.0)
        return await self._hand_over(bucket, frozen[1], int(frozen[2]), began)

    async def _hand_over(self, bucket: int, marker: bytes, token: int, began: float) -> Moved:
        try:
            copied = await self.copy(bucket, await self._watch.changed(bucket))
            arguments = {"ahead_ms": max(0, math.ceil(self._ahead_ms)), "token": token}
            await self._put(bucket, "arrive", arguments)
            reply = await self._source.run("depart", bucket, {"marker": marker})
        except BaseException as error:
            # Departing may have been done though no answer came; thawing leaves a bucket alone that has left.
            if not isinstance(error, OutcomeUnknown):
                await asyncio.shield(_thaw(self._source, bucket, marker))
            raise
        if reply[0] != b"departed":
            raise ShardUnavailable(f"bucket {bucket} took longer than {_FREEZE_MS} ms to copy its last changes")
        return Moved(copied, (time.monotonic() - began) * 1000)


async def touch(source: Site, bucket: int) -> bool:
    """Makes void what an earlier run may have left on its way to a bucket, and says whether the bucket is there.

    Raises:
        ShardUnavailable, OutcomeUnknown: the shard does not answer.
    """
    frozen = await source.run("freeze", bucket, {"freeze_ms": _TOUCH_MS})
    if frozen[0] == b"frozen":
        await _thaw(source, bucket, frozen[1])
    return bool(frozen[0] != b"moved")


async def _thaw(source: Site, bucket: int, marker: bytes) -> None:
    try:
        await source.run("thaw", bucket, {"marker": marker})
    except LockServiceError:
        # It thaws by itself soon.
        return
