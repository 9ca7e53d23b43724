"""Keeps a lease or a claim alive in the background, and says when it is lost before it can end elsewhere."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import grpc

from lockservice_client.errors import LeaseLost, ServiceError, Unavailable
from lockservice_client.options import OnLost

# The holder's clock may run slower than the shard's: it stops believing this much before the end.
_DRIFT: Final = 0.01
_DRIFT_S: Final = 0.010
_RENEW_PART: Final = 1 / 3
# One attempt that hangs at a frozen replica must leave time for another.
_ATTEMPT_PART: Final = 1 / 6
_AGAIN_S: Final = 0.05


class Renew(Protocol):
    """Renews, and says whether it is still held; timeout and retry_for are seconds, as in `Client.renew`."""

    def __call__(self, *, timeout: float, retry_for: float) -> Coroutine[Any, Any, bool]:
        """Raises ServiceError when nobody knows."""


class Renewal:
    """Renews at a third of the ttl until it is stopped or the lease is lost.

    Args:
        renew: renews it.
        ttl: seconds.
        sent_at: when the request that was granted left, on time.monotonic(). The lease cannot end sooner than ttl
            after that, and the caller must not believe in it for longer.
        what: what is held, for messages.
        on_lost: "cancel" the task that makes this, or only tell by the "event".
    """

    def __init__(self, renew: Renew, *, ttl: float, sent_at: float, what: str, on_lost: OnLost) -> None:
        self._renew = renew
        self._ttl = ttl
        self._sent_at = sent_at
        self._what = what
        self._holder = asyncio.current_task() if on_lost == "cancel" else None
        self._cancelling = self._holder.cancelling() if self._holder is not None else 0
        self._cancelled = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._why = ""
        self.lost = False
        self.told: list[Callable[[], None]] = []

    @property
    def deadline(self) -> float:
        """When the holder stops believing that it holds, on time.monotonic()."""
        return self._sent_at + self._ttl * (1 - _DRIFT) - _DRIFT_S

    @property
    def remaining(self) -> float:
        """How many seconds the holder may still believe that it holds."""
        return 0.0 if self.lost else max(0.0, self.deadline - time.monotonic())

    async def start(self, *, retry_for: float) -> None:
        """Begins; after a long wait it renews first, since only the service knows when the grant was made.

        Raises:
            LeaseLost: it was lost on the way.
            ServiceError: nobody could say for retry_for seconds.
        """
        if time.monotonic() > self._sent_at + self._ttl * _RENEW_PART:
            attempt = max(_AGAIN_S, self._ttl * _ATTEMPT_PART)
            if not await self._once(timeout=max(attempt, 1.0), retry_for=retry_for):
                self._tell("it had ended before its holder could begin")
                self.check()
        self._set_timer()

    def check(self) -> None:
        """Raises LeaseLost when it is lost, or when its time is over and nobody could tell so yet."""
        if self.lost:
            raise LeaseLost(f"{self._what} is lost: {self._why}")
        if time.monotonic() >= self.deadline:
            raise LeaseLost(f"{self._what} is lost: its time is over")

    async def stop(self, error: BaseException | None) -> None:
        """Ends. Raises LeaseLost if it was lost, unless the block ends by another error of its own."""
        self.abandon()
        if self._task is not None:
            await asyncio.wait((self._task,))
        if not self.lost:
            return
        if self._cancelled and self._holder is not None:
            if error is None:
                # The block ended between the cancellation and its delivery.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            if self._holder.uncancel() > self._cancelling:
                raise asyncio.CancelledError
        if error is None or (self._cancelled and isinstance(error, asyncio.CancelledError)):
            raise LeaseLost(f"{self._what} was lost while the work ran: {self._why}") from error

    def abandon(self) -> None:
        """Renews no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _set_timer(self) -> None:
        # A timer costs a fifth of a task, and most leases are released before it is due.
        delay = max(0.0, self._sent_at + self._ttl * _RENEW_PART - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="lockservice renewal")

    async def _keep(self) -> None:
        if time.monotonic() >= self.deadline:
            # The process was stopped, or its loop blocked. Others may hold it: a renewal would only take time.
            self._tell("its time was over while this process did not run")
            return
        try:
            # Whatever happens on the way, the holder hears of the loss in time.
            async with asyncio.timeout(self.deadline - time.monotonic()):
                held = await self._until_known()
        except TimeoutError:
            self._tell("it could not be renewed in time")
        except ServiceError as fault:
            self._tell(f"it cannot be renewed: {fault}")
        else:
            if held:
                self._set_timer()
            else:
                self._tell("it expired, or was released by force")

    async def _until_known(self) -> bool:
        while True:
            try:
                attempt = max(_AGAIN_S, self._ttl * _ATTEMPT_PART)
                return await self._once(timeout=attempt, retry_for=self.remaining)
            except ServiceError as fault:
                if not isinstance(fault, Unavailable) and fault.code is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _once(self, *, timeout: float, retry_for: float) -> bool:
        sent_at = time.monotonic()
        held = await self._renew(timeout=timeout, retry_for=retry_for)
        if held:
            self._sent_at = sent_at
        return held

    def _tell(self, why: str) -> None:
        self.lost, self._why = True, why
        for tell in self.told:
            tell()
        if self._holder is not None and self._task is not None:
            self._cancelled = True
            self._holder.cancel()
