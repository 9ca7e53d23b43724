"""Sessions whose replica is killed, whose shard is down, whose connection is cut, and ten thousand at once."""

import asyncio
import signal

import grpc
import pytest
from google.rpc.code_pb2 import Code

from faults.test_shards import on_shard, pair
from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from harness.service import Service, until
from harness.stream import Stream, acquire, reason, release
from lockservice.v1 import lockservice_pb2 as pb

__all__ = ["pair"]

_STREAMS = 10_000


async def collect(stream: Stream, results: dict[int, pb.OperationResult]) -> None:
    """Reads results until the stream breaks."""
    with pytest.raises(grpc.aio.AioRpcError) as broken:  # noqa: PT012  any of the reads may be the one
        while (frame := await stream.call.read()) is not grpc.aio.EOF:
            results |= {result.id: result for result in frame.results}
    assert broken.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_killed_replica_loses_no_operation_and_does_none_twice(shards: list[str], other: Service) -> None:
    """What had no answer is repeated elsewhere with the same ids: one lease each, and the same where it was heard."""
    count = 600
    operations = [acquire(n, f"order:{n}", request_id=f"r{n}") for n in range(count)]
    heard: dict[int, pb.OperationResult] = {}
    async with ServiceProcess(shards) as killed, Stream(killed) as stream:
        collecting = asyncio.create_task(collect(stream, heard))
        await stream.send(*operations[:200])
        await until(lambda: len(heard) == 200, "the first are answered")
        # These are on their way when it dies, and the last reach a replica that never reads them.
        await stream.send(*operations[200:400])
        killed.signal(signal.SIGSTOP)
        await stream.send(*operations[400:])
        killed.signal(signal.SIGKILL)
        await collecting
    async with Stream(other) as again:
        await again.send(*operations)
        repeated = await again.results(count)

    assert 200 <= len(heard) <= 400
    assert all(result.acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED for result in repeated.values())
    for number, result in heard.items():
        assert repeated[number].acquire.lease == result.acquire.lease
    async with Stream(other) as ending:
        await ending.send(*(release(n, result.acquire.lease) for n, result in repeated.items()))
        ended = await ending.results(count)
    assert {result.release.outcome for result in ended.values()} == {pb.RELEASE_OUTCOME_RELEASED}


async def test_without_request_ids_the_repetition_would_be_refused(shards: list[str], other: Service) -> None:
    """The broken variant, a repetition without memory, is told HELD by its own leases."""
    operations = [acquire(n, f"order:{n}") for n in range(100)]
    async with ServiceProcess(shards) as killed, Stream(killed) as stream:
        await stream.send(*operations)
        await stream.results(100)
        killed.signal(signal.SIGKILL)
        await killed.process.wait()
    async with Stream(other) as again:
        await again.send(*operations)
        repeated = await again.results(100)

    assert {result.acquire.outcome for result in repeated.values()} == {pb.ACQUIRE_OUTCOME_HELD}


async def test_a_killed_shard_refuses_its_operations_and_no_others(pair: list[RedisServer]) -> None:
    """Each operation of the shard that is down gets UNAVAILABLE, those of the other an answer; the stream lives."""
    async with Service([server.url for server in pair]) as service, Stream(service) as stream:
        down, up = on_shard(0), on_shard(1)
        await stream.send(acquire(1, down), acquire(2, up))
        leases = await stream.results(2)
        pair[0].stop()
        await stream.send(release(3, leases[1].acquire.lease), release(4, leases[2].acquire.lease))
        results = await stream.results(2)
        assert results[3].error.code == Code.UNAVAILABLE
        assert reason(results[3]) in {"SHARD_UNAVAILABLE", "OUTCOME_UNKNOWN"}
        assert results[4].release.outcome == pb.RELEASE_OUTCOME_RELEASED

        pair[0].start()
        await until(lambda: service.metric("lockservice_shard_up", shard="s1") == 1, "the shard is back")
        await stream.send(acquire(5, down))
        assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


async def test_a_frozen_caller_does_not_hold_up_others(service: Service) -> None:
    """While one stream does not read its thousands of results, its neighbour on the same connection is answered."""
    async with Stream(service) as deaf, Stream(service) as stream:
        for start in range(0, 5_000, 1_000):
            await deaf.send(*(acquire(n, f"order:{n}") for n in range(start, start + 1_000)))
        await stream.send(acquire(1, "stock:1"))
        assert (await stream.result()).acquire.outcome == pb.ACQUIRE_OUTCOME_GRANTED


@pytest.mark.parametrize("kind", ["valkey"], indirect=True)
async def test_ten_thousand_streams(service: Service) -> None:
    """Each is open at the same time and gets its answer; when their connection breaks, all are forgotten."""
    streams = [service.locks.Session() for _ in range(_STREAMS)]

    async def ask(number: int) -> int:
        await streams[number].write(pb.SessionRequest(operations=[acquire(number, f"order:{number}")]))
        (result,) = (await streams[number].read()).results  # type: ignore[union-attr]
        assert result.id == number
        return int(result.acquire.outcome)

    outcomes = await asyncio.wait_for(asyncio.gather(*(ask(number) for number in range(_STREAMS))), 120)
    assert set(outcomes) == {pb.ACQUIRE_OUTCOME_GRANTED}
    assert service.metric("lockservice_sessions") == _STREAMS
    await service.channel.close()

    async def gone() -> bool:
        return service.metric("lockservice_sessions") == 0

    await until(gone, "no session is left", within=30)
