"""The stand does what `clients/scenarios.md` says of it."""

import asyncio
from collections.abc import Iterator

import grpc
import pytest

from lockservice_client import Client, ServiceError, Unavailable
from lockservice_stand.stand import Stand


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """One for all; it ends well when its standard input ends."""
    made = Stand()
    yield made
    assert made.end() == 0


async def test_replicas_behind_one_name(stand: Stand) -> None:
    """The name leads to both; when one is killed calls go on, and it starts again on its address."""
    service = await stand.call("POST", "/services", replicas=2)
    first, second = service["addresses"]
    assert first.split(":")[1] == second.split(":")[1]
    async with Client(service["target"], unary=True, retry_for=5) as client:
        assert (await client.acquire("order:1")).outcome == "granted"
        await stand.call("POST", f"/services/{service['id']}/0/kill")
        for number in range(4):
            assert (await client.acquire(f"order:2-{number}")).outcome == "granted"
    await stand.call("POST", f"/services/{service['id']}/0/start")
    async with Client(first, retry_for=0) as client:
        assert (await client.acquire("order:1")).outcome == "held"
    await stand.call("DELETE", f"/services/{service['id']}")
    async with Client(second, retry_for=0) as client:
        with pytest.raises(Unavailable):
            await client.acquire("order:3")


async def test_a_frozen_replica(stand: Stand) -> None:
    """It answers nobody until it is thawed."""
    service = await stand.call("POST", "/services")
    async with Client(service["addresses"][0]) as client:
        await client.acquire("order:1")
        await stand.call("POST", f"/services/{service['id']}/0/freeze")
        asking = asyncio.create_task(client.acquire("order:2"))
        assert not (await asyncio.wait([asking], timeout=0.3))[0]
        await stand.call("POST", f"/services/{service['id']}/0/thaw")
        assert (await asking).outcome == "granted"


@pytest.mark.parametrize("fault", ["lose_reply", "end_stream", "unavailable"])
@pytest.mark.parametrize("unary", [True, False])
async def test_a_fault_that_is_asked_again(stand: Stand, fault: str, *, unary: bool) -> None:
    """The call is made twice with the same request, and the second has the answer."""
    service = await stand.call("POST", "/services")
    proxy = await stand.call("POST", "/proxies", address=service["addresses"][0])
    await stand.call("POST", f"/proxies/{proxy['id']}/faults", fault=fault, method="Acquire")
    async with Client(proxy["address"], unary=unary) as client:
        assert (await client.acquire("order:1")).outcome == "granted"
    seen = await stand.call("GET", f"/proxies/{proxy['id']}")
    first, second = seen["calls"]
    assert first == second
    assert first["unary"] == unary
    assert seen["streams"] == (0 if unary else 1 if fault == "unavailable" else 2)


@pytest.mark.parametrize(("fault", "code"), [
    ("unauthenticated", grpc.StatusCode.UNAUTHENTICATED),
    ("permission_denied", grpc.StatusCode.PERMISSION_DENIED),
    ("unknown_kind", grpc.StatusCode.UNKNOWN),
])  # fmt: skip
async def test_a_fault_that_is_an_error(stand: Stand, fault: str, code: grpc.StatusCode) -> None:
    """The call ends in the code."""
    service = await stand.call("POST", "/services")
    proxy = await stand.call("POST", "/proxies", address=service["addresses"][0])
    await stand.call("POST", f"/proxies/{proxy['id']}/faults", fault=fault, method="Acquire")
    async with Client(proxy["address"]) as client:
        with pytest.raises(ServiceError) as caught:
            await client.acquire("order:1")
        assert caught.value.code is code
        assert (await client.acquire("order:2")).outcome == "granted"


async def test_held_and_large_replies(stand: Stand) -> None:
    """A reply is kept until it is let go; one of 5 MiB is one of 5 MiB."""
    service = await stand.call("POST", "/services")
    proxy = await stand.call("POST", "/proxies", address=service["addresses"][0])
    for fault in ("hold", "large"):
        await stand.call("POST", f"/proxies/{proxy['id']}/faults", fault=fault, method="Acquire")
    async with Client(proxy["address"]) as client:
        held = asyncio.create_task(client.acquire("order:1"))
        while not (await stand.call("GET", f"/proxies/{proxy['id']}"))["calls"]:
            await asyncio.sleep(0.01)
        assert (await client.acquire("order:2")).outcome == "granted"
        assert not held.done()
        await stand.call("POST", f"/proxies/{proxy['id']}/let_go")
        assert (await held).outcome == "granted"


async def test_no_sessions(stand: Stand) -> None:
    """A stream ends in UNIMPLEMENTED, and the client does without."""
    service = await stand.call("POST", "/services")
    proxy = await stand.call("POST", "/proxies", address=service["addresses"][0])
    await stand.call("POST", f"/proxies/{proxy['id']}/faults", fault="no_sessions", method="Session")
    async with Client(proxy["address"]) as client:
        assert (await client.acquire("order:1")).outcome == "granted"
    assert (await stand.call("GET", f"/proxies/{proxy['id']}"))["calls"][0]["unary"]


@pytest.mark.parametrize(("tls", "how", "works"), [
    ("server", {"ca": "ca"}, True),
    ("server", {"ca": "other_ca"}, False),
    ("server", {}, False),
    ("expired", {"ca": "ca"}, False),
    ("mutual", {"ca": "ca", "cert": "cert", "key": "key"}, True),
    ("mutual", {"ca": "ca"}, False),
])  # fmt: skip
async def test_tls(stand: Stand, tls: str, how: dict[str, str], *, works: bool) -> None:
    """The certificates are good for what they are meant for."""
    service = await stand.call("POST", "/services", tls=tls)
    files = {name: service[file] for name, file in how.items()}
    async with Client(service["addresses"][0], retry_for=0, **files) as client:
        if works:
            assert (await client.acquire("order:1")).outcome == "granted"
        else:
            with pytest.raises(Unavailable):
                await client.acquire("order:1")


@pytest.mark.parametrize("kind", ["http", "closed"])
async def test_strangers(stand: Stand, kind: str) -> None:
    """None of them is lockservice."""
    address = (await stand.call("POST", "/strangers", kind=kind))["address"]
    async with Client(address, retry_for=0) as client:
        with pytest.raises(Unavailable, match=address):
            await client.acquire("order:1")


async def test_what_it_does_not_know(stand: Stand) -> None:
    """It says so, and what it does know."""
    assert "kinds are" in (await stand.call("POST", "/strangers", expect=400, kind="friend"))["error"]
    assert "no such service" in (await stand.call("POST", "/services/99/0/kill", expect=400))["error"]
