"""etcd's v3lock over gRPC, the lock service that comes closest: durable, fair, fenced by revisions.

Its four messages are written by hand, since that spares a second proto file and its generated code.
"""

import asyncio
import shutil
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]  # the stub lacks it

from lockservice_bench.machine import launch, on_core
from lockservice_bench.peers import TTL_S, Peer

_READY_S: Final = 20.0


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3]) + bytes(_VarintBytes(value))
    return bytes([number << 3 | 2]) + bytes(_VarintBytes(len(value))) + value


def _fields(data: bytes) -> dict[int, bytes | int]:
    """Reads a message that has only varints and bytes."""
    found: dict[int, bytes | int] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004  the last byte of a varint
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            found[tag >> 3] = varint()
        else:
            length = varint()
            found[tag >> 3] = data[at : at + length]
            at += length
    return found


async def start(leave: AsyncExitStack, directory: Path, callers: int) -> tuple[Peer, int] | None:
    """Starts a server that writes every change to disk, and a lease for each caller.

    Returns what it is called by, and its process; None: it is not installed.
    """
    program = shutil.which("etcd")
    if program is None:
        return None
    with socket.socket() as free, socket.socket() as other:
        for taken in (free, other):
            taken.bind(("127.0.0.1", 0))
        client, peer = (f"http://127.0.0.1:{taken.getsockname()[1]}" for taken in (free, other))
    urls = ("--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer)
    cluster = ("--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}")
    process = launch(leave, [*on_core(0), program, "--data-dir", str(directory / "etcd"), *urls, *cluster])
    channel = grpc.aio.insecure_channel(client.removeprefix("http://"))
    leave.push_async_callback(channel.close)
    async with asyncio.timeout(_READY_S):
        await channel.channel_ready()
    grant: Any = channel.unary_unary("/etcdserverpb.Lease/LeaseGrant")
    # One long lease a caller, as a worker has one etcd session: a lock and its release are then two calls.
    answers = [await grant(_field(1, TTL_S * 360)) for _ in range(callers)]
    return _peer(channel, [_lease(answer) for answer in answers]), process.pid


def _lease(answer: bytes) -> int:
    lease = _fields(answer)[2]
    assert isinstance(lease, int)
    return lease


def _peer(channel: grpc.aio.Channel, leases: list[int]) -> Peer:
    lock: Any = channel.unary_unary("/v3lockpb.Lock/Lock")
    unlock: Any = channel.unary_unary("/v3lockpb.Lock/Unlock")

    async def acquire(caller: int, name: str) -> bytes:
        answer = await lock(_field(1, name.encode()) + _field(2, leases[caller]))
        key = _fields(answer)[2]
        assert isinstance(key, bytes)
        return key

    async def release(key: bytes) -> None:
        await unlock(_field(1, key))

    return Peer(acquire, release)
