"""Let SQL refuse a holder that was too slow; PostgreSQL takes the same with mark="%s"."""
# ruff: noqa: INP001, T201  a sample is a script, and prints

import asyncio
import sqlite3

from lockservice_client import Client
from lockservice_client.fencing import FENCES, StaleToken, admit


def read(store: sqlite3.Connection, resource: str, token: int) -> str:
    """Shows the token first: from here on no holder before this one can change what is read."""
    with store:
        admit(store, resource, token)
        return str(store.execute("SELECT state FROM orders").fetchone()[0])


def write(store: sqlite3.Connection, resource: str, token: int, state: str) -> str:
    """Writes in one transaction with the check, which locks out other holders until it ends."""
    try:
        with store:
            admit(store, resource, token)
            store.execute("UPDATE orders SET state = ?", (state,))
    except StaleToken:
        return "refused"
    return state


async def main() -> None:
    """Two holders of one order, of whom the first wakes up too late."""
    store = sqlite3.connect(":memory:")
    store.execute(FENCES)
    store.execute("CREATE TABLE orders (state TEXT)")
    store.execute("INSERT INTO orders VALUES ('paid')")
    async with Client() as client:
        async with client.lock("order:fenced-sql") as slow:
            pass
        async with client.lock("order:fenced-sql") as quick:
            before = read(store, "order:fenced-sql", quick.fencing_token)
            print("the next holder:", write(store, "order:fenced-sql", quick.fencing_token, f"{before}, packed"))
            print("the one before:", write(store, "order:fenced-sql", slow.fencing_token, "lost update"))
    store.close()


asyncio.run(main())
