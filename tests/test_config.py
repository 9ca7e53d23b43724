"""Settings: where each comes from, and which are refused."""

import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from lockservice import cli, config
from lockservice.durations import format_ms, parse_ms
from lockservice.guarantee import Guarantee


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.copy():
        if name.startswith(config.PREFIX):
            monkeypatch.delenv(name)


def run(*arguments: str, **variables: str) -> tuple[Result, config.Settings | None]:
    """Reads settings from flags and from variables named without their prefix."""
    taken: list[config.Settings] = []

    @click.command()
    @config.options
    def command(**values: Any) -> None:
        taken.append(config.check(values))

    names = {config.PREFIX + name: value for name, value in variables.items()}
    result = CliRunner().invoke(command, arguments, env=names)
    return result, taken[0] if taken else None


def read(*arguments: str, **variables: str) -> config.Settings:
    """Reads settings that must be right."""
    result, settings = run(*arguments, **variables)
    assert settings is not None, result.output
    return settings


def refusal(*arguments: str, **variables: str) -> str:
    """Reads settings that must be wrong, and returns the message on one line."""
    result, _ = run(*arguments, **variables)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def test_defaults() -> None:
    """The defaults are those that the operators' page promises."""
    settings = read()
    assert (settings.grpc_addr, settings.ops_addr) == ("127.0.0.1:50051", "127.0.0.1:9090")
    assert (settings.shards, settings.embedded_shards) == ((), 2)
    assert settings.redis_timeout_ms == 250
    assert settings.guarantees.of("s1") == Guarantee("primary", "fenced")
    assert (settings.drain_delay_ms, settings.shutdown_grace_ms) == (0, 20_000)
    assert (settings.insecure, settings.workers, settings.reflection) == (False, 1, True)
    assert settings.log_format is None
    assert settings.version_retention_ms == 24 * 3_600_000
    assert (settings.waiters_per_resource, settings.waiters_per_replica) == (10_000, 20_000)


def test_precedence(tmp_path: Path) -> None:
    """A flag wins over the variable, the variable over the file, the file over the default."""
    file = tmp_path / "lockservice.toml"
    file.write_text('redis-timeout = "1s"\ndrain-delay = "1s"\nshutdown-grace = "1s"\n')
    settings = read(
        "--config", str(file), "--redis-timeout", "3s", REDIS_TIMEOUT="2s", DRAIN_DELAY="2s"
    )  # fmt: skip
    assert settings.redis_timeout_ms == 3_000
    assert settings.drain_delay_ms == 2_000
    assert settings.shutdown_grace_ms == 1_000


def test_every_setting_in_a_file(tmp_path: Path) -> None:
    """Numbers, switches and lists of the file arrive with their types."""
    file = tmp_path / "lockservice.toml"
    file.write_text('shards = ["a=redis://h1", "redis://h2"]\nembedded-shards = 3\nreflection = false\n')
    settings = read(CONFIG=str(file))
    assert settings.shards == (("a", "redis://h1"), ("s2", "redis://h2"))
    assert settings.embedded_shards == 3
    assert settings.reflection is False


def test_shards_of_a_variable() -> None:
    """Spaces separate the shards of a variable, and those without a name are numbered: s1, s2."""
    settings = read(SHARDS="redis://a  eu=rediss://u:pw=x@b:1/0 unix:///run/redis.sock")
    assert settings.shards == (
        ("s1", "redis://a"), ("eu", "rediss://u:pw=x@b:1/0"), ("s3", "unix:///run/redis.sock")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://h", "redis+sentinel:// or redis+cluster://"),
        ("redis://", "no server in the URL"),
        ("redis://h:99999", "no server in the URL"),
        ("redis://:sec/ret@h", "no server in the URL"),
        ("redis://h?sec=ret", "after ? come only"),
        ("unix://", "no server in the URL"),
        ("Upper=redis://h", "1 to 63 of a-z, 0-9 and -"),
        ("a" * 64 + "=redis://h", "1 to 63 of a-z, 0-9 and -"),
        ("redis+sentinel://h,i", "the name of their group"),
        ("redis+cluster://h/0", "has no databases"),
        ("redis://h,i", "no server in the URL"),
    ],
)
def test_bad_shards(text: str, said: str) -> None:
    """A shard that cannot be meant is refused with what is allowed, without a word of its password."""
    message = refusal("--shard", text)
    assert "--shard" in message
    assert said in message
    assert "sec" not in message


