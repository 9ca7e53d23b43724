"""`lockctl doctor`: what a worker needs, checked one by one, each with what to do about it."""

import secrets
import socket
import ssl
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lockservice_client import errors
from lockservice_client.channel import Target
from lockservice_client.lockctl.session import EXIT_ERROR, Session, command

_TIMEOUT_S: Final = 3.0
_SKEW_S_MAX: Final = 1.0
_SLOW_S: Final = 0.010
_PROBES: Final = 5


class Check(NamedTuple):
    """One line of the report: how it is found, and what to do when it fails."""

    name: str
    find: Callable[[Session], str]
    advice: str


@click.command()
@command
def doctor(session: Session) -> None:
    """Check, one by one, what a worker needs: name, connection, TLS, health, credentials, shards, clock, a lease."""
    failed = False
    for check in CHECKS:
        try:
            found, ok = check.find(session), True
        except (errors.ServiceError, errors.Refused, OSError, grpc.RpcError, ValueError) as error:
            found, ok = (error.details() or "") if isinstance(error, grpc.Call) else str(error), False
        advice = "" if ok else check.advice
        text = f"ok      {check.name}: {found}" if ok else f"failed  {check.name}: {found}\n        -> {advice}"
        session.show({"check": check.name, "ok": ok, "found": found, "advice": advice}, text)
        failed = failed or not ok
        if failed and check.name in _STOPPERS:
            break
    if failed:
        sys.exit(EXIT_ERROR)


def _host_port(session: Session) -> tuple[str, int]:
    host, _, port = session.how["address"].removeprefix("dns:///").rpartition(":")
    return host.strip("[]"), int(port)


def _resolve(session: Session) -> str:
    host, port = _host_port(session)
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return f"{host} is {', '.join(sorted(found))}"


def _connect(session: Session) -> str:
    started = time.monotonic()
    with socket.create_connection(_host_port(session), timeout=_TIMEOUT_S):
        return f"{session.how['address']} accepts, {(time.monotonic() - started) * 1e3:.1f} ms"


def _tls(session: Session) -> str:
    how = session.how
    if not (how["ca"] or how["cert"]):
        return "not used"
    context = ssl.create_default_context(cafile=how["ca"])
    context.set_alpn_protocols(["h2"])
    if how["cert"]:
        context.load_cert_chain(how["cert"], how["key"])
    host, port = _host_port(session)
    with (
        socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        until: Any = (secure.getpeercert() or {}).get("notAfter", "unknown")
        return f"{secure.version()}, certificate good until {until}"


def _health(session: Session) -> str:
    how = session.how
    target = Target(**how)
    with target.open_blocking() as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # the stubs lack it
                health_pb2.HealthCheckRequest(service="readiness"), timeout=_TIMEOUT_S, metadata=target.metadata
            )
        except grpc.RpcError as error:
            # A failed call of either kind of channel has what is read from it.
            raise errors.service_error(cast("grpc.aio.AioRpcError", error), how["address"]) from error
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise ValueError("the server is not ready")
    return "ready"


def _credentials(session: Session) -> str:
    with session.connect("lockctl doctor") as client:
        client.inspect(_probe())
    return "accepted" if session.how["token"] or session.how["cert"] else "none given, none asked for"


def _shards(session: Session) -> str:
    with session.connect() as client:
        found = client.describe_shards()
    down = [f"{shard.name}: {shard.problem}" for shard in found if not shard.healthy]
    if down:
        raise ValueError("; ".join(down))
    slow = [shard.name for shard in found if shard.latency_p99 > _SLOW_S]
    return f"{len(found)} up" + (f"; p99 over 10 ms, look at: {', '.join(slow)}" if slow else "")


def _clock(session: Session) -> str:
    """Compares clocks by the moment at which a key was first seen, halfway between request and answer."""
    with session.connect("lockctl doctor") as client:
        began, sent = datetime.now(UTC), time.monotonic()
        seen = client.dedupe(_probe(), retention=1.0).first_seen
        trip = time.monotonic() - sent
    skew = (seen - began).total_seconds() - trip / 2
    if abs(skew) > _SKEW_S_MAX + trip / 2:
        raise ValueError(f"the shard's clock is {skew:+.3f} s from this machine's")
    return f"{skew * 1e3:+.0f} ms from this machine's, to within {trip * 500:.0f} ms"


def _lease(session: Session) -> str:
    spans = []
    with session.connect("lockctl doctor") as client:
        for _ in range(_PROBES):
            started = time.monotonic()
            with client.lock(_probe(), ttl=5.0):
                spans.append(time.monotonic() - started)
    return f"taken and given back; acquire takes {sorted(spans)[_PROBES // 2] * 1e3:.1f} ms (median of {_PROBES})"


def _probe() -> str:
    return f"lockctl:doctor:{secrets.token_hex(4)}"


CHECKS: Final = (
    Check("name", _resolve, "check the host of --server or LOCKSERVICE_ADDR, and this machine's DNS"),
    Check("connection", _connect, "is the server running, is the port right, does a firewall stand between?"),
    Check("tls", _tls, "check --ca, --cert and --key, and that the server's certificate names this host"),
    Check("health", _health, "see the server's /readyz and its log for the reason"),
    Check("credentials", _credentials, "check LOCKSERVICE_TOKEN or --cert, and the server's auth file"),
    Check("shards", _shards, "see that the shard's Redis runs and can be reached from the server"),
    Check("clock", _clock, "mend time synchronisation; leases do not depend on it, versions made from time do"),
    Check("lease", _lease, "see `lockctl shards` and the server's log"),
)
# Behind these every other check would only repeat the failure.
_STOPPERS: Final = ("name", "connection", "tls")
