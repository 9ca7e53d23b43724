"""Several workers behind one port: calls, waiting, metrics, probes, drain, and processes that die."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from console.visitor import Visitor
from harness.embedded_parent import CARELESS, runs
from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from harness.service import reason_of, until
from harness.workers import WORKERS, Workers, children, granted
from lockservice.limits import TREND_SLICES
from lockservice.shards import orphan
from lockservice.v1 import lockservice_pb2 as pb

GONE_S = 10.0
ACQUIRE = {"grpc_method": "Acquire"}


@pytest.fixture(scope="module")
def shard() -> Iterator[RedisServer]:
    """One shard for the module."""
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the service makes its private directory."""
    directory = tmp_path / "t"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


def left_in(directory: Path) -> list[str]:
    """Names what is left in a directory."""
    return [path.name for path in directory.iterdir()]


@pytest.fixture
async def service(shard: RedisServer, private: Path) -> AsyncIterator[Workers]:
    """A service with two workers, and a connection to each."""
    with shard.connect() as connection:
        connection.flushall()
    async with Workers([shard.url]) as running:
        running.private = private
        await running.connect()
        yield running


async def test_a_lease_goes_from_one_worker_to_the_next(service: Workers) -> None:
    """A call that waits in one worker is handed what a caller of another releases, without a poll."""
    one, other = service.of_worker[1], service.of_worker[2]
    lease = await one.grant()
    waiting = other.waiting()
    await one.queued(1)
    assert await service.total("lockservice_waiters") == 1
    assert (await service.own("lockservice_waiters")) == {1: 0, 2: 1}
    released = time.monotonic()
    await one.release(lease)
    second = granted(await waiting)
    assert second.fencing_token > lease.fencing_token
    assert time.monotonic() - released < 0.3
    assert await service.total("lockservice_handoff_duration_seconds_count") == 1


async def test_metrics_are_sums(service: Workers) -> None:
    """Calls, their times and waiters are summed over the workers; what all workers see alike is shown once."""
    for number, way in service.of_worker.items():
        for turn in range(5 * number):
            lease = await way.grant(f"order:{number}:{turn}", ttl=60)
            await way.release(lease, retry=turn == 0, hold=60 if turn == 0 else None)
    calls = sum(5 * number for number in service.of_worker)

    async def all_see_the_holds() -> bool:
        return await service.own("lockservice_holds") == {1: 2, 2: 2}

    await until(all_see_the_holds, "holds in both workers", within=15)
    assert await service.own("grpc_server_handled_total", grpc_code="OK", **ACQUIRE) == {1: 5, 2: 10}
    assert await service.total("grpc_server_started_total", **ACQUIRE) == calls
    assert await service.total("grpc_server_handled_total", grpc_code="OK", **ACQUIRE) == calls
    assert await service.total("grpc_server_handling_seconds_count", **ACQUIRE) == calls
    for name in ("lockservice_acquire_duration_seconds", "lockservice_hold_duration_seconds"):
        assert await service.total(f"{name}_count") == calls
        assert await service.total(f"{name}_bucket", le="+Inf") == calls
    own = await service.own("lockservice_acquire_duration_seconds_sum")
    assert await service.total("lockservice_acquire_duration_seconds_sum") == pytest.approx(sum(own.values()))
    assert await service.total("lockservice_holds") == 2
    for name, value in (("shard_up", 1), ("build_info", 1), ("draining", 0), ("waiters", 0)):
        assert await service.total(f"lockservice_{name}") == value, name


async def console_shards(service: Workers) -> list[str]:
    """Returns the names of the shards that the console shows."""
    async with Visitor(service.ready["ops"]) as visitor:
        return [shard["name"] for shard in await visitor.told("shards")]


async def test_console(service: Workers) -> None:
    """The console of the supervisor shows what is held through any worker, and takes it away."""
    ways = service.of_worker.items()
    carts = {f"cart:{number}": await way.grant(f"cart:{number}", ttl=60) for number, way in ways}
    token = carts["cart:1"].fencing_token
    async with Visitor(service.ready["ops"]) as visitor:
        _, picture = await visitor.watch(
            lambda picture: carts.keys() <= {seen["resource"] for seen in picture["longest"]}
        )
        assert len(picture["trends"]["s1"]) == TREND_SLICES
        assert (await visitor.find("cart:1"))["owner"] == "worker"
        assert await visitor.force("cart:1", token) == (200, {"released": True})
        assert await visitor.force("cart:1", token) == (200, {"released": False})
        assert "cart:1" in {ended["resource"] for ended in await visitor.told("ended")}
    assert (await service.inspect("cart:1")).lock.holder.owner == ""
    forced = [line for line in service.lines if line["event"] == "force-release"]
    assert [line["reason"] for line in forced] == ["it hangs"] * 2


