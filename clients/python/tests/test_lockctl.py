"""The command lockctl, as a process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockservice_client import blocking

Start = Callable[..., "subprocess.Popen[str]"]
BIN_LOCKCTL = str(Path(sys.executable).parent / "lockctl")


def run(start: Start, *words: str, **environment: str) -> tuple[int, str, str]:
    """Runs lockctl to its end."""
    process = start(*words, **environment)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def wait_for(path: Path) -> str:
    """Returns what a command wrote, once it did."""
    give_up = time.monotonic() + 10
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < give_up, path
        time.sleep(0.01)
    return path.read_text().strip()


def alive(pid: int) -> bool:
    """Says whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, within: float = 5.0) -> bool:
    """Says whether a process ends within so many seconds."""
    give_up = time.monotonic() + within
    while alive(pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    return not alive(pid)


def test_a_lease_from_a_shell(lockctl: Start) -> None:
    """Acquire, renew, inspect, list and release work by hand, and 75 says held."""
    code, out, _ = run(lockctl, "acquire", "ctl:1", "--ttl", "30s", "-o", "json")
    lease = json.loads(out)
    assert code == 0
    code, out, _ = run(lockctl, "-o", "json", "acquire", "ctl:1")
    assert (code, json.loads(out)["error"]) == (75, "held")
    assert run(lockctl, "renew", "ctl:1", lease["lease_id"])[0] == 0
    shown = json.loads(run(lockctl, "inspect", "ctl:1", "-o", "json")[1])
    assert shown["holder"]["fencing_token"] == lease["fencing_token"]
    assert json.loads(run(lockctl, "list", "ctl:1", "-o", "json")[1])["resource"] == "ctl:1"
    assert run(lockctl, "release", "ctl:1", lease["lease_id"])[0] == 0
    assert run(lockctl, "renew", "ctl:1", lease["lease_id"])[0] == 77


def test_an_event_key_from_a_shell(lockctl: Start) -> None:
    """Dedupe, renew-claim and settle work by hand, and 76 says duplicate."""
    code, out, _ = run(lockctl, "dedupe", "ctl:e", "--claim-ttl", "30", "-o", "json")
    claim = json.loads(out)["claim_id"]
    assert code == 0
    assert run(lockctl, "renew-claim", "ctl:e", claim)[0] == 0
    assert run(lockctl, "dedupe", "ctl:e", "--claim-ttl", "30")[0] == 75
    assert run(lockctl, "settle", "ctl:e", claim, "--result", "ok")[0] == 0
    code, out, _ = run(lockctl, "dedupe", "ctl:e", "-o", "json")
    assert (code, json.loads(out)["result"]) == (76, "ok")


def test_force_release_takes_only_the_grant_that_is_meant(lockctl: Start) -> None:
    """Another token changes nothing; the right one ends the lease."""
    lease = json.loads(run(lockctl, "acquire", "ctl:f", "-o", "json")[1])
    token = lease["fencing_token"]
    assert run(lockctl, "force-release", "ctl:f", "--fencing-token", str(token - 1), "--reason", "x")[0] != 0
    assert run(lockctl, "force-release", "ctl:f", "--fencing-token", str(token), "--reason", "x")[0] == 0
    assert run(lockctl, "renew", "ctl:f", lease["lease_id"])[0] == 77


@pytest.mark.parametrize("word", ["shards", "top", "doctor", "version"])
def test_a_look_at_the_service(lockctl: Start, word: str) -> None:
    """Each look succeeds, and with -o json every line is JSON."""
    assert run(lockctl, word)[0] == 0
    code, out, err = run(lockctl, word, "-o", "json")
    assert code == 0, err
    assert [json.loads(line) for line in out.splitlines()]


def test_doctor_names_the_failure_and_the_cure(lockctl: Start) -> None:
    """With nobody listening doctor exits 1 and says what to do."""
    code, out, _ = run(lockctl, "--server", "127.0.0.1:1", "doctor")
    assert code == 1
    assert "FAIL  connection" in out
    assert "is the server running" in out


def test_wrong_usage_exits_2(lockctl: Start) -> None:
    """An unknown option is usage, not an error of the service; nobody there is an error."""
    assert run(lockctl, "acquire", "ctl:u", "--no-such")[0] == 2
    assert run(lockctl, "acquire", "ctl:u", "--ttl", "soon")[0] == 2
    code, _, err = run(lockctl, "--server", "127.0.0.1:1", "acquire", "ctl:u")
    assert code == 1
    assert "127.0.0.1:1 cannot be reached" in err


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_run_passes_the_exit_code_on(lockctl: Start, command: str, code: int) -> None:
    """The command's code is lockctl's, 128+n for a signal."""
    assert run(lockctl, "run", "ctl:code", "--wait", "5", "--", "sh", "-c", command)[0] == code


def test_run_of_a_missing_command(lockctl: Start) -> None:
    """As in a shell: 127."""
    assert run(lockctl, "run", "ctl:missing", "--", "/no/such")[0] == 127


def test_run_tells_the_command_its_lease(lockctl: Start) -> None:
    """Resource, lease id and token are in the environment, and dashes after -- are the command's."""
    words = "echo $LOCKSERVICE_RESOURCE $LOCKSERVICE_FENCING_TOKEN $LOCKSERVICE_LEASE_ID $1"
    out = run(lockctl, "run", "ctl:env", "--", "sh", "-c", words, "-", "--ttl")[1].split()
    assert (out[0], out[3]) == ("ctl:env", "--ttl")
    assert int(out[1]) > 0
    assert len(out[2]) >= 22


def test_run_records_success_only(lockctl: Start) -> None:
    """A failed command may run again for the same event; a successful one is a duplicate, 76; held is 75."""
    words = ("run", "ctl:event", "--event-id", "e", "--")
    assert run(lockctl, *words, "false")[0] == 1
    assert run(lockctl, *words, "true")[0] == 0
    assert run(lockctl, *words, "true")[0] == 76
    assert run(lockctl, "run", "ctl:event", "--", BIN_LOCKCTL, "run", "ctl:event", "--", "true")[0] == 75


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_forwards_signals(lockctl: Start, tmp_path: Path, number: signal.Signals) -> None:
    """The command gets the signal and decides what becomes of it."""
    started = tmp_path / "started"
    script = f"trap 'exit 42' {number.name.removeprefix('SIG')}; echo $$ > {started}; while :; do sleep 0.05; done"
    process = lockctl("run", f"ctl:{number.name}", "--", "sh", "-c", script)
    wait_for(started)
    process.send_signal(number)
    assert process.wait(10) == 42


def test_run_keeps_the_lease_alive(lockctl: Start) -> None:
    """A command of three ttls ends well."""
    assert run(lockctl, "run", "ctl:long", "--ttl", "400ms", "--", "sleep", "1.2")[0] == 0


def test_run_stops_everything_before_the_lease_can_end(lockctl: Start, frozen: Any, tmp_path: Path) -> None:
    """When renewing fails, a command that ignores SIGTERM and what it started are dead within the ttl; 77."""
    ttl, file = 2.0, tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $$ $! > {file}; wait; sleep 60"
    process = lockctl("run", "ctl:stop", "--ttl", str(ttl), "--", "sh", "-c", script)
    pids = [int(pid) for pid in wait_for(file).split()]
    frozen.freeze()
    # A renewal may just have come through, so the lease lasts at most one ttl from here.
    until = time.monotonic() + ttl
    assert all(gone(pid, until - time.monotonic()) for pid in pids)
    assert process.wait(10) == 77


def test_a_command_dies_with_lockctl(lockctl: Start, tmp_path: Path) -> None:
    """When lockctl is killed, the command and what it started do not live on without a lease."""
    file = tmp_path / "pids"
    process = lockctl("run", "ctl:killed", "--", "sh", "-c", f"sleep 60 & echo $$ $! > {file}; wait")
    pids = [int(pid) for pid in wait_for(file).split()]
    process.kill()
    assert all(gone(pid) for pid in pids)


def test_a_command_may_leave_something_running(lockctl: Start, tmp_path: Path) -> None:
    """After a normal end nothing is killed: what a command left behind on purpose stays."""
    file = tmp_path / "pid"
    script = f"sleep 60 >/dev/null 2>&1 & echo $! > {file}"
    assert run(lockctl, "run", "ctl:left", "--", "sh", "-c", script)[0] == 0
    pid = int(file.read_text())
    time.sleep(0.2)
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_forced_release_stops_the_command(lockctl: Start, service: Any, tmp_path: Path) -> None:
    """Who takes the lease away stops its command; 77."""
    file = tmp_path / "token"
    words = (
        "run",
        "ctl:forced",
        "--ttl",
        "1s",
        "--",
        "sh",
        "-c",
        f"echo $LOCKSERVICE_FENCING_TOKEN > {file}; sleep 60",
    )
    process = lockctl(*words)
    token = int(wait_for(file))
    with blocking.Client(service.address) as client:
        assert client.force_release("ctl:forced", token, reason="test")
    assert process.wait(10) == 77
