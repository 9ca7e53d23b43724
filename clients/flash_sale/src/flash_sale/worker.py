"""A worker process: `python -m flash_sale.worker`."""

import asyncio
import contextlib
import signal
from typing import Any, Final, cast

import click
import uvloop

from flash_sale import garbage
from flash_sale.blog import BlogLock
from flash_sale.consumer import Consumer
from flash_sale.guards import Guard, Guarding, Lockservice, Nothing
from flash_sale.store import Store
from flash_sale.work import Worker
from lockservice_client import Client

GUARDINGS: Final = ("lockservice", "nothing", "blog")


@click.command()
@click.option("--redis", required=True, help="URL of the Redis with the events and the documents.")
@click.option("--guarding", type=click.Choice(GUARDINGS), required=True)
@click.option("--server", default=None, help="HOST:PORT of lockservice.")
@click.option("--name", required=True, help="Of this consumer.")
@click.option("--slots", type=int, required=True, help="Events in work at once.")
def main(**how: Any) -> None:
    """Work on events until SIGTERM."""
    garbage.collect_seldom()
    uvloop.run(_until_told(**how))


async def _until_told(*, redis: str, guarding: str, server: str | None, name: str, slots: int) -> None:
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await _work(redis, cast("Guarding", guarding), server, name, slots)


async def _work(redis: str, guarding: Guarding, server: str | None, name: str, slots: int) -> None:
    async with contextlib.AsyncExitStack() as leave:
        store = Store(redis)
        leave.push_async_callback(store.close)
        guard: Guard = Nothing()
        if guarding == "lockservice":
            guard = Lockservice(await leave.enter_async_context(Client(server, owner=name)))
        elif guarding == "blog":
            guard = BlogLock(store)
        consumer = Consumer(redis, store, name=name, slots=slots, handle=Worker(store, guard).handle)
        await consumer.run()


if __name__ == "__main__":
    main()
