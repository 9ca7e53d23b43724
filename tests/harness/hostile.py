"""Abuse from a process of its own: `python -m harness.hostile ABUSE ADDRESS [COUNT]`; says in JSON what it met.

It goes on until its standard input ends, but for abuses that are over by themselves.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from harness.http2 import PREFACE, Connection

# Bytes of a gRPC message's length that is never sent, and a part of it.
_HALF_MESSAGE = b"\0\0\x7f\xff\xff" + b"x" * 16_000
_BURST = 100
_OPENING = 200
_LISTEN_S = 0.5
_SLOW_S = 0.2

Report = dict[str, Any]


async def pings(address: str, count: int) -> Report:
    """Sends pings one after another, without a call."""
    connection = await Connection(address).open()
    for number in range(count):
        connection.ping(number)
        if not await connection.flushed():
            break
        await asyncio.sleep(0)
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


_ABUSES: dict[str, Callable[[str, int], Awaitable[Report]]] = {
    abuse.__name__: abuse for abuse in (pings, resets, streams, half_messages, silent, idle, slow)
}


def main() -> None:
    """Does one abuse."""
    abuse, address, count = sys.argv[1:4]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(asyncio.run(_ABUSES[abuse](address, int(count)))))  # noqa: T201  its purpose


if __name__ == "__main__":
    main()
