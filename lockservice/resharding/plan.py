"""What a change of the shard map moves, decided from the two maps alone."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from lockservice.limits import BUCKETS
from lockservice.shards.map_record import MapRecord, assign


class Plan(NamedTuple):
    """A change of the shard map.

    Attributes:
        record: what every shard remembers while buckets are on their way.
        settled: what they remember afterwards.
        moves: the buckets that go, by the shards that they come from and go to.
        back: it undoes a change that has not ended, so some of them may never have left where they go to.
    """

    record: MapRecord
    settled: MapRecord
    moves: dict[tuple[str, str], list[int]]
    back: bool

    @property
    def buckets(self) -> int:
        """How many buckets move."""
        return sum(map(len, self.moves.values()))


def newest(records: Iterable[MapRecord | None]) -> MapRecord:
    """Returns the map that the shards follow.

    Raises:
        click.ClickException: none of them remembers one.
    """
    known = [record for record in records if record is not None]
    if not known:
        raise click.ClickException("no shard that was named has a shard map yet: start the service on them instead")
    return max(known, key=lambda record: record.epoch)


def plan(current: MapRecord, wanted: Sequence[tuple[str, str]]) -> Plan:
    """Plans the change from the map that the shards follow to the shards that are wanted.

    Raises:
        click.ClickException: another change has not been brought to its end.
    """
    shards = dict(wanted)
    back = bool(current.before) and current.before.keys() == shards.keys()
    if current.before and not back:
        if current.shards.keys() != shards.keys():
            names = " ".join(sorted(current.shards))
            raise click.ClickException(f"a change to the shards [{names}] has not ended: end it, or go back, first")
        record = current
    else:
        record = MapRecord(current.epoch + 1, shards, current.shards)
    before, after = assign(frozenset(record.before)), assign(frozenset(record.shards))
    moves: dict[tuple[str, str], list[int]] = {}
    for bucket in range(BUCKETS):
        if before[bucket] != after[bucket]:
            moves.setdefault((before[bucket], after[bucket]), []).append(bucket)
    return Plan(record, MapRecord(record.epoch + 1, record.shards), moves, back)
