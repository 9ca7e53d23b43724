"""How many commands replicas send to Redis for one hand-off."""

import asyncio
from typing import Final

from redis.asyncio import Redis

from lockservice_client import Client

WAITERS: Final = 64
_RESOURCE: Final = "handed:on"
_SCRIPTS: Final = ("cmdstat_evalsha", "cmdstat_eval")
_WAIT_S: Final = 60
_LOOK_S: Final = 0.01


async def _scripts(redis: Redis) -> int:
    stats = await redis.info("commandstats")
    return sum(int(stats[name]["calls"]) for name in _SCRIPTS if name in stats)


async def commands(client: Client, redis: Redis) -> float:
    """Queues waiters behind a holder, lets each release as soon as it is granted, and counts scripts a hand-off.

    What keeps the queue alive meanwhile is counted too.
    """
    held = (await client.acquire(_RESOURCE, ttl=_WAIT_S)).grant
    assert held is not None

    async def waiter() -> None:
        grant = (await client.acquire(_RESOURCE, wait=_WAIT_S)).grant
        assert grant is not None
        await client.release(_RESOURCE, grant.lease_id)

    waiters = [asyncio.create_task(waiter()) for _ in range(WAITERS)]
    while (await client.inspect(_RESOURCE))[0].queue_length < WAITERS:  # noqa: ASYNC110  another process has the queue
        await asyncio.sleep(_LOOK_S)
    before = await _scripts(redis)
    await client.release(_RESOURCE, held.lease_id)
    await asyncio.gather(*waiters)
    # The last release hands nothing on.
    return (await _scripts(redis) - before - 1) / WAITERS
