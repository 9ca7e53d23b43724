"""Keeps a lease or a claim alive in the background, and says when it is lost before it can end elsewhere."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Literal

from lockservice_client.errors import LeaseLost, ServiceError

OnLost = Literal["cancel", "event"]

# The holder's clock may run slower than the shard's: it stops believing this much before the end.
_DRIFT: Final = 0.01
_DRIFT_S: Final = 0.010
_AGAIN_S: Final = 0.05


class Renewal:
    """Renews at a third of the ttl until it is stopped or the lease is lost.

    Args:
        renew: renews within a timeout in seconds, and says whether it is still held.
        ttl: seconds.
        sent_at: when the request that was granted left, on time.monotonic(). The lease cannot end sooner than ttl
            after that, and the caller must not believe in it for longer.
        what: what is held, for messages.
        on_lost: "cancel" the task that makes this, or only set the "event" lost.
    """

    def __init__(
        self,
        renew: Callable[[float], Awaitable[bool]],
        *,
        ttl: float | timedelta,
        sent_at: float,
        what: str,
        on_lost: OnLost,
    ) -> None:
        self._renew = renew
        self._ttl = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        self._sent_at = sent_at
        self._what = what
        self._holder = asyncio.current_task() if on_lost == "cancel" else None
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()

    @property
    def deadline(self) -> float:
        """When the holder stops believing that it holds, on time.monotonic()."""
        return self._sent_at + self._ttl * (1 - _DRIFT) - _DRIFT_S

    async def start(self) -> None:
        """Begins; after a long wait it renews first. Raises LeaseLost when it was lost on the way, ServiceError."""
        if time.monotonic() > self._sent_at + self._ttl / 3 and not await self._once(self._ttl):
            self.lost.set()
            self.check()
        self._task = asyncio.create_task(self._run())

    def check(self) -> None:
        """Raises LeaseLost when it is lost."""
        if self.lost.is_set():
            raise LeaseLost(f"{self._what} is lost")

    async def stop(self, error: BaseException | None) -> None:
        """Ends. Raises LeaseLost when it was lost, also instead of the cancellation that told the holder."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._cancelled and self._holder is not None and isinstance(error, asyncio.CancelledError):
            self._holder.uncancel()
            raise LeaseLost(f"{self._what} was lost while the work ran") from error
        if error is None:
            self.check()

    def _tell(self) -> None:
        self.lost.set()
        if self._holder is not None:
            self._cancelled = True
            self._holder.cancel()

    async def _once(self, timeout: float) -> bool:
        """Renews. False: it is not held any more. Raises ServiceError when nobody knows."""
        sent_at = time.monotonic()
        held = await self._renew(timeout)
        if held:
            self._sent_at = sent_at
        return held

    async def _run(self) -> None:
        while True:
            pause = self._sent_at + self._ttl / 3 - time.monotonic()
            await asyncio.sleep(max(0.0, pause))
            try:
                # Whatever happens on the way, the holder hears of the loss in time.
                async with asyncio.timeout(self.deadline - time.monotonic()):
                    held = await self._until_known()
            except TimeoutError:
                held = False
            if not held:
                self._tell()
                return

    async def _until_known(self) -> bool:
        # One attempt that hangs at a frozen replica must leave time for another.
        while True:
            try:
                return await self._once(max(_AGAIN_S, self._ttl / 6))
            except ServiceError:
                await asyncio.sleep(_AGAIN_S)
