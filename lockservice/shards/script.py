"""The scripts that take every decision: read from their files, called by their arguments' names."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from operator import itemgetter
from typing import Final, NamedTuple

Argument = str | bytes | int

# What every call carries besides its own arguments: the Redis process it is meant for and how long things are
# remembered. The shard adds them.
COMMON = ("run_id", "memory_ms")
# What a call carries besides when its script may grant: between which times, on Redis' clock, it may.
TIMES = ("earliest_us", "latest_us")
# The verbs of workers: calls of one verb that leave one after the other are run by one script.
TOGETHER: Final = frozenset({"acquire", "renew", "release", "dedupe", "renew_claim", "settle"})
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
        text: what is sent: the flags, the arguments' names, the shared parts it needs and is checked by, and its own
            file.
        sha: what EVALSHA names it by.
        many: the same for several calls at once, each with a key and arguments of its own; it answers in a list.
            Empty: its calls are seldom, or must not share a command.
        many_sha: what EVALSHA names that by.
        arguments: the names of its arguments, in order.
        timed: its calls carry TIMES.
        in_order: takes them from a mapping.
    """

    name: str
    text: str
    sha: bytes
    many: str
    many_sha: bytes
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
    checks = re.search(r"^-- Checks:(.*)$", own, re.MULTILINE)
    parts = _Parts(
        once="".join(read(part) for part in needs[1].split()),
        each="".join(read(part) for part in (checks[1].split() if checks else ())),
        own=_INCLUDE.sub(lambda part: read(part[1]), own),
    )
    timed = checks is not None and "times" in checks[1].split()
    names = (*TIMES, *arguments) if timed else arguments
    text = f"{shebang}\n{_of_one(parts, names)}"
    many = f"{shebang}\n{_of_many(parts, names)}" if name in TOGETHER else ""
    return Script(name, text, _sha(text), many, _sha(many), arguments, timed, _in_order(arguments))


def _sha(text: str) -> bytes:
    # Redis names scripts by their SHA-1; nothing here relies on it being hard to forge.
    return sha1(text.encode(), usedforsecurity=False).hexdigest().encode()


class _Parts(NamedTuple):
    """The parts of a script: what is made once, what goes before each call, and its own file."""

    once: str
    each: str
    own: str


def _of_one(parts: _Parts, names: Sequence[str]) -> str:
    common = f"local bucket, {', '.join(COMMON)} = KEYS[1], unpack(ARGV, 1, {len(COMMON)})\n"
    bound = f"local {', '.join(names)} = unpack(ARGV, {len(COMMON) + 1})\n" if names else ""
    return common + parts.once + bound + parts.each + parts.own


def _of_many(parts: _Parts, names: Sequence[str]) -> str:
    # Redis takes a third of its time for a call to set the script up; that is done once for many. What goes wrong in
    # one call must not take the answers of the others with it, so each is protected.
    first = f"{len(COMMON) + 1} + (i - 1) * {len(names)}"
    return f"""local bucket
local {", ".join(COMMON)} = unpack(ARGV, 1, {len(COMMON)})
{parts.once}
local function one({", ".join(names)})
{parts.each}
{parts.own}
end
local answers = {{}}
for i = 1, #KEYS do
  bucket = KEYS[i]
  local done, answer = pcall(one, unpack(ARGV, {first}, {len(COMMON)} + i * {len(names)}))
  answers[i] = (done or type(answer) == 'table') and answer or redis.error_reply(answer)
end
return answers
"""


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
