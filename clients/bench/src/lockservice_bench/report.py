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


class Sheet(NamedTuple):
    """A table: its title, its head and its rows of words."""

    title: str
    head: list[str]
    rows: list[list[str]]


def sheets(found: Found) -> list[Sheet]:
    """Returns the run as tables."""
    m = Medians(found)
    return [_pairs(m), _hot(m), _targets(m)]


def show(console: Console, found: Found) -> None:
    """Prints everything."""
    for sheet in sheets(found):
        table = Table(*sheet.head, title=sheet.title)
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    for name in found.missing:
        console.print(f"left out: {name}")


def markdown(found: Found) -> str:
    """Writes everything as Markdown."""
    lines: list[str] = []
    for sheet in sheets(found):
        cells = [sheet.head, ["---"] * len(sheet.head), *sheet.rows]
        lines += [f"### {sheet.title}", *(f"| {' | '.join(row)} |" for row in cells), ""]
    return "\n".join([*lines, *(f"Left out: {name}" for name in found.missing)])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004  three digits either way


def _pairs(m: Medians) -> Sheet:
    rows = []
    for peer, title in PEERS.items():
        cells = [
            f"{_number(m.pairs(peer, callers))}; {_number(m.of(peer, 'pairs', callers, 'p50_ms'))}"
            for callers in CALLERS
        ]
        if m.pairs(peer, 1) is not None:
            rows.append([title.name, *cells, title.durability])
    frames = _number(m.of("frames", "frames", FRAME_OPERATIONS, "operations_s"))
    rows.append([f"lockservice, messages of {FRAME_OPERATIONS}", "", frames, "", _EVERYSEC])
    head = ["", *(f"{callers} callers" for callers in CALLERS), "durability"]
    return Sheet("Operations/s; p50 in ms of taking a lock that is free", head, rows)


def _hot(m: Medians) -> Sheet:
    figures = ("handoffs_s", "p50_ms", "p99_ms", "share", "longest_wait_ms")
    rows = [
        [title.name, *(_number(m.hot(peer, figure)) for figure in figures)]
        for peer, title in PEERS.items()
        if m.hot(peer, "share") is not None
    ]
    head = ["", "hand-offs/s", "p50 ms", "p99 ms", "worst/best worker", "longest wait ms"]
    return Sheet(f"One lock that {HOT_WORKERS} workers want", head, rows)


def _targets(m: Medians) -> Sheet:
    rows = []
    for target in TARGETS:
        value = target.figure(m)
        figures = [_number(number) for number in (value, target.least, target.aim)]
        rows.append([target.what, *figures, _verdict(target, value)])
    head = ["", "measured", "at least", "aim", "reached"]
    return Sheet("Targets (at most, for what must be little)", head, rows)


def _verdict(target: Target, value: float | None) -> str:
    if value is None:
        return "not measured"
    if target.reached(value, target.aim):
        return "aim"
    return "yes" if target.reached(value, target.least) else "NO"
