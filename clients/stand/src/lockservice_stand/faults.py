"""The faults of a proxy by name, each for the next so many calls of a method."""

import asyncio
from collections import defaultdict, deque
from typing import Any, Final

import grpc

from lockservice_stand.proxy import OperationContext, PassOn

_CODES: Final = {
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "permission_denied": grpc.StatusCode.PERMISSION_DENIED,
}
NO_SESSIONS: Final = "no_sessions"
NAMES: Final = frozenset(
    {"lose_reply", "hold", "end_stream", "unknown_outcome", "unknown_kind", "large", NO_SESSIONS, *_CODES}
)
# In every response the outcome is field 1; of two values the last one counts.
_OUTCOME_99: Final = b"\x08\x63"
# A field that nobody knows, number 1000, of 5 MiB: its key and its length as varints, and its bytes.
_LARGE: Final = b"\xc2\x3e" + b"\x80\x80\xc0\x02" + bytes(5 << 20)


class Faults:
    """What happens to the calls that a proxy passes on; it is the `fault` of one."""

    def __init__(self) -> None:
        self._next: dict[str, deque[str]] = defaultdict(deque)
        self._let_go = asyncio.Event()

    def add(self, fault: str, method: str, times: int) -> None:
        """Has the next so many calls of a method have a fault."""
        self._next[method].extend([fault] * times)
        if fault == "hold":
            self._let_go.clear()

    def let_go(self) -> None:
        """Lets the replies go that were held."""
        self._let_go.set()

    async def __call__(self, method: str, context: Any, pass_on: PassOn) -> bytes:
        """Passes a call on, with the fault that is next for its method."""
        waiting = self._next[method]
        fault = waiting.popleft() if waiting else ""
        if not fault:
            return bytes(await pass_on())
        if fault in _CODES:
            return bytes(await context.abort(_CODES[fault], f"the stand says {fault}"))
        if fault == "end_stream":
            return await _end(context, grpc.StatusCode.OK)
        reply = bytes(await pass_on())
        if fault == "lose_reply":
            return await _end(context, grpc.StatusCode.UNAVAILABLE)
        if fault == "hold":
            try:
                await self._let_go.wait()
            except asyncio.CancelledError:
                # The call has been answered: only its reply is late, and a cancel cannot call it back.
                await self._let_go.wait()
        elif fault == "unknown_outcome":
            reply += _OUTCOME_99
        elif fault == "unknown_kind":
            reply = b""
        elif fault == "large":
            reply += _LARGE
        return reply


async def _end(context: Any, code: grpc.StatusCode) -> bytes:
    """Ends the stream in a code, or a call of its own in UNAVAILABLE."""
    if not isinstance(context, OperationContext):
        return bytes(await context.abort(grpc.StatusCode.UNAVAILABLE, "the stand has lost the reply"))
    context.session.end(code)
    # The stream's end cancels this.
    await asyncio.Event().wait()
    raise AssertionError("nobody sets that event")
