"""An update that arrives before its create waits for it; an older update after a newer one is dropped.

The events stand on a durable queue already; `event_id` deduplicates them where the work is done.
"""
# ruff: noqa: INP001, T201  a sample is a script, and prints

import asyncio
from typing import NamedTuple

from lockservice_client import Client, Duplicate, Early, Stale


class Event(NamedTuple):
    """An event of an order; needs is the version that must be completed before it."""

    id: str
    version: int
    needs: int | None = None


async def process(client: Client, event: Event) -> str:
    """Applies an event in its order."""
    try:
        async with client.lock(
            "order:ordered-1", wait=10, version=event.version, after_version=event.needs, event_id=event.id
        ) as lease:
            how = "fetched afresh and applied" if lease.tie else "applied"
    except Duplicate:
        return f"{event.id}: done before"
    except Stale:
        return f"{event.id}: a newer one was applied"
    except Early:
        return f"{event.id}: back to the queue, what it needs has not come"
    return f"{event.id}: {how}"


async def main() -> None:
    """Lets an update come first, then its create, then latecomers."""
    async with Client() as client:
        update = asyncio.create_task(process(client, Event("update", version=2, needs=1)))
        await asyncio.sleep(0.1)
        print(await process(client, Event("create", version=1)))
        print(await update)
        print(await process(client, Event("create again", version=1)))
        print(await process(client, Event("update", version=2)))
        print(await process(client, Event("same instant", version=2)))


asyncio.run(main())
