"""The replicas, each asked at its own address: whether it is ready, whom it lets in, and how it sees the shards."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lockservice_client import errors, messages
from lockservice_client._stubs import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc
from lockservice_client.channel import Target
from lockservice_client.lockctl.finding import Finding, fail, ok, warn
from lockservice_client.lockctl.reach import TIMEOUT_S, Address
from lockservice_client.lockctl.session import Session
from lockservice_client.values import Overview

_SKEW_S_MAX: Final = 0.5
_UNKNOWN: Final = "see that LOCKSERVICE_TOKEN or --cert is in the server's --auth-file, and has not been replaced"
_WORKER: Final = (
    "give the credential the role worker and a prefix of this name, or name a resource it may use: --resource"
)
_OPERATOR: Final = "run doctor once more with a credential of the role operator to see versions, shards and clocks"


class Replica(NamedTuple):
    """What asking at one address came to."""

    findings: list[Finding]
    overview: Overview | None
    admitted: bool


def ask(session: Session, address: Address, resource: str) -> Replica:
    """Asks one replica everything."""
    target = Target(**session.how)
    with target.open_blocking(at=str(address)) as channel:
        findings = [_health(channel, target, address)]
        if findings[0].level == "fail" and "UNAVAILABLE" in findings[0].found:
            return Replica(findings, None, admitted=False)
        admitted = _worker(channel, target, address, resource)
        findings += admitted
        told, clock = _overview(channel, target, address)
        findings += clock
        return Replica(findings, told, admitted=all(finding.level != "fail" for finding in admitted))


def _call(method: Any, request: Any, target: Target, address: Address) -> Any:
    """Makes a call. Raises ServiceError."""
    try:
        return method(request, timeout=TIMEOUT_S, metadata=target.metadata)
    except grpc.RpcError as error:
        # A failed call of either kind of channel has what is read from it.
        raise errors.service_error(cast("grpc.aio.AioRpcError", error), str(address)) from None


def _health(channel: grpc.Channel, target: Target, address: Address) -> Finding:
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # the stubs lack it
    advice = "see the replica's /readyz and its log for the reason"
    try:
        answer = _call(check, health_pb2.HealthCheckRequest(service="readiness"), target, address)
    except errors.ServiceError as error:
        return fail("health", f"{address}: {error}", advice)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return fail("health", f"{address} is not ready", advice)
    return ok("health", f"{address} is ready")


def _worker(channel: grpc.Channel, target: Target, address: Address, resource: str) -> list[Finding]:
    """Finds out whether a worker is let in, by renewing a lease that nobody has: that changes nothing."""
    request = pb.RenewRequest(resource=resource, lease_id=secrets.token_urlsafe(16))
    stub = pb_grpc.LockServiceStub(channel)
    try:
        _call(stub.Renew, request, target, address)
    except errors.NotAllowed as error:
        known = error.code is grpc.StatusCode.PERMISSION_DENIED
        return [fail("credentials", f"{address}: {error}", _WORKER if known else _UNKNOWN)]
    except errors.ServiceError as error:
        if error.reason:
            return [ok("credentials", f"{address} lets workers in")]  # The shard is in trouble, which is told below.
        return [fail("credentials", f"{address}: {error}", "see the replica's log")]
    return [ok("credentials", f"{address} lets workers in{_asks_nobody(stub, request, target)}")]


def _asks_nobody(stub: pb_grpc.LockServiceStub, request: pb.RenewRequest, target: Target) -> str:
    """Says that whoever has no credential is let in too; empty when that is not so."""
    if target.metadata is None:
        return ", and asks for no token"
    try:
        stub.Renew(request, timeout=TIMEOUT_S)
    except grpc.RpcError:
        return ""
    return ", those without a token too"


def _overview(channel: grpc.Channel, target: Target, address: Address) -> tuple[Overview | None, list[Finding]]:
    stub = pb_grpc.LockAdminServiceStub(channel)
    began, sent = datetime.now(UTC), time.monotonic()
    try:
        told = messages.overview(_call(stub.DescribeShards, pb.DescribeShardsRequest(), target, address))
    except errors.NotAllowed as error:
        return None, [warn("role", f"{address}: {error}", _OPERATOR)]
    except errors.ServiceError as error:
        return None, [fail("shards", f"{address}: {error}", "see the replica's log")]
    return told, _clock(address, told, began, timedelta(seconds=time.monotonic() - sent))


def _clock(address: Address, told: Overview, began: datetime, trip: timedelta) -> list[Finding]:
    """Compares the clocks: the answer was made between the request and its arrival."""
    if not told.replica:
        return []
    ahead = (told.time - began - trip).total_seconds()
    behind = (told.time - began).total_seconds()
    off = ahead if ahead > 0 else min(behind, 0.0)
    found = f"{address} is {off:+.3f} s off this machine, as far as that is certain"
    if abs(off) > _SKEW_S_MAX:
        advice = "mend time synchronisation here or there; leases do not depend on it, versions made from time do"
        return [warn("clock", found, advice)]
    return [ok("clock", found)]
