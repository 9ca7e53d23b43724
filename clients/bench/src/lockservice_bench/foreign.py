"""Peers that are programs of their own: in Go, in Node, and Python's python-redis-lock, which needs threads.

Each takes `pairs SOCKET CALLERS SECONDS` or `hot SOCKET WORKERS SECONDS`, measures as rounds.py does, and prints one
line of JSON.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lockservice_bench.rounds import Figures

_SOURCES: Final = Path(__file__).parents[2] / "peers"
_SLACK_S: Final = 60


class Foreign:
    """A peer's program."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    def measure(self, what: str, socket: Path, count: int, seconds: float) -> Figures:
        """Runs it once, on the callers' core."""
        words = [*self._command, what, str(socket), str(count), str(seconds)]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=seconds + _SLACK_S)
        figures: Figures = json.loads(done.stdout)
        return figures


def build(directory: Path) -> tuple[dict[str, Foreign], list[str]]:
    """Builds what can be built, and says what cannot and why."""
    directory.mkdir(parents=True, exist_ok=True)
    made = {"python-redis-lock": Foreign([sys.executable, "-m", "lockservice_bench.python_redis_lock"])}
    missing: list[str] = []
    for name, build_one in (("redsync", _redsync), ("redlock", _redlock)):
        try:
            made[name] = Foreign(build_one(directory.absolute()))
        except (OSError, subprocess.CalledProcessError) as error:
            missing.append(f"{name}: {error}")
    return made, missing


def _redsync(directory: Path) -> list[str]:
    program = directory / "redsync"
    _run(["go", "build", "-o", str(program), "."], _SOURCES / "redsync")
    return [str(program)]


def _redlock(directory: Path) -> list[str]:
    copy = directory / "redlock"
    shutil.copytree(_SOURCES / "redlock", copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    _run(["npm", "ci", "--silent"], copy)
    return ["node", str(copy / "main.mjs")]


def _run(command: list[str], directory: Path) -> None:
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
