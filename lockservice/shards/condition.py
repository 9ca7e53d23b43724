"""Whether a Redis may be used as a shard, and if not, why, in words."""

from dataclasses import dataclass
from typing import NoReturn

from lockservice.errors import ShardMapMismatch, ShardUnavailable
from lockservice.limits import REDIS_MAJOR_MIN
from lockservice.shards.keys import MAP_KEY
from lockservice.shards.pipeline import Pipeline, is_error


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of a shard.

    Attributes:
        run_id: names the Redis process behind it; empty while it is not known.
        problem: why it may not be used; empty when it may.
        other_map: it holds another shard map than this replica's.
        evicts: it deletes keys when its memory is full, which would end live leases.
    """

    run_id: str = ""
    problem: str = ""
    other_map: bool = False
    evicts: bool = False

    def refuse(self, shard: str) -> NoReturn:
        """Raises what a caller of the shard must hear."""
        if self.other_map:
            raise ShardMapMismatch(f"shard {shard}: {self.problem}")
        raise ShardUnavailable(f"shard {shard}: {self.problem or 'not connected'}")


async def check(pipeline: Pipeline, map_names: str) -> Condition:
    """Asks a Redis whether it may be used as a shard of a map.

    Raises:
        ShardUnavailable, OutcomeUnknown: it does not answer, or is loading its data.
    """
    reply = await pipeline.call("INFO")
    if is_error(reply):
        raise ShardUnavailable(str(reply))
    info = dict(line.split(":", 1) for line in reply.decode(errors="replace").splitlines() if ":" in line)
    run_id, policy = info.get("run_id", ""), info.get("maxmemory_policy", "noeviction")
    version = info.get("redis_version", "0")
    if info.get("loading") == "1":
        raise ShardUnavailable("it is loading its data")
    if int(version.split(".")[0]) < REDIS_MAJOR_MIN:
        return Condition(run_id, f"Redis {version} is too old: {REDIS_MAJOR_MIN}.0 or newer is needed")
    if info.get("role") != "master":
        return Condition(run_id, "it is a replica of another Redis, so it is read-only")
    if policy != "noeviction":
        problem = f"maxmemory-policy is {policy}, which deletes live leases: set it to noeviction"
        return Condition(run_id, problem, evicts=True)
    held = await _map_of(pipeline, map_names)
    if held != map_names:
        problem = f"it belongs to the shard map [{held}] and this replica has [{map_names}]"
        return Condition(run_id, problem, other_map=True)
    return Condition(run_id)


async def _map_of(pipeline: Pipeline, map_names: str) -> str:
    reply = await pipeline.call("GET", MAP_KEY)
    if reply is None:
        reply = await pipeline.call("SET", MAP_KEY, map_names, "NX")
        if not is_error(reply):
            reply = await pipeline.call("GET", MAP_KEY)
    if is_error(reply) or reply is None:
        raise ShardUnavailable(f"its shard map cannot be read: {reply}")
    return str(reply.decode(errors="replace"))
