"""A run as tables for people."""

from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from lockservice_bench.suite import CALLERS, FRAME_OPERATIONS, HOT_WORKERS, Found
from lockservice_bench.targets import TARGETS, Medians, Target


class Title(NamedTuple):
    """How a peer is called, and what its answers are worth."""

    name: str
    durability: str


_EVERYSEC: Final = "log on disk every second"
PEERS: Final = {
    "empty": Title("empty grpc.aio handler", "nothing is kept"),
    "unary": Title("lockservice, a call each", _EVERYSEC),
    "session": Title("lockservice, Python client", _EVERYSEC),
    "redis-py": Title("redis-py Lock", _EVERYSEC),
    "python-redis-lock": Title("python-redis-lock", _EVERYSEC),
    "redlock": Title("redlock (Node)", _EVERYSEC),
    "redsync": Title("redsync (Go)", _EVERYSEC),
    "etcd": Title("etcd v3lock", "on disk at every answer"),
}


def show(console: Console, found: Found) -> None:
    """Prints everything."""
    m = Medians(found)
    console.print(_pairs(m), _hot(m), _targets(m))
    for name in found.missing:
        console.print(f"left out: {name}")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004  three digits either way


def _pairs(m: Medians) -> Table:
    columns = [f"{callers} callers" for callers in CALLERS]
    table = Table("", *columns, "durability", title="Operations/s, and p50 of taking a lock that is free, ms")
    for peer, title in PEERS.items():
        cells = [
            f"{_number(m.pairs(peer, callers))}  {_number(m.of(peer, 'pairs', callers, 'p50_ms'))}"
            for callers in CALLERS
        ]
        if m.pairs(peer, 1) is not None:
            table.add_row(title.name, *cells, title.durability)
    frames = _number(m.of("frames", "frames", FRAME_OPERATIONS, "operations_s"))
    table.add_row(f"lockservice, messages of {FRAME_OPERATIONS}", "", frames, "", _EVERYSEC)
    return table


def _hot(m: Medians) -> Table:
    names = ("hand-offs/s", "p50 ms", "p99 ms", "worst/best worker", "longest wait ms")
    figures = ("handoffs_s", "p50_ms", "p99_ms", "share", "longest_wait_ms")
    table = Table("", *names, title=f"One lock that {HOT_WORKERS} workers want")
    for peer, title in PEERS.items():
        if m.hot(peer, "share") is not None:
            table.add_row(title.name, *(_number(m.hot(peer, figure)) for figure in figures))
    return table


def _targets(m: Medians) -> Table:
    table = Table("", "measured", "at least", "aim", "reached", title="Targets (for what must be little: at most)")
    for target in TARGETS:
        value = target.figure(m)
        table.add_row(
            target.what, _number(value), _number(target.least), _number(target.aim), _verdict(target, value)
        )
    return table


def _verdict(target: Target, value: float | None) -> str:
    if value is None:
        return "not measured"
    if target.reached(value, target.aim):
        return "aim"
    return "yes" if target.reached(value, target.least) else "NO"
