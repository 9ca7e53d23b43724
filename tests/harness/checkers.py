"""Judges of a history: each returns what it found broken, in words; nothing found is an empty list.

They know what callers saw, not what the service did, and of calls that ran at the same time they accuse none.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from harness.history import UNDECIDED, UNKNOWN, Operation, folded

NS_PER_S = 1_000_000_000


def _by_key(history: Iterable[Operation], kind: str) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for operation in folded(history):
        if operation.kind == kind:
            found[operation.key].append(operation)
    return found


def _grants(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    acquires = _by_key(history, "acquire").items()
    return {key: [operation for operation in of if operation.outcome == "granted"] for key, of in acquires}


def _token(operation: Operation) -> int:
    assert operation.token is not None, operation
    return operation.token


def repeated_tokens(history: Iterable[Operation]) -> list[str]:
    """Finds tokens that were granted more than once for one resource."""
    found = []
    for key, grants in _grants(history).items():
        owners: dict[int, str] = {}
        for grant in grants:
            if grant.token in owners:
                found.append(
                    f"{key}: token {grant.token} of {owners[grant.token]} was granted again to {grant.owner}"
                )
            owners[_token(grant)] = grant.owner
    return found


def falling_tokens(history: Iterable[Operation]) -> list[str]:
    """Finds grants that began after another had been answered, and have no higher token."""
    found = []
    for key, grants in _grants(history).items():
        answered = sorted(grants, key=lambda grant: grant.ended_ns)
        highest: Operation | None = None
        seen = 0
        for grant in sorted(grants, key=lambda grant: grant.started_ns):
            while answered[seen].ended_ns < grant.started_ns:
                if highest is None or _token(answered[seen]) > _token(highest):
                    highest = answered[seen]
                seen += 1
            if highest is not None and _token(grant) <= _token(highest):
                found.append(
                    f"{key}: {grant.owner} got token {grant.token} after {highest.owner} had {highest.token}"
                )
    return found


def _later(one: Operation, two: Operation) -> Operation:
    return max(one, two, key=_token)


class _Span(NamedTuple):
    """A time in which a caller was entitled to believe that it holds the lease."""

    start_ns: int
    end_ns: int
    grant: Operation


def _spans(grants: list[Operation], others: list[Operation]) -> list[_Span]:
    """Lists when each holder holds: from an answer to its deadline, or until it sends its release."""
    of_lease: dict[tuple[str, int], list[Operation]] = defaultdict(list)
    for operation in others:
        of_lease[operation.owner, _token(operation)].append(operation)
    spans = []
    for grant in grants:
        later = of_lease[grant.owner, _token(grant)]
        stops = [operation.started_ns for operation in later if operation.kind == "release"]
        for promise in (grant, *(operation for operation in later if operation.outcome == "renewed")):
            assert promise.deadline_ns is not None, promise
            end_ns = min(promise.deadline_ns, *stops) if stops else promise.deadline_ns
            if promise.ended_ns < end_ns:
                spans.append(_Span(promise.ended_ns, end_ns, grant))
    return sorted(spans, key=lambda span: span.start_ns)


def overlapping_holders(history: Iterable[Operation]) -> list[str]:
    """Finds two holders of one resource at one moment, both inside their own deadlines.

    Promised without faults, and over a change of primary only where the shard is `exclusive`.
    """
    history = list(history)
    renewals, releases = _by_key(history, "renew"), _by_key(history, "release")
    found = []
    for key, grants in _grants(history).items():
        last: _Span | None = None
        for span in _spans(grants, renewals.get(key, []) + releases.get(key, [])):
            if last and span.start_ns < last.end_ns and span.grant is not last.grant:
                both_ms = (min(span.end_ns, last.end_ns) - span.start_ns) / 1e6
                found.append(f"{key}: {last.grant.owner} and {span.grant.owner} both held it for {both_ms:.3f} ms")
            if last is None or span.end_ns > last.end_ns:
                last = span
    return found


def overtaken_waiters(history: Iterable[Operation]) -> list[str]:
    """Finds grants made before that of a waiter who was known to be queued when they were asked for.

    For callers without version, after_version or held retries, which have an order of their own. Who lost its
    connection and asked again is not counted as overtaken: it is passed over while it is away.
    """
    found = []
    for key, grants in _grants(history).items():
        waiters = [(grant.queued_ns, grant) for grant in grants if grant.queued_ns and grant.attempts == 1]
        waiters.sort(key=lambda waiter: waiter[0])
        queued = [moment for moment, _ in waiters]
        latest = list(accumulate((grant for _, grant in waiters), _later))
        for grant in grants:
            before = bisect_left(queued, grant.started_ns)
            if before and _token(latest[before - 1]) > _token(grant):
                found.append(f"{key}: {grant.owner} overtook {latest[before - 1].owner}, who was in the queue before")
    return found


def wrong_firsts(history: Iterable[Operation]) -> list[str]:
    """Finds keys, deduped in one phase, with two callers told FIRST, or with a DUPLICATE of nothing."""
    found = []
    for key, calls in _by_key(history, "dedupe").items():
        told = Counter(call.outcome for call in calls)
        if told["first"] > 1:
            owners = " and ".join(call.owner for call in calls if call.outcome == "first")
            found.append(f"{key}: {owners} were each told FIRST")
        if told["duplicate"] and not told["first"] + told[UNKNOWN]:
            found.append(f"{key}: {told['duplicate']} callers were told DUPLICATE, and nobody FIRST")
    return found


ALL = [repeated_tokens, falling_tokens, overlapping_holders, overtaken_waiters, wrong_firsts]


def too_little_traffic(
    history: Iterable[Operation], *, operations_min: int, per_second_min: float, until_ns: int | None = None
) -> list[str]:
    """Finds a run that proves nothing: too few calls that were decided, or too few a second.

    Args:
        history: of the run.
        operations_min: calls with an outcome other than unknown and refused.
        per_second_min: of these calls, from the first start to the last end.
        until_ns: the moment of the fault; only what ended before it counts.
    """
    calls = [call for call in history if until_ns is None or call.ended_ns < until_ns]
    decided = sum(call.outcome not in UNDECIDED for call in calls)
    if decided < max(operations_min, 1):
        return [f"{decided} operations were decided, and {operations_min} are needed"]
    span_ns = max(call.ended_ns for call in calls) - min(call.started_ns for call in calls)
    rate = decided * NS_PER_S / max(span_ns, 1)
    if rate < per_second_min:
        return [f"{rate:.1f} operations were decided a second, and {per_second_min} are needed"]
    return []
