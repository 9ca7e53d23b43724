"""Whoever abuses the gRPC port is cut off or bounded, and the others go on working meanwhile."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from harness.abuse import Abuse, Neighbour, Seen
from harness.http2 import Connection
from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from harness.service import Service, until
from lockservice import limits
from lockservice.rpc import transport
from lockservice.v1 import lockservice_pb2 as pb

# A pod of the shipped manifests has 512 MiB.
MEMORY_MB = 512
# Ten thousand frames take the server a second or so to look at, on a slow machine; nobody waits longer than this.
SLOWEST_S = 5.0
CONNECTIONS = 10_000
FILES_FEW = 256
# The abuse takes processor time from Redis too, on a machine of two cores; that is no shard that is down.
PATIENT = ("--redis-timeout", "5s")


@pytest.fixture(scope="module")
def shard() -> Iterator[str]:
    """One shard: what the gRPC port does is the same on every Redis."""
    server = RedisServer("valkey")
    yield server.url
    server.remove()


@pytest.fixture
async def process(shard: str) -> AsyncIterator[ServiceProcess]:
    """A replica as a process of its own."""
    async with ServiceProcess([shard], *PATIENT) as running:
        yield running


def address(process: ServiceProcess) -> str:
    return str(process.ready["grpc"])


async def test_a_connection_that_pings_without_end_is_ended(process: ServiceProcess) -> None:
    """GOAWAY with too_many_pings."""
    abuse = Abuse("pings", address(process), 1_000, ends=True)
    async with Neighbour(address(process)) as neighbour, abuse:
        pass

    assert abuse.report["goaway"] == "too_many_pings"
    assert max(neighbour.latencies) < SLOWEST_S


async def test_calls_that_are_taken_back_at_once_cost_no_memory_for_ever(process: ServiceProcess) -> None:
    """Rapid reset, 10,000 to a connection, again and again: memory has a bound, others are answered."""
    server = Seen(process.process.pid)
    most = 0.0
    async with Neighbour(address(process)) as neighbour:
        for _ in range(3):
            async with Abuse("resets", address(process), 10_000, ends=True) as abuse:
                pass
            most = max(most, server.megabytes)
            assert abuse.report["sent"] == 10_000 or abuse.report["goaway"]

    assert most < MEMORY_MB
    assert max(neighbour.latencies) < SLOWEST_S


async def test_a_connection_has_only_so_many_calls_open(process: ServiceProcess) -> None:
    """Those beyond are refused at once, and memory has a bound; others are answered."""
    flood = 3 * limits.CALLS_A_CONNECTION
    server = Seen(process.process.pid)
    async with Abuse("streams", address(process), flood) as abuse, Neighbour(address(process)) as neighbour:
        await until(lambda: len(neighbour.latencies) > 20, "others are answered", within=30)
        most = server.megabytes

    assert abuse.report["seen"]["RstStreamFrame"] == flood - limits.CALLS_A_CONNECTION
    assert most < MEMORY_MB
    assert max(neighbour.latencies) < SLOWEST_S


async def is_full(process: ServiceProcess) -> bool:
    """Says whether one call more is refused."""
    try:
        await process.locks.Acquire(pb.AcquireRequest(resource="r", owner="o"))
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return False


async def test_a_replica_has_only_so_many_calls_open(shard: str) -> None:
    """A flood over many connections is refused before a message is read, and forgotten when its connections end."""
    open_max = 100 + limits.RUNNING_CALLS_MAX
    async with ServiceProcess([shard], "--waiters-per-replica", "100", *PATIENT) as process:
        server = Seen(process.process.pid)
        first, second = (Abuse("streams", address(process), open_max * 2 // 3) for _ in range(2))
        async with first, second:
            # They have sent what they ask, which the service may not have read yet.
            await until(lambda: is_full(process), "another call is refused", within=30)
            most = server.megabytes

        assert most < MEMORY_MB
        assert first.report["seen"].get("RstStreamFrame", 0) + second.report["seen"].get("RstStreamFrame", 0) > 0
        async with Neighbour(address(process)) as neighbour:
            await until(lambda: len(neighbour.latencies) > 20, "others are answered", within=30)


async def test_messages_that_never_end_have_a_bound(process: ServiceProcess) -> None:
    """Beginnings of long messages on a thousand calls: what flow control lets through is all that is kept."""
    server = Seen(process.process.pid)
    async with Abuse("half_messages", address(process), 1_000), Neighbour(address(process)) as neighbour:
        await until(lambda: len(neighbour.latencies) > 20, "others are answered", within=30)
        assert server.megabytes < MEMORY_MB

    assert max(neighbour.latencies) < SLOWEST_S


async def test_a_frame_over_8_mib_ends_its_stream_and_no_other(service: Service) -> None:
    """RESOURCE_EXHAUSTED, before it is parsed; the connection goes on."""
    waiting = await service.grant(), service.waiting()
    stream = service.channel.stream_stream("/lockservice.v1.LockService/Session")()
    await stream.write(b"x" * (limits.FRAME_BYTES_MAX + 1))

    assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await service.release(waiting[0])
    assert (await waiting[1]).outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def greeted_late(address: str) -> list[bool]:
    """Says for connections that are silent, and that greet a byte at a time, whether they are ended in time."""
    async with Abuse("silent", address, 200) as silent, Abuse("slow", address, 50) as slow:
        await asyncio.sleep(limits.HANDSHAKE_MS / 1000 + 1)
    return [silent.report["closed"] == 200, slow.report["closed"] == 50]


async def test_who_does_not_greet_in_time_is_disconnected(
    process: ServiceProcess, shard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent and slow ones alike, after 10 s; gRPC's own default would keep them for two minutes."""
    monkeypatch.setattr(transport, "_OPTIONS", ())
    async with Service([shard]) as broken, Neighbour(address(process)) as neighbour:
        found, unhurt = await asyncio.gather(greeted_late(address(process)), greeted_late(broken.server.grpc_addr))

    assert found == [True, True]
    assert unhurt == [False, False], "the abuse ends by itself, so this test says nothing"
    assert max(neighbour.latencies) < SLOWEST_S


