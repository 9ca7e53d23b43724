"""Prints one line of the figures that `clients/scenarios.md` names."""
# ruff: noqa: INP001, T201  a program of its own, which prints

import asyncio
import itertools
import json
import os
import statistics
import time
from typing import Final

import grpc
import uvloop

from lockservice_client import Client
from lockservice_client._stubs import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc

ADDRESS: Final = os.environ.get("LOCKSERVICE_ADDR", "127.0.0.1:50051")
CALLERS: Final = 128
WARM_S, RUN_S = 1.0, 3.0
TURN, TURNS = 200, 5
LEASES, TTL_S, KEPT_S = 1_000, 10.0, 20.0


async def pairs(client: Client) -> float:
    """Returns acquires and releases a second of all callers, each with a resource of its own."""
    count, counting, ends = 0, time.monotonic() + WARM_S, time.monotonic() + WARM_S + RUN_S

    async def call(number: int) -> None:
        nonlocal count
        while (now := time.monotonic()) < ends:
            answer = await client.acquire(f"bench-python:{number}", ttl=30)
            assert answer.grant is not None
            await client.release(answer.grant.resource, answer.grant.lease_id)
            count += now >= counting

    await asyncio.gather(*(call(number) for number in range(CALLERS)))
    return count / RUN_S


async def latencies(client: Client) -> tuple[float, float]:
    """Returns the medians in ms of an acquire of the client, and of the stub's, in turns."""
    own, stubs = [], []
    numbers = itertools.count()
    async with grpc.aio.insecure_channel(ADDRESS) as channel:
        stub = pb_grpc.LockServiceStub(channel)
        for _ in range(TURNS):
            for _ in range(TURN):
                name = f"bench-python-own:{os.getpid()}:{next(numbers)}"
                began = time.perf_counter()
                await client.acquire(name, ttl=1)
                own.append(time.perf_counter() - began)
            for _ in range(TURN):
                request = pb.AcquireRequest(
                    resource=f"bench-python-stub:{os.getpid()}:{next(numbers)}", owner="bench"
                )
                request.ttl.FromSeconds(1)
                began = time.perf_counter()
                await stub.Acquire(request)
                stubs.append(time.perf_counter() - began)
    return statistics.median(own) * 1e3, statistics.median(stubs) * 1e3


async def renewing(client: Client) -> float:
    """Returns the per cent of a core that it takes to keep leases alive."""
    enough = asyncio.Event()
    held = asyncio.Semaphore(0)

    async def hold(number: int) -> None:
        async with client.lock(f"bench-python-kept:{os.getpid()}:{number}", ttl=TTL_S):
            held.release()
            await enough.wait()

    tasks = [asyncio.create_task(hold(number)) for number in range(LEASES)]
    for _ in range(LEASES):
        await held.acquire()
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(KEPT_S)
    percent = 100 * (time.process_time() - used) / (time.monotonic() - began)
    enough.set()
    await asyncio.gather(*tasks)
    return percent


async def main() -> None:
    """Measures one after another."""
    async with Client(ADDRESS) as client:
        pairs_per_s = await pairs(client)
        p50_ms, stub_p50_ms = await latencies(client)
        percent = await renewing(client)
    figures = {"pairs_per_s": pairs_per_s, "p50_ms": p50_ms, "stub_p50_ms": stub_p50_ms}
    print(json.dumps({"client": "python", **figures, "renewing_cpu_percent": percent}))


uvloop.run(main())
