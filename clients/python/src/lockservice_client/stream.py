"""One gRPC stream of a session: a writer, a reader, and the operations that it still owes an answer."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import grpc

from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.pending import Pending, Unsent

OPERATIONS_PER_FRAME_MAX: Final = 1_000
# gRPC refuses a message of 4 MiB unless it is told otherwise.
FRAME_BYTES_MAX: Final = 1 << 20


class Source(Protocol):
    """Where a stream gets operations from, and what it tells."""

    unsent: Unsent

    def answered(self, stream: "Stream", pending: Pending, result: pb.OperationResult) -> None:
        """Takes the result of an operation that is no longer open."""

    def ended(self, stream: "Stream", error: BaseException | None) -> None:
        """Hears that the stream has ended with operations open; None: with OK."""


class Stream:
    """Carries operations until it ends.

    Attributes:
        open: what was sent and not answered, by number.
        heard_at: when something last came, on time.monotonic(); 0: never.
        moves_at: when another stream shall follow it, on time.monotonic().
    """

    def __init__(self, start: Callable[[], Any], source: Source, *, age: float) -> None:
        self.open: dict[int, Pending] = {}
        self.heard_at = 0.0
        self.moves_at = time.monotonic() + age
        self._call = start()
        self._source = source
        self._cancels: deque[int] = deque()
        self._sleep: asyncio.Future[None] | None = None
        self._retired = False
        self._no_more = False
        loop = asyncio.get_running_loop()
        self._writer = loop.create_task(self._write(), name="lockservice session writer")
        self._reader = loop.create_task(self._read(), name="lockservice session reader")

    def wake(self) -> None:
        """Has the writer send what is there, at its next turn."""
        sleep, self._sleep = self._sleep, None
        if sleep is not None and not sleep.done():
            sleep.set_result(None)

    def cancel(self, number: int) -> None:
        """Tells the service that nobody waits for an operation any more."""
        if number in self.open and not self._no_more:
            self._cancels.append(number)
            self.wake()

    def retire(self) -> None:
        """Takes no more operations, and closes when what is open has been answered or cancelled."""
        self._retired = True
        self.wake()

    def close(self) -> None:
        """Sends no more. The service answers what is open, and then ends the stream."""
        self._no_more = True
        self.wake()

    def drop(self) -> None:
        """Ends at once, whatever is open."""
        self._no_more = True
        self._writer.cancel()
        self._reader.cancel()
        self._call.cancel()

    def is_silent(self, pending: Pending) -> bool:
        """Says whether nothing has come since an operation was sent, which has run out of time here."""
        return pending.number in self.open and self.heard_at < pending.sent_at <= pending.due - pending.limit / 2

    def take(self) -> list[Pending]:
        """Takes what is open away from it: answers to that are heard no more."""
        taken = list(self.open.values())
        self.open.clear()
        return taken

    def take_keeping(self) -> list[Pending]:
        """Takes what keeps or ends a lease or a claim away from it, and leaves it what waits."""
        taken = [pending for pending in self.open.values() if not pending.waits]
        for pending in taken:
            del self.open[pending.number]
        return taken

    async def finished(self) -> None:
        """Waits for its end."""
        await asyncio.wait((self._writer, self._reader))

    def _fill(self) -> pb.SessionRequest | None:
        """Takes what one frame holds of what waits to be sent; None: nothing does, or nothing may."""
        frame, count, size = pb.SessionRequest(), 0, 0
        while self._cancels and count < OPERATIONS_PER_FRAME_MAX:
            frame.operations.add(cancel=pb.CancelOperation(id=self._cancels.popleft()))
            count += 1
        if self._retired:
            return frame if count else None
        unsent, sent, now = self._source.unsent, self.open, time.monotonic()
        while count < OPERATIONS_PER_FRAME_MAX and size < FRAME_BYTES_MAX:
            pending = unsent.take(len(sent))
            if pending is None:
                break
            if pending.future.done():
                # Its caller was cancelled in this turn.
                continue
            operation = frame.operations.add(id=pending.number, **{pending.kind: pending.request})
            if pending.traceparent:
                operation.traceparent = pending.traceparent
            pending.sent_at = now
            sent[pending.number] = pending
            size += pending.size
            count += 1
        return frame if count else None

    async def _write(self) -> None:
        try:
            while not self._no_more:
                frame = self._fill()
                if frame is not None:
                    await self._call.write(frame)
                elif self._retired and not self.open:
                    self._no_more = True
                elif not self._no_more:
                    self._sleep = asyncio.get_running_loop().create_future()
                    await self._sleep
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reader hears why.
            return

    async def _read(self) -> None:
        error: BaseException | None = None
        try:
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                self._take(frame)
        except asyncio.CancelledError as ended:
            # With the channel, or with the event loop.
            error = ended
        except Exception as ended:  # noqa: BLE001  whatever it is, callers wait for it
            error = ended
        self._no_more = True
        self._writer.cancel()
        self._call.cancel()
        self._source.ended(self, error)

    def _take(self, frame: pb.SessionResponse) -> None:
        self.heard_at = time.monotonic()
        sent, answered = self.open, self._source.answered
        for result in frame.results:
            pending = sent.pop(result.id, None)
            if pending is not None:
                answered(self, pending, result)
        if self._retired or self._source.unsent:
            self.wake()
