"""Promises of `clients/scenarios.md` about leases and events that no other test here has shown."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from lockservice_client import Client, Duplicate, Early, Held, InProgress, Stale


async def test_s02_a_held_resource_names_its_holder(client: Client, service: Any, resource: str) -> None:
    """The refusal has the owner's name, its token, and the seconds that it has left."""
    async with Client(service.address, owner="the other") as other, other.lock(resource, ttl=10) as lease:
        with pytest.raises(Held, match="the other") as refused:
            await client.lock(resource).__aenter__()
    holder = refused.value.holder
    assert holder is not None
    assert (holder.owner, holder.fencing_token) == ("the other", lease.fencing_token)
    assert 8 < holder.remaining <= 10


async def test_s03_three_that_wait_are_granted_in_their_order(client: Client, resource: str) -> None:
    """First come, first served."""
    order: list[int] = []

    async def wait(number: int) -> None:
        async with client.lock(resource, wait=10):
            order.append(number)

    async def queue() -> int:
        return (await client.inspect(resource))[0].queue_length

    held = await client.acquire(resource, ttl=30)
    assert held.grant is not None
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(wait(number))
            while await queue() <= number:
                await asyncio.sleep(0.01)
        assert order == []
        await client.release(resource, held.grant.lease_id)
    assert order == [0, 1, 2]


async def test_s04_a_wait_that_is_over_ends_in_held(client: Client, resource: str) -> None:
    """After 0.3 s, and with an empty queue."""
    async with client.lock(resource):
        began = time.monotonic()
        with pytest.raises(Held):
            await client.lock(resource, wait=0.3).__aenter__()
        assert 0.3 <= time.monotonic() - began < 1.0
        assert (await client.inspect(resource))[0].queue_length == 0


STOPPED = """
import asyncio, sys, time
from lockservice_client import Client, LeaseLost

async def main():
    async with Client(sys.argv[1]) as client:
        renewals = []
        renew = client.renew
        async def counting(*words, **how):
            renewals.append(time.monotonic())
            return await renew(*words, **how)
        client.renew = counting
        try:
            async with client.lock(sys.argv[2], ttl=1.2):
                print("holds", flush=True)
                await asyncio.sleep(60)
        except LeaseLost:
            told = time.monotonic()
        print("lost", sum(at > told - 1.0 for at in renewals), flush=True)

asyncio.run(main())
"""


async def test_s10_a_stopped_process_hears_of_the_loss_when_it_wakes(
    client: Client, service: Any, resource: str
) -> None:
    """Within 100 ms, and it has not renewed before."""
    words = [sys.executable, "-c", STOPPED, service.address, resource]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220  it starts at once
        assert process.stdout is not None
        assert (await asyncio.to_thread(process.stdout.readline)).strip() == "holds"
        os.kill(process.pid, signal.SIGSTOP)
        # Once another is granted, its lease has ended.
        async with client.lock(resource, wait=10):
            woken = time.monotonic()
            os.kill(process.pid, signal.SIGCONT)
            said = (await asyncio.to_thread(process.stdout.readline)).split()
            assert time.monotonic() - woken < 0.1
    assert said == ["lost", "0"]


async def test_s13_a_block_that_is_broken_off_is_a_retry(client: Client, resource: str) -> None:
    """A task that is cancelled inside it has recorded nothing."""
    inside = asyncio.Event()

    async def work() -> None:
        async with client.lock(resource, event_id="e-1"):
            inside.set()
            await asyncio.sleep(60)

    working = asyncio.create_task(work())
    await inside.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (await client.acquire(resource, event_id="e-1")).outcome == "granted"


async def test_s14_refusals_are_values_or_errors(client: Client, resource: str) -> None:
    """As a value or as an exception, with what the service told."""
    async with client.lock(resource, version=7, event_id="e-7"):
        assert (await client.acquire(resource)).outcome == "held"
    stale = await client.acquire(resource, version=6)
    assert (stale.outcome, stale.completed_version) == ("stale", 7)
    assert (await client.acquire(resource, event_id="e-7")).outcome == "duplicate"
    early = await client.acquire(resource, version=9, after_version=8)
    assert (early.outcome, early.completed_version) == ("early", 7)
    for kind, asked in ((Stale, {"version": 6}), (Duplicate, {"event_id": "e-7"}), (Early, {"after_version": 8})):
        with pytest.raises(kind):
            await client.lock(resource, **asked).__aenter__()


async def test_s15_versions_wait_and_tie(client: Client, resource: str) -> None:
    """An early one waits for what it needs; a stale one may be allowed; the same instant is a tie."""
    granted: list[int] = []

    async def update() -> None:
        async with client.lock(resource, version=2, after_version=1, wait=10):
            granted.append(2)

    waiting = asyncio.create_task(update())
    async with client.lock(resource, version=1, wait=5):
        granted.append(1)
    await waiting
    assert granted == [1, 2]
    async with client.lock(resource, version=1, allow_stale=True) as lease:
        assert not lease.tie
    async with client.lock(resource, version=2) as lease:
        assert lease.tie


async def test_s17_one_of_ten_is_the_first(client: Client, resource: str) -> None:
    """In one phase."""
    answers = await asyncio.gather(*(client.first(resource) for _ in range(10)))
    assert sorted(answers) == [False] * 9 + [True]


async def test_s18_others_hear_how_long_a_claim_lasts(client: Client, resource: str) -> None:
    """In progress, with the seconds that it has left."""
    async with client.once(resource, claim_ttl=20):
        with pytest.raises(InProgress) as refused:
            await client.once(resource).__aenter__()
        assert 18 < refused.value.retry_after <= 20
