"""The runner fails when a client fails, or lacks a promise."""

import subprocess
import sys
from pathlib import Path

import pytest

from lockservice_stand import clients, results

PASSED = '<testcase name="S01 a grant"/>'
OTHER = '<testcase name="test_s02_another"/>'


def run(directory: Path, cases: str, *, build: str = "true") -> subprocess.CompletedProcess[str]:
    """Runs a client whose tests came to this."""
    directory.joinpath("scenarios.md").write_text("- **S01** One.\n- **S02** Two.\n", encoding="utf-8")
    client = directory / "toy"
    client.mkdir(exist_ok=True)
    client.joinpath("cases.xml").write_text(f"<testsuite>{cases}</testsuite>", encoding="utf-8")
    client.joinpath("stand.toml").write_text(
        f'toolchain = ["true"]\nbuild = ["{build}"]\njunit = "junit*.xml"\n'
        'test = ["test -n $LOCKSERVICE_STAND && cp cases.xml junit.xml"]\n',
        encoding="utf-8",
    )
    words = [sys.executable, "-m", "lockservice_stand", "run", "--directory", str(directory)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_every_promise_kept_is_good(tmp_path: Path) -> None:
    """It ends with 0."""
    ran = run(tmp_path, PASSED + OTHER)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        (PASSED, "S02"),
        (PASSED + '<testcase name="test_s02_another"><skipped/></testcase>', "S02"),
        (PASSED + OTHER + '<testcase name="S02 more"><failure/></testcase>', "S02 more failed"),
        (PASSED + OTHER + '<testcase name="no number"><error/></testcase>', "no number failed"),
    ],
)
def test_what_is_missing_or_failed_is_said(tmp_path: Path, cases: str, said: str) -> None:
    """It ends with 1, and names it."""
    ran = run(tmp_path, cases)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert said in ran.stdout


def test_results_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    """A build that fails leaves a client without results."""
    tmp_path.joinpath("toy").mkdir()
    tmp_path.joinpath("toy", "junit.xml").write_text(f"<testsuite>{PASSED}{OTHER}</testsuite>", encoding="utf-8")
    ran = run(tmp_path, PASSED + OTHER, build="false")
    assert ran.returncode == 1
    assert "failed: false" in ran.stdout
    assert " 2 " not in ran.stdout


def test_numbers_in_names() -> None:
    """Each language's way to name a test is read, and no other digits are."""
    assert results.numbers(["S01 a", "test_s02_b", "TestS03Grant", "client s04Waits()"]) == {
        "S01",
        "S02",
        "S03",
        "S04",
    }
    assert results.numbers(["is05", "test_s055", "TestOS06", "Tests07"]) == set()


def test_there_are_promises() -> None:
    """The real list has all its numbers, in order."""
    promises = clients.promises()
    assert promises == [f"S{number:02}" for number in range(1, len(promises) + 1)]
    assert len(promises) > 30
