"""The scripts that take every decision: read from their files, called by their arguments' names."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from operator import itemgetter

Argument = str | bytes | int

# What every call carries besides its own arguments: the Redis process it is meant for and how long things are
# remembered. The shard adds them.
COMMON = ("run_id", "memory_ms")
# What a call carries besides when its script may grant: between which times, on Redis' clock, it may.
TIMES = ("earliest_us", "latest_us")
# What those pass that run a script on no bucket that is open.
NOBODY = ("", 0)
# Stands where a script's usual way has ended: Redis makes every function of a shared part anew for each call, so
# the parts that are seldom needed come after it.
_INCLUDE = re.compile(r"^-- Include: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One verb as Redis runs it.

    Attributes:
        name: of its file, without the ending.
        text: what is sent: the flags, the arguments' names, the shared parts it needs, and its own file.
        sha: what EVALSHA names it by.
        arguments: the names of its arguments, in order.
        timed: it carries TIMES.
        in_order: takes them from a mapping.
    """

    name: str
    text: str
    sha: bytes
    arguments: tuple[str, ...]
    timed: bool
    in_order: Callable[[Mapping[str, Argument]], Sequence[Argument]]

    def values(self, arguments: Mapping[str, Argument]) -> Sequence[Argument]:
        """Puts named arguments in order. Raises KeyError for a missing one and TypeError for an unknown one."""
        if len(arguments) != len(self.arguments):
            raise TypeError(f"{self.name} takes {self.arguments}, got {tuple(arguments)}")
        return self.in_order(arguments)


def read(name: str) -> str:
    """Reads a Lua file of lockservice/scripts."""
    return files("lockservice").joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")


@cache
def load(name: str) -> Script:
    """Builds a script from its file. The file's header is data: it names the arguments and the shared parts."""
    own = read(name)
    needs = re.search(r"^-- Needs:(.*)$", own, re.MULTILINE)
    if needs is None:
        raise ValueError(f"{name}.lua does not say what it needs")
    flags = re.search(r"^-- Flags: (.+)$", own, re.MULTILINE)
    arguments = tuple(re.findall(r"^-- ARGV (\w+)", own, re.MULTILINE))
    shebang = "#!lua" + (f" flags={flags[1].replace(' ', '')}" if flags else "")
    parts = needs[1].split()
    timed = "times" in parts
    before = (*COMMON, *TIMES) if timed else COMMON
    common = f"local bucket, {', '.join(before)} = KEYS[1], unpack(ARGV, 1, {len(before)})"
    shared = [read(part) for part in parts]
    bound = f"local {', '.join(arguments)} = unpack(ARGV, {len(before) + 1})" if arguments else ""
    text = "\n".join([shebang, common, *shared, bound, _INCLUDE.sub(lambda part: read(part[1]), own)])
    # Redis names scripts by their SHA-1; nothing here relies on it being hard to forge.
    sha = sha1(text.encode(), usedforsecurity=False).hexdigest().encode()
    return Script(name=name, text=text, sha=sha, arguments=arguments, timed=timed, in_order=_in_order(arguments))


def _in_order(names: tuple[str, ...]) -> Callable[[Mapping[str, Argument]], Sequence[Argument]]:
    # The fastest way, which gives a tuple only for two names or more.
    return itemgetter(*names) if len(names) > 1 else lambda arguments: [arguments[name] for name in names]


NAMES = (
    "acquire",
    "leave",
    "renew",
    "release",
    "force_release",
    "inspect",
    "list",
    "count",
    "survey",
    "dedupe",
    "unwatch",
    "renew_claim",
    "settle",
    "sweep",
    "seed",
    "census",
    "ledger",
)


# What a shard map and its change need, besides.
MAP_NAMES = ("map", "prepare", "put", "freeze", "thaw", "arrive", "depart", "retract")


def load_all() -> tuple[Script, ...]:
    """Builds every script, so that a broken file stops the start rather than a call."""
    return tuple(load(name) for name in NAMES)
