"""Everything that is measured, in one run: rounds of all peers take turns, so that a machine that drifts is fair."""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from redis.asyncio import Redis

from lockservice_bench import etcd, foreign, handoffs, memory, ping, rounds, shards, waiting
from lockservice_bench.machine import on_core, only, start, start_lockservice, start_redis
from lockservice_bench.peers import Peer, empty, frames, redis_lock, session, unary
from lockservice_bench.rounds import Figures, HotLock
from lockservice_client import Client

CALLERS: Final = (1, 32, 128)
HOT_WORKERS: Final = 64
FRAME_OPERATIONS: Final = 32
_FRAMES_OPEN: Final = 8
# With so many callers it is measured, in each round, how long a round trip to Redis takes.
TRIPS: Final = (1, HOT_WORKERS)
SHARDS: Final = (1, 2, 3, 4)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        rounds: of which medians are taken.
        seconds: of each measurement.
        waiters: acquires that wait in the measurement of memory.
        shards: numbers of slow shards.
        build: where programs in other languages are built; None: they are left out.
    """

    rounds: int
    seconds: float
    waiters: int
    shards: tuple[int, ...]
    build: Path | None


@dataclass
class Found:
    """What was measured.

    Attributes:
        rounds: each with peer, what, callers and its figures.
        single: figures that are taken once, by name.
        missing: peers that could not be measured, and why.
    """

    rounds: list[dict[str, Any]] = field(default_factory=list)
    single: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class Suite:
    """Starts the servers and measures."""

    def __init__(self, extent: Extent, tell: Tell) -> None:
        self._extent = extent
        self._tell = tell
        self._found = Found()
        self._leave = AsyncExitStack()
        self._peers: dict[str, Peer] = {}
        self._foreign: dict[str, foreign.Foreign] = {}
        # The process that serves a peer, if it has one of its own.
        self._servers: dict[str, int] = {}

    async def run(self) -> Found:
        """Measures everything and returns it."""
        async with self._leave:
            self._directory = Path(self._leave.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            await self._start()
            for callers in CALLERS:
                await self._turns("pairs", callers)
            await self._turns("hot", HOT_WORKERS)
            await self._once()
        for count in self._extent.shards:
            self._tell(f"{count} slow shards")
            taken = [await shards.operations_s(count, self._extent.seconds) for _ in range(self._extent.rounds)]
            self._found.rounds += [
                {"peer": "shards", "what": "busy", "callers": count, "operations_s": t} for t in taken
            ]
        return self._found

    async def _start(self) -> None:
        leave = self._leave
        bare = start(leave, "lockservice_bench.empty")
        self._socket = await start_redis(leave, self._directory / "redis")
        running = start_lockservice(leave, self._socket)
        # Its default of 100 connections is less than the callers.
        self._redis = Redis(unix_socket_path=str(self._socket), max_connections=max(CALLERS) + 1)
        leave.push_async_callback(self._redis.aclose)
        self._client = await leave.enter_async_context(Client(running.address))
        self._channel = await leave.enter_async_context(grpc.aio.insecure_channel(running.address))
        empty_channel = await leave.enter_async_context(grpc.aio.insecure_channel(bare.address))
        names = [[f"frame:{lane}:{index}" for index in range(FRAME_OPERATIONS)] for lane in range(_FRAMES_OPEN)]
        self._lanes = await leave.enter_async_context(frames(self._channel, names))
        self._peers = {
            "empty": empty(empty_channel),
            "unary": unary(self._channel),
            "session": session(self._client),
            "redis-py": redis_lock(self._redis),
        }
        self._servers = {"empty": bare.pid, "unary": running.pid, "session": running.pid, "frames": running.pid}
        beside = await etcd.start(leave, self._directory, max(CALLERS))
        if beside is not None:
            self._peers["etcd"], self._servers["etcd"] = beside
        else:
            self._found.missing.append("etcd: not installed (Debian's package etcd-server)")
        if self._extent.build is not None:
            self._foreign, missing = await asyncio.to_thread(foreign.build, self._extent.build)
            self._found.missing += missing

    async def _turns(self, what: str, callers: int) -> None:
        seconds = self._extent.seconds
        for number in range(-1, self._extent.rounds):
            self._tell(f"{what}, {callers} callers, round {max(number, 0) + 1}")
            for name, peer in self._peers.items():
                if what == "hot" and name in {"empty", "unary"}:
                    continue
                await self._alone(name)
                # The first only warms up.
                figures = await self._measure(peer, what, callers, seconds if number >= 0 else seconds / 4)
                self._keep(number, name, what, callers, figures)
            await self._alone("redis")
            if number >= 0:
                for name, program in self._foreign.items():
                    figures = await asyncio.to_thread(program.measure, what, self._socket, callers, seconds)
                    self._keep(number, name, what, callers, figures)
            if callers in TRIPS and number >= 0:
                trip_ms = await asyncio.to_thread(ping.measure, on_core(0), str(self._socket))
                self._keep(number, "redis", "trip", callers, {"p50_ms": trip_ms})
            if what == "pairs" and callers == FRAME_OPERATIONS:
                await self._alone("frames")
                self._keep(number, "frames", "frames", callers, await rounds.frames(self._lanes, seconds))

    async def _alone(self, name: str) -> None:
        """Has the servers stand still that a peer is not called at; Redis is common to all."""
        await only(set(self._servers.values()), self._servers.get(name))

    async def _measure(self, peer: Peer, what: str, callers: int, seconds: float) -> Figures:
        if what == "pairs":
            return await rounds.pairs(peer, callers, seconds)
        return await HotLock(peer, callers).run(seconds)

    def _keep(self, number: int, peer: str, what: str, callers: int, figures: Figures) -> None:
        if number >= 0:
            self._found.rounds.append({"peer": peer, "what": what, "callers": callers, **figures})

    async def _once(self) -> None:
        single = self._found.single
        await self._alone("session")
        self._tell("commands of a hand-off, memory")
        single["commands_a_handoff"] = await handoffs.commands(self._client, self._redis)
        # A replica and a Redis of its own each: what one has freed another measurement would not see again.
        async with AsyncExitStack() as leave:
            socket = await start_redis(leave, self._directory / "remembered")
            channel = grpc.aio.insecure_channel(start_lockservice(leave, socket).address)
            await leave.enter_async_context(channel)
            redis = await leave.enter_async_context(Redis(unix_socket_path=str(socket)))
            single |= await memory.remembered(channel, redis, self._extent.waiters)
        for how in ("unary", "session"):
            async with AsyncExitStack() as leave:
                fresh = start_lockservice(leave, await start_redis(leave, self._directory / how))
                figures = await waiting.measure(fresh, how, self._extent.waiters)
            single |= {f"waiting_{how}_{name}": value for name, value in figures.items()}
