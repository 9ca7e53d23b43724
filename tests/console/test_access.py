"""Who sees what on the console, and which requests are refused, over real HTTP."""

import pytest

from console.guarded import BOSS, CARTS, SHOP, Guarded
from console.visitor import Visitor
from harness.service import Service
from lockservice.lease import AcquireAsk, Grant


async def test_everybody_on_this_machine_is_an_operator(service: Service) -> None:
    """Without credentials, on loopback: all is seen, a lease can be taken away, and its waiter goes on."""
    lease = await service.grant("cart:7", "slow")
    waiting = service.waiting("cart:7", "next")
    await service.queued(1, "cart:7")
    async with Visitor(service.server.ops_addr) as visitor:
        greeting, picture = await visitor.watch()
        assert (greeting["operator"], greeting["names"]) == (True, True)
        assert [seen["resource"] for seen in picture["longest"]] == ["cart:7"]
        assert picture["busiest"][0]["waiters"][0]["owner"] == "next"
        assert await visitor.force("cart:7", lease.fencing_token + 1) == (200, {"released": False})
        assert await visitor.force("cart:7", lease.fencing_token) == (200, {"released": True})
        assert (await waiting).lease.fencing_token > lease.fencing_token
        forced = (await visitor.told("ended"))[0]
    assert (forced["kind"], forced["resource"], forced["owner"]) == ("forced", "cart:7", "slow")
    assert forced["reason"] == "it hangs"


async def test_a_port_that_others_reach_shows_no_names(shards: list[str]) -> None:
    """Without credentials and without --insecure the shards are shown, and nothing can be done."""
    async with Service(shards, ops_addr="0.0.0.0:0") as service:
        lease = await service.grant("secret:1")
        address = service.server.ops_addr.replace("0.0.0.0", "127.0.0.1")
        async with Visitor(address) as visitor:
            greeting, picture = await visitor.watch()
            assert (greeting["operator"], greeting["names"]) == (False, False)
            assert [shard["name"] for shard in picture["shards"]] == ["s1", "s2"]
            assert "secret" not in str(picture)
            assert (await visitor.post("/console/resource", resource="secret:1"))[0] == 403
            assert (await visitor.force("secret:1", lease.fencing_token))[0] == 403
        assert (await service.inspect("secret:1")).lock.holder.owner == "worker"


async def test_insecure_trusts_everybody(shards: list[str]) -> None:
    """With --insecure, who reaches the port may do everything, as with gRPC."""
    async with Service(shards, ops_addr="0.0.0.0:0", insecure=True) as service:
        lease = await service.grant("cart:7")
        async with Visitor(service.server.ops_addr.replace("0.0.0.0", "127.0.0.1")) as visitor:
            assert await visitor.force("cart:7", lease.fencing_token) == (200, {"released": True})


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"X-Lockservice-Console": None},
    ],
)
async def test_pages_of_other_sites_are_refused(service: Service, headers: dict[str, str | None]) -> None:
    """Neither a form nor a script elsewhere, nor a name that leads here, sees or does anything."""
    lease = await service.grant("cart:7")
    visitor = Visitor(service.server.ops_addr)
    for name, value in headers.items():
        visitor._session.headers.pop(name, None)
        if value is not None:
            visitor._session.headers[name] = value
    async with visitor:
        assert (await visitor.force("cart:7", lease.fencing_token))[0] == 403
        assert (await visitor.post("/console/resource", resource="cart:7"))[0] == 403
        assert (await visitor.get("/console/feed"))[0] == 403
    assert (await service.inspect("cart:7")).lock.holder.owner == "worker"


async def test_requests_that_cannot_be_meant(service: Service) -> None:
    """A reason is required, and nothing longer than its limit is taken."""
    lease = await service.grant("cart:7")
    token = lease.fencing_token
    async with Visitor(service.server.ops_addr) as visitor:
        for resource, named, reason in (
            ("cart:7", token, " "), ("cart:7", token, "r" * 1025), ("", token, "r"), ("c" * 513, token, "r"),
            ("cart:7", str(token), "r"), ("cart:7", True, "r"), ("cart:7", -1, "r"), (7, token, "r"),
            ("\ud800", 1, "r"),
        ):  # fmt: skip
            body = {"resource": resource, "token": named, "reason": reason}
            assert (await visitor.post("/console/force-release", **body))[0] == 400, body
        async with visitor._session.post(
            f"http://{service.server.ops_addr}/console/force-release",
            data=b"{}",
            headers={"Content-Type": "text/plain"},
        ) as answer:
            assert answer.status == 415
        status, _ = await visitor.post("/console/resource", resource="cart:7", reason="r" * 20_000)
        assert status == 400
    assert (await service.inspect("cart:7")).lock.holder.owner == "worker"


