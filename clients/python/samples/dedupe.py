"""Webhooks that arrive twice: queued first, deduplicated where the work is done.

The receiver only puts the event on a queue that survives a crash, and answers 200 even when lockservice is down. Here
a table stands for the queue; an event leaves it when its work is done.
"""
# ruff: noqa: INP001, T201  a sample is a script, and prints

import asyncio
import hashlib
import sqlite3

from lockservice_client import Client, Duplicate, InProgress


def receive(queue: sqlite3.Connection, webhook: str, body: str) -> int:
    """Answers the sender once the event is on the queue."""
    with queue:
        queue.execute("INSERT INTO queue (webhook, body) VALUES (?, ?)", (webhook, body))
    return 200


async def process(client: Client, queue: sqlite3.Connection, row: int, webhook: str, body: str) -> str:
    """Charges once, however often the event comes; a crash before the end leaves it to be done again."""
    fingerprint = hashlib.sha256(body.encode()).digest()
    try:
        async with client.once(f"shopify:{webhook}", claim_ttl=30, wait=5, fingerprint=fingerprint) as claim:
            claim.result = f"charged {body}".encode()
        outcome = claim.result.decode()
    except Duplicate as duplicate:
        outcome = f"duplicate of: {duplicate.result.decode()}"
    except InProgress:
        return "left on the queue"
    with queue:
        queue.execute("DELETE FROM queue WHERE id = ?", (row,))
    return outcome


async def main() -> None:
    """Takes the same webhook in twice."""
    queue = sqlite3.connect(":memory:")
    queue.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, webhook TEXT, body TEXT)")
    assert [receive(queue, "dedupe-1", "12 EUR") for _ in range(2)] == [200, 200]
    async with Client() as client:
        for row, webhook, body in queue.execute("SELECT id, webhook, body FROM queue").fetchall():
            print(await process(client, queue, row, webhook, body))
    queue.close()


asyncio.run(main())
