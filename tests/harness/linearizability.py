"""The second opinion on a history: porcupine, a checker of linearizability, with the model of a fenced mutex."""

import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from harness.history import Operation, folded, to_lines
from harness.manifests import program

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests/linearizability"
RESOURCE_TIMEOUT_S = 30


def go(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs go on the checker's source."""
    return subprocess.run([program("go"), *words], cwd=SOURCE, capture_output=True, text=True, check=False)


@cache
def checker() -> Path:
    """Builds the checker, once a run; without go, or without the module, the test is skipped, or fails in CI."""
    downloaded = go("mod", "download")
    if downloaded.returncode:
        assert os.environ.get("CI") != "true", downloaded.stderr
        pytest.skip(f"the linearizability checker's module cannot be had: {downloaded.stderr.strip()}")
    built = ROOT / "build/linearizability"
    done = go("build", "-o", str(built), ".")
    assert done.returncode == 0, done.stderr
    return built


def not_linearizable(history: Iterable[Operation], *, exclusive: bool) -> list[str]:
    """Finds resources whose calls cannot be put in an order that a fenced mutex could have had.

    Args:
        history: dedupes in it are left out.
        exclusive: whether nobody may be granted what another may still count on; over a fault promised only
            where the shard is `exclusive`. Without it the order of tokens is checked.
    """
    words = [str(checker()), f"-exclusive={str(exclusive).lower()}", f"-timeout={RESOURCE_TIMEOUT_S}s"]
    lines = to_lines(folded(history))
    return subprocess.run(words, input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
