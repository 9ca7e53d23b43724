"""A worker of the lock-set test: reads a set, takes its time, and writes it back with one element more.

Run as `python worker.py ADDRESS STORE NAME CHECK`; it says what it does in lines on standard output.
"""

import asyncio
import json
import random
import sqlite3
import sys
import time
from typing import Final

from lockservice_client import Client
from lockservice_client.fencing import StaleToken, admit

RESOURCE: Final = "the-set"
TTL_S: Final = 2.0
# As long as the work of the holders in the test that this one follows.
WORK_S_MAX: Final = 1.0


def read(store: sqlite3.Connection, check: str, token: int) -> list[str] | None:
    """Reads the set, unless the check forbids it.

    The token is shown here already. Otherwise a holder before, whom no later write has shut out yet, could write what
    this one has not read and is about to overwrite.
    """
    try:
        with store:
            if check == "token":
                admit(store, RESOURCE, token)
            return list(json.loads(store.execute("SELECT elements FROM one_set").fetchone()[0]))
    except StaleToken:
        return None


def write(store: sqlite3.Connection, elements: list[str], check: str, token: int, until: float) -> str:
    """Writes the set unless the check forbids it; returns what became of it."""
    if check == "deadline" and time.monotonic() > until:
        return "refused"
    try:
        with store:
            if check == "token":
                admit(store, RESOURCE, token)
            store.execute("UPDATE one_set SET elements = ?", (json.dumps(elements),))
    except StaleToken:
        return "refused"
    return "added"


async def work(address: str, path: str, name: str, check: str) -> None:
    """Adds elements until it is killed."""
    store = sqlite3.connect(path, timeout=10)
    number = 0
    async with Client(address) as client:
        while True:
            # Nobody renews this lease: what is tested is who writes after its end.
            answer = await client.acquire(RESOURCE, ttl=TTL_S, wait=30)
            grant = answer.grant
            if grant is None:
                continue
            until = grant.sent_at + answer.waited + grant.ttl
            number += 1
            element = f"{name}-{number}"
            elements = read(store, check, grant.fencing_token)
            if elements is None:
                print("refused", element, flush=True)
                continue
            print("read", element, flush=True)
            await asyncio.sleep(random.uniform(0.05, WORK_S_MAX))
            done = write(store, [*elements, element], check, grant.fencing_token, until)
            print(done, element, flush=True)
            await client.release(RESOURCE, grant.lease_id)


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
