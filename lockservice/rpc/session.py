"""One Session: a stream that carries the unary calls, many to a message in both directions.

A unary call costs gRPC in Python some 300 µs of processor time whatever it does, a message of a stream about as much
however many operations it has. Every operation runs the method that its unary call runs, so it means the same.
Results that are ready in one turn of the event loop leave in one message: nobody waits for a timer, and while one
message is being written the next one fills.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status

from lockservice.credentials import Principal
from lockservice.errors import CallsExceeded, Draining, InvalidField, LockServiceError, SessionLimit
from lockservice.limits import FRAME_OPERATIONS_MAX, OPERATIONS_A_TURN, REFUSALS_AT_ONCE, SESSION_OPERATIONS_MAX
from lockservice.metrics import Metrics
from lockservice.rpc.admission import StreamGate, kept_back_s
from lockservice.rpc.frame import Operation, operations
from lockservice.rpc.status import code_of, reason_of, status_of
from lockservice.v1 import lockservice_pb2 as pb

Behaviour = Callable[[Any, Any], Awaitable[Message]]

_WAITS: Final = frozenset({"acquire", "dedupe"})
_CANCELLED: Final = Status(code=Code.CANCELLED, message="cancelled by the caller")


class Session:
    """The server's side of one stream.

    Args:
        behaviours: the unary method of each kind of operation.
        context: of the stream, in the reading and writing style of grpc.aio.
        gate: is asked before each operation.
        part: is held for the next part of a large message.
        metrics: counts what is refused, and makes spans, where somebody asks for them.
    """

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour],
        context: Any,
        gate: StreamGate,
        part: asyncio.Lock,
        metrics: Metrics,
    ) -> None:
        self._behaviours = behaviours
        self._errors = metrics.errors
        self._tracing = metrics.tracing
        self._context = context
        self._gate = gate
        self._part = part
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, tuple[str, asyncio.Task[None] | None]] = {}
        # What is ready to leave, and how many results are ready or on their way: an operation is open until its
        # result has left, so what a caller that does not read can make this process keep has a bound.
        self._frame = pb.SessionResponse()
        self._unsent = 0
        self._kept_back: deque[tuple[int, str, CallsExceeded]] = deque()
        self._moved = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._ended = False
        self._reader: asyncio.Task[None] | None = None
        self._leaving = False

    async def run(self) -> None:
        """Serves until the caller closes its half, and answers what is open then.

        Raises:
            InvalidField: a message is not even a list of operations.
            Draining: this replica goes away; everything that was begun has been answered.
        """
        self._reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait([self._reader])
            if not self._leaving:
                self._reader.result()
            while self._open or self._unsent:
                self._moved.clear()
                await self._moved.wait()
        finally:
            self._end()
        if self._leaving:
            raise Draining("this replica is going away")

    def leave(self) -> None:
        """Reads no more operations; the stream ends when those that are open have been answered."""
        self._leaving = True
        if self._reader is not None:
            self._reader.cancel()

    def _end(self) -> None:
        self._ended = True
        tasks = [task for _, task in self._open.values()]
        for task in (self._reader, self._writer, *tasks):
            if task is not None:
                task.cancel()

    async def _read(self) -> None:
        while (data := await self._context.read()) is not grpc.aio.EOF:
            for index, operation in enumerate(operations(data, traced=self._tracing is not None)):
                if index and index % OPERATIONS_A_TURN == 0:
                    # So that the calls of others get their turn between the parts of large messages, of which one
                    # stream at a time has the next.
                    async with self._part:
                        await asyncio.sleep(0)
                self._take(index, operation)
            # Who does not read its results is not read from either.
            while self._unsent > SESSION_OPERATIONS_MAX:
                self._moved.clear()
                await self._moved.wait()

    def _take(self, index: int, operation: Operation) -> None:
        number, kind, request, traceparent = operation
        if kind == "cancel":
            self._cancel(request.id)
        elif index >= FRAME_OPERATIONS_MAX:
            self._refuse(
                number, SessionLimit(f"{FRAME_OPERATIONS_MAX} operations of this message were begun already")
            )
        elif len(self._open) + self._unsent >= SESSION_OPERATIONS_MAX:
            self._refuse(number, SessionLimit(f"{SESSION_OPERATIONS_MAX} operations are open on this stream already"))
        elif isinstance(request, InvalidField):
            self._refuse(number, request)
        elif number in self._open:
            self._refuse(number, InvalidField("id", "is that of an operation which is still open"))
        else:
            self._begin(number, kind, request, traceparent)

    def _begin(self, number: int, kind: str, request: Message, traceparent: str) -> None:
        try:
            caller = self._gate.admit(kind)
        except CallsExceeded as error:
            self._open[number] = kind, None
            self._fail_late(number, kind, error)
            return
        except LockServiceError as error:
            self._gate.tell(error, kind)
            self._refuse(number, error)
            return
        # Made in the task: a coroutine that is made here, and whose task is cancelled before its first step, would
        # never be awaited.
        work = partial(self._work, kind, request, caller, traceparent)
        self._open[number] = kind, self._loop.create_task(self._operate(number, kind, work))

    def _work(self, kind: str, request: Message, caller: Principal, traceparent: str) -> Awaitable[Message]:
        work = self._behaviours[kind](request, caller)
        if self._tracing is not None:
            return self._tracing.follow(_method(kind), traceparent, work, code_of)
        return work

    def _cancel(self, number: int) -> None:
        kind, task = self._open.get(number, ("", None))
        if task is not None and kind in _WAITS:
            # A task that is cancelled before its first step would never answer; it has taken that by then.
            self._loop.call_soon(task.cancel)

    async def _operate(self, number: int, kind: str, begin: Callable[[], Awaitable[Message]]) -> None:
        work = begin()
        # It holds the request, which holds its whole message.
        del begin
        try:
            response = await work
        except asyncio.CancelledError:
            if self._ended:
                raise
            self._answer(number, error=_CANCELLED)
        except CallsExceeded as error:
            self._fail_late(number, kind, error)
            return
        except Exception as error:  # noqa: BLE001  each becomes a status
            self._fail(number, kind, error)
            return
        else:
            self._answer(number, **{kind: response})
        del self._open[number]

    def _fail_late(self, number: int, kind: str, error: CallsExceeded) -> None:
        if not self._kept_back:
            self._loop.call_later(kept_back_s(), self._fail_kept_back)
        self._kept_back.append((number, kind, error))

    def _fail_kept_back(self) -> None:
        """Tells a part of what was kept back on this stream, in one message; the rest is kept back again."""
        for _ in range(min(len(self._kept_back), REFUSALS_AT_ONCE)):
            self._fail(*self._kept_back.popleft())
        if self._kept_back:
            self._loop.call_later(kept_back_s(), self._fail_kept_back)

    def _fail(self, number: int, kind: str, error: Exception) -> None:
        if not self._ended:
            self._gate.tell(error, kind)
            self._refuse(number, error)
            del self._open[number]

    def _refuse(self, number: int, error: Exception) -> None:
        self._errors[reason_of(error)].inc()
        self._answer(number, error=status_of(error))

    def _answer(self, number: int, **result: Message) -> None:
        self._frame.results.add(id=number, **result)
        self._unsent += 1
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._frame.results:
            frame, self._frame = self._frame, pb.SessionResponse()
            await self._context.write(frame)
            self._unsent -= len(frame.results)
            self._moved.set()
        self._writer = None


def _method(kind: str) -> str:
    """Names the method that a kind of operation runs, as gRPC does."""
    return "lockservice.v1.LockService/" + "".join(word.capitalize() for word in kind.split("_"))
