"""Abuse from a process of its own: `python -m harness.hostile ABUSE ADDRESS [COUNT]`; says in JSON what it met.

It goes on until its standard input ends, but for abuses that are over by themselves.
"""

import asyncio
import itertools
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from harness.http2 import PREFACE, Connection
from lockservice import limits
from lockservice.v1 import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc

# Bytes of a gRPC message's length that is never sent, and a part of it.
_HALF_MESSAGE = b"\0\0\x7f\xff\xff" + b"x" * 16_000
_BURST = 100
_OPENING = 200
_LISTEN_S = 0.5
_SLOW_S = 0.2
# Short, so that what a flood holds goes by itself.
_TTL = Duration(seconds=1)

Report = dict[str, Any]


async def pings(address: str, count: int) -> Report:
    """Sends pings one after another, without a call.

    Each waits for its answer: a server that closes a connection from which it has not read everything resets it, and
    what it said before is lost.
    """
    connection = await Connection(address).open()
    for number in range(count):
        connection.ping(number)
        if not await connection.pong(number):
            break
    await asyncio.wait_for(connection.closed.wait(), 10)
    return {"goaway": connection.goaway}


async def resets(address: str, count: int) -> Report:
    """Begins calls and takes each back at once."""
    connection = await Connection(address).open()
    sent = 0
    for number in range(count):
        connection.begin(number)
        connection.reset(number)
        sent += 1
        if number % _BURST == 0 and not await connection.flushed():
            break
    await connection.flushed()
    await asyncio.sleep(_LISTEN_S)
    return {"sent": sent, "goaway": connection.goaway, "seen": dict(connection.seen)}


async def streams(address: str, count: int) -> Report:
    """Begins calls that never say what they want, all on one connection, and keeps them."""
    connection = await Connection(address).open()
    for number in range(count):
        connection.begin(number)
        if number % _BURST == 0 and not await connection.flushed():
            break
    return await _keep([connection])


async def half_messages(address: str, count: int) -> Report:
    """Sends the beginnings of long messages on many calls of one connection, and keeps them."""
    connection = await Connection(address).open()
    for number in range(count):
        connection.begin(number)
        connection.say(number, _HALF_MESSAGE)
    return await _keep([connection])


async def silent(address: str, count: int) -> Report:
    """Opens connections that say nothing at all."""
    return await _keep(await _open(address, count, polite=False))


async def idle(address: str, count: int) -> Report:
    """Opens connections that greet as they must, and then call nothing."""
    return await _keep(await _open(address, count))


async def slow(address: str, count: int) -> Report:
    """Opens connections that greet a byte at a time, with pauses."""
    connections = await _open(address, count, polite=False)
    told = asyncio.create_task(_told_to_end())
    for byte in PREFACE:
        for connection in connections:
            connection.write(bytes([byte]))
        await asyncio.wait([told], timeout=_SLOW_S)
    return await _keep(connections, told)


async def calls(address: str, count: int) -> Report:
    """Acquires ever new names, so many callers at once, and again at every answer."""
    return await _call(address, count, 0, lambda number, turn: f"flood:{number}:{turn}")


async def waits(address: str, count: int) -> Report:
    """Waits for one name, so many callers at once, and again at every answer."""
    return await _call(address, count, 30, lambda _number, _turn: "flood")


async def _call(address: str, count: int, wait_s: int, name: Callable[[int, int], str]) -> Report:
    seen: Counter[str] = Counter()

    async def caller(locks: pb_grpc.LockServiceStub, number: int) -> None:
        for turn in itertools.count():
            request = pb.AcquireRequest(resource=name(number, turn), owner="flood", ttl=_TTL)
            request.wait_timeout.FromSeconds(wait_s)
            try:
                await locks.Acquire(request, metadata=_metadata())
                seen["OK"] += 1
            except grpc.aio.AioRpcError as error:
                seen[error.code().name] += 1

    await _at_once(address, count, caller)
    return {"seen": dict(seen)}


async def _at_once(address: str, count: int, work: Callable[[pb_grpc.LockServiceStub, int], Awaitable[None]]) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        locks = pb_grpc.LockServiceStub(channel)
        tasks = [asyncio.ensure_future(work(locks, number)) for number in range(count)]
        print(json.dumps({"opened": count}), flush=True)  # noqa: T201  the test waits for it
        await _told_to_end()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def frames(address: str, count: int) -> Report:
    """Sends messages of a thousand operations on so many streams, each again when it is answered."""
    results: Counter[str] = Counter()

    async def stream(locks: pb_grpc.LockServiceStub, number: int) -> None:
        request = pb.SessionRequest()
        for id_ in range(limits.FRAME_OPERATIONS_MAX):
            request.operations.add(id=id_).acquire.MergeFrom(
                pb.AcquireRequest(resource=f"flood:{number}:{id_}", owner="flood", ttl=_TTL)
            )
        session = locks.Session(metadata=_metadata())
        while True:
            await session.write(request)
            answered = 0
            while answered < limits.FRAME_OPERATIONS_MAX:
                frame = await session.read()
                answered += len(frame.results)
                results["results"] += len(frame.results)

    await _at_once(address, count, stream)
    return {"seen": dict(results)}


def _metadata() -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {os.environ['TOKEN']}"),)


async def _open(address: str, count: int, *, polite: bool = True) -> list[Connection]:
    connections: list[Connection] = []
    for start in range(0, count, _OPENING):
        some = (Connection(address).open(polite=polite) for _ in range(min(_OPENING, count - start)))
        connections += await asyncio.gather(*some)
    return connections


async def _keep(connections: list[Connection], told: "asyncio.Task[None] | None" = None) -> Report:
    print(json.dumps({"opened": len(connections)}), flush=True)  # noqa: T201  the test waits for it
    await (told or _told_to_end())
    closed = sum(connection.closed.is_set() for connection in connections)
    seen = sum((connection.seen for connection in connections), start=type(connections[0].seen)())
    return {"closed": closed, "goaway": connections[0].goaway, "seen": dict(seen)}


async def _told_to_end() -> None:
    await asyncio.to_thread(sys.stdin.read)


_RAW = (pings, resets, streams, half_messages, silent, idle, slow)
_ABUSES: dict[str, Callable[[str, int], Awaitable[Report]]] = {
    abuse.__name__: abuse for abuse in (*_RAW, calls, waits, frames)
}


def main() -> None:
    """Does one abuse."""
    abuse, address, count = sys.argv[1:4]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(asyncio.run(_ABUSES[abuse](address, int(count)))))  # noqa: T201  its purpose


if __name__ == "__main__":
    main()
