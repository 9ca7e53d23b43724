"""Let Redis refuse a holder that was too slow: the check and the writes are one script."""
# ruff: noqa: INP001, T201  a sample is a script, and prints

import asyncio
import os

from redis.asyncio import Redis

from lockservice_client import Client
from lockservice_client.fencing import StaleToken, write_redis_async


async def main() -> None:
    """Two holders of one stock, of whom the first wakes up too late."""
    store = Redis.from_url(os.environ.get("STORE_URL", "redis://127.0.0.1:6379"), decode_responses=True)
    async with Client() as client, store:
        async with client.lock("stock:fenced") as slow:
            pass
        async with client.lock("stock:fenced") as quick:
            # Without a command it shows the token: from here on no holder before this one can change what is read.
            await write_redis_async(store, "fence:{stock:7}", quick.fencing_token)
            stock = int(await store.get("{stock:7}") or 12)
            await write_redis_async(store, "fence:{stock:7}", quick.fencing_token, ("SET", "{stock:7}", stock - 1))
        try:
            await write_redis_async(store, "fence:{stock:7}", slow.fencing_token, ("SET", "{stock:7}", 12))
        except StaleToken as stale:
            print("refused:", stale)
        print("stock", await store.get("{stock:7}"))


asyncio.run(main())
