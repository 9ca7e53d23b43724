"""A rolling restart is one that no caller sees."""

import sys
from dataclasses import dataclass

import pytest
from rich.console import Console

from lockservice_stand import clients, rolling


@dataclass
class Said:
    """What a client could say, and whether that is good."""

    calls: int
    failed: int
    good: bool


async def test_no_call_fails_while_three_replicas_restart() -> None:
    """500 calls/s of the Python client, and replicas that give no time to DNS or probes: no drain delay at all."""
    (python,) = (plan for plan in clients.plans() if plan.name == "python")
    plan = python._replace(steady=f"{sys.executable} steady.py")

    (said,) = await rolling.roll(Console(quiet=True), [plan], "0s")

    assert rolling.good(said), said


@pytest.mark.parametrize("said", [Said(1_000, 0, good=True), Said(999, 1, good=False), Said(500, 0, good=False)])
def test_calls_that_fail_or_are_not_made_are_seen(said: Said) -> None:
    """One failed call of a thousand is not good, nor is a client that stood still."""
    found = {"calls": said.calls, "failed": said.failed, "due": 1_000.0}

    assert rolling.good(found) is said.good
