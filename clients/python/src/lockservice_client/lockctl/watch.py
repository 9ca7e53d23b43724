"""A look at the service: its shards, and its version."""

from typing import Any

import click

from lockservice_client import __version__, errors
from lockservice_client.lockctl.session import Session, command
from lockservice_client.lockctl.verdicts import of_versions


def shard_fields(shard: Any) -> dict[str, Any]:
    """Writes a shard as nested fields."""
    return {**shard._asdict(), "servers": [server._asdict() for server in shard.servers]}


def _shard_line(shard: Any) -> str:
    state = "up" if shard.healthy else f"DOWN: {shard.problem}"
    latency = f"p50 {shard.latency_p50 * 1e3:.2f} ms  p99 {shard.latency_p99 * 1e3:.2f} ms"
    worth = f"{shard.durability} {shard.exclusion}"
    held = f"{shard.locks_held} held  {shard.waiters} waiting"
    return f"{shard.name:12} {shard.address:30} {latency}  {held}  {worth}  {state}"


@click.command()
@command
def shards(session: Session) -> None:
    """Show the shards."""
    with session.connect(unready=True) as client:
        for shard in client.describe_shards():
            session.show(shard_fields(shard), _shard_line(shard))


@click.command()
@command
def version(session: Session) -> None:
    """Print the versions of lockctl and of the server, and warn when they do not belong together."""
    server, advice = "", ""
    try:
        with session.connect(unready=True) as client:
            told = client.overview()
        server = told.server_version or "too old to say"
        advice = of_versions(__version__, [told])[0].advice
    except errors.ServiceError as error:
        advice = str(error)
    text = f"lockctl {__version__}\nserver {server or 'unknown'}"
    session.show(
        {"lockctl": __version__, "server": server, "advice": advice},
        f"{text}\n-> {advice}" if advice else text,
    )
