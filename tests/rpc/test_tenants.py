"""Two tenants on one service never meet, whatever their names look like."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.redis_server import RedisServer
from harness.service import Service
from harness.stream import Stream, acquire
from harness.tenant import AuthFile, Caller
from lockservice.rpc import admission
from lockservice.v1 import lockservice_pb2 as pb


class Tenants(NamedTuple):
    """Callers of three namespaces on one service; the third is the one that is used without credentials."""

    shop: Caller
    bank: Caller
    plain: Caller


@pytest.fixture
async def tenants(shards: list[str], tmp_path: Path) -> AsyncIterator[Tenants]:
    """A service for three tenants."""
    auth = AuthFile(tmp_path)
    for namespace in ("shop", "bank", ""):
        auth.add(namespace or "plain", namespace)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(Service(shards, auth_file=auth.path))
        callers = [Caller(running.server, auth.tokens[name]) for name in ("shop", "bank", "plain")]
        yield Tenants(*[await stack.enter_async_context(caller) for caller in callers])


async def _listed(caller: Caller, prefix: str = "", limit: int = 0) -> list[str]:
    request = pb.ListLocksRequest(prefix=prefix, limit=limit)
    return [lock.resource async for page in caller.admin.ListLocks(request) for lock in page.locks]


async def test_the_same_name_is_another_resource(tenants: Tenants) -> None:
    """Acquire, Renew, Release, Inspect, ListLocks and ForceRelease of one tenant do not touch the other's lease."""
    leases = [await caller.grant("order:1", owner=f"w{number}") for number, caller in enumerate(tenants)]
    for number, (caller, lease) in enumerate(zip(tenants, leases, strict=True)):
        shown = await caller.inspect("order:1")
        assert (shown.lock.holder.owner, shown.lock.holder.fencing_token) == (f"w{number}", lease.fencing_token)
        assert await _listed(caller) == ["order:1"]
    shop, bank, plain = tenants
    for stranger in (bank, plain):
        assert await stranger.renew(leases[0]) == pb.RENEW_OUTCOME_NOT_HELD
        assert await stranger.release(leases[0]) == pb.RELEASE_OUTCOME_NOT_HELD
    force = pb.ForceReleaseRequest(resource="order:1", fencing_token=leases[0].fencing_token, reason="not mine")
    if leases[0].fencing_token not in {leases[1].fencing_token, leases[2].fencing_token}:
        assert not (await bank.admin.ForceRelease(force)).released
    assert await shop.release(leases[0]) == pb.RELEASE_OUTCOME_RELEASED
    assert await _listed(shop) == []
    assert await _listed(bank) == await _listed(plain) == ["order:1"]


async def test_a_namespace_that_is_ignored_would_be_noticed(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: everybody is let into the namespace that is used without credentials."""

    def ignore(self: admission.Gate, context: object) -> object:
        return admission.EVERYBODY

    monkeypatch.setattr(admission.Gate, "admit", ignore)
    with pytest.raises(AssertionError):
        await test_the_same_name_is_another_resource(tenants)


async def test_versions_and_events_are_apart(tenants: Tenants) -> None:
    """What one tenant has completed is neither stale nor a duplicate for another."""
    lease = await tenants.shop.grant("order:1", version=7, event_id="e")
    await tenants.shop.release(lease)
    assert (await tenants.shop.acquire("order:1", event_id="e")).outcome == pb.ACQUIRE_OUTCOME_DUPLICATE
    for other in (tenants.bank, tenants.plain):
        found = await other.acquire("order:1", version=1, event_id="e")
        assert found.outcome == pb.ACQUIRE_OUTCOME_GRANTED
        assert not found.HasField("completed_version")


async def test_event_keys_are_apart(tenants: Tenants) -> None:
    """Each tenant is FIRST with a key, and settles only its own claim."""
    claims = [await caller.dedupe("event:1", claim_ttl=30) for caller in tenants]
    assert [claim.outcome for claim in claims] == [pb.DEDUPE_OUTCOME_FIRST] * 3
    assert await tenants.bank.settle("event:1", claims[0].claim_id) == pb.SETTLE_OUTCOME_NOT_HELD
    assert await tenants.shop.settle("event:1", claims[0].claim_id, result=b"mine") == pb.SETTLE_OUTCOME_SETTLED
    assert (await tenants.bank.dedupe("event:1")).outcome == pb.DEDUPE_OUTCOME_IN_PROGRESS
    assert (await tenants.shop.dedupe("event:1")).result == b"mine"


async def test_sessions_are_apart(tenants: Tenants) -> None:
    """The operations of a stream are those of its caller."""
    async with Stream(tenants.shop) as shop, Stream(tenants.bank) as bank:
        for stream in (shop, bank):
            await stream.send(acquire(1, "order:1"))
            assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_the_same_request_id_is_another_request(tenants: Tenants) -> None:
    """A request_id that a tenant learns of another's gets it nothing."""
    lease = await tenants.shop.grant("order:1", request_id="r")
    other = await tenants.bank.grant("order:1", request_id="r")
    assert other.lease_id != lease.lease_id


# What a tenant might send to reach a name of the namespace shop.
LOOK_ALIKES = [
    "shop/order:1",
    "/order:1",
    "../shop/order:1",
    "shop%2Forder:1",
    "ls:{b1}:lease:shop/order:1",
    "{b1}:lease:shop/order:1",
    "lease:shop/order:1",
    "shop\\order:1",
    "shop\N{FULLWIDTH SOLIDUS}order:1",
]


async def test_names_that_look_like_those_of_another_tenant(tenants: Tenants, servers: list[RedisServer]) -> None:
    """A name that is spelled like another tenant's stored key is a name of one's own, shown as it was sent."""
    mine = await tenants.shop.grant("order:1", owner="mine")
    for caller in (tenants.bank, tenants.plain):
        for name in LOOK_ALIKES:
            lease = await caller.grant(name)
            assert (await caller.inspect(name)).lock.holder.fencing_token == lease.fencing_token
        assert sorted(await _listed(caller)) == sorted(LOOK_ALIKES)
        assert sorted(await _listed(caller, "shop/")) == ["shop/order:1"]
    assert await _listed(tenants.shop) == ["order:1"]
    assert (await tenants.shop.inspect("order:1")).lock.holder.owner == "mine"
    assert await tenants.shop.renew(mine) == pb.RENEW_OUTCOME_RENEWED


async def test_a_list_is_full_though_others_have_many_locks(tenants: Tenants) -> None:
    """The locks of others neither show in a list nor use up its limit."""
    for number in range(50):
        await tenants.shop.grant(f"order:{number}")
    await tenants.plain.grant("order:1")
    assert await _listed(tenants.plain, limit=1) == ["order:1"]
    assert await _listed(tenants.plain, "s") == []
