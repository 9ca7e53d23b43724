"""The load balancer of compose.yaml before two real replicas: calls, waits, Sessions, and a replica that drains."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from harness.balancer import Balancer, configuration
from harness.manifests import DEPLOY, compose
from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from harness.service import until
from lockservice.v1 import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc
from lockservice_client import Client

DRAIN_DELAY = compose()["services"]["lockservice-1"]["environment"]["LOCKSERVICE_DRAIN_DELAY"]
CALLERS = 4


class Site(NamedTuple):
    """Two replicas and the balancer in front of them."""

    replicas: tuple[ServiceProcess, ServiceProcess]
    balancer: Balancer


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """What compose starts, on one shard."""
    server = RedisServer()
    # Shorter than in compose: a Session that Envoy holds open uses all of it.
    flags = ("--drain-delay", DRAIN_DELAY, "--shutdown-grace", "4s")
    try:
        async with ServiceProcess([server.url], *flags) as one, ServiceProcess([server.url], *flags) as two:
            config = configuration([one.ready["grpc"], two.ready["grpc"]])
            async with Balancer(tmp_path, config) as balancer:

                async def both() -> bool:
                    return await balancer.healthy() == 2

                await until(both, "Envoy finds both replicas ready", within=20)
                yield Site((one, two), balancer)
    finally:
        server.remove()


class Caller:
    """Takes leases and gives them back, one after the other, by unary calls that nobody repeats."""

    def __init__(self, channel: grpc.aio.Channel, number: int) -> None:
        self._locks = pb_grpc.LockServiceStub(channel)
        self._name = f"order:{number}"
        self.calls = 0
        self.failures: list[str] = []
        self.done = asyncio.Event()

    async def run(self) -> None:
        """Calls until it is done."""
        while not self.done.is_set():
            try:
                asked = pb.AcquireRequest(resource=self._name, owner="caller", ttl=Duration(seconds=5))
                answer = await self._locks.Acquire(asked, timeout=5)
                if answer.outcome != pb.ACQUIRE_OUTCOME_GRANTED:
                    self.failures.append(f"not granted: {answer}")
                    return
                given = pb.ReleaseRequest(resource=self._name, lease_id=answer.lease.lease_id)
                await self._locks.Release(given, timeout=5)
                self.calls += 2
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"{error.code()} {error.details()}")


async def wait_through(balancer: Balancer, resource: str, seconds: float) -> pb.AcquireResponse:
    """Waits so long for a lease that another holds, and gets it."""
    async with grpc.aio.insecure_channel(balancer.address) as channel:
        locks = pb_grpc.LockServiceStub(channel)
        asked = pb.AcquireRequest(resource=resource, owner="first", ttl=Duration(seconds=60))
        first = await locks.Acquire(asked)
        request = pb.AcquireRequest(resource=resource, owner="second", wait_timeout=Duration(seconds=50))
        waiting = asyncio.ensure_future(locks.Acquire(request))
        await asyncio.wait([waiting], timeout=seconds)
        await locks.Release(pb.ReleaseRequest(resource=resource, lease_id=first.lease.lease_id))
        return await waiting


async def test_waits_pass_through(site: Site, tmp_path: Path) -> None:
    """A call waits for as long as it likes; a balancer that ends calls after a time, as Envoy does, is noticed."""
    assert (await wait_through(site.balancer, "order:1", 1.5)).outcome == pb.ACQUIRE_OUTCOME_GRANTED
    config = configuration([replica.ready["grpc"] for replica in site.replicas])
    routes = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"][
        "route_config"
    ]
    (route,) = routes["virtual_hosts"][0]["routes"]
    # Without this Envoy ends a call after 15 s.
    assert route["route"]["timeout"] == "0s"
    route["route"]["timeout"] = "1s"
    (tmp_path / "impatient").mkdir()
    async with Balancer(tmp_path / "impatient", config) as impatient:
        with pytest.raises(grpc.aio.AioRpcError, match="timeout"):
            await wait_through(impatient, "order:2", 1.5)


def test_the_configuration_is_accepted() -> None:
    """Envoy takes the file as it is shipped, and says nothing about things of old."""
    envoy = Path(sys.executable).parent / "envoy"
    words = ["--mode", "validate", "-c", str(DEPLOY / "envoy/envoy.yaml"), "--log-level", "warn"]
    ran = subprocess.run([envoy, *words], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "Deprecated" not in ran.stderr


async def answered_by(site: Site) -> list[float]:
    """Counts the calls that each replica has answered."""
    pages = []
    async with aiohttp.ClientSession() as session:
        for replica in site.replicas:
            async with session.get(f"http://{replica.ready['ops']}/metrics") as answer:
                pages.append(await answer.text())
    line = r'^grpc_server_handled_total\{[^}]*grpc_code="OK"[^}]*grpc_method="Acquire"[^}]*\} (\S+)'
    return [sum(map(float, re.findall(line, page, re.MULTILINE))) for page in pages]


async def test_calls_of_one_connection_are_shared_out(site: Site) -> None:
    """Both replicas answer a good part of the calls that a client makes by one connection."""
    async with grpc.aio.insecure_channel(site.balancer.address) as channel:
        locks = pb_grpc.LockServiceStub(channel)
        for number in range(60):
            await locks.Acquire(pb.AcquireRequest(resource=f"order:{number}", owner="caller"))
    answered = await answered_by(site)
    assert sum(answered) == 60
    assert min(answered) >= 10


@pytest.mark.parametrize("how", ["sessions", "unary calls"])
async def test_a_replica_drains_and_no_call_fails(site: Site, how: str) -> None:
    """While callers call and others wait, in Sessions or unary calls, a replica goes; nobody is told of a failure."""
    draining, staying = site.replicas
    address = site.balancer.address
    channel = grpc.aio.insecure_channel(address)
    async with channel, Client(address, unary=how == "unary calls") as client:
        callers = [Caller(channel, number) for number in range(CALLERS)]
        running = [asyncio.create_task(caller.run()) for caller in callers]
        held = await client.acquire("order:wanted", ttl=60)
        assert held.grant is not None
        waiting = [asyncio.create_task(client.acquire("order:wanted", wait=50, ttl=60)) for _ in range(4)]
        await staying.queued(4, "order:wanted")
        before = sum(caller.calls for caller in callers)

        draining.signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await draining.process.wait() == 0
        at_exit = sum(caller.calls for caller in callers)
        await until(lambda: sum(caller.calls for caller in callers) > at_exit + 20, "calls go on")
        await staying.queued(4, "order:wanted")
        await client.release("order:wanted", held.grant.lease_id)
        done, still = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in still:
            task.cancel()
        for caller in callers:
            caller.done.set()
        await asyncio.gather(*running)

    assert at_exit > before
    assert [failure for caller in callers for failure in caller.failures] == []
    assert {task.result().outcome for task in done} == {"granted"}
