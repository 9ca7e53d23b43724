"""One connection to one Redis, shared by every call of this replica.

Commands that are given while a write is on its way to Redis and back leave together in the next one, and their
replies come back in few reads. When nothing is on its way, they leave once no more are coming (see gathering.py), and
as soon as there are enough to be worth a write of their own, they leave at once, so that Redis works while this
process prepares the next. A pool that lends a connection to one call at a time costs a system call and a wake-up each
way for every call, which halves what a replica carries.

redis-py connects, speaks TLS and authenticates (see connection.py); afterwards hiredis packs and parses on the
transport itself. RESP3 lets published messages arrive on the same connection, in order with the replies, so the two
cannot fail apart.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import Connection

from lockservice.errors import LockServiceError, OutcomeUnknown, ShardUnavailable
from lockservice.limits import BATCH_CALLS_MIN, READ_ONCE_MORE_MS, SHARD_CALLS_MAX
from lockservice.shards.call import Call, Command, Shared, Word, commands
from lockservice.shards.gathering import Gathering

Push = Callable[[list[Any]], None]


class Pipeline(asyncio.Protocol):
    """A pipeline, once `connect` has connected it.

    Args:
        timeout_s: how long an answer may take.
        on_push: is called with each published message.
        on_batch: is called with the number of calls in each write.

    A call whose caller has left still takes its own reply off the wire, so no reply ever reaches another call.
    """

    def __init__(self, *, timeout_s: float, on_push: Push, on_batch: Callable[[int], None]) -> None:
        self.timeout_s = timeout_s
        self._on_push = on_push
        self._on_batch = on_batch
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._unsent: list[Call] = []
        # Calls that have no reply yet, sent or not.
        self._open = 0
        self._hurried = False
        self._gathering = Gathering(lambda: 0 if self._on_its_way else len(self._unsent), self._flush)
        self._heard_at = 0.0
        self._on_its_way: deque[Command] = deque()
        self._transport: asyncio.WriteTransport | None = None
        self._connection: Connection | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def attach(self, connection: Connection) -> None:
        """Takes the transport of a connected redis-py connection over."""
        # redis-py has no public way to hand it over. The connection is kept, since its writer closes the transport
        # when it is collected.
        writer = connection._writer  # noqa: SLF001
        assert writer is not None
        self._connection = connection
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self._watch = self._loop.call_later(self.timeout_s / 4, self._check_timeout)
        if self._transport.is_closing():
            # It has told the protocol before this one that the connection was lost, and will not tell this one.
            self.close("the connection was closed")

    def call(self, *command: Word) -> asyncio.Future[Any]:
        """Sends one command together with others; the future gets its reply, an error reply as a value.

        Raises:
            ShardUnavailable: the connection is closed or too many calls wait for it; nothing was sent. (Also from the
                future, when it broke before the command left.)
            OutcomeUnknown: (from the future) the connection broke, or no reply came in time, after it was sent.
        """
        return self._send(Call(self._loop.create_future(), command))

    def _send(self, call: Call) -> asyncio.Future[Any]:
        self._take(call)
        self._depart()
        return call.future

    def _take(self, call: Call) -> None:
        if self._transport is None or self._open >= SHARD_CALLS_MAX:
            raise ShardUnavailable("not connected" if self._transport is None else "too many calls wait for it")
        self._open += 1
        self._unsent.append(call)

    def _depart(self) -> None:
        if len(self._unsent) >= BATCH_CALLS_MIN:
            self._flush()
        elif not self._on_its_way:
            self._gathering.begin()

    def hurry(self) -> None:
        """Sends now what would leave a little later, for a call that others wait for."""
        self._hurried = True
        self._flush()

    def answer(self, *command: Word) -> asyncio.Future[Any]:
        """Sends a command whose reply callers rely on. Raises what `call` raises."""
        return self._answer(Call(self._loop.create_future(), command))

    def share(self, shared: Shared, key: bytes, words: Sequence[Word]) -> asyncio.Future[Any]:
        """Sends a call that callers rely on, in one command with others. Raises what `call` raises."""
        return self._answer(Call(self._loop.create_future(), words, key, shared))

    def _answer(self, call: Call) -> asyncio.Future[Any]:
        return self._send(call)

    def subscribe(self, channel: str) -> asyncio.Future[Any]:
        """Asks for a channel's messages. RESP3 confirms with a push in a reply's place, and refuses with a reply."""
        return self.call("SUBSCRIBE", channel)

    def close(self, reason: str = "closed") -> None:
        """Closes the connection; of calls that were sent and have no reply the outcome is unknown."""
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = None
        if self._connection is not None:
            # It warns when it is collected with a stream that it believes to be open.
            self._connection._reader = self._connection._writer = None  # noqa: SLF001
            self._connection = None
        if self._watch is not None:
            self._watch.cancel()
        sent = [future for command in self._on_its_way for future in command.futures()]
        unsent = [call.future for call in self._unsent]
        self._on_its_way.clear()
        self._unsent.clear()
        fail(sent, OutcomeUnknown, f"no answer from the shard: {reason}")
        fail(unsent, ShardUnavailable, f"no answer from the shard: {reason}")
        if not self.closed.done():
            self.closed.set_result(None)

    def _flush(self) -> None:
        if self._transport is not None and self._unsent:
            if not self._on_its_way:
                self._heard_at = self._loop.time()
            calls, self._unsent = self._unsent, []
            leaving = list(commands(calls))
            self._on_its_way += leaving
            self._on_batch(len(calls))
            self._transport.write(b"".join([command.packed for command in leaving]))

    def _check_timeout(self, overdue: float | None = None) -> None:
        # Replies come in order, so silence speaks for all that wait; one timer watches them instead of one each.
        again_s = self.timeout_s / 4
        if self._on_its_way and self._loop.time() - self._heard_at > self.timeout_s:
            if overdue == self._heard_at:
                self.close(f"none within {self.timeout_s * 1000:.0f} ms")
                return
            # The reply may be in the socket already, when it was this process that had no time: read once more.
            overdue, again_s = self._heard_at, READ_ONCE_MORE_MS / 1000
        else:
            overdue = None
        self._watch = self._loop.call_later(again_s, self._check_timeout, overdue)

    def data_received(self, data: bytes) -> None:
        """Hands each reply to its call."""
        self._reader.feed(data)
        self._heard_at = self._loop.time()
        while (reply := self._reader.gets()) is not False:
            pushed = isinstance(reply, hiredis.PushNotification)
            if pushed and reply[0] != b"subscribe":
                # After those who wait for the replies before it: a sweep counts the messages up to its own reply.
                self._loop.call_soon(self._on_push, cast("list[Any]", reply))
            elif self._on_its_way:
                command = self._on_its_way.popleft()
                self._open -= len(command.sharing) or 1
                command.answer(reply)
        if not self._on_its_way:
            hurried, self._hurried = self._hurried, False
            # Who has given a lock back for others asks for it again: that is there now, and no more is to come.
            if hurried:
                self._loop.call_soon(self._flush)
            else:
                self._gathering.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the calls that wait for a reply."""
        self.close(str(exc) if exc else "the connection was closed")


def fail(futures: Iterable[asyncio.Future[Any]], error: type[LockServiceError], message: str) -> None:
    """Tells callers that there will be no answer."""
    for future in futures:
        if not future.done():
            future.set_exception(error(message))
            # A caller that left its future behind needs no warning about it.
            future.exception()


def is_error(reply: object) -> bool:
    """Says whether a reply is an error reply."""
    return isinstance(reply, hiredis.ReplyError)
