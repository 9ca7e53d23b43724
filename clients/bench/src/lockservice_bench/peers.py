"""What is measured: for each peer a function that does one unit of work, and says how long its first part took."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from redis.asyncio import Redis
from redis.asyncio.lock import Lock

from lockservice_client._stubs import lockservice_pb2 as pb

# Takes the caller's number; returns seconds of its first call.
Work = Callable[[int], Awaitable[float]]

_SERVICE: Final = "/lockservice.v1.LockService/"
_TTL: Final = Duration(seconds=10)


def empty(channel: grpc.aio.Channel) -> Work:
    """Two empty calls, so that each unit is as many calls as an Acquire and a Release."""
    call = channel.unary_unary(
        _SERVICE + "Release",
        request_serializer=pb.ReleaseRequest.SerializeToString,
        response_deserializer=pb.ReleaseResponse.FromString,
    )
    request = pb.ReleaseRequest(resource="order:1001", lease_id="x" * 22)

    async def work(_caller: int) -> float:
        started = time.perf_counter()
        await call(request)
        taken = time.perf_counter() - started
        await call(request)
        return taken

    return work


def unary(channel: grpc.aio.Channel) -> Work:
    """An Acquire and a Release of a resource that nobody else wants."""
    acquire = channel.unary_unary(
        _SERVICE + "Acquire",
        request_serializer=pb.AcquireRequest.SerializeToString,
        response_deserializer=pb.AcquireResponse.FromString,
    )
    release = channel.unary_unary(
        _SERVICE + "Release",
        request_serializer=pb.ReleaseRequest.SerializeToString,
        response_deserializer=pb.ReleaseResponse.FromString,
    )

    async def work(caller: int) -> float:
        resource = f"order:{caller}"
        started = time.perf_counter()
        answer = await acquire(pb.AcquireRequest(resource=resource, owner="bench", ttl=_TTL))
        taken = time.perf_counter() - started
        await release(pb.ReleaseRequest(resource=resource, lease_id=answer.lease.lease_id))
        return taken

    return work


def redis_lock(redis: Redis) -> Work:
    """redis-py's own Lock, taken and given back."""

    async def work(caller: int) -> float:
        lock = Lock(redis, f"bench:{caller}", timeout=10)
        started = time.perf_counter()
        await lock.acquire()
        taken = time.perf_counter() - started
        await lock.release()
        return taken

    return work
