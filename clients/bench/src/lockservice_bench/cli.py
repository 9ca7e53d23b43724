"""The command `python -m lockservice_bench`."""

import gc
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from lockservice_bench import plot, report
from lockservice_bench.drive import drive
from lockservice_bench.machine import pin
from lockservice_bench.suite import SHARDS, Extent, Suite

_WAITERS: Final = 10_000
_GC_ALLOCATIONS: Final = 20_000
_QUICK: Final = Extent(rounds=1, seconds=0.2, waiters=500, shards=(1, 2), build=None)


@click.command(context_settings={"max_content_width": 110, "show_default": True})
@click.option("--rounds", type=click.IntRange(1, 50), default=5, help="Of which medians are taken.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, help="Of each measurement.")
@click.option("--quick", is_flag=True, help="One short round, without the peers that must be built: a smoke test.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build"), help="For results.")
@click.option("--addr", default=None, help="HOST:PORT of a service that runs: drive it, and measure nothing else.")
@click.option("--callers", type=click.IntRange(1, 10_000), default=64, help="With --addr.")
def main(rounds: int, seconds: float, out: Path, addr: str | None, callers: int, *, quick: bool) -> None:
    """Measure lockservice beside its peers on this machine, or drive a service that is already running."""
    console = Console()
    # As a service does for itself: otherwise Python looks for garbage in every thousandth of a second.
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS)
    if addr is not None:
        uvloop.run(drive(console, addr, callers, seconds))
        return
    pin(1)
    extent = _QUICK if quick else Extent(rounds, seconds, _WAITERS, SHARDS, out / "peers")
    found = uvloop.run(Suite(extent, lambda what: console.print(f"[dim]{what}")).run())
    out.mkdir(parents=True, exist_ok=True)
    raw, tables = out / "bench.json", out / "bench.md"
    raw.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    tables.write_text(report.markdown(found), encoding="utf-8")
    report.show(console, found)
    made = [raw, tables] if quick else [raw, tables, *plot.draw(found, out)]
    console.print("raw numbers, tables and plots:", *map(str, made))
