"""Who gets in, as whom, and what it may call: tokens, certificates, roles, prefixes, and a file that changes."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from harness.service import Service, reason_of, refused, until
from harness.stream import Stream, acquire, reason
from harness.tenant import AuthFile, Authority, Caller
from lockservice.auth_file import ROLES
from lockservice.credentials import Credentials, Principal, new_token
from lockservice.v1 import lockservice_pb2 as pb


@pytest.fixture
def auth(tmp_path: Path) -> AuthFile:
    """A file with two tenants, one of them with callers of one role each."""
    file = AuthFile(tmp_path)
    file.add("shop", "shop")
    file.add("bank", "bank")
    file.add("shop-worker", "shop", roles=["worker"], prefixes=["order:", "cart:"])
    file.add("shop-operator", "shop", roles=["operator"], prefixes=["order:"])
    return file


@pytest.fixture
async def guarded(shards: list[str], auth: AuthFile) -> AsyncIterator[Service]:
    """A service that asks for credentials, in the clear, on loopback."""
    async with Service(shards, auth_file=auth.path) as running:
        yield running


async def _looked(service: Service) -> None:
    """Has the service look at its file now, rather than within half a second."""
    admission = service.server._admission
    assert admission is not None
    assert admission.credentials is not None
    admission.credentials.look()


def _is(error: grpc.aio.AioRpcError, code: grpc.StatusCode, reason: str) -> bool:
    return error.code() is code and reason_of(error) == reason


MISSING = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING")
FORBIDDEN = (grpc.StatusCode.PERMISSION_DENIED, "RESOURCE_FORBIDDEN")


async def test_a_token_lets_in(guarded: Service, auth: AuthFile) -> None:
    """Who presents a token of the file is served."""
    async with Caller(guarded.server, auth.tokens["shop"]) as shop:
        lease = await shop.grant()
        assert (await shop.inspect()).lock.holder.fencing_token == lease.fencing_token


UNKNOWN = new_token()[0]


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", f"Bearer {UNKNOWN}"),),
        (("authorization", "Bearer"),),
        (("authorization", ""),),
        (("authorization", UNKNOWN),),
        (("authorization", f"Basic {UNKNOWN}"),),
        (("x-token", "VALID"),),
        (("authorization", "Bearer VALID"), ("authorization", f"Bearer {UNKNOWN}")),
        (("authorization", "Bearer VALIDx"),),
        (("authorization", "Bearer CUT"),),
        (("authorization", "Bearer HASH"),),
    ],
)
async def test_nobody_else_gets_in(guarded: Service, auth: AuthFile, metadata: Any) -> None:
    """No credential, a wrong one, two at once, a part of one, and the hash that the file has: UNAUTHENTICATED.

    So for every method, the stream of a Session included, and before the request is looked at.
    """
    token = auth.tokens["shop"]
    hashed = auth.path.read_text().split('token-sha256 = ["')[1][:64]
    words = {"VALID": token, "CUT": token[:-1], "HASH": hashed}
    for word, meant in words.items():
        metadata = [(name, value.replace(word, meant)) for name, value in metadata]
    async with Caller(guarded.server, metadata=metadata) as caller:
        assert _is(await refused(caller.acquire("")), *MISSING)
        assert _is(await refused(caller.inspect()), *MISSING)
        assert _is(await refused(caller.dedupe()), *MISSING)
        assert _is(await refused(caller.admin.ListLocks(pb.ListLocksRequest()).read()), *MISSING)
        assert _is(await refused(caller.locks.Session().read()), *MISSING)


async def test_a_check_that_knows_everybody_would_be_noticed(
    guarded: Service, auth: AuthFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: tokens are not compared, and who has a wrong one gets in."""
    monkeypatch.setattr(Credentials, "_of_token", lambda *_: Principal("x", "", ("",), frozenset({"worker"})))
    with pytest.raises(AssertionError):
        await test_nobody_else_gets_in(guarded, auth, (("authorization", f"Bearer {UNKNOWN}"),))


async def test_a_short_token_is_not_accepted_though_its_hash_is_known(guarded: Service, auth: AuthFile) -> None:
    """A word that somebody thought of is no token: its hash can be guessed."""
    auth.add("weak", "shop")
    hashed = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"  # of the word password
    text = auth.path.read_text().replace(auth.path.read_text().rsplit('token-sha256 = ["', 1)[1][:64], hashed)
    auth.path.write_text(text)
    await _looked(guarded)
    async with Caller(guarded.server, "password") as caller:
        error = await refused(caller.acquire())
    assert _is(error, *MISSING)
    assert "43 characters" in str(error.details())


async def test_health_is_open_to_all(guarded: Service) -> None:
    """Probes have no credential."""
    check = guarded.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"") == b"\x08\x01"


