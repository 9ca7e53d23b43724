"""A pipeline whose answers wait until replicas, or the disk, have what they say.

One WAIT or WAITAOF goes along at the end of each write and speaks for every script call in it: Redis answers it for
all that this connection has written so far. It holds the connection up, and the next batch gathers meanwhile.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from lockservice.errors import OutcomeUnknown, ShardUnavailable
from lockservice.guarantee import Guarantee
from lockservice.limits import CONFIRM_SHARE
from lockservice.shards.call import Call
from lockservice.shards.pipeline import Pipeline, fail, is_error

_Batch = list[tuple[asyncio.Future[Any], asyncio.Future[Any]]]


class Confirmation(NamedTuple):
    """How an answer is confirmed.

    Attributes:
        command: what is sent after a batch.
        enough: says whether the reply to it confirms the batch.
        short: says in words that it does not.
    """

    command: tuple[str | int, ...]
    enough: Callable[[Any], bool]
    short: str


def confirmation(guarantee: Guarantee, *, waitaof: bool, timeout_s: float) -> Confirmation | None:
    """Chooses how a guarantee's answers are confirmed; None: an answer of this Redis is enough by itself."""
    wait_ms = round(timeout_s * CONFIRM_SHARE * 1000)
    if guarantee.replicas:
        needed = guarantee.replicas
        return Confirmation(
            ("WAIT", needed, wait_ms), lambda reply: reply >= needed, f"fewer than {needed} replicas have it"
        )
    if guarantee.fsync and waitaof:
        return Confirmation(("WAITAOF", 1, 0, wait_ms), lambda reply: reply[0] >= 1, "it is not on the disk")
    return None


class ConfirmedPipeline(Pipeline):
    """A pipeline that confirms what it answers, as soon as `confirm_by` has said how."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._confirmation: Confirmation | None = None
        self._on_short: Callable[[], None] = lambda: None
        self._batch: _Batch = []

    def confirm_by(self, confirmation: Confirmation | None, on_short: Callable[[], None]) -> None:
        """Says how answers are confirmed, and what to call when one is not in time."""
        self._confirmation = confirmation
        self._on_short = on_short

    def _answer(self, call: Call) -> asyncio.Future[Any]:
        # Whoever asks gets the reply once it is confirmed, and OutcomeUnknown also when that does not come in time.
        if self._confirmation is None:
            return super()._answer(call)
        future = self._loop.create_future()
        self._take(call)
        self._batch.append((call.future, future))
        self._depart()
        return future

    def _depart(self) -> None:
        # A write in between would be confirmed no sooner, and its confirmation would hold up the next one's.
        if not (self._on_its_way and self._confirmation is not None):
            super()._depart()

    def close(self, reason: str = "closed") -> None:
        """Closes the connection; of calls that were sent and have no reply the outcome is unknown."""
        super().close(reason)
        # Those of a batch that has not left: that of one on its way is told by its confirmation.
        batch, self._batch = self._batch, []
        fail([future for _, future in batch], ShardUnavailable, f"no answer from the shard: {reason}")

    def _flush(self) -> None:
        if self._batch and self._confirmation is not None and self._transport is not None:
            batch, self._batch = self._batch, []
            confirmed = self._loop.create_future()
            self._open += 1
            self._unsent.append(Call(confirmed, self._confirmation.command))
            confirmed.add_done_callback(partial(self._settle, batch, self._confirmation))
        super()._flush()

    def _settle(self, batch: _Batch, confirmation: Confirmation, confirmed: asyncio.Future[Any]) -> None:
        error = confirmed.exception()
        reply = None if error else confirmed.result()
        enough = error is None and not is_error(reply) and confirmation.enough(reply)
        for answered, future in batch:
            if future.done():
                continue
            if error is None and (enough or is_error(answered.result())):
                future.set_result(answered.result())
            else:
                told = str(error) if error else f"the shard has done it, and {confirmation.short}"
                fail([future], OutcomeUnknown, told)
        if error is None and not enough:
            self._on_short()
