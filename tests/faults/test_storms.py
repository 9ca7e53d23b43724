"""Faults under load: whatever breaks, what callers saw is judged by every checker that the level promises.

Each storm lasts FAULT_SECONDS (2 by default, 20 with `make test-faults`) on both sides of its fault; some of them
break out with `make test-faults` only.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import checkers
from harness.groups import Cluster, SentinelGroup
from harness.history import Operation
from harness.linearizability import not_linearizable
from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from harness.service import until
from harness.storm import Storm

SECONDS = float(os.environ.get("FAULT_SECONDS", "2"))
# A storm that a fault has calmed proves nothing.
GRANTS_A_SECOND = 50
LOADING_S = 3

pytestmark = pytest.mark.timeout(120 + 6 * SECONDS)

LONG = partial(pytest.param, marks=pytest.mark.long)
Fault = Callable[[Any], Awaitable[None]]


def judge(history: list[Operation], *, exclusive: bool = False, dedupe: bool = True) -> None:
    """Has a history judged; exclusive: no two holders; dedupe: no event was lost with a shard's data."""
    assert (
        checkers.too_little_traffic(
            history, operations_min=round(2 * SECONDS * GRANTS_A_SECOND), per_second_min=GRANTS_A_SECOND
        )
        == []
    )
    judges = [checkers.repeated_tokens, checkers.falling_tokens]
    judges += [checkers.overlapping_holders] if exclusive else []
    judges += [checkers.wrong_firsts] if dedupe else []
    for each in judges:
        assert each(history) == [], each.__name__
    assert not_linearizable(history, exclusive=exclusive) == []


@asynccontextmanager
async def replicas(count: int, urls: list[str], *flags: str) -> AsyncIterator[list[ServiceProcess]]:
    """Starts so many replicas, each a process."""
    async with AsyncExitStack() as leave:
        yield [await leave.enter_async_context(ServiceProcess(urls, *flags)) for _ in range(count)]


async def storm_over(services: list[ServiceProcess], fault: Callable[[], Awaitable[None]]) -> list[Operation]:
    """Lets a fault happen in the middle of a storm, and returns what callers saw."""
    async with Storm(services) as storm:
        await asyncio.sleep(SECONDS)
        await fault()
        await storm.goes_on()
        await asyncio.sleep(SECONDS)
        await storm.goes_on()
    return storm.history()


@pytest.fixture
def pair() -> Iterator[list[RedisServer]]:
    """Two shards, with a log that is written at once."""
    made = [RedisServer("redis", appendonly="yes", appendfsync="always") for _ in range(2)]
    yield made
    for server in made:
        server.remove()


async def restart(server: RedisServer) -> None:
    """SIGKILL, and back with all that was acknowledged."""
    server.stop()
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server.start)


async def load_slowly(server: RedisServer) -> None:
    """Back after a kill, and busy with its log for a while: LOADING."""
    server.stop()
    server.start(answering=False, key_load_delay="1000", loading_process_events_interval_bytes="1024")
    with redis.Redis(unix_socket_path=str(server.socket), retry=Retry(NoBackoff(), 0)) as connection:

        def refuses() -> bool:
            try:
                connection.get("ls:{b0}:map")
            except redis.BusyLoadingError:
                return True
            except redis.ConnectionError:
                return False
            raise AssertionError("it has loaded already")

        await until(refuses, "it loads")
        # However long its log is by now.
        await asyncio.sleep(LOADING_S)
        assert refuses()
        connection.config_set("key-load-delay", "0")

        def answers() -> bool:
            try:
                return bool(connection.ping())
            except redis.RedisError:
                return False

        await until(answers, "it has loaded", within=30)


async def wipe(server: RedisServer) -> None:
    """Everything is gone."""
    server.stop()
    for path in server.directory.rglob("*"):
        if path.is_file():
            path.unlink()
    await asyncio.to_thread(server.start)


async def roll_back(server: RedisServer) -> None:
    """The last second is gone, as after a loss of power."""
    saved = {path: path.read_bytes() for path in server.directory.rglob("*") if path.is_file()}
    await asyncio.sleep(1)
    server.stop()
    for path, content in saved.items():
        path.write_bytes(content)
    await asyncio.to_thread(server.start)


async def freeze(server: RedisServer) -> None:
    """SIGSTOP for longer than a lease."""
    server.signal(signal.SIGSTOP)
    await asyncio.sleep(1.5)
    server.signal(signal.SIGCONT)


async def forget_scripts(server: RedisServer) -> None:
    """SCRIPT FLUSH, again and again."""
    with server.connect() as connection:
        for _ in range(20):
            connection.script_flush()
            await asyncio.sleep(0.05)


