"""`lockctl top`: a live table of shards, queues and leases."""

import contextlib
import sys
import time
from typing import Final

import click

from lockservice_client import errors
from lockservice_client.lockctl.calls import lock_fields
from lockservice_client.lockctl.picture import Look, Row, draw, span
from lockservice_client.lockctl.session import SECONDS, Session, command
from lockservice_client.lockctl.terminal import Terminal
from lockservice_client.lockctl.watch import shard_fields
from lockservice_client.lockctl.watcher import Watcher

# A pipe has no size; these are for reading what is kept of it.
_COLUMNS: Final = 160
_LINES: Final = 50
# Keys, the size of the terminal, and the age of a look that has become stale are looked at this often.
_TICK_S: Final = 0.25
_LATE_INTERVALS: Final = 2.5
_QUIT: Final = frozenset("qQ")


@click.command()
@click.option("--interval", type=SECONDS, default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--prefix", default="", help="Only resources that begin with this.")
@click.option("--limit", type=int, default=5_000, show_default=True, help="How many resources to look at.")
@command
def top(session: Session, interval: float, prefix: str, limit: int) -> None:
    """Show shards, the longest queues and what is held longest, again and again.

    It is a live table on a terminal; q or Ctrl-C ends it, a lost connection does not. Elsewhere it is written
    once. It needs a credential of the role operator.
    """
    with session.connect(unready=True) as client:
        watcher = Watcher(client, interval=interval, prefix=prefix, limit=limit)
        if session.as_json:
            _write_json(session, watcher.once())
        elif not sys.stdout.isatty():
            rows = draw(watcher.once(), _title(client.address, watcher, interval), (), columns=_COLUMNS, lines=_LINES)
            session.show({}, "\n".join(row.text.rstrip() for row in rows))
        else:
            with contextlib.suppress(errors.Unavailable):
                # One that refuses this caller is not worth waiting for; one that is away is.
                watcher.once()
            with contextlib.suppress(KeyboardInterrupt), Terminal() as terminal:
                _run(terminal, watcher, client.address, interval)


def _run(terminal: Terminal, watcher: Watcher, address: str, interval: float) -> None:
    watcher.start()
    try:
        key = ""
        while key not in _QUIT:
            columns, lines = terminal.size
            title = _title(address, watcher, interval)
            terminal.show(draw(watcher.look, title, tuple(watcher.problems), columns=columns, lines=lines))
            key = terminal.key(_TICK_S)
    finally:
        watcher.stop()


def _title(address: str, watcher: Watcher, interval: float) -> Row:
    look = watcher.look
    if look is None:
        return Row(f"{address}: {watcher.error or 'waiting for an answer'}", "bad" if watcher.error else "head")
    seen = f"replica {look.overview.replica} {look.overview.server_version}, {_looked_at(look)}"
    if watcher.error or watcher.age > interval * _LATE_INTERVALS:
        why = f": {watcher.error}" if watcher.error else ""
        return Row(f"{address}  STALE for {span(watcher.age)}{why}  {seen}", "bad")
    return Row(f"{address}  {time.strftime('%H:%M:%S')}  {seen}  q quits", "head")


def _looked_at(look: Look) -> str:
    held = sum(shard.locks_held for shard in look.overview.shards)
    waiting = sum(shard.waiters for shard in look.overview.shards)
    if look.unlisted:
        return f"{held} held, {waiting} waiting, resources not listed: {look.unlisted}"
    part = f" ({len(look.locks)} looked at, see --limit)" if held > len(look.locks) else ""
    return f"{held} held{part}, {waiting} waiting"


def _write_json(session: Session, look: Look) -> None:
    """Writes an object a line: the replica, then its shards, then the resources."""
    overview = look.overview
    session.show(
        {
            "kind": "replica",
            "replica": overview.replica,
            "server_version": overview.server_version,
            "map_epoch": overview.map_epoch,
            "time": overview.time,
        }
    )
    for shard in overview.shards:
        session.show({"kind": "shard", **shard_fields(shard)})
    if look.unlisted:
        session.show({"kind": "problem", "message": look.unlisted})
    for lock in look.locks:
        session.show({"kind": "resource", **lock_fields(lock)})
