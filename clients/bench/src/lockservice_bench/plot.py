"""A run as pictures."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lockservice_bench.report import PEERS
from lockservice_bench.suite import CALLERS, Found
from lockservice_bench.targets import Medians

_OURS: Final = ("#c2410c", "#ea9a6c")
_OTHERS: Final = "#64748b"


def draw(found: Found, directory: Path) -> list[Path]:
    """Writes bench-pairs.png and bench-hot.png, and returns their paths."""
    mpl.use("agg")
    m = Medians(found)
    made = []
    for name, fill in (("pairs", _pairs), ("hot", _hot)):
        figure = Figure(figsize=(9, 4), layout="constrained")
        fill(m, figure)
        made.append(directory / f"bench-{name}.png")
        figure.savefig(made[-1], dpi=120)
    return made


def _colour(peer: str) -> str:
    return {"session": _OURS[0], "unary": _OURS[1]}.get(peer, _OTHERS)


def _bars(axes: Axes, values: dict[str, float | None], title: str) -> None:
    shown = {peer: value for peer, value in values.items() if value is not None}
    names = [PEERS[peer].name for peer in shown]
    bars = axes.barh(names, list(shown.values()), color=[_colour(peer) for peer in shown])
    axes.bar_label(bars, fmt=lambda value: f"{value:,.0f}" if value >= 10 else f"{value:.2f}", padding=3, fontsize=8)  # noqa: PLR2004  two digits
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _pairs(m: Medians, figure: Figure) -> None:
    all_axes = figure.subplots(1, len(CALLERS), sharey=True)
    for axes, callers in zip(all_axes, CALLERS, strict=True):
        _bars(axes, {peer: m.pairs(peer, callers) for peer in PEERS}, f"operations/s, {callers} callers")


def _hot(m: Medians, figure: Figure) -> None:
    parts = (
        ("handoffs_s", "hand-offs/s of one hot lock"),
        ("p99_ms", "p99 of a hand-off, ms"),
        ("share", "worst/best worker"),
    )
    for axes, (what, title) in zip(figure.subplots(1, len(parts), sharey=True), parts, strict=True):
        _bars(axes, {peer: m.hot(peer, what) for peer in PEERS if m.hot(peer, "share") is not None}, title)