async def block(server: RedisServer) -> None:
    """A foreign script that takes a second: BUSY."""
    with server.connect() as connection:
        connection.config_set("busy-reply-threshold", 200)
        script = "local t=redis.call('TIME')[1] repeat until redis.call('TIME')[1]-t>=2"
        await asyncio.to_thread(connection.eval, script, 0)


async def fill(server: RedisServer) -> None:
    """No memory for a while: OOM."""
    with server.connect() as connection:
        connection.config_set("maxmemory", "1mb")
        await asyncio.sleep(1)
        connection.config_set("maxmemory", "0")


async def cut_connections(server: RedisServer) -> None:
    """Every connection breaks, with replies on their way and with the messages that wake waiters."""
    with server.connect() as connection:
        for _ in range(10):
            connection.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            connection.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.1)


async def slow_down(server: RedisServer) -> None:
    """Every tenth of a second it stops for half of that."""
    with server.connect() as connection:
        until_s = time.monotonic() + 2
        while time.monotonic() < until_s:
            await asyncio.to_thread(connection.execute_command, "DEBUG", "SLEEP", "0.05")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "fault",
    [
        restart,
        cut_connections,
        *(LONG(fault) for fault in (load_slowly, freeze, forget_scripts, block, fill, slow_down)),
    ],
)
async def test_a_shard_that_keeps_its_data(pair: list[RedisServer], fault: Fault) -> None:
    """Nothing is lost, so nobody is granted what another holds, and no event is FIRST twice."""
    async with replicas(2, [server.url for server in pair]) as services:
        history = await storm_over(services, lambda: fault(pair[0]))

    judge(history, exclusive=True)


@pytest.mark.parametrize("fault", [roll_back, LONG(wipe)])
async def test_a_shard_that_loses_data(pair: list[RedisServer], fault: Fault) -> None:
    """Leases and events of the loss are gone; no token is repeated or goes back."""
    async with replicas(2, [server.url for server in pair]) as services:
        history = await storm_over(services, lambda: fault(pair[0]))

    judge(history, dedupe=False)


@pytest.mark.parametrize("number", [LONG(signal.SIGKILL), signal.SIGSTOP, LONG(signal.SIGTERM)])
async def test_a_replica_goes(pair: list[RedisServer], number: signal.Signals) -> None:
    """One of three replicas is killed, frozen or drained, with holders and waiters: the others serve them."""
    async with replicas(3, [server.url for server in pair]) as services:

        async def fault() -> None:
            services[0].signal(number)
            await asyncio.sleep(2.5)
            if number == signal.SIGSTOP:
                services[0].signal(signal.SIGCONT)

        history = await storm_over(services, fault)

    judge(history, exclusive=True)


@pytest.mark.parametrize(
    ("fault", "durability"),
    [
        ("kill", "replicas=1"),
        *(LONG(fault, "primary") for fault in ("kill", "freeze", "bare switch", "paused switch")),
        *(LONG(fault, "replicas=1") for fault in ("freeze", "bare switch", "paused switch")),
    ],
)
async def test_a_sentinel_group(fault: str, durability: str) -> None:
    """A failover, planned or not: no token is repeated or goes back; with replicas nothing answered is lost."""
    with SentinelGroup() as group:
        async with replicas(2, [group.url], "--durability", durability) as services:

            async def happen() -> None:
                old = group.current()
                if fault == "kill":
                    old.stop()
                elif fault == "freeze":
                    old.signal(signal.SIGSTOP)
                else:
                    with old.connect() as primary, group.sentinels[0].connect() as sentinel:
                        if fault == "paused switch":
                            primary.execute_command("CLIENT", "PAUSE", "15000", "WRITE")
                        sentinel.execute_command("SENTINEL", "FAILOVER", group.NAME)
                await until(lambda: group.current() is not old, "there is another", within=15)
                if fault == "freeze":
                    await asyncio.sleep(1)
                    old.signal(signal.SIGCONT)

            history = await storm_over(services, happen)

    # What a bare switch loses is said in the operators' page.
    judge(history, dedupe=durability != "primary" and fault != "bare switch")


@pytest.mark.parametrize("number", [signal.SIGKILL, LONG(signal.SIGSTOP)])
async def test_a_cluster(number: signal.Signals) -> None:
    """A primary of a Cluster is lost: no token is repeated or goes back."""
    with Cluster(node_timeout_ms=1_000) as cluster:
        async with replicas(2, [cluster.url]) as services:

            async def happen() -> None:
                old = cluster.primaries()[0]
                old.signal(number)
                await asyncio.sleep(4)
                if number == signal.SIGSTOP:
                    old.signal(signal.SIGCONT)

            history = await storm_over(services, happen)

    judge(history, dedupe=False)
