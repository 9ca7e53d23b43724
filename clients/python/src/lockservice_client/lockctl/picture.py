"""The picture of `lockctl top`: rows that fit a terminal, made from what was seen last."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from lockservice_client.lockctl.verdicts import SLOW_S
from lockservice_client.lockctl.visible import fit
from lockservice_client.values import Lock, Overview, Shard

Style = Literal["", "head", "bad"]
_SECTIONS: Final = 2
_PROBLEMS_PART: Final = 4
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


class Row(NamedTuple):
    """A line of the picture."""

    text: str
    style: Style = ""


class Look(NamedTuple):
    """What one look at the service came to.

    Attributes:
        overview: the shards, and the replica that answered.
        rates: calls of workers a second at that replica, by shard; without one that is not known yet.
        locks: what is held or kept for a retry, as far as it was looked at.
        unlisted: why these are those of an earlier look; empty when they are of this one.
    """

    overview: Overview
    rates: dict[str, float]
    locks: tuple[Lock, ...]
    unlisted: str = ""


class Column(NamedTuple):
    """A column of a table; a width of 0 takes what is left."""

    name: str
    columns: int
    right: bool = False


_SHARDS: Final = (
    Column("SHARD", 12), Column("STATE", 5), Column("P50 MS", 8, right=True), Column("P99 MS", 8, right=True),
    Column("CALLS/S", 9, right=True), Column("HELD", 8, right=True), Column("WAITING", 8, right=True),
    Column("WHERE", 0),
)  # fmt: skip
_OWNER_COLUMNS_MAX: Final = 24
_OWNER_PART: Final = 5


def draw(look: Look | None, title: Row, problems: Sequence[str], *, columns: int, lines: int) -> list[Row]:
    """Makes at most so many rows of exactly so many columns.

    Args:
        look: the last one that came to an end; None: none has yet.
        title: the first row: of what, by whom, how old.
        problems: what went wrong lately, the newest last.
        columns: of the terminal.
        lines: of the terminal.
    """
    rows = [title]
    if look is not None:
        rows += _shards(look, max(1, lines // 3))
        kept = min(len(problems), max(1, (lines - len(rows)) // _PROBLEMS_PART))
        each = (lines - len(rows) - (kept + 2 if problems else 0)) // _SECTIONS - 2
        by_queue = [lock for lock in look.locks if lock.queue_length]
        rows += _locks("LONGEST QUEUES", by_queue, lambda lock: lock.queue_length, each, columns)
        rows += _locks("HELD LONGEST", look.locks, lambda lock: lock.held or 0.0, each, columns)
    else:
        kept = len(problems)
    if problems:
        rows += [Row(""), Row("LATELY", "head"), *(Row(text) for text in reversed(problems[len(problems) - kept :]))]
    return [Row(fit(row.text, columns), row.style) for row in rows[: max(lines, 0)]]


def _line(table: Sequence[Column], cells: Iterable[str]) -> str:
    fitted = []
    for column, cell in zip(table, cells, strict=True):
        text = fit(cell, column.columns) if column.columns else cell
        fitted.append(text.strip().rjust(column.columns) if column.right else text)
    return " ".join(fitted)


def _heading(table: Sequence[Column]) -> Row:
    return Row(_line(table, (column.name for column in table)), "head")


def _shards(look: Look, most: int) -> list[Row]:
    # Those in trouble are shown first when there is no room for all.
    ordered = sorted(look.overview.shards, key=lambda shard: (shard.healthy, shard.latency_p99 <= SLOW_S))
    rows = [Row(""), _heading(_SHARDS), *(_shard(shard, look.rates) for shard in ordered[:most])]
    left_out = len(ordered) - most
    return [*rows, Row(f"and {left_out} shards more")] if left_out > 0 else rows


def _shard(shard: Shard, rates: dict[str, float]) -> Row:
    state = "DOWN" if not shard.healthy else "slow" if shard.latency_p99 > SLOW_S else "up"
    rate = rates.get(shard.name)
    worth = f"{shard.address} {shard.durability} {shard.exclusion}"
    cells = (
        shard.name,
        state,
        f"{shard.latency_p50 * 1e3:.2f}",
        f"{shard.latency_p99 * 1e3:.2f}",
        "-" if rate is None else f"{rate:.0f}",
        str(shard.locks_held),
        str(shard.waiters),
        shard.problem or worth,
    )
    return Row(_line(_SHARDS, cells), "" if state == "up" else "bad")


def _locks(name: str, locks: Iterable[Lock], key: Callable[[Lock], float], most: int, columns: int) -> list[Row]:
    if most < 1:
        return []
    table = (
        Column("WAITING", 8, right=True),
        Column("HELD", 7, right=True),
        Column("LEFT", 7, right=True),
        Column("OWNER", min(_OWNER_COLUMNS_MAX, columns // _OWNER_PART)),
        Column("RESOURCE", 0),
    )
    found = sorted(locks, key=lambda lock: (-key(lock), lock.resource))[:most]
    rows = [Row(_line(table, _lock(lock))) for lock in found]
    return [Row(name, "head"), _heading(table), *(rows or [Row("    none")])]


def _lock(lock: Lock) -> tuple[str, ...]:
    owner, left = "nobody", ""
    if lock.holder is not None:
        owner, left = lock.holder.owner, span(lock.holder.remaining)
    elif lock.hold is not None:
        owner, left = f"kept for {lock.hold.owner}", span(lock.hold.remaining)
    return str(lock.queue_length), "" if lock.held is None else span(lock.held), left, owner, lock.resource


def span(seconds: float) -> str:
    """Writes a time in few characters."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f}s"
    if seconds < _HOUR_S:
        return f"{seconds // 60:.0f}m{seconds % 60:02.0f}s"
    return f"{seconds // 3600:.0f}h{seconds % 3600 // 60:02.0f}m"
