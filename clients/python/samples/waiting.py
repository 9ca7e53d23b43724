"""Ten workers want the same stock; each waits for its turn, and no decrement is lost."""
# ruff: noqa: INP001, T201  a sample is a script, and prints

import asyncio

from lockservice_client import Client

stock = {"sku-7": 10}


async def sell(client: Client) -> None:
    """Takes one piece: read, think, write."""
    async with client.lock("stock:sku-7", wait=30) as lease:
        left = stock["sku-7"]
        await asyncio.sleep(0.01)
        lease.check()
        stock["sku-7"] = left - 1


async def main() -> None:
    """Sells everything at once."""
    async with Client() as client:
        await asyncio.gather(*(sell(client) for _ in range(10)))
    print("left", stock["sku-7"])


asyncio.run(main())
