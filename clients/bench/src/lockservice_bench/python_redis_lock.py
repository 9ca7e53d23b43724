"""python-redis-lock, measured with a thread a caller, since it has no asyncio form."""

import json
import os
import statistics
import sys
import threading
import time
from typing import Final

import redis
import redis_lock

from lockservice_bench.rounds import quantile

_TTL_S: Final = 10


def _pairs(socket: str, callers: int, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    began = time.perf_counter()

    def caller(number: int) -> None:
        connection = redis.Redis(unix_socket_path=socket)
        while (asked := time.perf_counter()) < began + seconds:
            lock = redis_lock.Lock(connection, f"bench:{number}", expire=_TTL_S)
            lock.acquire()
            latencies.append(time.perf_counter() - asked)
            lock.release()

    _run(caller, callers)
    taken = time.perf_counter() - began
    return {"operations_s": 2 * len(latencies) / taken, "p50_ms": statistics.median(latencies) * 1e3}


def _hot(socket: str, workers: int, seconds: float) -> dict[str, float]:
    grants, handoffs, waits = [0] * workers, [], []
    released = 0.0
    # What a run before left behind must not hold this one up.
    name = f"bench:hot:{os.getpid()}"
    began = time.perf_counter()

    def worker(number: int) -> None:
        nonlocal released
        connection = redis.Redis(unix_socket_path=socket)
        while (asked := time.perf_counter()) < began + seconds:
            lock = redis_lock.Lock(connection, name, expire=_TTL_S)
            if not lock.acquire(timeout=max(1, round(began + seconds - asked))):
                waits.append(time.perf_counter() - asked)
                return
            now = time.perf_counter()
            waits.append(now - asked)
            grants[number] += 1
            if released:
                handoffs.append(now - released)
            released = time.perf_counter()
            lock.release()

    _run(worker, workers)
    taken = time.perf_counter() - began
    return {
        "handoffs_s": sum(grants) / taken,
        "p50_ms": quantile(handoffs, 0.5) * 1e3,
        "p99_ms": quantile(handoffs, 0.99) * 1e3,
        "share": min(grants) / max(grants),
        "longest_wait_ms": max(waits) * 1e3,
    }


def _run(target: object, count: int) -> None:
    threads = [threading.Thread(target=target, args=(number,)) for number in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    what, path, number, duration = sys.argv[1:]
    measured = {"pairs": _pairs, "hot": _hot}[what](path, int(number), float(duration))
    print(json.dumps(measured))  # noqa: T201  the benchmark reads it
