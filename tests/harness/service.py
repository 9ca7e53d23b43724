"""A service inside the test's event loop, on real sockets, and short ways to call it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from lockservice.config import Settings, ShardUrl
from lockservice.guarantee import Guarantees
from lockservice.server import Server
from lockservice.v1 import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc


def duration(seconds: float | None) -> Duration | None:
    """Writes seconds as a Duration."""
    if seconds is None:
        return None
    span = Duration()
    span.FromNanoseconds(round(seconds * 1e9))
    return span


def settings(urls: Sequence[str], **changed: Any) -> Settings:
    """Makes settings for shards named s1, s2 and so on."""
    values: dict[str, Any] = {
        "grpc_addr": "127.0.0.1:0",
        "ops_addr": "127.0.0.1:0",
        "shards": tuple(ShardUrl(f"s{number}", url) for number, url in enumerate(urls, 1)),
        "embedded_shards": 1,
        "data_dir": Path("/nonexistent"),
        "redis_timeout_ms": 250,
        "guarantees": Guarantees({}, {}),
        "hold_off_ms": 30_000,
        "tls_cert": None,
        "tls_key": None,
        "tls_client_ca": None,
        "auth_file": None,
        "insecure": False,
        "workers": 1,
        "drain_delay_ms": 0,
        "shutdown_grace_ms": 2_000,
        "log_format": "json",
        "log_level": "info",
        "version_retention_ms": 86_400_000,
        "waiters_per_resource": 10_000,
        "waiters_per_replica": 20_000,
        "reflection": True,
    }
    return Settings(**(values | changed))


class Service:
    """A running replica and a connection to it."""

    def __init__(self, urls: Sequence[str], **changed: Any) -> None:
        self.server = Server(settings(urls, **changed))

    async def __aenter__(self) -> Self:
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(self.server.grpc_addr)
        self.locks = pb_grpc.LockServiceStub(self.channel)
        self.admin = pb_grpc.LockAdminServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop()

    async def acquire(self, resource: str = "order:1001", owner: str = "worker", **how: Any) -> Any:
        """Acquires; ttl, wait and retention in seconds."""
        request = pb.AcquireRequest(
            resource=resource,
            owner=owner,
            ttl=duration(how.pop("ttl", None)),
            wait_timeout=duration(how.pop("wait", None)),
            event_retention=duration(how.pop("retention", None)),
        )
        deadline = how.pop("deadline", None)
        request.MergeFrom(pb.AcquireRequest(**how))
        return await self.locks.Acquire(request, timeout=deadline)

    async def grant(self, resource: str = "order:1001", owner: str = "worker", **how: Any) -> Any:
        """Acquires, and returns the lease that must have been granted."""
        response = await self.acquire(resource, owner, **how)
        assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED, response
        return response.lease

    def waiting(self, resource: str = "order:1001", owner: str = "worker", **how: Any) -> asyncio.Task[Any]:
        """Begins to acquire with a wait."""
        return asyncio.create_task(self.acquire(resource, owner, **{"wait": 20, **how}))

    async def renew(self, lease: Any, ttl: float | None = None) -> Any:
        """Renews a lease."""
        request = pb.RenewRequest(resource=lease.resource, lease_id=lease.lease_id, ttl=duration(ttl))
        return (await self.locks.Renew(request)).outcome

    async def release(self, lease: Any, *, retry: bool = False, hold: float | None = None) -> Any:
        """Releases a lease."""
        request = pb.ReleaseRequest(
            resource=lease.resource,
            lease_id=lease.lease_id,
            disposition=pb.DISPOSITION_RETRY if retry else pb.DISPOSITION_DONE,
            hold=duration(hold),
        )
        return (await self.locks.Release(request)).outcome

    async def dedupe(self, key: str = "event", **how: Any) -> Any:
        """Claims an event key; claim_ttl, retention and wait in seconds."""
        spans = {name: duration(how.pop(name)) for name in ("claim_ttl", "retention") if name in how}
        request = pb.DedupeRequest(key=key, wait_timeout=duration(how.pop("wait", None)), **spans, **how)
        return await self.locks.Dedupe(request)

    async def settle(self, key: str, claim_id: str, *, retry: bool = False, result: bytes = b"") -> Any:
        """Settles a claim."""
        disposition = pb.DISPOSITION_RETRY if retry else pb.DISPOSITION_DONE
        request = pb.SettleRequest(key=key, claim_id=claim_id, disposition=disposition, result=result)
        return (await self.locks.Settle(request)).outcome

    async def inspect(self, resource: str = "order:1001") -> Any:
        """Inspects a resource."""
        return await self.admin.Inspect(pb.InspectRequest(resource=resource))

    async def queued(self, count: int, resource: str = "order:1001") -> None:
        """Returns once so many wait for a resource."""

        async def enough() -> bool:
            return bool((await self.inspect(resource)).lock.queue_length == count)

        await until(enough, f"{count} waiters")

    def metric(self, name: str, **labels: str) -> float:
        """Reads a metric of this replica."""
        replica = self.server._replica
        assert replica is not None
        return replica.locks.metrics.registry.get_sample_value(name, labels) or 0.0


async def until(condition: Callable[[], Any], what: str, within: float = 5.0) -> None:
    """Returns once a condition is true; fails when it is not within so many seconds."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert loop.time() < give_up, f"not within {within} s: {what}"
        await asyncio.sleep(0.005)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Returns the ErrorInfo reason of an error."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info):
            assert info.domain == "lockservice"
            return info.reason
    raise AssertionError("no ErrorInfo")


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Makes a call that must end in an error, and returns that."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"answered: {answer}")
