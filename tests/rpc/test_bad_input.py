"""Bad input gets its named answer, names the field and the limit, and changes nothing in Redis."""

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status

from harness.redis_server import RedisServer
from harness.service import Service, reason_of
from lockservice.limits import BUCKETS
from lockservice.v1 import lockservice_pb2 as pb

SECOND = Duration(seconds=1)


def acquire(**fields: Any) -> pb.AcquireRequest:
    return pb.AcquireRequest(**{"resource": "r", "owner": "o", **fields})


def dedupe(**fields: Any) -> pb.DedupeRequest:
    return pb.DedupeRequest(**{"key": "k", **fields})


def release(**fields: Any) -> pb.ReleaseRequest:
    return pb.ReleaseRequest(**{"resource": "r", "lease_id": "l", **fields})


# Method, request, the field that is named.
REFUSED: list[tuple[str, Any, str]] = [
    ("Acquire", acquire(resource=""), "resource"),
    ("Acquire", acquire(resource="x" * 513), "resource"),
    ("Acquire", acquire(resource="é" * 257), "resource"),
    ("Acquire", acquire(resource="a\0b"), "resource"),
    ("Acquire", acquire(resource="a\r\nb"), "resource"),
    ("Acquire", acquire(resource="a\x7fb"), "resource"),
    ("Acquire", acquire(resource="é\x85"), "resource"),
    ("Acquire", acquire(resource="e\u0301"), "resource"),
    ("Acquire", acquire(owner=""), "owner"),
    ("Acquire", acquire(owner="x" * 257), "owner"),
    ("Acquire", acquire(ttl=Duration()), "ttl"),
    ("Acquire", acquire(ttl=Duration(seconds=-1)), "ttl"),
    ("Acquire", acquire(ttl=Duration(nanos=99_000_000)), "ttl"),
    ("Acquire", acquire(ttl=Duration(seconds=3_600, nanos=1_000_000)), "ttl"),
    ("Acquire", acquire(ttl=Duration(seconds=2**62)), "ttl"),
    ("Acquire", acquire(ttl=Duration(seconds=1, nanos=1_500_000_000)), "ttl"),
    ("Acquire", acquire(ttl=Duration(seconds=1, nanos=-1)), "ttl"),
    ("Acquire", acquire(wait_timeout=Duration(seconds=-1)), "wait_timeout"),
    ("Acquire", acquire(wait_timeout=Duration(seconds=3_601)), "wait_timeout"),
    ("Acquire", acquire(request_id="x" * 129), "request_id"),
    ("Acquire", acquire(version=-1), "version"),
    ("Acquire", acquire(version=2**53), "version"),
    ("Acquire", acquire(version=2**53 + 1), "version"),
    ("Acquire", acquire(after_version=-1), "after_version"),
    ("Acquire", acquire(after_version=2**53), "after_version"),
    ("Acquire", acquire(event_id="x" * 513), "event_id"),
    ("Acquire", acquire(event_id="e", event_retention=Duration(nanos=999_000_000)), "event_retention"),
    ("Acquire", acquire(event_id="e", event_retention=Duration(seconds=30 * 86_400 + 1)), "event_retention"),
    ("Renew", pb.RenewRequest(resource="", lease_id="l"), "resource"),
    ("Renew", pb.RenewRequest(resource="r", lease_id=""), "lease_id"),
    ("Renew", pb.RenewRequest(resource="r", lease_id="x" * 65), "lease_id"),
    ("Renew", pb.RenewRequest(resource="r", lease_id="l", ttl=Duration(seconds=-5)), "ttl"),
    ("Release", release(lease_id=""), "lease_id"),
    ("Release", release(disposition=7), "disposition"),
    ("Release", release(disposition=pb.DISPOSITION_RETRY, hold=Duration(seconds=3_601)), "hold"),
    ("Release", release(disposition=pb.DISPOSITION_RETRY, hold=Duration(seconds=-1)), "hold"),
    ("Release", release(disposition=pb.DISPOSITION_DONE, hold=SECOND), "hold"),
    ("Dedupe", dedupe(key=""), "key"),
    ("Dedupe", dedupe(key="x" * 513), "key"),
    ("Dedupe", dedupe(retention=Duration(nanos=1)), "retention"),
    ("Dedupe", dedupe(retention=Duration(seconds=31 * 86_400)), "retention"),
    ("Dedupe", dedupe(claim_ttl=Duration(nanos=1)), "claim_ttl"),
    ("Dedupe", dedupe(claim_ttl=Duration(seconds=3_601)), "claim_ttl"),
    ("Dedupe", dedupe(fingerprint=b"x" * 65), "fingerprint"),
    ("Dedupe", dedupe(wait_timeout=Duration(seconds=-1)), "wait_timeout"),
    ("RenewClaim", pb.RenewClaimRequest(key="k", claim_id=""), "claim_id"),
    ("Settle", pb.SettleRequest(key="k", claim_id="c", result=b"x" * 4_097), "result"),
    ("Settle", pb.SettleRequest(key="k", claim_id="c", disposition=9), "disposition"),
    ("Inspect", pb.InspectRequest(resource=""), "resource"),
    ("ListLocks", pb.ListLocksRequest(prefix="x" * 513), "prefix"),
    ("ForceRelease", pb.ForceReleaseRequest(resource="r", fencing_token=0), "fencing_token"),
    ("ForceRelease", pb.ForceReleaseRequest(resource="r", fencing_token=-1), "fencing_token"),
    ("ForceRelease", pb.ForceReleaseRequest(resource="r", fencing_token=2**53), "fencing_token"),
    ("ForceRelease", pb.ForceReleaseRequest(resource="r", fencing_token=1, reason="x" * 1_025), "reason"),
]


