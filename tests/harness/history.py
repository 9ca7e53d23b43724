"""What callers asked a service for, what they were told, and when: the record that checkers judge.

All times are nanoseconds of the monotonic clock of the one machine that the callers are on.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

# Beside the service's own outcomes: the caller cannot know, or was told that nothing was done.
UNKNOWN = "unknown"
REFUSED = "refused"
UNDECIDED = {UNKNOWN, REFUSED}


@dataclass(frozen=True)
class Operation:
    """One call, as its caller saw it.

    Attributes:
        kind: acquire, renew, release or dedupe.
        key: the resource, or the key of the event.
        outcome: the service's word in small letters, or "unknown" or "refused".
        started_ns: before the request was sent.
        ended_ns: after the answer was read, or when the caller gave up; what is unknown may take effect later.
        token: granted; of the lease that is renewed or released; with "held" the holder's, if it was named.
        deadline_ns: when the holder stops, counted from when it asked; only if granted or renewed.
        queued_ns: when the caller knew that it was in the queue, if it knew.
        attempts: how many calls this is, see `folded`.
    """

    kind: str
    key: str
    owner: str
    outcome: str
    started_ns: int
    ended_ns: int
    token: int | None = None
    deadline_ns: int | None = None
    queued_ns: int | None = None
    request_id: str = ""
    attempts: int = 1


class Call:
    """A call that has begun; it stays in the history as unknown until it is ended."""

    def __init__(self, kind: str, key: str, owner: str, *, ttl_ms: int, token: int | None, request_id: str) -> None:
        self._ttl_ns = ttl_ms * 1_000_000
        now = time.monotonic_ns()
        self.operation = Operation(kind, key, owner, UNKNOWN, now, now, token, request_id=request_id)
        self.open = True

    def queued(self) -> None:
        """Notes that the service has put it into the queue."""
        self.operation = replace(self.operation, queued_ns=time.monotonic_ns())

    def end(self, outcome: str, token: int | None = None) -> None:
        """Notes the answer; the token with "granted" or "held"."""
        assert self.open, self.operation
        self.open = False
        begun = self.operation
        lasts = outcome in {"granted", "renewed"}
        self.operation = replace(
            begun,
            outcome=outcome,
            ended_ns=time.monotonic_ns(),
            token=begun.token if token is None else token,
            deadline_ns=begun.started_ns + self._ttl_ns if lasts else None,
        )


class Recorder:
    """Records calls in the order in which they begin."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def begin(
        self, kind: str, key: str, owner: str, *, ttl_ms: int = 0, token: int | None = None, request_id: str = ""
    ) -> Call:
        """Notes that a request is about to be sent."""
        call = Call(kind, key, owner, ttl_ms=ttl_ms, token=token, request_id=request_id)
        self._calls.append(call)
        return call

    def last(self, owner: str) -> Operation:
        """Returns the last call of an owner."""
        return next(call.operation for call in reversed(self._calls) if call.operation.owner == owner)

    def history(self) -> list[Operation]:
        """Returns all calls until now; those without an answer are unknown."""
        now = time.monotonic_ns()
        return [replace(call.operation, ended_ns=now) if call.open else call.operation for call in self._calls]


def to_lines(history: Iterable[Operation]) -> str:
    """Writes a history as JSON, an operation a line."""
    return "".join(json.dumps(asdict(operation)) + "\n" for operation in history)


def from_lines(lines: str) -> list[Operation]:
    """Reads what `to_lines` wrote."""
    return [Operation(**json.loads(line)) for line in lines.splitlines()]


def save(history: Iterable[Operation], path: Path) -> None:
    """Keeps a history in a file, to be looked at or judged again."""
    path.write_text(to_lines(history), encoding="utf-8")


def load(path: Path) -> list[Operation]:
    """Reads what `save` kept."""
    return from_lines(path.read_text(encoding="utf-8"))


def folded(history: Iterable[Operation]) -> list[Operation]:
    """Makes one operation of the calls that repeat a request, from the first's start to the last's end.

    Acquire and dedupe are repeated with the same request_id, a release by the same owner with the same token. A call
    belongs to those before it if they ended without an answer, or with the very answer that it got.
    """
    done: list[Operation] = []
    places: dict[tuple[str, ...], int] = {}
    for operation in sorted(history, key=lambda operation: operation.started_ns):
        identity = _identity(operation)
        place = places.get(identity)
        if identity and place is not None and _repeats(done[place], operation):
            done[place] = _joined(done[place], operation)
            continue
        if identity:
            places[identity] = len(done)
        done.append(operation)
    return done


def _identity(operation: Operation) -> tuple[str, ...]:
    if operation.kind == "release":
        return ("release", operation.key, operation.owner, str(operation.token))
    if operation.kind == "renew" or not operation.request_id:
        return ()
    return (operation.kind, operation.key, operation.owner, operation.request_id)


def _repeats(before: Operation, after: Operation) -> bool:
    return before.outcome in UNDECIDED or (before.outcome, before.token) == (after.outcome, after.token)


def _joined(before: Operation, after: Operation) -> Operation:
    return replace(
        after,
        # What was refused now may have been done before.
        outcome=UNKNOWN if (before.outcome, after.outcome) == (UNKNOWN, REFUSED) else after.outcome,
        started_ns=before.started_ns,
        ended_ns=max(before.ended_ns, after.ended_ns) if before.outcome in UNDECIDED else before.ended_ns,
        queued_ns=after.queued_ns if before.queued_ns is None else before.queued_ns,
        attempts=before.attempts + after.attempts,
    )
