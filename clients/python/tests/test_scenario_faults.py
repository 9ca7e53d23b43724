"""Promises of `clients/scenarios.md` about faults, on services of the stand."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import pytest

from lockservice_client import Client, NotAllowed, ServiceError, Unavailable, channel as channel_module
from lockservice_client.retry import pauses
from lockservice_stand.stand import Stand


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


SHARED = Path(__file__).parents[2] / "service_config.json"


@pytest.fixture
async def pair(stand: Stand) -> AsyncIterator[dict[str, Any]]:
    """A service of two replicas."""
    made = await stand.call("POST", "/services", replicas=2)
    yield made
    await stand.call("DELETE", f"/services/{made['id']}")


@pytest.fixture
async def single(stand: Stand) -> AsyncIterator[dict[str, Any]]:
    """A service of one replica, and a proxy before it."""
    made = await stand.call("POST", "/services")
    behind = await stand.call("POST", "/proxies", address=made["addresses"][0])
    yield {**made, "proxy": behind}
    await stand.call("DELETE", f"/proxies/{behind['id']}")
    await stand.call("DELETE", f"/services/{made['id']}")


async def test_s22_a_restart_is_no_error(stand: Stand, single: dict[str, Any], resource: str) -> None:
    """A lease is held over it, and a call made meanwhile is answered afterwards."""
    async with Client(single["addresses"][0]) as client, client.lock(f"{resource}:kept", ttl=6) as lease:
        await stand.call("POST", f"/services/{single['id']}/0/kill")
        asked = asyncio.create_task(client.acquire(resource))
        await stand.call("POST", f"/services/{single['id']}/0/start")
        assert (await asked).outcome == "granted"
        assert (await client.acquire(f"{resource}:kept")).outcome == "held"
        await asyncio.sleep(2.5)
        lease.check()


@pytest.mark.parametrize("unary", [True, False])
async def test_s23_a_killed_replica_is_left(
    stand: Stand, pair: dict[str, Any], resource: str, *, unary: bool
) -> None:
    """Both have been called; after one is killed no caller sees it."""
    async with Client(pair["target"], unary=unary) as client:
        for number in range(4):
            assert (await client.acquire(f"{resource}:{number}")).outcome == "granted"
        for victim in (0, 1):
            await stand.call("POST", f"/services/{pair['id']}/{victim}/kill")
            for number in range(4):
                assert (await client.acquire(f"{resource}:{victim}:{number}")).outcome == "granted"
            await stand.call("POST", f"/services/{pair['id']}/{victim}/start")


async def test_s24_a_drain_moves_a_waiting_caller(stand: Stand, pair: dict[str, Any], resource: str) -> None:
    """It keeps its place before one that came later."""
    order: list[str] = []

    async def wait(client: Client, name: str) -> None:
        async with client.lock(resource, wait=20):
            order.append(name)

    first, second = pair["addresses"]
    async with Client(first) as holding, Client(pair["target"]) as moved, Client(second) as later:

        async def queue() -> int:
            return (await later.inspect(resource))[0].queue_length

        held = await Client.acquire(later, resource, ttl=30)
        assert held.grant is not None
        tasks = [asyncio.create_task(wait(moved, "moved"))]
        while await queue() < 1:
            await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(wait(later, "later")))
        while await queue() < 2:
            await asyncio.sleep(0.01)
        # Whichever replica it waits at; the other one keeps those who came later.
        await stand.call("POST", f"/services/{pair['id']}/0/terminate")
        await asyncio.sleep(0.5)
        await later.release(resource, held.grant.lease_id)
        await asyncio.gather(*tasks)
        assert holding.address == first
    assert order == ["moved", "later"]


async def test_s25_a_frozen_replica_is_left(stand: Stand, pair: dict[str, Any], resource: str) -> None:
    """Calls that have run out of time there are followed by calls that are answered by the other."""
    async with Client(pair["target"], retry_for=20) as client:
        await client.acquire(resource)
        await stand.call("POST", f"/services/{pair['id']}/0/freeze")
        outcomes = []
        for number in range(5):
            try:
                outcomes.append((await client.acquire(f"{resource}:{number}")).outcome)
            except ServiceError as late:
                outcomes.append(late.code.name)
        await stand.call("POST", f"/services/{pair['id']}/0/thaw")
    assert outcomes[2:] == ["granted"] * 3


@pytest.mark.parametrize("kind", ["closed", "http"])
async def test_s26_a_stranger_is_named(stand: Stand, kind: str) -> None:
    """One error, with the address."""
    address = (await stand.call("POST", "/strangers", kind=kind))["address"]
    async with Client(address, retry_for=0.2) as client:
        with pytest.raises(Unavailable, match=address):
            await client.acquire("x")


async def test_s26_a_stranger_that_says_nothing(stand: Stand) -> None:
    """One error, once the call is out of time."""
    address = (await stand.call("POST", "/strangers", kind="silent"))["address"]
    async with Client(address, retry_for=0.2) as client:
        began = time.monotonic()
        with pytest.raises(ServiceError) as caught:
            await client.acquire("x")
        assert caught.value.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("tls", "how", "says"),
    [
        ("server", {"ca": "ca"}, ""),
        ("mutual", {"ca": "ca", "cert": "cert", "key": "key"}, ""),
        ("expired", {"ca": "ca"}, "certificate"),
        ("server", {"ca": "other_ca"}, "certificate"),
        ("mutual", {"ca": "ca"}, "TLS|certificate|closed"),
    ],
)
async def test_s27_certificates(stand: Stand, tls: str, how: dict[str, str], says: str) -> None:
    """A good one works; a bad one is named."""
    made = await stand.call("POST", "/services", tls=tls)
    async with Client(
        made["addresses"][0], retry_for=0.2, **{name: made[file] for name, file in how.items()}
    ) as client:
        if says:
            with pytest.raises(Unavailable, match=says):
                await client.acquire("x")
        else:
            assert (await client.acquire("x")).outcome == "granted"
    await stand.call("DELETE", f"/services/{made['id']}")


@pytest.mark.parametrize("fault", ["unauthenticated", "permission_denied"])
async def test_s28_credentials_that_are_refused(stand: Stand, single: dict[str, Any], fault: str) -> None:
    """One attempt, one error."""
    proxy = single["proxy"]
    await stand.call("POST", f"/proxies/{proxy['id']}/faults", fault=fault, method="Acquire", times=5)
    async with Client(proxy["address"]) as client:
        with pytest.raises(NotAllowed):
            await client.acquire("x")
    assert len((await stand.call("GET", f"/proxies/{proxy['id']}"))["calls"]) == 1


@pytest.mark.parametrize("fault", ["unknown_outcome", "unknown_kind"])
async def test_s29_an_answer_from_the_future(stand: Stand, single: dict[str, Any], resource: str, fault: str) -> None:
    """One error; the lease that it may have granted is renewed by nobody."""
    proxy = single["proxy"]
    await stand.call("POST", f"/proxies/{proxy['id']}/faults", fault=fault, method="Acquire")
    async with Client(proxy["address"]) as client:
        with pytest.raises(ServiceError) as caught:
            await client.lock(resource, ttl=0.5).__aenter__()
        assert caught.value.code is grpc.StatusCode.UNKNOWN
        assert (await client.acquire(resource, wait=5)).outcome == "granted"
    calls = (await stand.call("GET", f"/proxies/{proxy['id']}"))["calls"]
    assert not [call for call in calls if call["method"] == "Renew"]


async def test_s30_a_request_and_a_response_of_megabytes(stand: Stand, single: dict[str, Any], resource: str) -> None:
    """A request of 4 MiB is one error, which harms no other call; a response of 5 MiB arrives."""
    proxy = single["proxy"]
    async with Client(proxy["address"], retry_for=0) as client:
        held = await client.acquire(resource)
        assert held.grant is not None
        waiting = asyncio.create_task(client.acquire(resource, wait=20))
        with pytest.raises(ServiceError):
            await client.acquire("x" * (4 << 20))
        await stand.call("POST", f"/proxies/{proxy['id']}/faults", fault="large", method="Acquire")
        assert (await client.acquire(f"{resource}:other")).outcome == "granted"
        await client.release(resource, held.grant.lease_id)
        assert (await waiting).outcome == "granted"


async def test_s32_clients_leave_no_thread_or_file(single: dict[str, Any], resource: str, until: Any) -> None:
    """A hundred clients that came and went have left as many threads and open files as one."""

    async def come_and_go(number: int) -> None:
        async with Client(single["addresses"][0]) as client:
            await client.acquire(f"{resource}:{number}")

    await come_and_go(0)
    threads, handles = threading.active_count(), _open_files()
    for number in range(100):
        await come_and_go(number)
    await until(lambda: _open_files() <= handles + 4, "files are closed")
    assert threading.active_count() <= threads + 2


async def test_s36_a_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is held back where it would cross the network in the clear."""
    monkeypatch.setenv("LOCKSERVICE_TOKEN", "secret")
    monkeypatch.setenv("LOCKSERVICE_ADDR", "locks.example:50051")
    with pytest.raises(ValueError, match="in the clear"):
        Client()
    async with Client("127.0.0.1:1") as client:
        assert client._asking._target.metadata == (("authorization", "Bearer secret"),)


def test_s37_the_service_config_is_the_shared_one() -> None:
    """The same bytes in every package, and what the channel is made with."""
    own = files("lockservice_client").joinpath("service_config.json").read_text(encoding="utf-8")
    assert own == SHARED.read_text(encoding="utf-8")
    assert ("grpc.service_config", own) in channel_module._OPTIONS
    assert ("grpc.enable_retries", 0) in channel_module._OPTIONS
    assert json.loads(own)["healthCheckConfig"]["serviceName"] == "lockservice.v1.LockService"
    policy = json.loads(own)["methodConfig"][0]["retryPolicy"]
    first, *later = itertools.islice(pauses(), 9)
    assert 0.5 <= first / float(policy["initialBackoff"].rstrip("s")) <= 1.5
    assert 0.5 <= later[-1] / float(policy["maxBackoff"].rstrip("s")) <= 1.5
