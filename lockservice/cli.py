"""The command `lockservice`."""

import asyncio
import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lockservice import __version__, config, logs
from lockservice.durations import format_ms
from lockservice.setting_types import Duration


@click.group(context_settings={"auto_envvar_prefix": None, "max_content_width": 110})
def main() -> None:
    """Leases, ordering and deduplication for workers that share entities."""


@main.command()
@config.options
@click.pass_context
def serve(ctx: click.Context, /, **values: Any) -> None:
    """Serve until a signal: the first drains, the second exits."""
    settings = config.check(values)
    logs.set_up(settings.log_format, settings.log_level)
    for warning in config.unknown_variables(os.environ, ctx.command):
        logging.getLogger(__name__).warning(warning)
    # Its lines on standard error are no JSON, and say nothing that the log does not.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Loading gRPC takes long, and the other commands need none of it.
    from lockservice import process, server, supervisor  # noqa: PLC0415

    sys.exit(process.run(supervisor.Supervisor(settings) if settings.workers > 1 else server.Server(settings)))


@main.command("config")
@config.options
@click.option("--markdown", is_flag=True, help="Print the reference of all settings instead.")
@click.pass_context
def show_config(ctx: click.Context, /, *, markdown: bool, **values: Any) -> None:
    """Print the effective settings and where each comes from; secrets are hidden."""
    if markdown:
        from lockservice.reference import settings_table  # noqa: PLC0415  as in serve

        click.echo(settings_table(ctx.command))
        return
    config.check(values)
    words = {
        ParameterSource.COMMANDLINE: "flag",
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: "file",
    }
    for option in config.settings_of(ctx.command):
        name = option.name or ""
        source = ctx.get_parameter_source(name)
        value = values[name]
        if isinstance(option.type, Duration):
            value = format_ms(value)
        elif name == "shards":
            value = " ".join(value)
        shown = logs.mask(str(value)) if value is not None else ""
        click.echo(f"{config.key_of(option)} = {shown}  ({words.get(source, 'default') if source else 'default'})")


def _run_package(module: str, what: str, arguments: tuple[str, ...]) -> None:
    if importlib.util.find_spec(module) is None:
        click.echo(f"{what} is not installed: run `make setup` in a checkout of lockservice", err=True)
        sys.exit(1)
    sys.exit(subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode)


_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@main.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """Replay a flash sale without and with lockservice."""
    _run_package("flash_sale", "the flash sale", arguments)


@main.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure this machine beside the peers that are installed."""
    _run_package("lockservice_bench", "the benchmark", arguments)


@main.command()
@config.options
@click.option("--current", multiple=True, metavar="NAME=URL", help="A shard in use, if none of them is to stay.")
@click.option("--user", default="", help="Who it is at the Redis servers, if not whom the URLs name.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Where the password of --user is.",
)
@click.option("--dry-run", is_flag=True, help="Say what would move, and change nothing.")
def reshard(*, current: tuple[str, ...], user: str, password_file: Path | None, dry_run: bool, **values: Any) -> None:
    """Take the running service to the shards that are named here, from whichever it uses."""
    settings = config.check(values)
    if not settings.shards:
        raise click.UsageError("name every shard that shall be in use afterwards with --shard")
    logs.set_up(settings.log_format, "error")
    from lockservice.resharding import command  # noqa: PLC0415  as in serve

    password = password_file.read_text(encoding="utf-8").strip() if password_file is not None else ""
    command_line = command.Order(settings, config.shards(current), user, password, dry_run=dry_run)
    asyncio.run(command.reshard(command_line))


@main.command()
def token() -> None:
    """Make a token for a caller, and the line of it for --auth-file."""
    from lockservice.credentials import new_token  # noqa: PLC0415  as in serve

    secret, hashed = new_token()
    click.echo(secret)
    click.echo(f'token-sha256 = ["{hashed}"]', err=True)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"lockservice {__version__}")


def run() -> None:
    """Runs the command; secrets that files hold stand in for their variables first."""
    try:
        secrets = config.read_secret_files(os.environ)
    except click.UsageError as error:
        error.show()
        sys.exit(error.exit_code)
    for name, secret in secrets.items():
        os.environ[name] = secret
        del os.environ[f"{name}_FILE"]
    main()
