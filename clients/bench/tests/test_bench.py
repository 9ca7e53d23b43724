"""The benchmark: it measures what it says, and says what it could not measure."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from lockservice_bench import foreign, plot, report
from lockservice_bench.machine import only, stop
from lockservice_bench.suite import Found
from lockservice_bench.targets import TARGETS, Medians


def found() -> Found:
    """Makes a run with two rounds of two peers."""
    rows = [
        {"peer": peer, "what": "pairs", "callers": callers, "operations_s": speed, "p50_ms": 1.0}
        for peer, speed in (("unary", 800.0), ("empty", 1000.0), ("unary", 900.0), ("empty", 1200.0))
        for callers in (1, 32, 128)
    ]
    return Found(rounds=rows, missing=["redsync: no go"])


@pytest.mark.timeout(180)
def test_a_quick_run_measures_every_target_that_needs_no_other_language(tmp_path: Path) -> None:
    """One short round on real servers gives a figure for each row of the table, and the raw numbers behind it."""
    command = [sys.executable, "-m", "lockservice_bench", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    raw = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    run = Found(**raw)
    needs_etcd = {target.what for target in TARGETS if "etcd" in target.what}
    silent = {target.what for target in TARGETS if target.figure(Medians(run)) is None}
    assert silent <= (needs_etcd if any(name.startswith("etcd") for name in run.missing) else set())
    assert all(row["operations_s"] > 0 for row in run.rounds if row["what"] not in {"hot", "trip"})


def test_servers_of_others_stand_still() -> None:
    """While one is measured; and all of them end with the benchmark, whatever they do."""

    def states() -> list[str]:
        # Stopped is T.
        return [Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] for server in servers]

    with ExitStack() as leave:
        servers = [leave.enter_context(subprocess.Popen(["sleep", "60"])) for _ in range(3)]
        pids = [server.pid for server in servers]
        asyncio.run(only(pids, pids[1]))
        assert [state == "T" for state in states()] == [True, False, True]
        asyncio.run(only(pids, None))
        assert states() == ["T"] * 3
        for server in servers:
            stop(server)
        assert all(server.returncode == -signal.SIGTERM for server in servers)


def test_ratios_come_from_the_medians() -> None:
    """850 operations a second against 1,100 are 0.77."""
    (target,) = (target for target in TARGETS if "empty handler, 32" in target.what)
    value = target.figure(Medians(found()))

    assert value == pytest.approx(850 / 1100)
    assert target.reached(value, target.least)
    assert not target.reached(value, target.aim)


def test_what_must_be_little_is_reached_from_below() -> None:
    """3 round trips are more than the 2 that are allowed."""
    (target,) = (target for target in TARGETS if "commands to Redis" in target.what)

    assert target.reached(2.0, target.least)
    assert not target.reached(3.5, target.least)


def test_a_figure_that_is_missing_is_said_to_be() -> None:
    """The table has no number for what was not measured, and names the peers that were left out."""
    console = Console(record=True, width=200)
    report.show(console, found())
    text = console.export_text()

    assert "not measured" in text
    assert "left out: redsync: no go" in text


def test_a_peer_that_cannot_be_built_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without go and npm the others are measured all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    made, missing = foreign.build(tmp_path / "peers")

    assert set(made) == {"python-redis-lock"}
    assert {name.split(":")[0] for name in missing} == {"redsync", "redlock"}


def test_pictures_are_written(tmp_path: Path) -> None:
    """Two files that are pictures, of a run in which some peers are missing."""
    made = plot.draw(found(), tmp_path)

    assert [path.name for path in made] == ["bench-pairs.png", "bench-hot.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)
