"""Sessions: many operations to a message, each meaning what its unary call means."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from harness.service import Service, reason_of, until
from harness.stream import Stream, acquire, cancel, reason, release
from lockservice.limits import FRAME_OPERATIONS_MAX, SESSION_OPERATIONS_MAX
from lockservice.v1 import lockservice_pb2 as pb


@pytest.fixture
async def stream(service: Service) -> AsyncIterator[Stream]:
    """A Session of the service."""
    async with Stream(service) as opened:
        yield opened


async def test_every_kind_means_what_its_unary_call_means(stream: Stream) -> None:
    """Acquire, renew, release, dedupe, renew_claim and settle answer with their own response."""
    await stream.send(
        acquire(1),
        pb.Operation(id=2, dedupe=pb.DedupeRequest(key="event", claim_ttl=Duration(seconds=5))),
    )
    first = await stream.results(2)
    lease, claim = first[1].acquire.lease, first[2].dedupe.claim_id
    await stream.send(
        pb.Operation(id=3, renew=pb.RenewRequest(resource=lease.resource, lease_id=lease.lease_id)),
        pb.Operation(id=4, renew_claim=pb.RenewClaimRequest(key="event", claim_id=claim)),
    )
    second = await stream.results(2)
    await stream.send(release(5, lease), pb.Operation(id=6, settle=pb.SettleRequest(key="event", claim_id=claim)))
    third = await stream.results(2)

    assert first[1].acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert first[2].dedupe.outcome == pb.DEDUPE_OUTCOME_FIRST
    assert second[3].renew.outcome == pb.RENEW_OUTCOME_RENEWED
    assert second[4].renew_claim.outcome == pb.RENEW_OUTCOME_RENEWED
    assert third[5].release.outcome == pb.RELEASE_OUTCOME_RELEASED
    assert third[6].settle.outcome == pb.SETTLE_OUTCOME_SETTLED


async def test_results_that_are_ready_together_leave_together(stream: Stream) -> None:
    """A hundred operations of one message are answered in a few messages, not in a hundred."""
    await stream.send(*(acquire(number, f"order:{number}") for number in range(100)))
    results = await stream.results(100)

    assert {result.acquire.outcome for result in results.values()} == {pb.ACQUIRE_OUTCOME_GRANTED}
    assert len(stream.frames) <= 10, stream.frames


async def test_a_waiting_acquire_holds_no_other_result_back(service: Service, stream: Stream) -> None:
    """What came after it on the stream is answered before it, and it is granted when its turn comes."""
    lease = await service.grant()
    await stream.send(acquire(1, wait=20), acquire(2, "order:2"))
    assert (await stream.result()).id == 2
    await stream.send(release(3, lease))
    results = await stream.results(2)

    assert results[1].acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert results[1].acquire.waited.ToMilliseconds() >= 0


async def test_a_cancel_leaves_the_queue(service: Service, stream: Stream) -> None:
    """The operation that is named ends in CANCELLED, and nothing of it is left."""
    await service.grant()
    await stream.send(acquire(1, wait=20))
    await service.queued(1)
    await stream.send(cancel(1))

    assert reason(await stream.result()) == "CANCELLED"
    await service.queued(0)


async def test_a_cancel_in_the_message_of_its_operation(service: Service, stream: Stream) -> None:
    """The two may travel together: one result comes all the same, and no lease or place stays behind."""
    lease = await service.grant()
    await stream.send(acquire(1, wait=20), cancel(1), acquire(2, "order:2"), cancel(2))
    results = await stream.results(2)

    assert reason(results[1]) == "CANCELLED"
    await service.queued(0)
    await service.release(lease)
    await until(lambda: _free(service, "order:2"), "the lease that nobody heard of is given back")


async def _free(service: Service, resource: str) -> bool:
    return not (await service.inspect(resource)).lock.HasField("holder")


async def test_a_cancel_for_nothing_does_nothing(service: Service, stream: Stream) -> None:
    """Naming an operation that has ended, that never was, or that does not wait is no error and has no answer."""
    lease = await service.grant()
    await stream.send(cancel(7), release(1, lease), cancel(1))
    results = await stream.results(1)
    await stream.send(cancel(1), acquire(2))

    assert results[1].release.outcome == pb.RELEASE_OUTCOME_RELEASED
    assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_bad_operations_get_the_error_of_their_unary_call(service: Service, stream: Stream) -> None:
    """Code, message and details are those that the same request gets by itself; good ones beside it go on."""
    bad = pb.AcquireRequest(resource="", owner="worker")
    with pytest.raises(grpc.aio.AioRpcError) as unary:
        await service.locks.Acquire(bad)
    await stream.send(pb.Operation(id=1, acquire=bad), acquire(2), pb.Operation(id=3))
    results = await stream.results(3)

    assert results[1].error.code == unary.value.code().value[0]
    assert results[1].error.message == unary.value.details()
    assert reason(results[1]) == reason(results[3]) == "INVALID_FIELD"
    assert "kind" in results[3].error.message
    assert results[2].acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_an_operation_that_cannot_be_parsed_disturbs_no_other(service: Service) -> None:
    """Bytes that are not UTF-8, an unknown kind and a torn request are answered one by one."""
    good = acquire(1).SerializeToString()
    wrong_text = acquire(2, "order:xyz").SerializeToString().replace(b"xyz", b"\xff\xff\xff")
    torn = b"\x08\x03" + b"\x12\x02\x0a\x09"
    unknown = b"\x08\x04" + b"\xfa\x07\x02\x0a\x00"
    parts = (good, wrong_text, torn, unknown)
    data = b"".join(b"\x0a" + bytes([len(part)]) + part for part in parts)
    call = service.channel.stream_stream(
        "/lockservice.v1.LockService/Session", response_deserializer=pb.SessionResponse.FromString
    )()
    await call.write(data)
    results: dict[int, pb.OperationResult] = {}
    while len(results) < len(parts):
        frame = await asyncio.wait_for(call.read(), 10)
        results |= {result.id: result for result in frame.results}
    call.cancel()

    assert results[1].acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert results[2].error.message == "resource: is not UTF-8"
    assert reason(results[3]) == reason(results[4]) == "INVALID_FIELD"


async def test_what_is_no_message_ends_its_stream_only(service: Service, stream: Stream) -> None:
    """A stream of noise gets INVALID_ARGUMENT, and its neighbour goes on."""
    call = service.channel.stream_stream("/lockservice.v1.LockService/Session")()
    await call.write(b"\xff\xff\xff\xff")
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    await stream.send(acquire(1))

    assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_a_repeated_id_is_refused_while_it_is_open(service: Service, stream: Stream) -> None:
    """An id may be used again once its result has come, not before."""
    lease = await service.grant()
    await stream.send(acquire(1, wait=20), acquire(1, "order:2"))
    assert "id" in (await stream.result()).error.message
    await service.release(lease)
    assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    await stream.send(acquire(1, "order:3"))

    assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_too_many_operations_in_a_message(stream: Stream) -> None:
    """Those beyond the limit are refused one by one, the others are done."""
    over = 20
    await stream.send(*(acquire(n, f"order:{n}") for n in range(FRAME_OPERATIONS_MAX + over)))
    results = await stream.results(FRAME_OPERATIONS_MAX + over)
    refused = [number for number, result in results.items() if result.HasField("error")]

    assert refused == list(range(FRAME_OPERATIONS_MAX, FRAME_OPERATIONS_MAX + over))
    assert {reason(results[number]) for number in refused} == {"SESSION_LIMIT"}


async def test_too_many_open_operations(service: Service, stream: Stream) -> None:
    """The 10,001st open operation is refused, and may be sent again when others have been answered."""
    await service.grant()
    for start in range(0, SESSION_OPERATIONS_MAX, FRAME_OPERATIONS_MAX):
        await stream.send(*(acquire(n, wait=60) for n in range(start, start + FRAME_OPERATIONS_MAX)))
    await stream.send(acquire(SESSION_OPERATIONS_MAX, "order:2"))
    refused = await stream.result()
    await stream.send(cancel(5))
    assert (await stream.result()).id == 5
    await stream.send(acquire(SESSION_OPERATIONS_MAX, "order:2"))

    assert reason(refused) == "SESSION_LIMIT"
    assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_a_broken_stream_leaves_no_waiter(service: Service, stream: Stream) -> None:
    """Waiting operations are withdrawn as if each had been a call that was cut off."""
    await service.grant()
    await stream.send(*(acquire(number, wait=60) for number in range(50)))
    await service.queued(50)
    stream.call.cancel()

    await service.queued(0)
    await until(lambda: service.metric("lockservice_sessions") == 0, "the session is gone")


async def test_a_half_closed_stream_answers_what_is_open(service: Service, stream: Stream) -> None:
    """The open operations are still answered, and then the stream ends with OK."""
    lease = await service.grant()
    await stream.send(acquire(1, wait=20))
    await service.queued(1)
    await stream.call.done_writing()
    await service.release(lease)

    assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert await stream.call.read() is grpc.aio.EOF
    assert await stream.call.code() is grpc.StatusCode.OK


async def test_an_empty_and_a_silent_stream(service: Service, stream: Stream) -> None:
    """A message without operations asks for nothing, and a stream on which nothing is said costs nobody anything."""
    silent = service.locks.Session()
    await stream.send()
    await stream.send(acquire(1))

    assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED
    assert not silent.done()
    silent.cancel()


async def test_a_drain_answers_what_is_open_and_ends_the_stream(service: Service, stream: Stream) -> None:
    """Waiting operations hear DRAINING, and the stream ends as UNAVAILABLE so that its caller goes elsewhere."""
    await service.grant()
    await stream.send(acquire(1, wait=20))
    await service.queued(1)
    await service.server.drain()

    assert reason(await stream.result()) == "DRAINING"
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await stream.call.read()
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(ended.value) == "DRAINING"


async def test_who_does_not_read_is_not_read_from(service: Service, stream: Stream) -> None:
    """A caller that only writes is held back by flow control; the service keeps a bounded number of results."""
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await stream.send(*(pb.Operation(id=sent + n) for n in range(FRAME_OPERATIONS_MAX)))
            sent += FRAME_OPERATIONS_MAX

    flooding = asyncio.create_task(flood())
    seen = -1
    while seen != sent:
        seen = sent
        await asyncio.sleep(0.5)
    held = next(iter(service.server._lock_service._sessions))  # type: ignore[union-attr]

    assert held._unsent <= SESSION_OPERATIONS_MAX + FRAME_OPERATIONS_MAX
    assert sent > SESSION_OPERATIONS_MAX
    flooding.cancel()
