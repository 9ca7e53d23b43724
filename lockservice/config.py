"""Every setting: its flag, its environment variable, its key in the file of --config, and its default.

A flag wins over the variable, the variable over the file, the file over the default. click does that; what is here is
one declaration a setting, and what no type can check: which settings go together.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from lockservice import exposure
from lockservice.guarantee import Guarantees, read_durability, read_exclusion
from lockservice.limits import TTL_MS_DEFAULT
from lockservice.setting_types import Address, Duration, Levels
from lockservice.shard_url import problem_with

PREFIX: Final = "LOCKSERVICE_"
# Kubernetes sets the first for a Service called lockservice; the others belong to the clients.
_FOREIGN: Final = re.compile(
    PREFIX + r"(PORT|PORT_.*|SERVICE_.*|ADDR|TOKEN|CA|CERT|KEY|RESOURCE|LEASE_ID|FENCING_TOKEN|CONFIG)"
)
_SHARD_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_YEAR_MS: Final = 365 * 24 * _HOUR_MS
_WORKERS_MAX: Final = 64


class ShardUrl(NamedTuple):
    """A shard: its name, by which names of resources are shared out, and where it is."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process, checked. Durations are in the unit that the name says."""

    grpc_addr: str
    ops_addr: str
    shards: tuple[ShardUrl, ...]
    embedded_shards: int
    data_dir: Path
    redis_timeout_ms: int
    guarantees: Guarantees
    hold_off_ms: int
    tls_cert: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    auth_file: Path | None
    insecure: bool
    workers: int
    drain_delay_ms: int
    shutdown_grace_ms: int
    log_format: str | None
    log_level: str
    version_retention_ms: int
    waiters_per_resource: int
    waiters_per_replica: int
    reflection: bool


def _state_dir() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "lockservice"


def _option(flag: str, *names: str, **how: Any) -> Callable[[Any], Any]:
    how.setdefault("show_default", True)
    name = names[0] if names else flag.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_")
    return click.option(flag, *names, envvar=PREFIX + name.upper(), show_envvar=True, **how)


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
_OPTIONS: Final = (
    _option("--grpc-addr", type=Address(), default="127.0.0.1:50051", help="Where workers call."),
    _option("--ops-addr", type=Address(), default="127.0.0.1:9090", help="Where /metrics and /readyz are."),
    _option(
        "--shard",
        "shards",
        multiple=True,
        metavar="[NAME=]URL",
        default=(),
        help="A Redis, a redis+sentinel:// group or a redis+cluster://; once for each. None: embedded shards.",
    ),
    _option("--embedded-shards", type=click.IntRange(1, 16), default=2, help="How many, when none is named."),
    _option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=_state_dir,
        show_default="~/.local/state/lockservice",
        help="Where embedded shards keep their data.",
    ),
    _option(
        "--redis-timeout", type=Duration(10, _MINUTE_MS), default="250ms", help="How long a shard's answer may take."
    ),
    _option(
        "--durability",
        type=Levels(read_durability),
        default="primary",
        help="Who has what was answered: primary, replicas=N or fsync; SHARD=LEVEL for one shard.",
    ),
    _option(
        "--exclusion",
        type=Levels(read_exclusion),
        default="fenced",
        help="After a failover: fenced (tokens order grants) or exclusive (hold off); SHARD=LEVEL for one shard.",
    ),
    _option(
        "--hold-off",
        type=Duration(TTL_MS_DEFAULT, _HOUR_MS),
        default="30s",
        help="How long an exclusive shard grants nothing then; the longest ttl there.",
    ),
    _option("--tls-cert", type=_FILE, help="PEM certificate; read again when it changes."),
    _option("--tls-key", type=_FILE, help="PEM key of the certificate."),
    _option("--tls-client-ca", type=_FILE, help="Only clients with a certificate of this CA are served."),
    _option("--auth-file", type=_FILE, help="Who may call, in TOML; read again when it changes."),
    _option(
        "--insecure",
        is_flag=True,
        default=False,
        help="Serve beyond loopback without credentials, or with tokens in the clear.",
    ),
    _option("--workers", type=click.IntRange(1, _WORKERS_MAX), default=1, help="Processes that share the ports."),
    _option(
        "--drain-delay", type=Duration(0, _HOUR_MS), default="0s", help="Wait this long between not ready and drain."
    ),
    _option(
        "--shutdown-grace", type=Duration(0, _HOUR_MS), default="20s", help="How long running calls may take to end."
    ),
    _option(
        "--log-format",
        type=click.Choice(["json", "text"]),
        show_default="json; text on a terminal",
        help="How log lines look.",
    ),
    _option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        help="What is logged.",
    ),
    _option(
        "--version-retention",
        type=Duration(1_000, _YEAR_MS),
        default="24h",
        help="How long completed versions are remembered after a resource's last use.",
    ),
    _option(
        "--waiters-per-resource",
        type=click.IntRange(1),
        default=10_000,
        help="Calls that may wait for one resource.",
    ),
    _option("--waiters-per-replica", type=click.IntRange(1), default=20_000, help="Calls that may wait in all."),
    _option("--reflection/--no-reflection", default=True, help="gRPC server reflection."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a click command every setting, and --config."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return click.option(
        "--config",
        type=_FILE,
        envvar=f"{PREFIX}CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_file,
        help="A TOML file with any of these settings, named like the flags.",
    )(command)


