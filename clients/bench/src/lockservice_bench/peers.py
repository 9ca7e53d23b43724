"""The peers that are measured in this process: for each a way to take a lock and to give it back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration
from redis.asyncio import Redis
from redis.asyncio.lock import Lock

from lockservice_client import Client
from lockservice_client._stubs import lockservice_pb2 as pb

TTL_S: Final = 10
WAIT_S: Final = 600
_SERVICE: Final = "/lockservice.v1.LockService/"
_TTL: Final = Duration(seconds=TTL_S)


class Peer(NamedTuple):
    """A way to hold a lock.

    Attributes:
        acquire: takes the caller's number and the lock's name; waits for the lock; returns what release wants.
        release: takes what acquire returned.
    """

    acquire: Callable[[int, str], Awaitable[Any]]
    release: Callable[[Any], Awaitable[Any]]


def empty(channel: grpc.aio.Channel) -> Peer:
    """Two empty calls, so that a pair is as many calls as an Acquire and a Release."""
    call = channel.unary_unary(
        _SERVICE + "Release",
        request_serializer=pb.ReleaseRequest.SerializeToString,
        response_deserializer=pb.ReleaseResponse.FromString,
    )
    request = pb.ReleaseRequest(resource="order:1001", lease_id="x" * 22)

    async def acquire(_caller: int, _name: str) -> None:
        await call(request)

    async def release(_held: None) -> None:
        await call(request)

    return Peer(acquire, release)


def unary(channel: grpc.aio.Channel) -> Peer:
    """A call each, by hand."""
    take = channel.unary_unary(
        _SERVICE + "Acquire",
        request_serializer=pb.AcquireRequest.SerializeToString,
        response_deserializer=pb.AcquireResponse.FromString,
    )
    give_back = channel.unary_unary(
        _SERVICE + "Release",
        request_serializer=pb.ReleaseRequest.SerializeToString,
        response_deserializer=pb.ReleaseResponse.FromString,
    )

    async def acquire(_caller: int, name: str) -> Any:
        answer = await take(pb.AcquireRequest(resource=name, owner="bench", ttl=_TTL))
        return answer.lease

    async def release(lease: Any) -> None:
        await give_back(pb.ReleaseRequest(resource=lease.resource, lease_id=lease.lease_id))

    return Peer(acquire, release)


def session(client: Client) -> Peer:
    """The Python client as workers use it: its callers share a Session without knowing."""

    async def acquire(_caller: int, name: str) -> Any:
        answer = await client.acquire(name, ttl=TTL_S, wait=WAIT_S)
        assert answer.grant is not None, answer
        return answer.grant

    async def release(grant: Any) -> None:
        await client.release(grant.resource, grant.lease_id)

    return Peer(acquire, release)


def redis_lock(redis: Redis) -> Peer:
    """redis-py's own Lock: a caller that waits asks again every 100 ms."""

    async def acquire(_caller: int, name: str) -> Lock:
        lock = Lock(redis, f"bench:{name}", timeout=TTL_S)
        await lock.acquire()
        return lock

    async def release(lock: Lock) -> None:
        await lock.release()

    return Peer(acquire, release)


@asynccontextmanager
async def frames(channel: grpc.aio.Channel, names: list[list[str]]) -> AsyncIterator[list["Lane"]]:
    """Opens Sessions by hand, each for locks of its own, with one message open at a time."""
    made = [Lane(channel, own) for own in names]
    yield made
    for lane in made:
        lane.close()


class Lane:
    """A Session that takes and gives back the same locks again and again."""

    def __init__(self, channel: grpc.aio.Channel, names: list[str]) -> None:
        self._call: Any = channel.stream_stream(
            _SERVICE + "Session", response_deserializer=pb.SessionResponse.FromString
        )()
        self._count = len(names)
        requests = [pb.AcquireRequest(resource=name, owner="bench", ttl=_TTL) for name in names]
        asked = [pb.Operation(id=index, acquire=request) for index, request in enumerate(requests)]
        self._acquires = pb.SessionRequest(operations=asked).SerializeToString()

    async def pairs(self) -> int:
        """Takes all locks and gives them back; returns how many operations that were."""
        await self._call.write(self._acquires)
        leases = [result.acquire.lease for result in await self._results()]
        releases = [{"resource": lease.resource, "lease_id": lease.lease_id} for lease in leases]
        asked: Any = [{"id": index, "release": request} for index, request in enumerate(releases)]
        await self._call.write(pb.SessionRequest(operations=asked).SerializeToString())
        for result in await self._results():
            assert result.release.outcome == pb.RELEASE_OUTCOME_RELEASED, result
        return 2 * self._count

    async def _results(self) -> list[pb.OperationResult]:
        found: list[pb.OperationResult] = []
        while len(found) < self._count:
            found += (await self._call.read()).results
        return found

    def close(self) -> None:
        """Ends the stream."""
        self._call.cancel()


async def gather(count: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Runs so many callers at once."""
    await asyncio.gather(*(work(number) for number in range(count)))
