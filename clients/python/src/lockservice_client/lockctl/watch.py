"""A look at the service: its shards, a live table of its leases, and what is wrong."""

import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lockservice_client import __version__, blocking, errors
from lockservice_client.lockctl.session import EXIT_ERROR, Session, command

_TOP_LINES = 30
_PROBE = "lockctl:doctor"


def _shard_line(shard: Any) -> str:
    state = "up" if shard.healthy else f"DOWN: {shard.problem}"
    latency = f"p50 {shard.latency_p50 * 1e3:.2f} ms  p99 {shard.latency_p99 * 1e3:.2f} ms"
    return f"{shard.name:12} {shard.address:30} {latency}  {shard.locks_held} held  {shard.waiters} waiting  {state}"


@click.command()
@command
def shards(session: Session) -> None:
    """Show the shards."""
    with session.connect() as client:
        for shard in client.describe_shards():
            session.show(shard._asdict(), _shard_line(shard))


@click.command()
@click.option("--interval", type=float, default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--prefix", default="", help="Only resources that begin with this.")
@command
def top(session: Session, interval: float, prefix: str) -> None:
    """Show shards and the busiest resources, again and again; once when it is not on a terminal."""
    live = sys.stdout.isatty() and not session.as_json
    with session.connect() as client:
        while True:
            found = client.describe_shards()
            locks = sorted(client.list_locks(prefix), key=lambda lock: -lock.queue_length)[:_TOP_LINES]
            if live:
                click.clear()
            for shard in found:
                session.show(shard._asdict(), _shard_line(shard))
            for lock in locks:
                owner = lock.holder.owner if lock.holder else "(kept for a retry)"
                left = lock.holder.remaining if lock.holder else (lock.hold.remaining if lock.hold else 0.0)
                session.show(
                    lock._asdict(), f"{lock.queue_length:6} waiting  {left:7.1f} s  {lock.resource}  {owner}"
                )
            if not live:
                return
            time.sleep(interval)


@click.command()
@command
def version(session: Session) -> None:
    """Print the version of lockctl, and whether the server answers."""
    try:
        with session.connect() as client:
            server = f"{client.address} answers, {len(client.describe_shards())} shards"
    except errors.ServiceError as error:
        server = str(error)
    session.show({"lockctl": __version__, "server": server}, f"lockctl {__version__}\nserver: {server}")


@click.command()
@command
def doctor(session: Session) -> None:
    """Check, one by one, what a worker needs: name, connection, health, credentials, shards, a lease."""
    address = session.how["address"]
    checks: list[tuple[str, Callable[[], str]]] = [
        ("name", lambda: _resolve(address)),
        ("connection", lambda: _connect(address)),
        ("health", lambda: _health(session)),
        ("shards", lambda: _shards(session)),
        ("lease", lambda: _lease(session)),
    ]
    for name, check in checks:
        try:
            session.show({"check": name, "ok": True, "found": (found := check())}, f"ok      {name}: {found}")
        except (errors.ServiceError, errors.Refused, OSError, grpc.RpcError, ValueError) as error:
            text = error.details() if isinstance(error, grpc.Call) else str(error)
            session.show({"check": name, "ok": False, "found": text}, f"failed  {name}: {text}")
            sys.exit(EXIT_ERROR)


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    return host.strip("[]"), int(port)


def _resolve(address: str) -> str:
    host, port = _host_port(address)
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return f"{host} is {', '.join(sorted(found))}"


def _connect(address: str) -> str:
    started = time.monotonic()
    with socket.create_connection(_host_port(address), timeout=3):
        return f"{address} accepts, {(time.monotonic() - started) * 1e3:.1f} ms"


def _health(session: Session) -> str:
    how = session.how
    if how["ca"] or how["cert"]:
        return "asked over TLS by the next check"
    with grpc.insecure_channel(how["address"]) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # the stubs lack it
            health_pb2.HealthCheckRequest(service="readiness"), timeout=3
        )
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise ValueError("the server is not ready: see its /readyz for the reason")
    return "ready"


def _shards(session: Session) -> str:
    with session.connect() as client:
        found = client.describe_shards()
    down = [f"{shard.name}: {shard.problem}" for shard in found if not shard.healthy]
    if down:
        raise ValueError("; ".join(down))
    slow = [shard.name for shard in found if shard.latency_p99 > 0.010]  # noqa: PLR2004  the 10 ms rule
    return f"{len(found)} up" + (f"; p99 over 10 ms, shard further: {', '.join(slow)}" if slow else "")


def _lease(session: Session) -> str:
    client: blocking.Client
    with session.connect("lockctl doctor") as client:
        started = time.monotonic()
        with client.lock(_PROBE, ttl=5.0, wait=5.0) as lease:
            return f"token {lease.fencing_token}, {(time.monotonic() - started) * 1e3:.1f} ms"
