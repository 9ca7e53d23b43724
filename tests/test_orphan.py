"""Embedded servers end with their parent, even when that is killed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.embedded_parent import CARELESS, WAIT_S, Parent, connect, offer, runs
from lockservice.shards import orphan
from lockservice.shards.embedded import EmbeddedShards


@pytest.fixture(params=["redis", "valkey"])
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Each server that a machine may offer."""
    offer(request.param, monkeypatch, tmp_path / "bin")
    return str(request.param)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "state" / "lockservice"


@pytest.fixture
def start_parent(data_dir: Path) -> Iterator[Callable[[str], Parent]]:
    """Starts parents, and ends them and their servers after the test."""
    started: list[Parent] = []

    def start(launcher: str) -> Parent:
        started.append(Parent(data_dir, launcher))
        return started[-1]

    yield start
    for parent in started:
        if parent.process.poll() is None:
            parent.kill()
        for pid in parent.survivors(WAIT_S if parent.process.args[-1] == orphan.__file__ else 0):  # type: ignore[index]  # a list
            os.kill(pid, signal.SIGKILL)
        assert not parent.survivors(WAIT_S)


@pytest.mark.usefixtures("program")
def test_killed_parent_leaves_no_process(start_parent: Callable[[str], Parent]) -> None:
    """SIGKILL of the parent ends its servers."""
    parent = start_parent(orphan.__file__)
    assert all(runs(pid) for pid in parent.pids)
    parent.kill()
    assert parent.survivors(WAIT_S) == []


def test_careless_launcher_is_noticed(start_parent: Callable[[str], Parent], tmp_path: Path) -> None:
    """Servers that are started without that care do outlive a killed parent."""
    launcher = tmp_path / "careless.py"
    launcher.write_text(CARELESS)
    parent = start_parent(str(launcher))
    parent.kill()
    assert parent.survivors(0.5) == parent.pids


@pytest.mark.usefixtures("program")
async def test_restart_right_after_a_kill(start_parent: Callable[[str], Parent], data_dir: Path) -> None:
    """A start right after SIGKILL waits for the old servers, and finds what they had acknowledged."""
    parent = start_parent(orphan.__file__)
    with connect(parent.shards[0]) as connection:
        connection.set("k", "v")
    parent.kill()
    shards = EmbeddedShards(data_dir, 2)
    try:
        first, _ = await shards.start()
        assert not any(runs(pid) for pid in parent.pids)
        with connect(first) as connection:
            assert connection.get("k") == "v"
    finally:
        await shards.stop()


def test_parent_that_died_first(tmp_path: Path) -> None:
    """A launcher whose parent is already another process starts nothing."""
    made = tmp_path / "made"
    command = [sys.executable, "-I", "-S", orphan.__file__]
    touch = shutil.which("touch")
    assert touch
    done = subprocess.run([*command, str(os.getpid()), touch, str(made)], check=False)
    assert (done.returncode, made.exists()) == (0, True)
    made.unlink()
    done = subprocess.run([*command, str(os.getppid()), touch, str(made)], check=False)
    assert (done.returncode, made.exists()) == (1, False)
