"""What lockservice wants to reach, and whether it did."""

import statistics
from collections.abc import Callable
from typing import Final, NamedTuple

from lockservice_bench.suite import FRAME_OPERATIONS, HOT_WORKERS, Found


class Medians:
    """Medians of the rounds of a run."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def of(self, peer: str, what: str, callers: int, figure: str) -> float | None:
        """Returns the median of a figure; None: it was not measured."""
        taken = [
            row[figure]
            for row in self._found.rounds
            if (row["peer"], row["what"], row["callers"]) == (peer, what, callers)
        ]
        return float(statistics.median(taken)) if taken else None

    def single(self, name: str) -> float | None:
        """Returns a figure that is taken once."""
        return self._found.single.get(name)

    def pairs(self, peer: str, callers: int) -> float | None:
        """Returns operations a second, two a pair."""
        return self.of(peer, "pairs", callers, "operations_s")

    def trip_ms(self, callers: int) -> float | None:
        """Returns what a round trip to Redis took in the rounds with so many callers."""
        return self.of("redis", "trip", callers, "p50_ms")

    def hot(self, peer: str, figure: str) -> float | None:
        """Returns a figure of the hot lock."""
        return self.of(peer, "hot", HOT_WORKERS, figure)


class Target(NamedTuple):
    """A figure that is wanted.

    Attributes:
        what: in words, with its unit.
        least: that must be reached.
        aim: that would be good.
        figure: computes it from a run; None: it was not measured.
        more: whether more is better.
    """

    what: str
    least: float
    aim: float
    figure: Callable[[Medians], float | None]
    more: bool = True

    def reached(self, value: float, wanted: float) -> bool:
        """Says whether a value is as good as wanted."""
        return value >= wanted if self.more else value <= wanted


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _added_trips(m: Medians) -> float | None:
    unary, empty = m.of("unary", "pairs", 1, "p50_ms"), m.of("empty", "pairs", 1, "p50_ms")
    return _ratio(unary - empty, m.trip_ms(1)) if unary is not None and empty is not None else None


def _frames(m: Medians) -> float | None:
    return m.of("frames", "frames", FRAME_OPERATIONS, "operations_s")


def _of(name: str) -> Callable[[Medians], float | None]:
    return lambda m: m.single(name)


def _kilobytes(name: str) -> Callable[[Medians], float | None]:
    return lambda m: _ratio(m.single(name), 1000.0)


TARGETS: Final = (
    Target("a call each against an empty handler, 32 callers, x", 0.75, 0.9,
           lambda m: _ratio(m.pairs("unary", 32), m.pairs("empty", 32))),
    Target("a call each against an empty handler, 128 callers, x", 0.75, 0.9,
           lambda m: _ratio(m.pairs("unary", 128), m.pairs("empty", 128))),
    Target("added by an Acquire to an empty call, round trips to Redis", 2, 1.3, _added_trips, more=False),
    Target("Python client against redis-py Lock, 128 callers, x", 1.5, 3,
           lambda m: _ratio(m.pairs("session", 128), m.pairs("redis-py", 128))),
    Target("Python client against etcd, 128 callers, x", 5, 8,
           lambda m: _ratio(m.pairs("session", 128), m.pairs("etcd", 128))),
    Target("messages of 32 against a call each, x", 10, 18, lambda m: _ratio(_frames(m), m.pairs("unary", 32))),
    Target("messages of 32 against redis-py Lock, x", 2, 4, lambda m: _ratio(_frames(m), m.pairs("redis-py", 32))),
    Target("hot lock: hand-offs against etcd, x", 2.5, 6,
           lambda m: _ratio(m.hot("session", "handoffs_s"), m.hot("etcd", "handoffs_s"))),
    Target("hot lock: worst worker's share of the best's", 0.9, 0.98, lambda m: m.hot("session", "share")),
    Target("hot lock: p99 of a hand-off, round trips to Redis", 10, 4,
           lambda m: _ratio(m.hot("session", "p99_ms"), m.trip_ms(HOT_WORKERS)), more=False),
    Target("commands to Redis for a hand-off", 3, 2, _of("commands_a_handoff"), more=False),
    Target("2 slow shards against 1, x", 1.8, 1.95,
           lambda m: _ratio(m.of("shards", "busy", 2, "operations_s"), m.of("shards", "busy", 1, "operations_s"))),
    Target("memory of a waiting acquire in a Session, kB", 20, 8, _kilobytes("waiting_session_bytes"), more=False),
    Target("memory of a waiting acquire, a call each, kB", 20, 8, _kilobytes("waiting_unary_bytes"), more=False),
    Target("processor time of a replica while they wait, %", 5, 1, _of("waiting_session_idle_percent"), more=False),
    Target("Redis memory of a held lease, bytes", 500, 300, _of("bytes_a_lease"), more=False),
    Target("Redis memory of a remembered event, bytes", 200, 120, _of("bytes_an_event"), more=False),
)  # fmt: skip
