"""The lockservice of a sale: one that runs already, or one of its own, which can be down for a while."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from flash_sale import processes, service_metrics
from flash_sale.service_metrics import quantile


class Latencies(NamedTuple):
    """How long calls took during a sale, in seconds, as the service sees it; None: unknown."""

    lock_p50: float | None = None
    lock_p99: float | None = None
    handoff_p99: float | None = None


class Service:
    """Reaches a service, or starts one.

    Args:
        directory: of the sale's own.
        address: HOST:PORT of one that runs; None: start one.
        ops: HOST:PORT of its ops port, if known.

    Attributes:
        down: whether it is, on purpose.
    """

    def __init__(self, directory: Path, address: str | None, ops: str | None) -> None:
        self._directory = directory
        self.address = address or ""
        self._ops = ops
        self._process: processes.Process | None = None
        self._before: service_metrics.Latencies | None = None
        self.down = False

    async def start(self) -> None:
        """Starts it, unless it runs already, and looks at its metrics."""
        if not self.address:
            self._process, self.address, self._ops = await processes.start_lockservice(self._directory)
        if self._ops is not None:
            self._before = await service_metrics.latencies(self._ops)

    async def outage(self, seconds: float) -> None:
        """Ends it and all that it runs on, and starts it again on what it has kept, that much later."""
        assert self._process is not None
        self.down = True
        await processes.stop(self._process)
        await asyncio.sleep(seconds)
        assert self._ops is not None
        self._process, _, _ = await processes.start_lockservice(self._directory, grpc=self.address, ops=self._ops)
        # A process counts from 0.
        self._before = await service_metrics.latencies(self._ops)
        self.down = False

    async def latencies(self) -> Latencies:
        """Says how long calls took since the start."""
        if self._ops is None or self._before is None:
            return Latencies()
        before, after = self._before, await service_metrics.latencies(self._ops)
        return Latencies(
            lock_p50=quantile(before.locks, after.locks, 0.5),
            lock_p99=quantile(before.locks, after.locks, 0.99),
            handoff_p99=quantile(before.handoffs, after.handoffs, 0.99),
        )

    async def stop(self) -> None:
        """Ends one that was started here."""
        if self._process is not None:
            await processes.stop(self._process)
