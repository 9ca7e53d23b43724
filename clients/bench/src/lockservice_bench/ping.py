"""How long a round trip to Redis takes from where the servers run. Run as a process with Redis' socket; prints ms."""

import statistics
import subprocess
import sys
import time
from typing import Final

import uvloop
from redis.asyncio import Redis

_TIMES: Final = 3_000


async def _ping(socket: str) -> None:
    async with Redis(unix_socket_path=socket) as redis:
        times = []
        for _ in range(_TIMES):
            started = time.perf_counter()
            await redis.ping()
            times.append(time.perf_counter() - started)
    print(statistics.median(times) * 1e3)  # noqa: T201  the parent reads it


def measure(command: list[str], socket: str) -> float:
    """Runs it behind the words that place it, and returns the median in ms."""
    words = [*command, sys.executable, "-m", "lockservice_bench.ping", socket]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    uvloop.run(_ping(sys.argv[1]))
