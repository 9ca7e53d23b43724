"""Replicas that are killed, frozen and drained, as real processes."""

import asyncio
import signal
import time

import grpc

from harness.process import ServiceProcess
from harness.service import Service, reason_of, until
from lockservice.v1 import lockservice_pb2 as pb


async def test_a_killed_replica_delays_the_others_by_two_seconds_at_most(shards: list[str], other: Service) -> None:
    """Its waiters are passed over, whatever their number, and its holders keep their leases."""
    async with ServiceProcess(shards) as killed:
        lease = await other.grant(ttl=60)
        kept = await killed.grant("order:2", "holder at the killed one", ttl=60)
        dead = [killed.waiting(owner=f"dead{n}") for n in range(100)]
        await other.queued(100)
        alive = other.waiting(owner="alive")
        await other.queued(101)

        killed.signal(signal.SIGKILL)
        await killed.process.wait()
        started = time.monotonic()
        await other.release(lease)
        answer = await alive

        assert answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED
        assert time.monotonic() - started < 2.0
        assert await other.renew(kept) == pb.RENEW_OUTCOME_RENEWED
        await asyncio.gather(*dead, return_exceptions=True)


async def test_a_frozen_replica_delays_the_others_by_two_seconds_at_most(shards: list[str], other: Service) -> None:
    """It is believed to live, so it may be handed the lease; that lease runs out unconfirmed."""
    async with ServiceProcess(shards) as frozen:
        lease = await other.grant(ttl=60)
        dead = [frozen.waiting(owner=f"frozen{n}") for n in range(20)]
        await other.queued(20)
        alive = other.waiting(owner="alive")
        await other.queued(21)

        frozen.signal(signal.SIGSTOP)
        started = time.monotonic()
        await other.release(lease)
        answer = await alive
        waited = time.monotonic() - started
        await other.release(answer.lease)
        frozen.signal(signal.SIGCONT)

        assert answer.outcome == pb.ACQUIRE_OUTCOME_GRANTED
        assert waited < 2.0
        thawed, _ = await asyncio.wait(dead, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().outcome for task in thawed] == [pb.ACQUIRE_OUTCOME_GRANTED]
        for task in dead:
            task.cancel()
        await asyncio.gather(*dead, return_exceptions=True)


async def test_a_drain_under_load_loses_no_call_that_does_not_wait(shards: list[str], other: Service) -> None:
    """Every call that was taken is answered: what was granted can be renewed elsewhere; the exit code is 0."""
    async with ServiceProcess(shards) as drained:
        granted, refused = [], []

        async def load(number: int) -> None:
            for round_ in range(200):
                resource = f"order:{number}:{round_}"
                try:
                    granted.append(await drained.grant(resource, ttl=60))
                except grpc.aio.AioRpcError as error:
                    refused.append(error)
                    return

        loads = [asyncio.create_task(load(number)) for number in range(16)]
        while len(granted) < 200:
            await asyncio.sleep(0.005)
        drained.signal(signal.SIGTERM)
        await asyncio.gather(*loads)
        code = await drained.process.wait()

        assert code == 0
        assert len(granted) < 16 * 200, "the drain came too late to mean anything"
        # Refused calls never reached a handler: nobody holds what they asked for.
        assert {reason_of(error) for error in refused} == {"DRAINING"}
        held = [
            lock async for page in other.admin.ListLocks(pb.ListLocksRequest(limit=10_000)) for lock in page.locks
        ]
        assert len(held) == len(granted)
        renewed = await asyncio.gather(*(other.renew(lease) for lease in granted))
        assert set(renewed) == {pb.RENEW_OUTCOME_RENEWED}


async def test_a_second_signal_exits_at_once(shards: list[str]) -> None:
    """The first waits for running calls, the second does not."""
    async with ServiceProcess(shards, "--drain-delay", "30s") as service:
        service.signal(signal.SIGTERM)
        while not any(line["event"] == "draining" for line in service.lines):
            await asyncio.sleep(0.005)
        started = time.monotonic()
        service.signal(signal.SIGTERM)
        await service.process.wait()

        assert time.monotonic() - started < 1
        assert service.process.returncode == 1


async def test_a_taken_port_is_a_clear_failure(shards: list[str]) -> None:
    """A second server on the same port exits 1 and names the setting; it does not share the port silently."""
    async with ServiceProcess(shards) as first:
        second = ServiceProcess(shards, "--grpc-addr", first.ready["grpc"])
        async with second:
            pass

    assert second.process.returncode == 1
    assert any("--grpc-addr" in line["event"] for line in second.lines)


async def test_log_lines_name_the_callers_request(shards: list[str]) -> None:
    """What is logged during a call has the x-request-id that its caller sent."""
    async with ServiceProcess(shards) as service:
        lease = await service.grant()
        request = pb.ForceReleaseRequest(resource=lease.resource, fencing_token=lease.fencing_token, reason="stuck")
        await service.admin.ForceRelease(request, metadata=(("x-request-id", "abc-123"),))
        await service.grant()

        async def logged() -> bool:
            return any(line["event"] == "force-release" for line in service.lines)

        await until(logged, "the line")
        (line,) = [line for line in service.lines if line["event"] == "force-release"]
        assert line["request_id"] == "abc-123"
        assert (line["reason"], line["resource"], line["released"]) == ("stuck", "order:1001", True)


async def test_a_call_that_was_frozen_takes_nothing_back_from_a_later_one(shards: list[str], other: Service) -> None:
    """Its caller has asked anew elsewhere, and holds the lease: the old call finds itself superseded."""
    async with ServiceProcess(shards) as frozen:
        first = await other.grant(ttl=60)
        old = frozen.waiting(owner="w", request_id="r", wait=20, deadline=1, ttl=60)
        await other.queued(1)
        frozen.signal(signal.SIGSTOP)
        await other.release(first)
        await asyncio.gather(old, return_exceptions=True)
        lease = await other.grant(owner="w", request_id="r", wait=5, ttl=60)
        frozen.signal(signal.SIGCONT)
        await frozen.grant("order:2")

        # Each poll of the frozen replica would have had the chance.
        for _ in range(20):
            assert await other.renew(lease) == pb.RENEW_OUTCOME_RENEWED
            await asyncio.sleep(0.1)