async def test_probes_and_page(service: Workers) -> None:
    """It is ready while both workers are, alive even if one is frozen, and the console shows the shards."""
    assert await service.page("/readyz") == (200, "ready\n")
    assert await console_shards(service) == ["s1"]
    assert (await service.page("/look"))[0] == 404
    await service.of_worker[1].grant()
    before = await service.total("grpc_server_handled_total")
    frozen = service.pids()[1]
    os.kill(frozen, signal.SIGSTOP)
    try:
        assert await service.page("/readyz") == (503, "worker 1 does not answer\n")
        assert await service.page("/livez") == (200, "alive\n")
        # What it said last still counts: a sum that falls would look like a new process.
        assert await service.total("grpc_server_handled_total") == before
        assert await console_shards(service) == ["s1"]
    finally:
        os.kill(frozen, signal.SIGCONT)
    await until(service.is_ready, "ready again")


async def test_a_killed_worker_comes_back(service: Workers) -> None:
    """The other goes on, readiness tells, the counters do not fall, and its successor serves."""
    for way in service.of_worker.values():
        await way.grant(ttl=0.1, resource=f"order:{id(way)}")
    assert await service.total("grpc_server_handled_total", **ACQUIRE) == WORKERS
    dead = service.pids()[1]
    os.kill(dead, signal.SIGKILL)

    async def not_ready() -> bool:
        return not await service.is_ready()

    await until(not_ready, "not ready")
    assert await service.total("grpc_server_handled_total", **ACQUIRE) == WORKERS
    await service.of_worker[2].grant("order:2")
    await until(service.is_ready, "ready again", within=GONE_S)
    assert service.pids()[1] != dead
    warned = [line for line in service.lines if line["event"] == "worker ended"]
    assert [(line["level"], line["worker"], line["exit_code"]) for line in warned] == [
        ("warning", 1, -signal.SIGKILL)
    ]
    service.of_worker.clear()
    await service.connect()
    await service.of_worker[1].grant("order:3")
    assert await service.own("grpc_server_handled_total", **ACQUIRE) == {1: 1, 2: 2}
    assert await service.total("grpc_server_handled_total", **ACQUIRE) == WORKERS + 2
    assert await service.total("lockservice_shard_up") == 1


async def test_drain_under_load(service: Workers) -> None:
    """After SIGTERM no call is lost in either worker, those that wait are told DRAINING, and the exit code is 0."""
    leases: list[Any] = []
    refused: list[grpc.aio.AioRpcError] = []
    first = await service.of_worker[1].grant("order:0", ttl=60)
    waiting = [way.waiting("order:0") for way in service.of_worker.values()]
    await service.of_worker[1].queued(WORKERS, "order:0")

    async def load(number: int) -> None:
        way = service.of_worker[1 + number % WORKERS]
        for turn in range(2_000):
            try:
                leases.append(await way.grant(f"order:{number}:{turn}", ttl=60))
            except grpc.aio.AioRpcError as error:
                refused.append(error)
                return

    loads = [asyncio.create_task(load(number)) for number in range(16)]
    await until(lambda: len(leases) > 200, "load")
    service.signal(signal.SIGTERM)
    await asyncio.gather(*loads)
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert await service.process.wait() == 0
    assert len(refused) == len(loads)
    assert {reason_of(error) for error in [*refused, *told]} == {"DRAINING"}  # type: ignore[arg-type]  # all of them are errors
    async with ServiceProcess(service.urls) as later:
        renewed = await asyncio.gather(*(later.renew(lease) for lease in [first, *leases]))
        pages = [page async for page in later.admin.ListLocks(pb.ListLocksRequest(limit=100_000))]
    assert set(renewed) == {pb.RENEW_OUTCOME_RENEWED}
    assert sum(len(page.locks) for page in pages) == len(leases) + 1