async def test_without_a_known_token_nothing_is_seen(guarded: Guarded) -> None:
    """The page comes, its data does not, and the audit log is told."""
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": f"Bearer {'x' * 43}"}):
        async with guarded.visitor(**headers) as visitor:
            assert (await visitor.get("/"))[0] == 200
            assert (await visitor.get("/console/feed"))[0] == 401
            assert (await visitor.post("/console/resource", resource="cart:7"))[0] == 401
            assert (await visitor.force("cart:7", 1))[0] == 401
    assert len(guarded.audit.recent) == 9
    async with guarded.visitor() as visitor:
        assert (await visitor.get("/metrics"))[0] == (await visitor.get("/livez"))[0] == 200


async def test_prefixes_and_roles(guarded: Guarded, service: Service) -> None:
    """A worker sees what it may touch, takes nothing away, and knows only of its own refusals."""
    await service.grant("cart:7")
    lease = await service.grant("order:7")
    async with guarded.visitor(CARTS) as worker, guarded.visitor(BOSS) as boss:
        greeting, picture = await worker.watch()
        assert (greeting["name"], greeting["operator"], greeting["prefixes"]) == ("carts", False, ["cart:"])
        assert [seen["resource"] for seen in picture["longest"]] == ["cart:7"]
        cart = await worker.find("cart:7")
        assert (await worker.force("cart:7", cart["token"]))[0] == 403
        assert (await worker.post("/console/resource", resource="order:7"))[0] == 403
        assert len(await worker.told("refused")) == 2
        async with guarded.visitor("z" * 43) as nobody:
            await nobody.get("/console/feed")
        _, seen = await boss.watch()
        assert {seen["resource"] for seen in seen["longest"]} == {"cart:7", "order:7"}
        assert [refusal["owner"] for refusal in seen["refused"]] == ["", "carts", "carts"]
        assert len(await worker.told("refused")) == 2
        assert await boss.force("order:7", lease.fencing_token) == (200, {"released": True})
        forced = (await boss.told("ended"))[0]
    assert (forced["by"], forced["reason"]) == ("boss", "it hangs")
    event = guarded.audit.recent[-1]
    assert (event.kind, event.resource, event.owner, event.detail) == ("force-release", "order:7", "boss", "it hangs")


async def test_namespaces_are_apart(guarded: Guarded, service: Service) -> None:
    """An operator of one namespace neither sees nor ends what belongs to another, nor the other way round."""
    replica = service.server._replica
    assert replica is not None
    outside = await service.grant("cart:7")
    ask = {"namespace": "shop", "resource": "cart:8", "owner": "inside", "ttl_ms": 60_000}
    await grant_inside(service, ask)
    async with guarded.visitor(SHOP) as shop, guarded.visitor(BOSS) as boss:
        assert [seen["resource"] for seen in await shop.told("longest")] == ["cart:8"]
        assert [seen["resource"] for seen in await boss.told("longest")] == ["cart:7"]
        assert (await shop.find("cart:7"))["owner"] is None
        assert await shop.force("cart:7", outside.fencing_token) == (200, {"released": False})
        assert (await shop.find("cart:8"))["owner"] == "inside"


async def grant_inside(service: Service, ask: dict[str, object]) -> None:
    """Takes a lease in a namespace."""
    replica = service.server._replica
    assert replica is not None
    unset = {
        "wait_ms": 0, "request_id": "", "version": None, "after_version": None, "allow_stale": False,
        "event_id": "", "retention_ms": 1000,
    }  # fmt: skip
    granted = await replica.locks.acquire(AcquireAsk(**(unset | ask)))  # type: ignore[arg-type]
    assert isinstance(granted, Grant)


async def test_a_token_that_ends_ends_what_it_watches(guarded: Guarded) -> None:
    """Who is taken out of the file sees no further picture."""
    async with (
        guarded.visitor(CARTS) as visitor,
        visitor._session.get(f"http://{guarded.server.ops_addr}/console/feed") as feed,
    ):
        await feed.content.readuntil(b"event: picture")
        guarded.withdraw(CARTS)
        rest = await feed.content.read()
    # The file is looked at twice a second.
    assert rest.count(b"event: picture") <= 2


async def test_the_page_runs_nothing_of_others(service: Service) -> None:
    """Its headers allow its own files only, and only those are served."""
    async with Visitor(service.server.ops_addr) as visitor:
        async with visitor._session.get(f"http://{service.server.ops_addr}/") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for name in ("index.html", "console.js", "console.css", "icon.svg"):
            assert (await visitor.get(f"/console/{name}"))[0] == 200
        for name in ("x.js", "../routes.py", "%2e%2e/routes.py", "..%2froutes.py", "page"):
            assert (await visitor.get(f"/console/{name}"))[0] == 404, name