def test_two_shards_of_one_name() -> None:
    """A name that two shards share is refused, also when one of them has it by its place."""
    assert "s2 is named twice" in refusal("--shard", "s2=redis://a", "--shard", "redis://b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--durability", "replicas"], "primary, replicas=N with N from 1 to 9, or fsync"),
        (["--exclusion", "exclude"], "fenced or exclusive"),
        (["--workers", "0"], "1<=x<=64"),
        (["--workers", "65"], "1<=x<=64"),
        (["--auth-file", __file__], "no TOML"),
        (["--tls-cert", __file__], "--tls-cert and --tls-key go together"),
        (["--tls-client-ca", __file__], "needs --tls-cert and --tls-key"),
        (["--tls-cert", "/nonexistent"], "does not exist"),
        (["--redis-timeout", "250"], "250ms"),
        (["--redis-timeout", "1ms"], "at least 10ms"),
        (["--redis-timeout", "2m"], "at most 1m"),
        (["--version-retention", "366d"], "at most 365d"),
        (["--drain-delay", "9" * 400 + "h"], "no duration"),
        (["--grpc-addr", "50051"], "HOST:PORT"),
        (["--grpc-addr", "h:65536"], "HOST:PORT"),
        (["--grpc-addr", "::1:50051"], "[::1]:50051"),
        (["--grpc-addr", "127.0.0.1:\N{ARABIC-INDIC DIGIT THREE}"], "HOST:PORT"),
        (["--ops-addr", "ho st:1"], "HOST:PORT"),
        (["--log-format", "xml"], "'json', 'text'"),
        (["--embedded-shards", "17"], "1<=x<=16"),
    ],
)
def test_refused(arguments: list[str], said: str) -> None:
    """A bad setting ends with exit code 2, its name and what is allowed."""
    message = refusal(*arguments)
    assert arguments[0] in message
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redis-timeot = '1s'", "unknown: redis-timeot"),
        ("redis-timeout = 5", "write a number and ms, s, m, h or d"),
        ("shards = 3", "LOCKSERVICE_SHARDS"),
        ("= 3", "lockservice.toml"),
        ("tls-cert = [1]", "does not exist"),
        ("embedded-shards = 2.5", "not a valid integer"),
        ("embedded-shards = true", "not a valid integer"),
        ("shards = [5]", "redis+sentinel:// or redis+cluster://"),
        ("insecure = 'maybe'", "not a valid boolean"),
        ("[redis]\ntimeout = '1s'", "unknown: redis"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, said: str) -> None:
    """A file with a key nobody knows, a value of the wrong kind or no TOML in it is refused."""
    file = tmp_path / "lockservice.toml"
    file.write_text(text)
    assert said in refusal("--config", str(file))


def test_beyond_loopback(tmp_path: Path) -> None:
    """Without credentials, and with tokens in the clear, only this machine is served, unless --insecure is said."""
    auth = tmp_path / "auth.toml"
    auth.write_text(f"[[credential]]\nname = 'x'\nnamespace = 'x'\ntoken-sha256 = ['{'0' * 64}']\n")
    for address in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "lock.example:1"):
        assert "--insecure" in refusal("--grpc-addr", address)
        tls = ("--tls-cert", __file__, "--tls-key", __file__)
        assert "--insecure" in refusal("--grpc-addr", address, *tls)
        assert read("--grpc-addr", address, *tls, "--tls-client-ca", __file__).grpc_addr == address
        assert read("--grpc-addr", address, INSECURE="true").insecure
        known = ("--auth-file", str(auth))
        assert "let everybody on the way read the tokens" in refusal("--grpc-addr", address, *known)
        assert read("--grpc-addr", address, *known, "--insecure").insecure
        assert read("--grpc-addr", address, *known, *tls).auth_file == auth
    assert read("--auth-file", str(auth)).auth_file == auth
    for address in ("127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:0"):
        assert not read("--grpc-addr", address).insecure


def test_unknown_variables() -> None:
    """A variable nobody reads is told with the nearest known one; those of Kubernetes and the clients are not."""
    command = click.Command("serve", params=cli.serve.params)
    foreign = ("PORT", "PORT_50051_TCP_ADDR", "SERVICE_HOST", "SERVICE_PORT", "ADDR", "TOKEN", "RESOURCE")
    own = ("SHARDS", "SHARDS_FILE", "GRPC_ADDR", "CONFIG", "LEASE_ID", "FENCING_TOKEN")
    fine = {config.PREFIX + name: "x" for name in (*foreign, *own)}
    assert config.unknown_variables({**fine, "PATH": "x"}, command) == []
    assert config.unknown_variables({**fine, "LOCKSERVICE_SHARD": "x"}, command) == [
        "LOCKSERVICE_SHARD is no setting of lockservice; did you mean LOCKSERVICE_SHARDS?"
    ]


def test_secret_from_a_file(tmp_path: Path) -> None:
    """A file stands in for its variable; a file that cannot be read, or both at once, is refused."""
    file = tmp_path / "shards"
    file.write_text("redis://:secret@h\n")
    name = "LOCKSERVICE_SHARDS"
    assert config.read_secret_files({f"{name}_FILE": str(file)}) == {name: "redis://:secret@h"}
    with pytest.raises(click.UsageError, match="SHARDS_FILE"):
        config.read_secret_files({f"{name}_FILE": "/nonexistent"})
    with pytest.raises(click.UsageError, match="both set"):
        config.read_secret_files({f"{name}_FILE": str(file), name: "redis://h"})


def test_durations() -> None:
    """Durations read and write as people do, and a text without a unit is none."""
    assert [parse_ms(text) for text in ("250ms", "10s", "1.5m", "1h", "1d")] == [
        250, 10_000, 90_000, 3_600_000, 86_400_000
    ]  # fmt: skip
    assert [format_ms(ms) for ms in (0, 250, 10_000, 90_000, 3_600_000)] == ["0s", "250ms", "10s", "90s", "1h"]
    for text in ("", "10", "-1s", "1 s", "s", "1w"):
        with pytest.raises(ValueError, match="no duration"):
            parse_ms(text)
