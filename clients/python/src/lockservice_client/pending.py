"""An operation of a session on its way, and the order in which operations leave."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from lockservice_client.tracing import traceparent

# The service refuses more than 10,000 on one stream, and counts an operation until its answer has left. The rest is
# for what keeps or ends a lease, or those that wait for it would fill the stream for good.
OPEN_MAX: Final = 9_000
KEEPING_MAX: Final = 500


class Pending:
    """An operation that waits to be sent or answered.

    Args:
        kind: its field in pb.Operation.
        request: its message.
        size: of the message, in bytes.
        limit: seconds for it from now on.
        gives_back: whether a grant that comes when the caller has gone is given back.

    Attributes:
        waits: whether the service may take its time over it.
        number: its id in the session.
        traceparent: where it belongs in a trace of its caller; empty: in none.
        due: when its time is over, on time.monotonic().
        sent_at: when it was put into a frame, on time.monotonic(); 0 before.
        future: its response or, as a result too, the exception that it ends in. Done: nobody awaits it any more.
    """

    __slots__ = (
        "due",
        "future",
        "gives_back",
        "kind",
        "limit",
        "number",
        "request",
        "sent_at",
        "size",
        "traceparent",
        "waits",
    )

    def __init__(self, kind: str, request: Any, *, size: int, limit: float, gives_back: bool = False) -> None:
        self.number = 0
        self.kind = kind
        self.waits = kind in ("acquire", "dedupe")
        self.request = request
        self.size = size
        self.limit = limit
        self.due = time.monotonic() + limit
        self.gives_back = gives_back
        self.sent_at = 0.0
        self.traceparent = traceparent()
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Unsent:
    """What waits to be sent, each kind in the order in which it came.

    What keeps or ends a lease or a claim leaves first: others wait for a release, and a renewal must not come too
    late.
    """

    def __init__(self) -> None:
        # A plain dict would be slower and slower to take the first from.
        self._keeping: OrderedDict[int, Pending] = OrderedDict()
        self._asking: OrderedDict[int, Pending] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self._keeping or self._asking)

    def __iter__(self) -> Iterator[Pending]:
        """Gives everything, in the order in which it leaves."""
        return chain(self._keeping.values(), self._asking.values())

    def add(self, pending: Pending) -> None:
        """Adds an operation that has its number."""
        (self._asking if pending.waits else self._keeping)[pending.number] = pending

    def withdraw(self, pending: Pending) -> bool:
        """Says whether an operation was still here; it is no longer."""
        return (self._asking if pending.waits else self._keeping).pop(pending.number, None) is not None

    def take(self, count: int) -> Pending | None:
        """Takes what leaves next on a stream with so many operations open; None: nothing may."""
        some, room = (self._keeping, OPEN_MAX + KEEPING_MAX) if self._keeping else (self._asking, OPEN_MAX)
        return some.popitem(last=False)[1] if some and count < room else None

    def take_all(self) -> list[Pending]:
        """Takes everything."""
        everything = list(self)
        self._keeping.clear()
        self._asking.clear()
        return everything
