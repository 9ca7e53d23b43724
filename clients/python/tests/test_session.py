"""Calls that travel in frames of a stream mean what unary calls mean."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.code_pb2 import UNAVAILABLE
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from lockservice_client import Client, InvalidRequest, NotAllowed, ServiceError
from lockservice_client._stubs import lockservice_pb2 as pb

PassOn = Callable[[], Awaitable[bytes]]
Until = Callable[..., Awaitable[None]]


def operations(proxy: Any, kind: str) -> list[list[pb.Operation]]:
    """Returns the operations of a kind, by the frames that hold any."""
    frames = [[operation for operation in frame.operations if operation.HasField(kind)] for frame in proxy.frames]
    return [frame for frame in frames if frame]


async def _frames_of_100(client: Client, proxy: Any, resource: str) -> int:
    """Returns how many frames a hundred acquires of one moment took."""
    answers = await asyncio.gather(*(client.acquire(f"{resource}:{number}") for number in range(100)))
    assert {answer.outcome for answer in answers} == {"granted"}
    found = operations(proxy, "acquire")
    assert sum(len(frame) for frame in found) == 100
    return len(found)


async def test_s33_calls_of_one_moment_share_a_frame(session_client: Client, proxy: Any, resource: str) -> None:
    """A hundred acquires that are asked for in one turn leave in one frame."""
    assert await _frames_of_100(session_client, proxy, resource) == 1


async def test_frames_of_one_would_be_counted(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same count catches a client that sends each by itself."""
    monkeypatch.setattr("lockservice_client.stream.OPERATIONS_PER_FRAME_MAX", 1)
    assert await _frames_of_100(session_client, proxy, resource) == 100


