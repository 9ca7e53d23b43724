"""Whether a Redis may be used, and if not, why, in words."""

import time
from dataclasses import dataclass, field
from typing import Final

from lockservice.errors import ShardUnavailable
from lockservice.guarantee import Guarantee
from lockservice.limits import CLOCK_ERROR_MS_MAX, REDIS_MAJOR_MIN
from lockservice.shards.facts import Facts, read
from lockservice.shards.pipeline import Pipeline, is_error

_WAITAOF_SINCE: Final = (7, 2)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of a Redis.

    Attributes:
        run_id: names the process; empty while it is not known.
        problem: why it may not be used; empty when it may.
        evicts: it deletes keys when its memory is full, which would end live leases.
        clock_off_s: how far its clock is ahead of this replica's, as far as that is certain.
        waitaof: it knows the command.
        facts: what it says of itself.
    """

    run_id: str = ""
    problem: str = ""
    evicts: bool = False
    clock_off_s: float = 0.0
    waitaof: bool = False
    facts: Facts = field(default_factory=Facts)

    @property
    def clock_problem(self) -> str:
        """Says that its clock and this replica's are too far apart; empty when they are not."""
        if abs(self.clock_off_s) * 1000 <= CLOCK_ERROR_MS_MAX:
            return ""
        return (
            f"its clock is {self.clock_off_s:+.3f} s off this replica's; at most {CLOCK_ERROR_MS_MAX} ms are safe "
            "to grant leases and to seed fencing tokens from"
        )


async def check(pipeline: Pipeline, guarantee: Guarantee) -> Condition:
    """Asks a Redis whether it may be used.

    Raises:
        ShardUnavailable, OutcomeUnknown: it does not answer, or is loading its data.
    """
    asked = pipeline.call("INFO")
    clock_off_s = await _clock_off_s(pipeline)
    reply = await asked
    if is_error(reply):
        raise ShardUnavailable(str(reply))
    info = dict(line.split(":", 1) for line in reply.decode(errors="replace").splitlines() if ":" in line)
    if info.get("loading") == "1":
        raise ShardUnavailable("it is loading its data")
    waitaof = _knows_waitaof(info)
    facts = read(info)
    problem = _problem(info, facts, guarantee)
    if not problem and guarantee.fsync:
        problem = await _fsync_problem(pipeline, info, waitaof=waitaof)
    evicts = facts.eviction_policy != "noeviction"
    if evicts and not problem:
        problem = f"maxmemory-policy is {facts.eviction_policy}, which deletes live leases: set it to noeviction"
    return Condition(info.get("run_id", ""), problem, evicts, clock_off_s, waitaof, facts)


async def _clock_off_s(pipeline: Pipeline) -> float:
    """Compares the clocks; what the journey took is not held against the Redis."""
    asked_ns = time.time_ns()
    reply = await pipeline.call("TIME")
    if is_error(reply):
        raise ShardUnavailable(str(reply))
    told_ns = time.time_ns()
    seconds, micros = reply
    theirs_ns = (int(seconds) * 1_000_000 + int(micros)) * 1000
    if theirs_ns < asked_ns:
        return (theirs_ns - asked_ns) / 1e9
    return max(0, theirs_ns - told_ns) / 1e9


def _problem(info: dict[str, str], facts: Facts, guarantee: Guarantee) -> str:
    version = info.get("redis_version", "0")
    if int(version.split(".")[0]) < REDIS_MAJOR_MIN:
        return f"Redis {version} is too old: {REDIS_MAJOR_MIN}.0 or newer is needed"
    if info.get("role") != "master":
        return "it is a replica of another Redis, so it is read-only"
    if facts.replicas < guarantee.replicas:
        wanted = f"answers must be on {guarantee.replicas} ({guarantee.durability})"
        return f"it has {facts.replicas} replicas, and {wanted}"
    return ""


def _knows_waitaof(info: dict[str, str]) -> bool:
    if "valkey_version" in info:
        return True
    major, minor = info.get("redis_version", "0.0").split(".")[:2]
    return (int(major), int(minor)) >= _WAITAOF_SINCE


async def _fsync_problem(pipeline: Pipeline, info: dict[str, str], *, waitaof: bool) -> str:
    if info.get("aof_enabled") != "1":
        return "answers must be on its disk (fsync), and appendonly is no"
    if waitaof:
        return ""
    reply = await pipeline.call("CONFIG", "GET", "appendfsync")
    if is_error(reply):
        return "answers must be on its disk (fsync); it is too old for WAITAOF and does not let appendfsync be read"
    always = b"always" in (reply.values() if isinstance(reply, dict) else reply)
    return "" if always else "answers must be on its disk (fsync): set appendfsync always, or use Redis 7.2 or Valkey"