async def test_roles(guarded: Service, auth: AuthFile) -> None:
    """A worker may not look into the service, an operator takes no leases."""
    async with (
        Caller(guarded.server, auth.tokens["shop-worker"]) as worker,
        Caller(guarded.server, auth.tokens["shop-operator"]) as operator,
    ):
        lease = await worker.grant("order:1")
        assert _is(await refused(worker.inspect("order:1")), *FORBIDDEN)
        assert _is(await refused(worker.admin.DescribeShards(pb.DescribeShardsRequest())), *FORBIDDEN)
        force = pb.ForceReleaseRequest(resource="order:1", fencing_token=lease.fencing_token, reason="stuck")
        assert _is(await refused(worker.admin.ForceRelease(force)), *FORBIDDEN)
        assert _is(await refused(operator.acquire("order:1")), *FORBIDDEN)
        assert _is(await refused(operator.locks.Session().read()), *FORBIDDEN)
        assert (await operator.inspect("order:1")).lock.holder.owner == "worker"
        assert (await operator.admin.ForceRelease(force)).released


async def test_a_role_that_everybody_has_would_be_noticed(
    guarded: Service, auth: AuthFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: whoever is known has both roles."""
    identify = Credentials.identify

    def with_both(self: Credentials, *presented: Any) -> Principal:
        return replace(identify(self, *presented), roles=ROLES)

    monkeypatch.setattr(Credentials, "identify", with_both)
    with pytest.raises(AssertionError, match="answered"):
        await test_roles(guarded, auth)


async def test_prefixes_hold_for_every_method(guarded: Service, auth: AuthFile) -> None:
    """A name outside the caller's prefixes is refused, event keys too, and none inside them."""
    async with (
        Caller(guarded.server, auth.tokens["shop-worker"]) as worker,
        Caller(guarded.server, auth.tokens["shop-operator"]) as operator,
    ):
        for name in ("stock:1", "order", "Order:1", "xorder:1"):
            lease = pb.Lease(resource=name, lease_id="l")
            force = pb.ForceReleaseRequest(resource=name, fencing_token=1)
            for call in (
                lambda name=name: worker.acquire(name),
                lambda lease=lease: worker.renew(lease),
                lambda lease=lease: worker.release(lease),
                lambda name=name: worker.dedupe(name),
                lambda name=name: worker.settle(name, "c"),
                lambda name=name: worker.locks.RenewClaim(pb.RenewClaimRequest(key=name, claim_id="c")),
                lambda name=name: operator.inspect(name),
                lambda force=force: operator.admin.ForceRelease(force),
                lambda name=name: operator.admin.ListLocks(pb.ListLocksRequest(prefix=name)).read(),
            ):
                assert _is(await refused(call()), *FORBIDDEN), name
        await worker.grant("order:1")
        await worker.grant("cart:1")
        assert (await worker.dedupe("order:1")).outcome == pb.DEDUPE_OUTCOME_FIRST
        assert _is(await refused(operator.admin.ListLocks(pb.ListLocksRequest()).read()), *FORBIDDEN)
        page = await operator.admin.ListLocks(pb.ListLocksRequest(prefix="order:")).read()
        assert [lock.resource for lock in page.locks] == ["order:1"]


async def test_a_principal_that_may_touch_everything_would_be_noticed(
    guarded: Service, auth: AuthFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: prefixes are not looked at."""
    monkeypatch.setattr(Principal, "may_touch", lambda *_: True)
    with pytest.raises(AssertionError):
        await test_prefixes_hold_for_every_method(guarded, auth)


async def test_prefixes_in_a_session(guarded: Service, auth: AuthFile) -> None:
    """An operation outside the prefixes is refused, and the others of its message go on."""
    async with Caller(guarded.server, auth.tokens["shop-worker"]) as worker, Stream(worker) as stream:
        await stream.send(acquire(1, "stock:1"), acquire(2, "order:1"))
        results = await stream.results(2)
        assert reason(results[1]) == "RESOURCE_FORBIDDEN"
        assert results[2].acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_rotation(guarded: Service, auth: AuthFile) -> None:
    """Two tokens are valid at once; the old one goes when the credential is replaced, without a restart."""
    old = auth.tokens["shop"]
    new = auth.rotate("shop")
    await _looked(guarded)
    async with Caller(guarded.server, old) as before, Caller(guarded.server, new) as after:
        lease = await before.grant()
        assert (await after.inspect()).lock.holder.fencing_token == lease.fencing_token
        newest = auth.add("shop", "shop")
        await _looked(guarded)
        assert _is(await refused(before.inspect()), *MISSING)
        assert _is(await refused(after.inspect()), *MISSING)
    async with Caller(guarded.server, newest) as shop:
        assert (await shop.inspect()).lock.holder.fencing_token == lease.fencing_token


async def test_the_file_is_looked_at_by_itself(guarded: Service, auth: AuthFile) -> None:
    """A change counts within a second or so of being written."""
    async with Caller(guarded.server, auth.tokens["bank"]) as bank:
        await bank.grant()
        auth.revoke("bank")

        async def out() -> bool:
            try:
                await bank.inspect()
            except grpc.aio.AioRpcError as error:
                return _is(error, *MISSING)
            return False

        await until(out, "the revoked token to be refused", within=3)


async def test_a_revoked_token_ends_the_operations_of_an_open_session(guarded: Service, auth: AuthFile) -> None:
    """An open Session is no way around: its next operation is refused. What waits already goes on."""
    async with Caller(guarded.server, auth.tokens["bank"]) as bank, Stream(bank) as stream:
        holder = await bank.grant("order:1")
        await stream.send(acquire(1, "order:1", wait=20), acquire(2, "order:2"))
        assert (await stream.result()).id == 2
        auth.revoke("bank")
        await _looked(guarded)
        await stream.send(acquire(3, "order:3"))
        assert reason(await stream.result()) == "CREDENTIAL_MISSING"
        assert _is(await refused(bank.release(holder)), *MISSING)


async def test_a_session_that_keeps_who_called_would_be_noticed(
    guarded: Service, auth: AuthFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: the version of the file never changes, so nobody is asked again."""
    taken = Credentials._take_over

    def take_over(self: Credentials, file: Any) -> None:
        taken(self, file)
        self.version = 1

    monkeypatch.setattr(Credentials, "_take_over", take_over)
    with pytest.raises(AssertionError):
        await test_a_revoked_token_ends_the_operations_of_an_open_session(guarded, auth)


@pytest.mark.parametrize("broken", ["[[credential]\n", "[[credential]]\nname = 'x'\n", "colour = 'red'\n", None])
async def test_a_broken_file_keeps_the_last_good_one(
    guarded: Service, auth: AuthFile, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    """A file that cannot be used, or is gone, is logged and changes nothing; the next good one is taken over."""
    async with Caller(guarded.server, auth.tokens["shop"]) as shop:
        await shop.grant()
        if broken is None:
            auth.path.unlink()
        else:
            auth.write(broken)
        with caplog.at_level(logging.INFO):
            await _looked(guarded)
            assert (await shop.inspect()).lock.holder.owner == "worker"
            auth.revoke("shop")
            await _looked(guarded)
        assert _is(await refused(shop.inspect()), *MISSING)
    events = [record.message for record in caplog.records if record.name == "lockservice.credentials"]
    assert events == ["auth file is not usable, the last good one stays in force", "auth file taken over"]


async def test_client_certificates(shards: list[str], auth: AuthFile, tmp_path: Path) -> None:
    """A certificate is known by its DNS names and URIs, by its common name only without any; a token wins."""
    auth.add("dns", "shop", certificates=["worker.example"])
    auth.add("uri", "bank", certificates=["spiffe://example.org/worker", "Worker Seven"])
    authority = Authority(tmp_path)
    tls = {"tls_cert": authority.cert, "tls_key": authority.key, "tls_client_ca": authority.ca}
    async with Service(shards, auth_file=auth.path, **tls) as running:
        server = running.server

        async def namespace_of(tls: grpc.ChannelCredentials, token: str | None = None) -> str:
            async with Caller(server, token, tls=tls) as caller:
                await caller.grant("order:1", owner=f"{token}")
            async with Caller(server, auth.tokens["shop"], tls=authority.channel("any.example")) as shop:
                (found,) = [name for name in ("shop", "bank") if await _forget(shop, auth, server, authority, name)]
                return found

        assert await namespace_of(authority.channel("worker.example")) == "shop"
        assert await namespace_of(authority.channel("spiffe://example.org/worker")) == "bank"
        assert await namespace_of(authority.channel(common_name="Worker Seven")) == "bank"
        assert await namespace_of(authority.channel("worker.example"), auth.tokens["bank"]) == "bank"
        for channel in (
            authority.channel("other.example"),
            authority.channel("other.example", common_name="Worker Seven"),
            authority.channel("worker.example", "spiffe://example.org/worker"),
        ):
            async with Caller(server, tls=channel) as caller:
                assert _is(await refused(caller.acquire()), *MISSING)
        async with Caller(server, UNKNOWN, tls=authority.channel("worker.example")) as caller:
            assert _is(await refused(caller.acquire()), *MISSING)
        async with Caller(server, auth.tokens["shop"], tls=authority.channel()) as caller:
            assert (await refused(caller.acquire())).code() is grpc.StatusCode.UNAVAILABLE


async def _forget(shop: Caller, auth: AuthFile, server: Any, authority: Authority, namespace: str) -> bool:
    """Says whether order:1 of a namespace is held, and frees it."""
    async with Caller(server, auth.tokens[namespace], tls=authority.channel("any.example")) as caller:
        held = (await caller.inspect("order:1")).lock.holder.fencing_token
        if held:
            await caller.admin.ForceRelease(pb.ForceReleaseRequest(resource="order:1", fencing_token=held))
        return bool(held)


async def test_tokens_over_tls(shards: list[str], auth: AuthFile, tmp_path: Path) -> None:
    """Without a client authority the token alone decides."""
    authority = Authority(tmp_path)
    async with Service(shards, auth_file=auth.path, tls_cert=authority.cert, tls_key=authority.key) as running:
        async with Caller(running.server, auth.tokens["shop"], tls=authority.channel()) as shop:
            await shop.grant()
        async with Caller(running.server, tls=authority.channel("worker.example")) as nobody:
            assert _is(await refused(nobody.acquire()), *MISSING)
