"""Take a lease on an order, work, and let the store refuse a holder that was too slow."""
# ruff: noqa: INP001, T201  a sample is a script, and prints

import asyncio
import sqlite3

from lockservice_client import Client, Held


def write(store: sqlite3.Connection, order: str, state: str, token: int) -> bool:
    """Writes unless a later holder has written: no lease can stop a worker that paused past its end, this does."""
    changed = store.execute(
        "UPDATE orders SET state = ?, fence = ? WHERE id = ? AND fence <= ?", (state, token, order, token)
    )
    return changed.rowcount == 1


async def main() -> None:
    """Packs an order, and meets another worker."""
    store = sqlite3.connect(":memory:")
    store.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT, fence INTEGER)")
    store.execute("INSERT INTO orders VALUES ('basic-1001', 'paid', 0)")
    async with Client() as client:
        async with client.lock("order:basic-1001", ttl=10) as lease:
            try:
                async with client.lock("order:basic-1001"):
                    pass
            except Held as held:
                print(f"another worker is told: {held}")
            assert write(store, "basic-1001", "packed", lease.fencing_token)
        assert not write(store, "basic-1001", "lost update", lease.fencing_token - 1)
    print("packed", store.execute("SELECT state FROM orders").fetchone()[0])
    store.close()


asyncio.run(main())