async def test_without_a_bound_the_same_flood_gets_in(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the tests above would notice its loss."""
    patient = ("grpc.server.max_pending_requests", 20_000), ("grpc.server.max_pending_requests_hard_limit", 40_000)
    monkeypatch.setattr(transport, "_OPTIONS", patient)
    async with Service([shard]) as broken, Abuse("streams", broken.server.grpc_addr, 12_000) as abuse:
        pass

    assert "RstStreamFrame" not in abuse.report["seen"]


async def test_ten_thousand_connections(shard: str) -> None:
    """They are held, at some 20 KB each, and others do not feel them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < CONNECTIONS + 500:
        pytest.skip(f"this machine allows {most} open files")
    # The service raises its own limit as far as it may.
    async with Limited([shard], 1_024, most) as process:
        server = Seen(process.process.pid)
        empty = server.megabytes
        async with Abuse("idle", address(process), CONNECTIONS) as abuse, Neighbour(address(process)) as neighbour:
            await until(lambda: len(neighbour.latencies) > 100, "others are answered", within=30)
            kilobytes = (server.megabytes - empty) * 1024 / CONNECTIONS

    assert abuse.report["closed"] == 0
    assert kilobytes < 40
    assert max(neighbour.latencies) < SLOWEST_S


class Limited(ServiceProcess):
    """A replica that may have so many files open, and raise that so far."""

    def __init__(self, urls: Sequence[str], files: int, files_max: int) -> None:
        super().__init__(urls, *PATIENT)
        command = f'ulimit -Sn {files} && ulimit -Hn {files_max} && exec "$@"'
        self._launcher = ("sh", "-c", command, "sh")


async def test_a_replica_without_files_left_goes_on(shard: str) -> None:
    """It neither ends nor spins: who is connected is served, and others are let in when files are free again."""
    async with Limited([shard], FILES_FEW, FILES_FEW) as process:
        server = Seen(process.process.pid)
        open_files = Path(f"/proc/{process.process.pid}/fd")
        async with Neighbour(address(process), pause_s=0.1) as neighbour:
            async with Abuse("idle", address(process), 2 * FILES_FEW):
                await until(lambda: len(list(open_files.iterdir())) >= FILES_FEW - 1, "all files are taken")
                before, answered = server.processor_s, len(neighbour.latencies)
                await asyncio.sleep(2)
                assert server.processor_s - before < 1
                assert len(neighbour.latencies) > answered
            await until(lambda: len(list(open_files.iterdir())) < FILES_FEW // 2, "files are free again")
        async with Neighbour(address(process)) as late:
            await until(lambda: len(late.latencies) > 10, "others are let in")


async def test_a_connection_is_sent_away_at_its_age(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With GOAWAY, when it has no calls; one that calls all the time feels nothing."""
    aged = [(name, 500 if name == "grpc.max_connection_age_ms" else value) for name, value in transport._OPTIONS]
    monkeypatch.setattr(transport, "_OPTIONS", tuple(aged))
    async with Service([shard]) as service, Neighbour(service.server.grpc_addr) as neighbour:
        idle = await Connection(service.server.grpc_addr).open()
        await asyncio.wait_for(idle.closed.wait(), 5)
        answered = len(neighbour.latencies)
        await until(lambda: len(neighbour.latencies) > answered + 50, "others are answered")

    assert idle.seen["GoAwayFrame"] > 0
    await idle.close()


@pytest.mark.parametrize("pinged", [True, False])
async def test_a_caller_that_has_vanished_leaves_the_queue(
    shard: str, monkeypatch: pytest.MonkeyPatch, *, pinged: bool
) -> None:
    """Who answers no ping has gone, though its connection never ended; without pings it would stay."""
    shorter = {"grpc.keepalive_time_ms": 500, "grpc.http2.ping_timeout_ms": 500}
    assert shorter.keys() <= dict(transport._OPTIONS).keys()
    monkeypatch.setattr(transport, "_OPTIONS", tuple(shorter.items()) if pinged else ())
    resource = f"order:{pinged}"
    async with Service([shard]) as service:
        await service.grant(resource, ttl=60)
        vanished = await Connection(service.server.grpc_addr).open()
        request = pb.AcquireRequest(resource=resource, owner="vanished")
        request.wait_timeout.FromSeconds(60)
        vanished.call(0, request.SerializeToString())
        await service.queued(1, resource)
        vanished.vanish()

        if pinged:
            await service.queued(0, resource)
        else:
            await asyncio.sleep(2)
            assert (await service.inspect(resource)).lock.queue_length == 1
        await vanished.close()
