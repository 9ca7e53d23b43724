"""The audit log: force-releases and refusals, limited so that a flood fills no disk, and never with a secret."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from harness.service import Service, refused
from harness.tenant import AuthFile, Caller
from lockservice import audit as audit_module
from lockservice.audit import Audit
from lockservice.limits import AUDIT_BURST, AUDIT_EVENTS_KEPT
from lockservice.v1 import lockservice_pb2 as pb


def _lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.name == "lockservice.audit"]


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_what_is_written(shards: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A force-release with who, what and why; a refusal with who, from where, which method, about what and why."""
    auth = AuthFile(tmp_path)
    auth.add("shop", "shop", prefixes=["order:"])
    async with (
        Service(shards, auth_file=auth.path) as running,
        Caller(running.server, auth.tokens["shop"]) as shop,
        Caller(running.server) as nobody,
    ):
        lease = await shop.grant("order:1")
        force = pb.ForceReleaseRequest(resource="order:1", fencing_token=lease.fencing_token, reason="stuck")
        await shop.admin.ForceRelease(force)
        await shop.admin.ForceRelease(force)
        await refused(shop.acquire("stock:1"))
        await refused(nobody.acquire("order:1"))
    forced, again, forbidden, unknown = _lines(caplog)
    assert [forced[key] for key in ("msg", "principal", "resource", "fencing_token", "reason", "released")] == [
        "force-release", "shop", "order:1", lease.fencing_token, "stuck", True
    ]  # fmt: skip
    assert again["released"] is False
    assert [forbidden[key] for key in ("msg", "principal", "method", "resource", "unwritten")] == [
        "refused", "shop", "Acquire", "stock:1", 0
    ]  # fmt: skip
    assert forbidden["reason"] == "this credential may not use stock:1"
    assert (unknown["principal"], unknown["method"]) == ("", "Acquire")
    assert unknown["peer"].startswith("ipv4:127.0.0.1:")
    assert "bearer token" in unknown["reason"]


async def test_who_is_known_is_named_though_the_call_got_nowhere(
    shards: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So for a role that is missing, and for calls that are too many, whose lines are those of their caller."""
    auth = AuthFile(tmp_path)
    auth.add("shop", "shop", roles=["worker"])
    auth.limit("shop", calls_a_second=1)
    async with Service(shards, auth_file=auth.path) as running, Caller(running.server, auth.tokens["shop"]) as shop:
        await refused(shop.inspect())
        admission = running.server._admission
        assert admission is not None
        # All calls come in one moment, however slow the machine is.
        admission.quotas._clock = lambda: 0.0
        await shop.grant()
        await refused(shop.acquire())
    role, rate = _lines(caplog)
    assert (role["principal"], role["method"]) == ("shop", "Inspect")
    assert (rate["principal"], rate["method"]) == ("shop", "Acquire")
    assert "role operator" in role["reason"]
    assert "1 calls a second" in rate["reason"]


async def test_a_force_release_without_credentials_is_written_too(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Who did it is not known then."""
    lease = await service.grant()
    force = pb.ForceReleaseRequest(resource="order:1001", fencing_token=lease.fencing_token, reason="stuck")
    await service.admin.ForceRelease(force)
    (line,) = _lines(caplog)
    assert (line["principal"], line["reason"]) == ("", "stuck")


def test_a_flood_is_cut_and_hides_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """A caller's refusals are written up to a bound and then one a second, which says how many were left out."""
    clock = Clock()
    audit = Audit(clock)
    for _ in range(10_000):
        audit.refused("", "Acquire", "", "unknown token")
    audit.refused("shop", "Acquire", "stock:1", "prefix")
    assert len(_lines(caplog)) == AUDIT_BURST + 1
    assert _lines(caplog)[-1]["principal"] == "shop"
    clock.now += 1
    for _ in range(1_000):
        audit.refused("", "Acquire", "", "unknown token")
    assert [line["unwritten"] for line in _lines(caplog)[AUDIT_BURST + 1 :]] == [10_000 - AUDIT_BURST]


def test_a_flood_that_is_not_cut_would_be_noticed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: every refusal is written."""
    monkeypatch.setattr(audit_module._Allowance, "take", lambda *_: True)
    with pytest.raises(AssertionError):
        test_a_flood_is_cut_and_hides_nobody_else(caplog)


def test_the_recent_events_are_bounded() -> None:
    """Operators see the last ones; every force-release is among them, whatever was refused meanwhile."""
    audit = Audit(Clock())
    audit.force_released("ops", "order:1", 7, "stuck", released=True)
    for _ in range(10_000):
        audit.refused("", "Acquire", "order:2", "unknown token")
    first, *_, last = audit.recent
    assert (first.kind, first.resource, first.owner, first.detail) == ("force-release", "order:1", "ops", "stuck")
    assert (last.kind, last.resource, last.owner, last.detail) == ("refused", "order:2", "", "Acquire: unknown token")
    for number in range(10_000):
        audit.force_released("ops", f"order:{number}", 7, "stuck", released=True)
    assert len(audit.recent) == AUDIT_EVENTS_KEPT


async def test_a_flood_of_wrong_tokens_leaves_few_lines(
    shards: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So it does on the wire, where callers without a credential are one caller, whatever port they come from."""
    caplog.set_level(logging.INFO)
    auth = AuthFile(tmp_path)
    auth.add("shop", "shop")
    async with Service(shards, auth_file=auth.path) as running, Caller(running.server, "x" * 43) as caller:
        await asyncio.gather(*(refused(caller.acquire()) for _ in range(300)))
    assert AUDIT_BURST <= len(_lines(caplog)) < 2 * AUDIT_BURST
