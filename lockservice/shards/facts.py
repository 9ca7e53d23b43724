"""What a Redis says of itself in INFO: what operators want to know of it, beyond whether it may be used."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """A Redis server as its INFO shows it.

    Attributes:
        version: which program and which version of it, "valkey 9.1.2"; empty while it is not known.
        eviction_policy: its maxmemory-policy.
        append_only: it keeps a log of what it is told on its disk.
        persistence_problem: what went wrong when it last wrote to its disk, in words; empty: nothing.
        memory_bytes: what its data and buffers take.
        memory_max_bytes: its maxmemory; 0: none.
        evicted_keys: how many keys it has deleted for memory since it started.
        replicas: how many replicas of it are connected and in step.
        clustered: it is a node of a Cluster, so one command may touch keys of one slot only.
    """

    version: str = ""
    eviction_policy: str = ""
    append_only: bool = False
    persistence_problem: str = ""
    memory_bytes: int = 0
    memory_max_bytes: int = 0
    evicted_keys: int = 0
    replicas: int = 0
    clustered: bool = False

    @property
    def memory_ratio(self) -> float:
        """The share of its maxmemory that is in use; 0 when it has none."""
        return self.memory_bytes / self.memory_max_bytes if self.memory_max_bytes else 0.0


def read(info: Mapping[str, str]) -> Facts:
    """Reads the lines of INFO by name."""
    valkey = info.get("valkey_version")
    replicas = [info.get(f"slave{number}", "") for number in range(int(info.get("connected_slaves", 0)))]
    return Facts(
        version=f"valkey {valkey}" if valkey else f"redis {info.get('redis_version', 'unknown')}",
        eviction_policy=info.get("maxmemory_policy", "noeviction"),
        append_only=info.get("aof_enabled") == "1",
        persistence_problem=_persistence_problem(info),
        memory_bytes=int(info.get("used_memory", 0)),
        memory_max_bytes=int(info.get("maxmemory", 0)),
        evicted_keys=int(info.get("evicted_keys", 0)),
        replicas=sum("state=online" in replica for replica in replicas),
        clustered=info.get("cluster_enabled") == "1",
    )


def _persistence_problem(info: Mapping[str, str]) -> str:
    failed = {
        "aof_last_write_status": "writing to its log failed",
        "aof_last_bgrewrite_status": "rewriting its log failed",
        "rdb_last_bgsave_status": "saving a snapshot failed",
    }
    return next((words for name, words in failed.items() if info.get(name, "ok") != "ok"), "")
