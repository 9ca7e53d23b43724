"""The control group: the three patterns with which the incident's team mended its queue, faults included."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

from flash_sale.event import Event
from flash_sale.names import LEASE_S, OUTCOMES
from flash_sale.store import Store
from lockservice_client import Held

_REMEMBERED_S: Final = 86_400


class BlogLock:
    """SET NX EX, then a DEL that does not look whose lock it deletes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextlib.asynccontextmanager
    async def order(self, event: Event) -> AsyncIterator[None]:
        """Turns the event away when the order is locked. Nobody prolongs the lock of work that takes long."""
        name, holder = f"lock:order:{event.gid}", f"{event.key}/{id(event)}"
        if not await self._store.run("SET", name, holder, "NX", "EX", round(LEASE_S)):
            raise Held("order is locked, retry later")
        try:
            yield
        finally:
            # Only counted, not prevented: the pattern deletes whatever is there.
            found = await self._store.run("GET", name)
            if found not in {None, holder.encode()}:
                self._store.run("HINCRBY", OUTCOMES, "foreign_deletes", 1)
            await self._store.run("DEL", name)

    def stock(self, event: Event, variant: str) -> AbstractAsyncContextManager[object]:
        """Lets everybody in: the pattern locks orders only."""
        return contextlib.nullcontext()


class BlogReceiver:
    """GETDEL, then SETEX, of a hash over the topic, the id and the time of creation.

    That is the time at which the order was created, so that all updates of an order have one hash; and reading the
    mark deletes it, so that every second delivery passes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def lets_pass(self, event: Event) -> bool:
        """Says whether the event is put on the queue."""
        text = f"{event.body_id}-{event.topic}-{event.created_at}"
        mark = f"webhook:{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"
        if await self._store.run("GETDEL", mark):
            return False
        await self._store.run("SETEX", mark, _REMEMBERED_S, "1")
        return True