def _read_file(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise click.BadParameter(f"{path}: {error}", ctx, param) from error
    if isinstance(values.get("shards"), str):
        values["shards"] = values["shards"].split()
    known = {key_of(option): option.name for option in settings_of(ctx.command)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise click.BadParameter(
            f"{path}: unknown: {', '.join(unknown)}. Known: {', '.join(sorted(known))}", ctx, param
        )
    # As text, like a variable's, so that a value of the wrong kind is refused in the same words.
    ctx.default_map = {known[key] or key: value if key == "shards" else str(value) for key, value in values.items()}


def settings_of(command: click.Command) -> list[click.Option]:
    """Returns the settings among a command's options."""
    skipped = {"help", "config", "markdown"}
    return [p for p in command.params if isinstance(p, click.Option) and p.name not in skipped]


def key_of(option: click.Option) -> str:
    """Returns a setting's key in the file: its flag without the dashes; shards are a list."""
    return "shards" if option.name == "shards" else option.opts[0].removeprefix("--")


def variable_of(option: click.Option) -> str:
    """Returns a setting's environment variable."""
    return PREFIX + (option.name or "").upper()


def read_secret_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what the `…_FILE` variables stand for. Raises click.UsageError when one cannot be read."""
    values = {}
    for name in (f"{PREFIX}SHARDS",):
        path = environment.get(f"{name}_FILE")
        if path:
            if environment.get(name):
                raise click.UsageError(f"{name} and {name}_FILE are both set: keep one of them")
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise click.UsageError(f"{name}_FILE: {error}") from error
    return values


def unknown_variables(environment: Mapping[str, str], command: click.Command) -> list[str]:
    """Returns a warning for each variable with our prefix that no setting has, with the nearest one that has."""
    known = {variable_of(option) for option in settings_of(command)} | {f"{PREFIX}SHARDS_FILE"}
    warnings = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not _FOREIGN.fullmatch(name):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            warnings.append(f"{name} is no setting of lockservice{hint}")
    return warnings


def shards(texts: Sequence[str]) -> tuple[ShardUrl, ...]:
    """Reads `[NAME=]URL` of every shard. Raises click.UsageError."""
    read = []
    for index, text in enumerate(texts, 1):
        name, equals, url = text.partition("=")
        if not equals or "://" in name:
            name, url = f"s{index}", text
        if not _SHARD_NAME.fullmatch(name):
            raise click.UsageError(f"--shard number {index}: a name has 1 to 63 of a-z, 0-9 and -")
        problem = problem_with(url)
        if problem:
            raise click.UsageError(f"--shard {name}: {problem}")
        read.append(ShardUrl(name, url))
    names = [shard.name for shard in read]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise click.UsageError(f"--shard: {', '.join(sorted(twice))} is named twice")
    return tuple(read)


def _guarantees(named: dict[str, Any], shards: Sequence[str]) -> Guarantees:
    guarantees = Guarantees(read_durability(named.pop("durability")), read_exclusion(named.pop("exclusion")))
    unknown = guarantees.shards() - set(shards)
    if unknown and shards:
        raise click.UsageError(f"--durability, --exclusion: there is no shard {', '.join(sorted(unknown))}")
    return guarantees


def check(values: Mapping[str, Any]) -> Settings:
    """Builds Settings from the values of a command with `options`. Raises click.UsageError."""
    named = dict(values)
    exposure.check(named)
    for setting in ("redis_timeout", "hold_off", "drain_delay", "shutdown_grace", "version_retention"):
        named[f"{setting}_ms"] = named.pop(setting)
    named["shards"] = shards(named["shards"])
    named["guarantees"] = _guarantees(named, [shard.name for shard in named["shards"]])
    return Settings(**named)
