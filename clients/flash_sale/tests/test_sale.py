"""A small sale, played whole: with the service it is clean, and without its locks the audit fails."""

import subprocess
import sys

import pytest


def play(*flags: str) -> subprocess.CompletedProcess[str]:
    """Plays act two."""
    words = [
        sys.executable,
        "-m",
        "flash_sale",
        "--act",
        "two",
        "--orders",
        "300",
        "--pace",
        "100",
        "--languages",
        "python",
        *flags,
    ]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.timeout(120)
def test_with_lockservice_nothing_is_lost_and_nothing_done_twice() -> None:
    """Three workers are killed on the way."""
    played = play()

    assert played.returncode == 0, played.stdout + played.stderr
    assert "lost or duplicated" not in played.stdout


@pytest.mark.timeout(120)
def test_an_outage_of_lockservice_loses_nothing() -> None:
    """The shop hears 200 in time while lockservice is down, and afterwards all is done, and done once."""
    played = play("--outage", "12", "--kills", "0")

    assert played.returncode == 0, played.stdout + played.stderr
    slowest = next(line for line in played.stdout.splitlines() if "slowest answer" in line)
    assert float(slowest.split()[-3]) < 5_000


@pytest.mark.timeout(120)
def test_without_locking_the_audit_fails() -> None:
    """The same act with the locking switched off ends with 1 and says why."""
    played = play("--no-locking")

    assert played.returncode == 1, played.stdout + played.stderr
    assert "act two lost or duplicated something" in played.stdout


@pytest.mark.timeout(120)
def test_the_incidents_patterns_stay_runnable() -> None:
    """Plain DEL, GETDEL then SETEX and a hash by creation time do damage too, in the same table."""
    played = play("--control", "blog")

    assert played.returncode == 0, played.stdout + played.stderr
    assert "blog" in played.stdout.lower() or "incident" in played.stdout.lower()
