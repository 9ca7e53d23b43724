"""Builds every client's package, and runs its tests against one stand."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from lockservice_stand import results
from lockservice_stand.clients import Plan
from lockservice_stand.results import Results

_COMMAND_S: Final = 900.0
_TAIL_LINES: Final = 60


class Ran(NamedTuple):
    """What came of a client.

    Attributes:
        results: of its tests; None: they could not even be run.
        why: what went wrong, if something did.
        seconds: of its commands.
    """

    plan: Plan
    results: Results | None
    why: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether all its tests passed, and every promise has one."""
        return not self.why and self.results is not None and not (self.results.failed or self.results.missing)


@contextmanager
def stand() -> Iterator[str]:
    """Starts a stand, and yields its address."""
    words = [sys.executable, "-m", "lockservice_stand", "serve"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("stand ").strip()
        process.stdin.close()
        process.wait()


def run(plan: Plan, promises: Iterable[str], address: str, log: Path) -> Ran:
    """Runs a client's commands; what they say goes into a file."""
    began = time.monotonic()
    for old in plan.directory.glob(plan.junit):
        old.unlink()
    why = ""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as out:
        for command in (*plan.build, *plan.test):
            if not _succeeds(command, plan, address, out.fileno()):
                why = f"failed: {command}"
                break
    files = sorted(plan.directory.glob(plan.junit))
    found = results.read(files, promises) if files else None
    return Ran(plan, found, why if why or files else "its tests wrote no results", time.monotonic() - began)


def _succeeds(command: str, plan: Plan, address: str, out: int) -> bool:
    os.write(out, f"$ {command}\n".encode())
    environment = {**os.environ, "LOCKSERVICE_STAND": address, "LOCKSERVICE_PYTHON": sys.executable}
    words = [shutil.which("bash") or "sh", "-c", command]
    try:
        ran = subprocess.run(
            words, cwd=plan.directory, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            timeout=_COMMAND_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        os.write(out, f"not done after {_COMMAND_S:.0f} s\n".encode())
        return False
    return ran.returncode == 0


def report(console: Console, all_ran: Iterable[Ran], logs: Path) -> None:
    """Prints a table, and the end of what a client said that failed."""
    table = Table("client", "passed", "failed", "skipped", "promises without a test", "seconds", title="Clients")
    for ran in all_ran:
        found = ran.results
        cells = ("-",) * 4
        if found is not None:
            cells = (str(found.passed), str(len(found.failed)), str(found.skipped), " ".join(found.missing) or "none")
        table.add_row(ran.plan.name, *cells, f"{ran.seconds:.0f}")
        if not ran.good:
            lines = (logs / f"{ran.plan.name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            console.print("\n".join(lines[-_TAIL_LINES:]), markup=False, highlight=False, soft_wrap=True)
            for test in found.failed if found is not None else ():
                console.print(f"{ran.plan.name}: {test} failed", markup=False)
            if ran.why:
                console.print(f"{ran.plan.name}: {ran.why}", markup=False)
    console.print(table)
