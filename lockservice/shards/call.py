"""Calls to Redis, and the commands that carry them: calls of one script that leave one after the other share one."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import hiredis

from lockservice.limits import SHARED_CALLS_MAX

Word = str | bytes | int


class Shared(NamedTuple):
    """What the calls of one command have in common; they are known by having the same one, not an equal one.

    Attributes:
        sha: of the script that runs one.
        many_sha: of the script that runs several.
        arguments: those that are the same for all calls.
        slot: calls with different ones cannot share a command.
    """

    sha: bytes
    many_sha: bytes
    arguments: tuple[Word, ...]
    slot: bytes


class Call(NamedTuple):
    """One call.

    Attributes:
        future: gets its reply.
        words: the whole command or, if it may share one, the call's own arguments.
        key: what it works on, if it may share a command.
        shared: None: it may not.
    """

    future: asyncio.Future[Any]
    words: Sequence[Word]
    key: bytes = b""
    shared: Shared | None = None


class Command(NamedTuple):
    """What leaves, and whom its reply is for: a call that is alone, or each one its part of a list."""

    packed: bytes
    future: asyncio.Future[Any] | None
    sharing: Sequence[Call] = ()

    def answer(self, reply: Any) -> None:
        """Hands the reply on."""
        if self.future is not None:
            _set(self.future, reply)
            return
        # An error instead of the list is that of all.
        parts = reply if isinstance(reply, list) else [reply] * len(self.sharing)
        for call, part in zip(self.sharing, parts, strict=True):
            _set(call.future, part)

    def futures(self) -> list[asyncio.Future[Any]]:
        """Returns who waits for the reply."""
        return [self.future] if self.future is not None else [call.future for call in self.sharing]


def _set(future: asyncio.Future[Any], reply: Any) -> None:
    if not future.done():
        future.set_result(reply)


def commands(calls: Sequence[Call]) -> Iterator[Command]:
    """Makes commands of calls, as few as their order allows."""
    begin = 0
    for end, call in enumerate(calls):
        if call.shared is None:
            yield Command(_pack(call.words), call.future)
            begin = end + 1
        elif end + 1 == len(calls) or calls[end + 1].shared is not call.shared or end + 1 - begin == SHARED_CALLS_MAX:
            yield _run(call.shared, calls[begin : end + 1])
            begin = end + 1


def _run(shared: Shared, calls: Sequence[Call]) -> Command:
    if len(calls) == 1:
        [alone] = calls
        return Command(_pack(("EVALSHA", shared.sha, 1, alone.key, *shared.arguments, *alone.words)), alone.future)
    keys = [call.key for call in calls]
    own = chain.from_iterable([call.words for call in calls])
    return Command(_pack(("EVALSHA", shared.many_sha, len(keys), *keys, *shared.arguments, *own)), None, calls)


def _pack(words: Sequence[Word]) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its stub has tuples of one
    return packed
