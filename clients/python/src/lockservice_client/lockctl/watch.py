"""A look at the service: its shards, and a live table of its leases."""

import sys
import time
from typing import Any, Final

import click

from lockservice_client import __version__, errors
from lockservice_client.lockctl.session import SECONDS, Session, command
from lockservice_client.lockctl.verdicts import of_versions

_TOP_LINES: Final = 30


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
    with session.connect() as client:
        for shard in client.describe_shards():
            session.show(shard._asdict(), _shard_line(shard))


@click.command()
@click.option("--interval", type=SECONDS, default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--prefix", default="", help="Only resources that begin with this.")
@command
def top(session: Session, interval: float, prefix: str) -> None:
    """Show shards and the busiest resources, again and again; once when it is not on a terminal."""
    live = sys.stdout.isatty() and not session.as_json
    with session.connect() as client:
        while True:
            found = client.describe_shards()
            locks = sorted(client.list_locks(prefix), key=lambda lock: -lock.queue_length)[:_TOP_LINES]
            if live:
                click.clear()
            for shard in found:
                session.show(shard._asdict(), _shard_line(shard))
            for lock in locks:
                owner = lock.holder.owner if lock.holder else "(kept for a retry)"
                left = lock.holder.remaining if lock.holder else (lock.hold.remaining if lock.hold else 0.0)
                session.show(
                    lock._asdict(), f"{lock.queue_length:6} waiting  {left:7.1f} s  {lock.resource}  {owner}"
                )
            if not live:
                return
            time.sleep(interval)


@click.command()
@command
def version(session: Session) -> None:
    """Print the versions of lockctl and of the server, and warn when they do not belong together."""
    server, advice = "", ""
    try:
        with session.connect() as client:
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
