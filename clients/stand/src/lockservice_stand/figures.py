"""The figures of the clients beside each other: each one's own program, in turns, against one service."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from lockservice_stand.certificates import Certificates
from lockservice_stand.clients import Plan
from lockservice_stand.service import Service

Figures = dict[str, float]

# Of the generated stub's latency, and of one core.
P50_MAX: Final = 1.3
RENEWING_PERCENT_MAX: Final = 5.0
_RUN_S: Final = 300.0
_FIELDS: Final = ("pairs_per_s", "p50_ms", "stub_p50_ms", "renewing_cpu_percent")


def measure(console: Console, plans: Sequence[Plan], rounds: int) -> dict[str, Figures]:
    """Runs every client's program so many times, in turns, and returns the medians."""
    seen: dict[str, list[Figures]] = {plan.name: [] for plan in plans}
    with tempfile.TemporaryDirectory(prefix="lockservice-stand-") as directory:
        path = Path(directory)
        service = Service(path, replicas=1, tls="", certificates=Certificates(path))
        service.start()
        try:
            for number in range(rounds):
                for plan in plans:
                    with console.status(f"{plan.name}, round {number + 1} of {rounds}"):
                        seen[plan.name].append(_figures(plan, service.replicas[0].address))
        finally:
            service.stop()
    return {name: _medians(all_figures) for name, all_figures in seen.items()}


def _figures(plan: Plan, address: str) -> Figures:
    words = [shutil.which("bash") or "sh", "-c", plan.bench]
    environment = {**os.environ, "LOCKSERVICE_ADDR": address, "LOCKSERVICE_PYTHON": sys.executable}
    ran = subprocess.run(
        words, cwd=plan.directory, env=environment, capture_output=True, text=True, timeout=_RUN_S, check=False
    )
    if ran.returncode != 0:
        raise RuntimeError(f"the figures of {plan.name}: {ran.stdout}{ran.stderr}")
    said = json.loads(ran.stdout.splitlines()[-1])
    return {field: float(said[field]) for field in _FIELDS}


def _medians(all_figures: list[Figures]) -> Figures:
    return {field: statistics.median(figures[field] for figures in all_figures) for field in _FIELDS}


def table(medians: dict[str, Figures]) -> Table:
    """Sets the clients side by side, with what must be reached."""
    made = Table(
        "client", "pairs/s", "against Python", "p50 ms", "against its stub", "renewing 1,000, %", title="Figures"
    )
    python = medians.get("python", {}).get("pairs_per_s", 0.0)
    for name, figures in medians.items():
        share = figures["pairs_per_s"] / python if python else 0.0
        slower = figures["p50_ms"] / figures["stub_p50_ms"]
        made.add_row(
            name,
            f"{figures['pairs_per_s']:,.0f}",
            _judged(f"{share:.2f}", reached=share >= 1.0),
            f"{figures['p50_ms']:.2f}",
            _judged(f"{slower:.2f}", reached=slower <= P50_MAX),
            _judged(
                f"{figures['renewing_cpu_percent']:.1f}",
                reached=figures["renewing_cpu_percent"] < RENEWING_PERCENT_MAX,
            ),
        )
    return made


def _judged(text: str, *, reached: bool) -> str:
    return text if reached else f"[red]{text} NOT REACHED[/red]"
