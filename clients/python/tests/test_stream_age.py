"""A stream that has lived long enough is followed by another, so that calls reach replicas that were added."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from lockservice_client import Client

Until = Callable[..., Awaitable[None]]

# A tenth more, by jitter.
AGE_S = 0.3
OLD_S = 0.4


@pytest.fixture
async def ageing(proxy: Any) -> AsyncIterator[Client]:
    """A client whose streams grow old fast, and which repeats nothing."""
    async with Client(proxy.address, stream_age=AGE_S, retry_for=0.0) as made:
        yield made


async def test_s35_an_old_stream_is_followed_by_another(
    ageing: Client, proxy: Any, resource: str, until: Until
) -> None:
    """Calls go on for several ages, each is made once, and the streams before the last have ended."""
    loop = asyncio.get_running_loop()
    ends, calls = loop.time() + 4 * OLD_S, 0
    while loop.time() < ends:
        await asyncio.gather(*(ageing.acquire(f"{resource}:{calls + n}") for n in range(20)))
        calls += 20
    assert len(proxy.requests("Acquire")) == calls
    assert 4 <= proxy.streams <= 6
    await until(lambda: len(proxy.live) == 1, "the old streams have ended")


async def test_s35_a_waiting_call_stays_on_the_old_stream(
    ageing: Client, proxy: Any, resource: str, until: Until
) -> None:
    """It is answered there, asked once, and the old stream ends after it."""
    held = await ageing.acquire(resource)
    assert held.grant is not None
    waiting = asyncio.create_task(ageing.acquire(resource, wait=20))
    await until(lambda: len(proxy.requests("Acquire")) == 2, "it waits")
    await asyncio.sleep(OLD_S)
    await ageing.acquire(f"{resource}:other")
    assert len(proxy.live) == 2
    await ageing.release(resource, held.grant.lease_id)
    assert (await waiting).outcome == "granted"
    assert len(proxy.requests("Acquire")) == 3
    # The release went over a stream of its own.
    await until(lambda: len(proxy.live) == 2, "the old stream has ended")


async def test_s35_a_caller_on_an_old_stream_can_be_cancelled(
    ageing: Client, proxy: Any, resource: str, until: Until
) -> None:
    """It leaves the queue although its stream takes no more calls."""
    assert (await ageing.acquire(resource, ttl=30)).outcome == "granted"
    waiting = asyncio.create_task(ageing.acquire(resource, wait=20))
    await until(lambda: len(proxy.requests("Acquire")) == 2, "it waits")
    await asyncio.sleep(OLD_S)
    await ageing.acquire(f"{resource}:other")
    waiting.cancel()

    async def gone() -> bool:
        lock, _ = await ageing.inspect(resource)
        return lock.queue_length == 0

    await until(gone, "the queue is empty")
    await until(lambda: len(proxy.live) == 1, "the old stream has ended")
