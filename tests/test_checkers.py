"""The judges of histories: each catches what it is for, and accuses no service that keeps its promises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import checkers
from harness.history import Operation, folded, from_lines, load, save, to_lines

RESOURCE = "order:1001"
MS = 1_000_000


def grant(owner: str, token: int, *, at: tuple[int, int], until: int = 0, queued: int = 0) -> Operation:
    """A grant; times in ms."""
    return Operation(
        "acquire",
        RESOURCE,
        owner,
        "granted",
        at[0] * MS,
        at[1] * MS,
        token,
        deadline_ns=(until or at[1]) * MS,
        queued_ns=queued * MS or None,
    )


def call(kind: str, owner: str, outcome: str, *, at: tuple[int, int], **more: Any) -> Operation:
    """Any other call; times in ms."""
    if "until" in more:
        more["deadline_ns"] = int(more.pop("until")) * MS
    return Operation(kind, RESOURCE, owner, outcome, at[0] * MS, at[1] * MS, **more)


A = grant("a", 7, at=(0, 10), until=100)
Judge = Callable[[list[Operation]], list[str]]
BROKEN: dict[str, tuple[Judge, list[Operation], str]] = {
    "a token twice": (
        checkers.repeated_tokens,
        [A, grant("b", 7, at=(5, 20))],
        "order:1001: token 7 of a was granted again to b",
    ),
    "a token below one before": (
        checkers.falling_tokens,
        [A, grant("b", 6, at=(20, 30))],
        "order:1001: b got token 6 after a had 7",
    ),
    "two holders": (
        checkers.overlapping_holders,
        [A, grant("b", 8, at=(50, 60), until=200)],
        "order:1001: a and b both held it for 40.000 ms",
    ),
    "two holders after a renewal": (
        checkers.overlapping_holders,
        [A, call("renew", "a", "renewed", at=(80, 90), token=7, until=180), grant("b", 8, at=(110, 120), until=200)],
        "order:1001: a and b both held it for 60.000 ms",
    ),
    "an overtaking": (
        checkers.overtaken_waiters,
        [grant("late", 8, at=(30, 50)), grant("early", 9, at=(10, 60), queued=20)],
        "order:1001: late overtook early, who was in the queue before",
    ),
    "two FIRST": (
        checkers.wrong_firsts,
        [call("dedupe", "a", "first", at=(0, 10)), call("dedupe", "b", "first", at=(5, 10))],
        "order:1001: a and b were each told FIRST",
    ),
    "a DUPLICATE of nothing": (
        checkers.wrong_firsts,
        [call("dedupe", "a", "duplicate", at=(0, 10))],
        "order:1001: 1 callers were told DUPLICATE, and nobody FIRST",
    ),
}
CLEAN: dict[str, tuple[Judge, list[Operation]]] = {
    "grants at the same time in either order": (checkers.falling_tokens, [A, grant("b", 6, at=(10, 20))]),
    "a repeated request got the same lease": (
        checkers.repeated_tokens,
        [
            call("acquire", "a", "unknown", at=(0, 5), request_id="r"),
            call("acquire", "a", "granted", at=(6, 8), request_id="r", token=7, until=99),
            call("acquire", "a", "granted", at=(9, 10), request_id="r", token=7, until=99),
        ],
    ),
    "the next holder after the deadline": (checkers.overlapping_holders, [A, grant("b", 8, at=(50, 101), until=200)]),
    "the next holder after a release": (
        checkers.overlapping_holders,
        [A, call("release", "a", "unknown", at=(20, 90), token=7), grant("b", 8, at=(5, 21), until=200)],
    ),
    "a renewal that came too late to hold on": (
        checkers.overlapping_holders,
        [A, call("renew", "a", "not_held", at=(101, 120), token=7), grant("b", 8, at=(90, 105), until=200)],
    ),
    "a call sent before the other was known to wait": (
        checkers.overtaken_waiters,
        [grant("late", 8, at=(19, 50)), grant("early", 9, at=(10, 60), queued=20)],
    ),
    "a FIRST that was asked for twice": (
        checkers.wrong_firsts,
        [
            call("dedupe", "a", "unknown", at=(0, 5), request_id="r"),
            call("dedupe", "a", "first", at=(6, 7), request_id="r"),
            call("dedupe", "b", "duplicate", at=(3, 4), request_id="s"),
        ],
    ),
    "a lost answer may have been the FIRST": (
        checkers.wrong_firsts,
        [call("dedupe", "a", "unknown", at=(0, 5)), call("dedupe", "b", "duplicate", at=(6, 7))],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_history_is_caught(name: str) -> None:
    """What is wrong is found, once, and said in words; in whatever order the calls were recorded."""
    judge, history, words = BROKEN[name]

    assert judge(history) == [words]
    assert judge(history[::-1]) == [words]


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_history_is_not_accused(name: str) -> None:
    """What a service that keeps its promises may show is accepted by every judge."""
    _, history = CLEAN[name]

    assert [words for judge in checkers.ALL for words in judge(history)] == []


def test_too_little_traffic_is_a_failed_run() -> None:
    """Answers that decided nothing do not count, nor do those after the fault."""
    run = [call("dedupe", f"w{n}", "first", at=(10 * n, 10 * n + 5)) for n in range(100)]
    lost = [call("dedupe", f"w{n}", "unknown", at=(10 * n, 10 * n + 5)) for n in range(100)]

    assert checkers.too_little_traffic(run, operations_min=100, per_second_min=90) == []
    assert checkers.too_little_traffic(run, operations_min=101, per_second_min=0) == [
        "100 operations were decided, and 101 are needed"
    ]
    assert checkers.too_little_traffic(run, operations_min=1, per_second_min=200) == [
        "100.5 operations were decided a second, and 200 are needed"
    ]
    assert checkers.too_little_traffic(lost, operations_min=1, per_second_min=0)
    assert checkers.too_little_traffic(run, operations_min=60, per_second_min=0, until_ns=500 * MS)
    assert checkers.too_little_traffic([], operations_min=0, per_second_min=0)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """JSON lines lose nothing, tokens above 32 bits included."""
    history = [grant("a", 2**53 - 1, at=(0, 10)), call("acquire", "b", "unknown", at=(1, 2), request_id="r")]
    save(history, tmp_path / "history.jsonl")

    assert load(tmp_path / "history.jsonl") == from_lines(to_lines(history)) == history


def test_repeated_calls_are_one_operation() -> None:
    """From the first start to the end of the first answer; the deadline is that of the last call."""
    first, second, third = CLEAN["a repeated request got the same lease"][1]

    (one,) = folded([third, first, second])

    assert (one.started_ns, one.ended_ns, one.deadline_ns, one.attempts) == (0, 8 * MS, 99 * MS, 3)


def test_a_call_that_was_refused_at_last_may_have_been_done_before() -> None:
    """What is unknown stays so until it is answered: the first release may have let others in."""
    release = [
        call("release", "a", outcome, at=at, token=5) for outcome, at in (("unknown", (0, 1)), ("refused", (2, 3)))
    ]
    refused = [call("release", "a", "refused", at=at, token=5) for at in ((0, 1), (2, 3))]

    assert [one.outcome for one in folded(release)] == ["unknown"]
    assert [one.outcome for one in folded(refused)] == ["refused"]
