"""The samples of the README run against the service and print what they promise."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).parents[1] / "samples"
PROMISED = {
    "basic": ["another worker is told: order:basic-1001 is held by", "packed packed"],
    "waiting": ["left 0"],
    "dedupe": ["charged 12 EUR", "duplicate of: charged 12 EUR"],
    "fenced_redis": ["refused: fence:{stock:7}: a higher token than", "stock 11"],
    "fenced_sql": ["the next holder: paid, packed", "the one before: refused"],
    "ordered": [
        "create: applied",
        "update: applied",
        "create again: a newer one was applied",
        "update: done before",
        "same instant: fetched afresh and applied",
    ],
}


def test_every_sample_has_a_promise() -> None:
    """A sample that nobody runs would rot."""
    assert {path.stem for path in SAMPLES.glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_s38_sample(name: str, service: Any, store: Any) -> None:
    """It ends well, and its lines begin as promised."""
    where = f"unix://{store.connection_pool.connection_kwargs['path']}"
    environment = {**os.environ, "LOCKSERVICE_ADDR": service.address, "STORE_URL": where}
    command = (sys.executable, "-W", "error", str(SAMPLES / f"{name}.py"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(PROMISED[name])
    assert all(line.startswith(start) for line, start in zip(lines, PROMISED[name], strict=True)), lines
