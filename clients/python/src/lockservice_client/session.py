"""A session: the calls of one channel in few messages, since a message costs far more than what is in it."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final

from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.errors import (
    ServiceError,
    closed_error,
    late_error,
    operation_error,
    stream_error,
    unknown_error,
)
from lockservice_client.pending import Pending, Unsent
from lockservice_client.stream import Stream

_LOOK_PAUSE_S: Final = 0.01
_GIVE_BACK_S: Final = 5.0
_CLOSE_S: Final = 1.0
_NEVER: Final = float("inf")
# Clients that were started together do not all move at one moment.
_AGE_JITTER: Final = 0.1


class Session:
    """Carries operations over one stream at a time, and opens the next one when it has ended.

    What is asked for before the writer gets its turn leaves in one frame.

    Args:
        start: starts the gRPC stream.
        address: for messages.
        stream_age: seconds after which another stream follows, which may lead to another replica.
    """

    def __init__(self, start: Callable[[], Any], address: str, *, stream_age: float) -> None:
        self.unsent = Unsent()
        self._start = start
        self._address = address
        self._stream_age = stream_age
        self._stream: Stream | None = None
        # One that is too old, or of a draining replica, gets nothing new, but still answers.
        self._streams: set[Stream] = set()
        self._last_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = _NEVER
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    async def call(self, pending: Pending) -> Any:
        """Returns the response to an operation.

        Raises:
            NoSessions: make the call without a session.
            ServiceError: what the unary call raises; Unavailable when the stream broke.
        """
        if self._closed:
            raise closed_error()
        self._pend(pending)
        self._wake()
        try:
            answer = await pending.future
        except asyncio.CancelledError:
            if pending.future.cancelled():
                self._withdraw(pending)
            else:
                # The answer came in the turn of the cancellation.
                self._give_back(pending, pending.future.result())
            raise
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    async def close(self) -> None:
        """Gives up what waits, lets the rest come through for up to a second, and ends the streams."""
        self._closed = True
        for pending in self._awaited():
            if pending.waits:
                pending.future.set_result(closed_error())
                self._withdraw(pending)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._emptied()
                for stream in self._streams:
                    stream.close()
                await asyncio.gather(*(stream.finished() for stream in self._streams))
        for stream in tuple(self._streams):
            self._drop(stream, closed_error)
            await stream.finished()
        self._fail(self.unsent.take_all(), closed_error)
        if self._timer is not None:
            self._timer.cancel()

    def answered(self, stream: Stream, pending: Pending, result: pb.OperationResult) -> None:
        """Hands a result to its caller; what was granted to nobody is given back."""
        kind = result.WhichOneof("kind")
        if kind is None:
            answer: Any = unknown_error("an answer of another kind")
        elif kind == "error":
            answer = operation_error(result.error, self._address)
            if answer.reason == "DRAINING":
                self._retire(stream)
        else:
            answer = getattr(result, kind)
        if not pending.future.done():
            pending.future.set_result(answer)
        else:
            self._give_back(pending, answer)
        if self._empty is not None:
            self._tell_empty()

    def ended(self, stream: Stream, error: BaseException | None) -> None:
        """Fails what was open, so that it is repeated on the next stream."""
        if stream not in self._streams:
            return
        self._streams.discard(stream)
        self._fail(stream.take(), lambda: self._fault(error))
        if stream is self._stream:
            self._stream = None
            if error is None and stream.heard_at:
                # A replica may end a stream for its age. What was not sent has lost nothing.
                self._wake_if_unsent()
            else:
                self._fail(self.unsent.take_all(), lambda: self._fault(error))
        self._tell_empty()

    def _pend(self, pending: Pending) -> None:
        pending.number = self._last_number = self._last_number + 1
        self.unsent.add(pending)
        if pending.due < self._look_at:
            self._set_timer(pending.due)

    def _wake(self) -> None:
        stream = self._stream
        if stream is not None and time.monotonic() >= stream.moves_at:
            stream.retire()
            stream = None
        if stream is None:
            age = self._stream_age * random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)  # noqa: S311  no secret
            stream = self._stream = Stream(self._start, self, age=age)
            self._streams.add(stream)
        stream.wake()

    def _wake_if_unsent(self) -> None:
        if self.unsent:
            self._wake()

    def _withdraw(self, pending: Pending) -> None:
        """Sees to an operation whose caller has gone: its result may still come."""
        if not self.unsent.withdraw(pending) and pending.waits:
            for stream in self._streams:
                stream.cancel(pending.number)

    def _give_back(self, pending: Pending, answer: Any) -> None:
        """Frees what was granted to a caller that has gone, or others would be kept off until its ttl ends."""
        undo = _undo(pending, answer) if pending.gives_back else None
        if undo is None or (self._closed and not self._streams):
            return
        kind, request = undo
        ending = Pending(kind, request, size=request.ByteSize(), limit=_GIVE_BACK_S)
        self._pend(ending)
        self._wake()

    def _retire(self, stream: Stream) -> None:
        if stream is self._stream:
            self._stream = None
            stream.retire()
            self._wake_if_unsent()

    def _drop(self, stream: Stream, fault: Callable[[], ServiceError]) -> None:
        self._streams.discard(stream)
        if stream is self._stream:
            self._stream = None
        stream.drop()
        self._fail(stream.take(), fault)

    def _go_elsewhere(self, stream: Stream, *, waited: bool) -> None:
        """Leaves a stream on which nothing came until an operation was out of time; waited: one that may wait.

        A frozen replica would hold up every repetition: the next stream may lead to another. But a renewal is soon
        out of time, where a replica may only be slow, and thousands that wait there would be asked again for it: they
        stay until one of them is out of time.
        """
        if waited or not any(pending.waits for pending in stream.open.values()):
            self._drop(stream, lambda: stream_error(None, self._address))
        else:
            self._fail(stream.take_keeping(), lambda: stream_error(None, self._address))
            self._retire(stream)

    def _fail(self, lost: Iterable[Pending], fault: Callable[[], ServiceError]) -> None:
        for pending in lost:
            if not pending.future.done():
                pending.future.set_result(fault())

    def _fault(self, error: BaseException | None) -> ServiceError:
        if isinstance(error, asyncio.CancelledError) and self._closed:
            return closed_error()
        return stream_error(error, self._address)

    def _awaited(self) -> list[Pending]:
        everything = chain(self.unsent, *(stream.open.values() for stream in self._streams))
        return [pending for pending in everything if not pending.future.done()]

    async def _emptied(self) -> None:
        self._empty = asyncio.get_running_loop().create_future()
        self._tell_empty()
        await self._empty

    def _tell_empty(self) -> None:
        empty = self._empty
        if empty is not None and not empty.done() and not (self.unsent or any(s.open for s in self._streams)):
            empty.set_result(None)

    def _set_timer(self, due: float) -> None:
        # One timer for all: one for each operation costs more than sending it.
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = due
        delay = max(0.0, due - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        """Ends what has run out of time, and leaves a stream on which nothing comes."""
        self._look_at = _NEVER
        now, next_due = time.monotonic(), _NEVER
        silent: dict[Stream, bool] = {}
        for pending in self._awaited():
            if pending.due > now:
                next_due = min(next_due, pending.due)
                continue
            pending.future.set_result(late_error())
            for stream in self._streams:
                if stream.is_silent(pending):
                    silent[stream] = silent.get(stream, False) or pending.waits
            self._withdraw(pending)
        for stream, waited in silent.items():
            self._go_elsewhere(stream, waited=waited)
        self._wake_if_unsent()
        if next_due < _NEVER:
            self._set_timer(max(next_due, now + _LOOK_PAUSE_S))


def _undo(pending: Pending, answer: Any) -> tuple[str, Any] | None:
    """Returns the operation that takes a grant back, if the answer is one."""
    if isinstance(answer, pb.AcquireResponse) and answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED:
        name, secret = answer.lease.resource, answer.lease.lease_id
        return "release", pb.ReleaseRequest(resource=name, lease_id=secret, disposition=pb.DISPOSITION_RETRY)
    if isinstance(answer, pb.DedupeResponse) and answer.outcome == pb.DEDUPE_OUTCOME_FIRST and answer.claim_id:
        name, secret = pending.request.key, answer.claim_id
        return "settle", pb.SettleRequest(key=name, claim_id=secret, disposition=pb.DISPOSITION_RETRY)
    return None