async def test_frames_are_bounded_in_bytes(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operations that would make a frame too large for gRPC travel in several."""
    monkeypatch.setattr("lockservice_client.stream.FRAME_BYTES_MAX", 1_000)
    assert await _frames_of_100(session_client, proxy, resource) > 5


async def test_a_waiting_acquire_holds_nothing_back(session_client: Client, client: Client, resource: str) -> None:
    """While one acquire waits on the stream the results of others come."""
    async with client.lock(resource):
        waiting = asyncio.create_task(session_client.acquire(resource, wait=20))
        async with asyncio.timeout(5):
            for _ in range(10):
                assert (await session_client.acquire(resource)).outcome == "held"
        assert not waiting.done()
    assert (await waiting).outcome == "granted"


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_a_stream_that_ends_mid_call_is_followed_by_another(
    session_client: Client, proxy: Any, resource: str, code: grpc.StatusCode
) -> None:
    """However a stream ends, what was open is repeated on the next with the same ids, and gives one lease."""

    async def end(method: str, context: Any, pass_on: PassOn) -> bytes:
        proxy.fault = None
        await pass_on()
        context.session.end(code)
        await asyncio.sleep(30)
        return b""

    proxy.fault = end
    answer = await session_client.acquire(resource, ttl=30)
    assert answer.grant is not None
    first, second = proxy.requests("Acquire")
    assert first == second
    assert proxy.streams == 2
    lock, _ = await session_client.inspect(resource)
    assert lock.holder is not None
    assert lock.holder.fencing_token == answer.grant.fencing_token


async def test_many_callers_make_one_new_stream(session_client: Client, proxy: Any, resource: str) -> None:
    """A hundred calls that lose their stream share the next one."""
    blocker = await session_client.acquire(resource, ttl=30)
    assert blocker.grant is not None
    waiting = [asyncio.create_task(session_client.acquire(resource, ttl=1, wait=0.5)) for _ in range(100)]
    while len(proxy.requests("Acquire")) < 101:
        await asyncio.sleep(0.01)
    proxy.live[0].end(grpc.StatusCode.UNAVAILABLE)
    assert {answer.outcome for answer in await asyncio.gather(*waiting)} == {"held"}
    assert proxy.streams == 2
    assert len({pb.AcquireRequest.FromString(data).request_id for data in proxy.requests("Acquire")}) == 101


def _idle(client: Client) -> bool:
    session = client._asking._session
    return session is not None and session._stream is None


async def test_a_stream_that_ends_while_idle_is_no_error(proxy: Any, resource: str, until: Until) -> None:
    """After the end of an idle stream the next call opens another, without any repetition."""
    async with Client(proxy.address, retry_for=0.0) as client:
        for number in range(3):
            assert (await client.acquire(f"{resource}:{number}")).outcome == "granted"
            proxy.live[0].end()
            await until(lambda: _idle(client), "the end is known")
    assert proxy.streams == 3


async def test_a_draining_replica_gets_nothing_new(
    session_client: Client, client: Client, proxy: Any, resource: str
) -> None:
    """After DRAINING calls travel on another stream, while what is open on the old one is still answered."""
    streams = []

    async def drain(method: str, context: Any, pass_on: PassOn) -> bytes:
        streams.append(context.session)
        if len(streams) == 2:
            packed = AnyMessage()
            packed.Pack(ErrorInfo(reason="DRAINING", domain="lockservice"))
            status = Status(code=UNAVAILABLE, message="going away", details=[packed])
            await context.abort_with_status(rpc_status.to_status(status))
        return await pass_on()

    proxy.fault = drain
    async with client.lock(resource):
        waiting = asyncio.create_task(session_client.acquire(resource, wait=20))
        while not streams:
            await asyncio.sleep(0.01)
        assert (await session_client.acquire(f"{resource}:other")).outcome == "granted"
        assert not waiting.done()
    assert (await waiting).outcome == "granted"
    assert streams[0] is streams[1]
    assert streams[1] is not streams[2]
    assert len(streams) == 3


async def test_s34_without_sessions_calls_are_unary(proxy: Any, resource: str) -> None:
    """A server without sessions is asked once a channel, and nobody hears of it."""
    proxy.no_sessions = grpc.StatusCode.UNIMPLEMENTED
    async with Client(proxy.address, retry_for=0.0) as client:
        for number in range(3):
            answers = await asyncio.gather(*(client.acquire(f"{resource}:{number}:{each}") for each in range(10)))
            assert {answer.outcome for answer in answers} == {"granted"}
    assert proxy.streams == 1
    assert len(proxy.requests("Acquire")) == 30


async def test_unary_makes_no_stream(proxy: Any, resource: str) -> None:
    """`unary=True` opens no stream at all."""
    async with Client(proxy.address, unary=True) as client, client.lock(resource):
        pass
    assert proxy.streams == 0


async def test_a_stream_that_is_refused_tells_its_callers(session_client: Client, proxy: Any, resource: str) -> None:
    """A credential that is not taken is said at once, by the name that a unary call gives it."""
    proxy.no_sessions = grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(NotAllowed, match="LOCKSERVICE_TOKEN"):
        await session_client.acquire(resource)
    assert proxy.streams == 1


async def _most_open(client: Client, proxy: Any, resource: str) -> tuple[int, list[str]]:
    """Returns how many of 60 acquires were open at once, and in which order they came."""
    now_open, most = 0, 0

    async def fault(_: str, __: Any, pass_on: PassOn) -> bytes:
        nonlocal now_open, most
        now_open += 1
        most = max(most, now_open)
        await asyncio.sleep(0.02)
        now_open -= 1
        return await pass_on()

    proxy.fault = fault
    await asyncio.gather(*(client.acquire(f"{resource}:{number:02}") for number in range(60)))
    return most, [pb.AcquireRequest.FromString(data).resource for data in proxy.requests("Acquire")]


async def test_more_than_a_stream_takes_wait_in_order(
    session_client: Client, proxy: Any, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers beyond the limit of open operations wait their turn and are not refused."""
    monkeypatch.setattr("lockservice_client.pending.OPEN_MAX", 7)
    most, order = await _most_open(session_client, proxy, resource)
    assert most == 7
    assert order == sorted(order)


async def test_without_the_limit_all_would_be_open(session_client: Client, proxy: Any, resource: str) -> None:
    """The same count shows all sixty when there is room for them."""
    assert (await _most_open(session_client, proxy, resource))[0] == 60


async def test_renewals_of_many_leases_share_frames(session_client: Client, proxy: Any, resource: str) -> None:
    """Fifty leases are kept with far fewer messages than renewals."""
    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(_hold(session_client, f"{resource}:{number}"))
    frames = operations(proxy, "renew")
    renewals = sum(len(frame) for frame in frames)
    assert renewals >= 50
    assert len(frames) < renewals / 3
    assert all(not operation.HasField("acquire") for frame in frames for operation in frame)


async def _hold(client: Client, resource: str) -> None:
    async with client.lock(resource, ttl=1.5):
        await asyncio.sleep(0.9)


async def test_s30_a_request_of_absurd_size_spares_the_stream(
    session_client: Client, client: Client, proxy: Any, resource: str
) -> None:
    """What gRPC refuses for its size is refused alone, as by a unary call, and the stream goes on."""
    async with client.lock(resource):
        waiting = asyncio.create_task(session_client.acquire(resource, wait=20))
        for length in (100_000, 5_000_000):
            with pytest.raises(ServiceError):
                await session_client.acquire("x" * length)
        assert not waiting.done()
    assert (await waiting).outcome == "granted"
    assert proxy.streams == 1


async def test_a_refused_operation_spares_the_others(session_client: Client, resource: str) -> None:
    """An operation with a bad field is refused by name, and those beside it in the frame are done."""
    bad = session_client.acquire(resource, ttl=0.001)
    good = session_client.acquire(resource)
    refused, granted = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(refused, InvalidRequest)
    assert refused.reason == "INVALID_FIELD"
    assert not isinstance(granted, BaseException)
    assert granted.outcome == "granted"


async def test_s32_close_leaves_no_task_and_no_caller(
    proxy: Any, client: Client, resource: str, until: Until
) -> None:
    """A client that is closed has told its callers, left the queue, and ended its tasks."""
    async with client.lock(resource):
        pass
    before = asyncio.all_tasks()
    closing = Client(proxy.address, retry_for=2.0)
    async with client.lock(resource):
        waiting = asyncio.create_task(closing.acquire(resource, wait=20, request_id=""))
        released = asyncio.create_task(closing.release(resource, "nobody's"))
        while len(proxy.seen) < 2:
            await asyncio.sleep(0.01)
        await closing.close()
        with pytest.raises(ServiceError, match="this client is closed"):
            await waiting
        assert await released is False
        _, waiters = await client.inspect(resource)
        assert not waiters
    # The proxy's and gRPC's own of the streams end with them.
    await until(lambda: not [t for t in asyncio.all_tasks() - before if t.get_name()[:11] == "lockservice"], "end")
    with pytest.raises(ServiceError, match="this client is closed"):
        await closing.acquire(resource)


async def test_close_does_not_wait_for_a_frozen_service(frozen: Any, resource: str) -> None:
    """Closing takes a second or so at most when nothing answers."""
    client = Client(frozen.address)
    await client.acquire(resource)
    frozen.freeze()
    began = time.monotonic()
    await client.close()
    assert time.monotonic() - began < 3


FORGETFUL = """
import asyncio, sys
from lockservice_client import Client

async def main():
    client = Client(sys.argv[1])
    await client.acquire(sys.argv[2], ttl=30)
    waiting = asyncio.create_task(client.acquire(sys.argv[2], wait=20))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""


def test_a_client_that_is_not_closed_ends_quietly(service: Any, resource: str) -> None:
    """A program that forgets to close its client ends at once and without a word."""
    began = time.monotonic()
    command = (sys.executable, "-X", "dev", "-W", "error", "-c", FORGETFUL, service.address, resource)
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert time.monotonic() - began < 10