def keys_of(servers: list[RedisServer]) -> set[str]:
    """Returns every key that a call could have made; sweeps seed counters by themselves."""
    found = set()
    for server in servers:
        with server.connect() as connection:
            found |= {key for key in connection.scan_iter() if not key.endswith((":token", ":incarnation", ":map"))}
    return found


async def call(service: Service, method: str, request: Any) -> Any:
    stub = service.locks if hasattr(service.locks, method) else service.admin
    answer = getattr(stub, method)(request)
    if method == "ListLocks":
        return [page async for page in answer]
    return await answer


async def test_bad_fields_are_named(service: Service, servers: list[RedisServer]) -> None:
    """INVALID_ARGUMENT with the field, its limit and INVALID_FIELD, for each of them; Redis never hears of it."""
    for method, request, field in REFUSED:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(service, method, request)
        error = refused.value
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, (method, request)
        assert reason_of(error) == "INVALID_FIELD"
        bad = BadRequest()
        status = rpc_status.from_call(error)
        assert status is not None
        assert any(detail.Unpack(bad) for detail in status.details)
        assert [violation.field for violation in bad.field_violations] == [field], (method, request)
        assert bad.field_violations[0].description
    assert keys_of(servers) == set()


async def test_text_that_is_not_utf8_is_named(service: Service) -> None:
    """Protobuf refuses it before any field can be read; the answer is INVALID_ARGUMENT all the same."""
    raw = service.channel.unary_unary("/lockservice.v1.LockService/Acquire")

    for wire, field in ((b"\x0a\x02\xff\xfe\x12\x01o", "resource"), (b"\x0a\x01r\x12\x02\xc3\x28", "owner")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await raw(wire)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field in (refused.value.details() or "")


async def test_bytes_that_are_no_message(service: Service) -> None:
    """INVALID_ARGUMENT too, not INTERNAL."""
    raw = service.channel.unary_unary("/lockservice.v1.LockService/Acquire")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await raw(b"\xff\xff\xff\xff")

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_unknown_fields_are_ignored(service: Service) -> None:
    """A newer client may send more."""
    raw = service.channel.unary_unary(
        "/lockservice.v1.LockService/Acquire", response_deserializer=pb.AcquireResponse.FromString
    )

    answer = await raw(acquire().SerializeToString() + b"\xf2\x3f\x03new")

    assert answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_an_unknown_method_is_unimplemented(service: Service) -> None:
    """As gRPC says it."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.channel.unary_unary("/lockservice.v1.LockService/Steal")(b"")

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_over_64_kib_is_refused(service: Service) -> None:
    """RESOURCE_EXHAUSTED, before it is parsed."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(service, "Settle", pb.SettleRequest(key="k", claim_id="c", result=b"x" * 70_000))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_over_16_kib_is_refused_by_the_transport(service: Service) -> None:
    """RESOURCE_EXHAUSTED."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.locks.Acquire(acquire(), metadata=(("x-big", "y" * 20_000),))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


STRANGE = [
    "{b0}:token",
    "ls:{b1}:lease:order",
    "../../etc/passwd",
    "a/b",
    "*",
    "[a-z]?",
    "']] redis.call('FLUSHALL') --",
    "order 1001",
    "注文:1001",
    "%7Bb0%7D",
    "x" * 512,
    "🧾" * 128,
]


async def test_strange_names_are_names_like_any_other(service: Service, servers: list[RedisServer]) -> None:
    """Braces, globs, Lua and slashes are inert: each is its own resource, in its own bucket, shown as it was sent."""
    leases = [await service.grant(name) for name in STRANGE]

    for name, lease in zip(STRANGE, leases, strict=True):
        assert (await service.inspect(name)).lock.holder.fencing_token == lease.fencing_token
    listed = [lock async for page in service.admin.ListLocks(pb.ListLocksRequest()) for lock in page.locks]
    assert sorted(lock.resource for lock in listed) == sorted(STRANGE)
    buckets = {key.split("}")[0] for key in keys_of(servers)}
    assert buckets <= {f"ls:{{b{n}" for n in range(BUCKETS)}


async def test_a_lease_id_of_another_resource_does_nothing(service: Service) -> None:
    """A lease id is good for its own resource only."""
    lease = await service.grant("order:1")
    other = await service.grant("order:2")
    swapped = pb.Lease(resource="order:2", lease_id=lease.lease_id)

    assert await service.release(swapped) == pb.RELEASE_OUTCOME_NOT_HELD
    assert await service.renew(other) == pb.RENEW_OUTCOME_RENEWED


async def test_unknown_ids_are_not_held(service: Service) -> None:
    """Renew, Release and Settle of what was never granted are answers, not errors."""
    nothing = pb.Lease(resource="order:1", lease_id="never")

    assert await service.renew(nothing) == pb.RENEW_OUTCOME_NOT_HELD
    assert await service.release(nothing) == pb.RELEASE_OUTCOME_NOT_HELD
    assert await service.settle("k", "never") == pb.SETTLE_OUTCOME_NOT_HELD


async def test_the_largest_allowed_values_work(service: Service) -> None:
    """What the limits allow is served."""
    response = await service.locks.Acquire(
        acquire(
            resource="r" * 512,
            owner="o" * 256,
            ttl=Duration(seconds=3_600),
            wait_timeout=Duration(seconds=3_600),
            request_id="i" * 128,
            version=2**53 - 1,
            event_id="e" * 512,
            event_retention=Duration(seconds=30 * 86_400),
        )
    )

    assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert await service.release(response.lease) == pb.RELEASE_OUTCOME_RELEASED
    assert (await service.inspect("r" * 512)).lock.completed_version == 2**53 - 1