async def test_one_voice(service: Workers) -> None:
    """One line says ready and one at the end stopped; what workers log bears their number."""
    service.signal(signal.SIGTERM)
    assert await service.process.wait() == 0
    await service._reading
    assert service.lines[-1]["event"] == "stopped"
    for event in ("ready", "stopped", "draining"):
        by = [line.get("worker", 0) for line in service.lines if line["event"] == event]
        assert sorted(by) == ([0] if event == "ready" else [0, 1, 2]), event
    assert {line["worker"] for line in service.lines if line["event"] == "shard is up"} == {1, 2}
    assert left_in(service.private) == []


async def test_a_second_signal_exits_at_once(shard: RedisServer, private: Path) -> None:
    """It ends every worker, a frozen one too, with exit code 1."""
    async with Workers([shard.url], "--drain-delay", "30s") as service:
        pids = service.pids()
        os.kill(pids[1], signal.SIGSTOP)
        service.signal(signal.SIGTERM)
        await until(lambda: any(line["event"] == "draining" for line in service.lines), "draining")
        assert await service.page("/readyz") == (503, "draining\n")
        service.signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), 2) == 1
        await until(lambda: not any(runs(pid) for pid in pids.values()), "no worker")
    assert left_in(private) == []


@pytest.mark.parametrize("launcher", ["orphan", "careless"])
async def test_a_killed_parent_leaves_nothing(tmp_path: Path, launcher: str) -> None:
    """SIGKILL of the parent ends workers and embedded servers, even those that would drain for long.

    The broken variant, a launcher that does not ask the kernel for that, leaves them behind.
    """
    path = tmp_path / "careless.py"
    path.write_text(CARELESS)
    program = "import sys; from lockservice.shards import orphan; orphan.__file__ = sys.argv.pop(1)\n"
    program += "from lockservice.cli import run; run()"
    words = ["serve", "--workers", "2", "--data-dir", str(tmp_path / "d"), "--embedded-shards", "1"]
    words += [
        "--grpc-addr",
        "127.0.0.1:0",
        "--ops-addr",
        "127.0.0.1:0",
        "--drain-delay",
        "1h",
        "--log-format",
        "text",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, orphan.__file__ if launcher == "orphan" else str(path), *words,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while b"ready grpc=" not in (line := await process.stderr.readline()):
        assert line
    pids = children(process.pid)
    assert len(pids) == WORKERS + 1
    process.kill()
    try:
        if launcher == "careless":
            await asyncio.sleep(0.5)
            assert [runs(pid) for pid in (process.pid, *pids)] == [False, True, True, True]
        else:
            await until(lambda: not any(runs(pid) for pid in pids), "nothing left", within=GONE_S)
    finally:
        for pid in pids:
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
        await process.stderr.read()
        await process.wait()


@pytest.mark.parametrize("shares", [False, True])
async def test_a_taken_port(shard: RedisServer, *, shares: bool) -> None:
    """A port that another service has is a clear failure, also when that one would share it."""
    with socket.socket() as taken:
        if shares:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flag in ("--grpc-addr", "--ops-addr"):
            async with Workers([shard.url], flag, address) as service:
                assert await service.process.wait() == 1
            assert service.lines[-1]["event"].startswith(f"cannot start: {flag}")
            assert "address already in use" in service.lines[-1]["event"]


async def test_a_second_service(shard: RedisServer) -> None:
    """A second one, with or without workers, does not share the port of the first."""
    async with Workers([shard.url]) as first:
        for second in (Workers, ServiceProcess):
            async with second([shard.url], "--grpc-addr", first.ready["grpc"]) as refused:
                assert await refused.process.wait() == 1
            assert "--grpc-addr" in refused.lines[-1]["event"]


async def test_a_worker_that_cannot_start(shard: RedisServer, tmp_path: Path) -> None:
    """What ends a worker at the start, such as a certificate that is none, ends all with exit code 1."""
    none = tmp_path / "none.pem"
    none.write_text("none")
    async with Workers([shard.url], "--tls-cert", str(none), "--tls-key", str(none)) as service:
        assert await service.process.wait() == 1
    said = [(line.get("worker"), line["event"]) for line in service.lines]
    assert {worker for worker, event in said if event.startswith("cannot start: --grpc-addr")} == {1, 2}
    assert said[-1][0] is None
    assert "ended with exit code 1" in said[-1][1]
