"""What more shards bring when Redis is what is short."""

import itertools
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import grpc

from lockservice.shards.keys import place
from lockservice.shards.map_record import assign
from lockservice_bench import rounds
from lockservice_bench.machine import anywhere, start_lockservice, start_redis
from lockservice_bench.peers import frames

# Enough that every shard always has work waiting.
_LANES: Final = 32
_OPERATIONS: Final = 8


async def operations_s(shards: int, seconds: float) -> float:
    """Returns the operations a second of the service on so many slow shards, none of which is kept on a core."""
    async with AsyncExitStack() as leave:
        directory = Path(leave.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        sockets = [await start_redis(leave, directory / str(n), where=anywhere()) for n in range(shards)]
        # A round of so many slow scripts takes longer than the timeout that is right for quick ones.
        flags = ("--redis-timeout", "5s")
        running = start_lockservice(leave, *sockets, module="lockservice_bench.busy", flags=flags, where=anywhere())
        channel = await leave.enter_async_context(grpc.aio.insecure_channel(running.address))
        lanes = await leave.enter_async_context(frames(channel, _names(shards)))
        await rounds.frames(lanes, seconds / 4)
        return (await rounds.frames(lanes, seconds))["operations_s"]


def _names(shards: int) -> list[list[str]]:
    """Deals the shards evenly to every Session: so many names are as even by themselves only in the long run."""
    assigned = assign(frozenset(f"s{number}" for number in range(1, shards + 1)))
    numbers = itertools.count()
    by_shard: dict[str, list[str]] = {shard: [] for shard in assigned}
    while min(map(len, by_shard.values())) < _LANES * _OPERATIONS // shards + 1:
        name = f"frame:{next(numbers)}"
        by_shard[assigned[place("", name).bucket]].append(name)
    dealt = [name for names in zip(*by_shard.values(), strict=False) for name in names]
    return [dealt[lane * _OPERATIONS : (lane + 1) * _OPERATIONS] for lane in range(_LANES)]
