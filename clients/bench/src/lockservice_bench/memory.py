"""What remembering costs in Redis, and how a process is looked at."""

import asyncio
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from redis.asyncio import Redis

from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client._stubs.lockservice_pb2_grpc import LockServiceStub

_AT_ONCE: Final = 500


def rss_bytes(pid: int) -> int:
    """Returns the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_s(pid: int) -> float:
    """Returns the processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def _used(redis: Redis) -> int:
    """Returns what it holds, without what passes through it."""
    memory = await redis.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_aof_buffer"]) - int(memory["mem_clients_normal"])


async def remembered(channel: grpc.aio.Channel, redis: Redis, count: int) -> dict[str, float]:
    """Returns bytes of the only shard for a held lease and for a remembered event, of so many each."""
    stub = LockServiceStub(channel)

    async def lease(number: int) -> None:
        await stub.Acquire(
            pb.AcquireRequest(
                resource=f"order:{number}", owner="worker-1", request_id=f"{number:032}", ttl=Duration(seconds=600)
            )
        )

    async def event(number: int) -> None:
        await stub.Dedupe(pb.DedupeRequest(key=f"shopify:webhook:{number:032}"))

    found = {}
    for name, make in (("bytes_a_lease", lease), ("bytes_an_event", event)):
        before = await _used(redis)
        for start in range(0, count, _AT_ONCE):
            await asyncio.gather(*(make(number) for number in range(start, min(start + _AT_ONCE, count))))
        found[name] = (await _used(redis) - before) / count
    return found
