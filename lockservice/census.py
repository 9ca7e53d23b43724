"""Asks Redis how much the namespaces that have limits use, for as long as there are any."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from lockservice.errors import LockServiceError, OutcomeUnknown
from lockservice.limits import BUCKETS, CENSUS_MS, LEDGER_MS
from lockservice.quotas import Quotas, Use
from lockservice.shards.keys import place
from lockservice.shards.shard_map import ShardMap

log = logging.getLogger(__name__)

# Buckets that are asked at once.
_SLICE = 16
_SLICE_S = CENSUS_MS / 1000 * _SLICE / BUCKETS


class Census:
    """Keeps the quotas in step with Redis.

    Every bucket is counted once in CENSUS_MS, and what is remembered is reported and summed up once in LEDGER_MS. A
    shard that cannot be asked is believed to be as it was.
    """

    def __init__(self, *, shard_map: ShardMap, quotas: Quotas) -> None:
        self._map = shard_map
        self._quotas = quotas
        self._counted: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to ask."""
        self._task = asyncio.create_task(self._run(), name="census")

    async def stop(self) -> None:
        """Stops asking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        next_bucket, next_report = 0, 0.0
        while True:
            holders = {name: use for name, use in self._quotas.uses.items() if use.limits.leases is not None}
            try:
                if holders.keys() - self._counted:
                    # Until a limit has been compared with what is there it means little.
                    await self._count(range(BUCKETS), holders)
                elif holders:
                    await self._count(range(next_bucket, next_bucket + _SLICE), holders)
                    next_bucket = (next_bucket + _SLICE) % BUCKETS
                self._counted = set(holders)
                if time.monotonic() >= next_report:
                    next_report = time.monotonic() + LEDGER_MS / 1000
                    await self._report()
            except Exception:
                log.exception("bug")
            await asyncio.sleep(_SLICE_S)

    async def _count(self, buckets: range, uses: Mapping[str, Use]) -> None:
        for first in range(buckets.start, buckets.stop, _SLICE):
            await asyncio.gather(*(self._count_bucket(bucket, uses) for bucket in range(first, first + _SLICE)))

    async def _count_bucket(self, bucket: int, uses: Mapping[str, Use]) -> None:
        with contextlib.suppress(LockServiceError):
            reply = await self._map.pick(bucket).run("census", bucket, {"namespaces": " ".join(uses)})
            for use, held in zip(uses.values(), reply[1:], strict=True):
                # What is granted or ended at this very moment may be counted twice or not at all, till next time.
                use.found(bucket, int(held))

    async def _report(self) -> None:
        reporting = [
            self._report_one(name, use)
            for name, use in self._quotas.uses.items()
            if use.limits.remembered_events is not None
        ]
        await asyncio.gather(*reporting)

    async def _report_one(self, namespace: str, use: Use) -> None:
        bucket = place(namespace, "").bucket
        reported = dict(use.unreported)
        slots = " ".join(f"{second}:{count}" for second, count in reported.items())
        try:
            reply = await self._map.pick(bucket).run("ledger", bucket, {"namespace": namespace, "slots": slots})
            use.events = int(reply[1])
        except OutcomeUnknown:
            # Reported again they would count twice.
            pass
        except LockServiceError:
            return
        for second, count in reported.items():
            use.unreported[second] -= count
            if not use.unreported[second]:
                del use.unreported[second]
