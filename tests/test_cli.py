"""The command `lockservice`: what each part prints, and its exit codes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import urllib.request
from hashlib import sha256
from pathlib import Path

import click
import pytest

from lockservice import __version__, cli, config
from lockservice.limits import TOKEN_CHARACTERS_MIN
from lockservice.reference import settings_table

SECRET = "s3cr3t"


def environment(**variables: str) -> dict[str, str]:
    """Returns this process's environment without our variables, and with those named without our prefix."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(config.PREFIX)}
    return own | {config.PREFIX + name: value for name, value in variables.items()}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "lockservice", *arguments],
        env=environment(**variables), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_version() -> None:
    """`version` prints the version."""
    assert run("version").stdout == f"lockservice {__version__}\n"


def test_token() -> None:
    """`token` prints a new token where a script takes it, and its line of --auth-file beside it."""
    first, second = run("token"), run("token")
    token = first.stdout.strip()
    assert len(token) >= TOKEN_CHARACTERS_MIN
    assert token != second.stdout.strip()
    assert first.stderr == f'token-sha256 = ["{sha256(token.encode()).hexdigest()}"]\n'


def test_config_tells_where_values_come_from(tmp_path: Path) -> None:
    """`config` prints every setting with its source."""
    file = tmp_path / "lockservice.toml"
    file.write_text('redis-timeout = "1s"\n')
    printed = run("config", "--config", str(file), "--workers", "1", INSECURE="true").stdout.splitlines()
    for line in (
        "redis-timeout = 1s  (file)",
        "workers = 1  (flag)",
        "insecure = True  (environment)",
        "grpc-addr = 127.0.0.1:50051  (default)",
    ):
        assert line in printed
    assert len(printed) == len(config.settings_of(cli.serve))


@pytest.mark.parametrize("url", [f"redis://:{SECRET}@h", f"redis://u:a@{SECRET}@h", f"redis://h?password={SECRET}"])
def test_config_hides_secrets(tmp_path: Path, url: str) -> None:
    """`config` hides passwords, whichever way they came."""
    file = tmp_path / "shards"
    file.write_text(url)
    for done in (run("config", "--shard", url), run("config", SHARDS=url), run("config", SHARDS_FILE=str(file))):
        assert done.returncode == 0, done.stderr
        assert "shards = redis://" in done.stdout
        assert "***" in done.stdout
        assert SECRET not in done.stdout + done.stderr


def test_config_markdown() -> None:
    """`config --markdown` is a table with a row for each setting."""
    printed = run("config", "--markdown").stdout
    assert printed == settings_table(cli.serve) + "\n"
    for text in ("`--redis-timeout` | `LOCKSERVICE_REDIS_TIMEOUT` | 250ms |", "`--shard` | `LOCKSERVICE_SHARDS` |"):
        assert text in printed
    rows = printed.splitlines()[2:]
    assert len(rows) == len(config.settings_of(cli.serve))
    assert {row.count(" | ") for row in rows} == {3}


def test_serve_and_config_have_the_same_settings() -> None:
    """What `config` shows is what `serve` takes."""
    both = (cli.serve, cli.show_config)
    names = [[option.name for option in config.settings_of(command)] for command in both]
    assert names[0] == names[1]
    # Durability and exclusion are one guarantee.
    assert len(names[0]) == len(config.Settings.__dataclass_fields__) + 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["reshard"], 2, "name every shard"),
        (["serve", "--durability", "twice"], 2, "primary, replicas=N"),
        (["serve", "--nonsense"], 2, "--nonsense"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_usage(arguments: list[str], code: int, said: str) -> None:
    """What cannot be done ends with exit code 2 and one message, without a trace."""
    done = run(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_secret_file_that_is_not_there() -> None:
    """A secret's file that cannot be read is a bad setting."""
    done = run("config", SHARDS_FILE="/nonexistent")
    assert done.returncode == 2
    assert "LOCKSERVICE_SHARDS_FILE" in done.stderr


def test_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A part that is not installed says how to get it, and ends with exit code 1."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for command in (cli.demo, cli.bench):
        with pytest.raises(SystemExit) as ended:
            click.Command.main(command, [])
        assert ended.value.code == 1
        assert "make setup" in capfd.readouterr().err


def test_package_gets_the_arguments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`demo` hands its arguments, --help among them, to the flash sale, and takes its exit code."""
    (tmp_path / "flash_sale.py").write_text("import sys; print(sys.argv[1:]); sys.exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        click.Command.main(cli.demo, ["--orders", "5", "--help"])
    assert ended.value.code == 3
    assert capfd.readouterr().out == "['--orders', '5', '--help']\n"


def test_serve(tmp_path: Path) -> None:
    """`serve` says ready once with its ports, warns of a variable nobody reads, and drains to exit 0 on SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lockservice", "serve", "--data-dir", str(tmp_path), "--embedded-shards", "1"],
        env=environment(GRPC_ADDR="127.0.0.1:0", OPS_ADDR="127.0.0.1:0", GRPC_ADR="x"),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        lines: list[dict[str, str]] = []
        while not lines or lines[-1]["event"] != "ready":
            lines.append(json.loads(process.stderr.readline()))
        assert any("did you mean LOCKSERVICE_GRPC_ADDR" in line["event"] for line in lines)
        assert lines[-1]["shards"] == "s1 (embedded, for one machine)"
        with urllib.request.urlopen(f"http://{lines[-1]['ops']}/readyz", timeout=5) as answer:
            assert answer.read() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(30) == 0
        assert [json.loads(line)["event"] for line in rest.splitlines()][-1] == "stopped"
    finally:
        process.kill()
        process.communicate()


def test_port_in_use(tmp_path: Path) -> None:
    """A port that is taken is a failure, told in one line with the flag to change."""
    import socket  # noqa: PLC0415  only here

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flag, other in (("--ops-addr", "--grpc-addr"), ("--grpc-addr", "--ops-addr")):
            done = run(
                "serve", flag, address, other, "127.0.0.1:0", "--embedded-shards", "1", "--data-dir", str(tmp_path)
            )
            assert done.returncode == 1
            assert flag in done.stderr
            assert "Traceback" not in done.stderr
