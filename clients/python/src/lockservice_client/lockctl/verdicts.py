"""What to think of what the replicas tell of themselves and of the shards. Nothing here asks anybody."""

from collections.abc import Sequence
from typing import Final

from lockservice_client.lockctl.finding import Finding, fail, ok, warn
from lockservice_client.values import Overview, RedisServer, Shard

# Over this, the lock latency asks for more shards.
SLOW_S: Final = 0.010
# Of fewer calls, the slowest says nothing of the others.
_CALLS_MIN: Final = 100
# A shard grants nothing when it is 0.5 s off.
_CLOCK_OFF_S_MAX: Final = 0.1
_MEMORY_SHARE_WARN: Final = 0.8
_MEMORY_SHARE_FAIL: Final = 0.95
_MIB: Final = 2**20
_ADVICE: Final = {
    "clock": "mend time synchronisation on that machine: until then it grants nothing, since tokens might repeat",
    "maxmemory-policy": "CONFIG SET maxmemory-policy noeviction there, and set it in its redis.conf",
    "shard map": "give every replica the names of all shards; after `lockservice reshard` the new ones",
    "too old": "run Redis 7.0 or newer, or Valkey",
    "read-only": "name the primary, or all Sentinels of the group, in the shard's URL",
    "replicas": "start the replicas that --durability asks for, or ask for fewer",
    "fsync": "set appendonly yes there, or give the shard another --durability",
    "loading": "wait until it has read its log",
    "password": "check user and password in the shard's URL against the server's ACL (deploy/redis/acl.conf)",
    "NOPERM": "give the user the rights of deploy/redis/acl.conf",
    "WRONGPASS": "check user and password in the shard's URL against the server's ACL (deploy/redis/acl.conf)",
}
_ELSE: Final = "see that the shard's Redis runs and can be reached from the replica; the replica's log has more"


def of_versions(client: str, overviews: Sequence[Overview]) -> list[Finding]:
    """Compares the versions of this client and of all replicas."""
    known = sorted({overview.server_version or "too old to say" for overview in overviews})
    if len(known) > 1:
        advice = "finish the roll-out, or take it back: replicas of two versions are for the time of a roll-out only"
        return [warn("version", f"the replicas run {', '.join(known)}", advice)]
    found = f"lockctl {client}, server {known[0]}"
    if client.split(".")[:2] != known[0].split(".")[:2]:
        return [warn("version", found, "install the lockservice-client of the server's version")]
    return [ok("version", found)]


def of_maps(overviews: Sequence[Overview]) -> list[Finding]:
    """Compares the shard maps that the replicas follow."""
    maps = {(view.map_epoch, tuple(sorted(shard.name for shard in view.shards))) for view in overviews}
    if len(maps) > 1:
        texts = "; ".join(f"{' '.join(names)} (change {epoch})" for epoch, names in sorted(maps))
        advice = "during `lockservice reshard` this lasts a second; else give every replica the same --shard names"
        return [fail("shard map", f"the replicas differ: {texts}", advice)]
    ((epoch, names),) = maps
    replicas = len({view.replica for view in overviews})
    if not epoch:
        return [fail("shard map", f"no shard has told its map yet: {' '.join(names)}", _ELSE)]
    who = "1 replica" if replicas == 1 else f"{replicas} replicas agree"
    return [ok("shard map", f"{' '.join(names)} (change {epoch}), {who}")]


def of_shard(shard: Shard) -> list[Finding]:
    """Judges a shard: whether it can be used, how fast it answers, what its answers are worth, and its servers."""
    servers = [finding for server in shard.servers if not server.problem for finding in of_server(shard, server)]
    return [_usable(shard), *servers]


def _usable(shard: Shard) -> Finding:
    name = f"shard {shard.name}"
    worth = f"{shard.durability}, {shard.exclusion}"
    if not shard.healthy:
        advice = next((advice for word, advice in _ADVICE.items() if word in shard.problem), _ELSE)
        return fail(name, f"{shard.address}: {shard.problem}", advice)
    if shard.calls < _CALLS_MIN:
        return ok(name, f"{shard.address} up, {worth}, {shard.calls} calls, too few to tell how long they take")
    found = f"{shard.address} up, {worth}, p50 {shard.latency_p50 * 1e3:.2f} ms, p99 {shard.latency_p99 * 1e3:.2f} ms"
    if shard.latency_p99 > SLOW_S:
        advice = "see LockserviceShardSlow in the runbook: `lockservice reshard` when the server itself is busy"
        return warn(name, f"{found}: p99 is over 10 ms", advice)
    return ok(name, found)


def of_server(shard: Shard, server: RedisServer) -> list[Finding]:
    """Judges a Redis: its clock, its memory, what it does when that is full, its disk, and its replicas."""
    name = f"redis {shard.name}"
    about = f"{server.version} at {server.address}"
    found = [*_memory(name, about, server), *_disk(name, about, server), *_replicas(name, about, shard, server)]
    if abs(server.clock_offset) > _CLOCK_OFF_S_MAX:
        clock = f"{about}: its clock is {server.clock_offset:+.3f} s off the replica's"
        found.append(warn(name, clock, "mend time synchronisation: beyond 0.5 s it grants nothing"))
    if server.eviction_policy != "noeviction":
        found.append(fail(name, f"{about}: maxmemory-policy {server.eviction_policy}", _ADVICE["maxmemory-policy"]))
    if found:
        return found
    bound = f"of {server.memory_max_bytes / _MIB:.0f} " if server.memory_max_bytes else ""
    memory = f"{server.memory_bytes / _MIB:.1f} {bound}MiB"
    return [ok(name, f"{about}: {memory}, noeviction, append-only log, {server.replicas} replicas, clock in step")]


def _memory(name: str, about: str, server: RedisServer) -> list[Finding]:
    if not server.memory_max_bytes:
        if server.address.startswith("/"):
            return []  # A socket of the replica's own machine is for trying it out.
        advice = "set maxmemory (deploy/redis/redis.conf): without it the kernel ends the server when memory is short"
        return [warn(name, f"{about}: no maxmemory", advice)]
    share = server.memory_bytes / server.memory_max_bytes
    found = f"{about}: {share:.0%} of {server.memory_max_bytes / _MIB:.0f} MiB used"
    advice = "raise maxmemory, or spread the events over more shards: `lockservice reshard`; see the sizing page"
    if share >= _MEMORY_SHARE_FAIL:
        return [fail(name, f"{found}: acquire and dedupe are refused when it is full", advice)]
    return [warn(name, found, advice)] if share >= _MEMORY_SHARE_WARN else []


def _disk(name: str, about: str, server: RedisServer) -> list[Finding]:
    if server.persistence_problem:
        advice = "see its disk and its log: Redis refuses all writes while it cannot save"
        return [fail(name, f"{about}: {server.persistence_problem}", advice)]
    if not server.append_only:
        advice = (
            "set appendonly yes (deploy/redis/redis.conf); tokens still rise, and stores that compare them are safe"
        )
        return [warn(name, f"{about}: no append-only log, a restart forgets all leases and events", advice)]
    return []


def _replicas(name: str, about: str, shard: Shard, server: RedisServer) -> list[Finding]:
    kind, _, count = shard.durability.partition("=")
    if kind == "replicas" and server.replicas == int(count or 1):
        advice = "run one replica more than the durability asks for"
        return [warn(name, f"{about}: losing one of its {server.replicas} replicas stops the shard", advice)]
    return []
