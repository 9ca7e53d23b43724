"""What an answer of a shard is worth: how durable it is, and whether it excludes others over a failover."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

_REPLICAS: Final = re.compile(r"replicas=([1-9])")
_PRIMARY: Final = "primary"
_FSYNC: Final = "fsync"
_FENCED: Final = "fenced"
_EXCLUSIVE: Final = "exclusive"
_DURABILITIES: Final = "primary, replicas=N with N from 1 to 9, or fsync"
_EXCLUSIONS: Final = "fenced or exclusive"


class Guarantee(NamedTuple):
    """What the answers of one shard are worth.

    Attributes:
        durability: `primary` (its primary has what was answered), `replicas=N` (so many replicas have it too), or
            `fsync` (it is on the primary's disk).
        exclusion: `fenced` (after a change of primary grants go on, ordered by their tokens) or `exclusive` (nothing
            new is granted until every lease that may have been lost has run out).
    """

    durability: str = _PRIMARY
    exclusion: str = _FENCED

    @property
    def replicas(self) -> int:
        """How many replicas must confirm an answer."""
        match = _REPLICAS.fullmatch(self.durability)
        return int(match[1]) if match else 0

    @property
    def fsync(self) -> bool:
        """Whether an answer must be on the primary's disk."""
        return self.durability == _FSYNC

    @property
    def exclusive(self) -> bool:
        """Whether nothing new is granted for a while after a change of primary."""
        return self.exclusion == _EXCLUSIVE


class Guarantees(NamedTuple):
    """The guarantees of all shards: those of a level that names no shard, and what single shards have instead."""

    durability: Mapping[str, str]
    exclusion: Mapping[str, str]

    def of(self, shard: str) -> Guarantee:
        """Returns the guarantee of a shard."""
        durability = self.durability.get(shard) or self.durability.get("", _PRIMARY)
        return Guarantee(durability, self.exclusion.get(shard) or self.exclusion.get("", _FENCED))

    def shards(self) -> set[str]:
        """Returns the names of the shards that have a level of their own."""
        return (self.durability.keys() | self.exclusion.keys()) - {""}


def read_durability(text: str) -> Mapping[str, str]:
    """Reads levels separated by spaces, each as LEVEL or SHARD=LEVEL. Raises ValueError."""
    return _read(text, lambda level: level in (_PRIMARY, _FSYNC) or bool(_REPLICAS.fullmatch(level)), _DURABILITIES)


def read_exclusion(text: str) -> Mapping[str, str]:
    """Reads levels separated by spaces, each as LEVEL or SHARD=LEVEL. Raises ValueError."""
    return _read(text, (_FENCED, _EXCLUSIVE).__contains__, _EXCLUSIONS)


def _read(text: str, known: Callable[[str], bool], levels: str) -> Mapping[str, str]:
    read: dict[str, str] = {}
    for word in text.split():
        shard, level = ("", word) if known(word) else (word.partition("=")[0], word.partition("=")[2])
        if not known(level):
            raise ValueError(f"{word}: {levels}; SHARD=LEVEL for one shard")
        if shard in read:
            raise ValueError(f"{word}: there are two levels for {shard or 'all shards'}")
        read[shard] = level
    return read
