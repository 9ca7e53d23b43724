"""The work on one event, the same under every guard: read documents, change them, write them back."""

import asyncio
import random
from typing import Final

import orjson

from flash_sale import documents
from flash_sale.catalog import ON_HAND
from flash_sale.documents import Document
from flash_sale.event import Event, kept
from flash_sale.guards import Guard
from flash_sale.names import LEASE_S, NUMBERS, OUTCOMES, OUTSIDE, order_key, shop_key, stock_key
from flash_sale.store import Store
from lockservice_client import Duplicate, Early, Held, LeaseLost, ServiceError, Stale

# Calls to the carrier, the tax office and the books, between reading an order and writing it.
_ORDER_S: Final = (0.1, 0.4)
# Some of these calls outlast a lease that nobody renews.
_SLOW: Final = 0.004
_SLOW_S: Final = LEASE_S * 1.3
_STOCK_S: Final = 0.002


class Worker:
    """Works on events.

    Args:
        store: where the documents are.
        guard: what stands between the events of one order.
    """

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    async def handle(self, fields: dict[bytes, bytes]) -> str | None:
        """Works on a delivery, and says how it ended; None: not now, it shall come back."""
        event = Event(orjson.loads(fields[b"headers"]), fields[b"body"])
        try:
            async with self._guard.order(event):
                return await self._process(event)
        except Duplicate:
            return "duplicate"
        except Stale:
            # A newer whole order has been written: this one has nothing to add. Deltas are never stale.
            return "stale"
        except Early:
            self._count("early")
        except (Held, LeaseLost, ServiceError) as refusal:
            self._count(getattr(refusal, "reason", "") or type(refusal).__name__.lower())
        return None

    async def _process(self, event: Event) -> str | None:
        key = order_key(event.gid)
        document = await self._store.read(key)
        if document is None and event.topic != "orders/create":
            self._count("no order yet")
            return None
        await asyncio.sleep(_SLOW_S if random.random() < _SLOW else random.uniform(*_ORDER_S))  # noqa: S311  no secret
        if document is None:
            document = documents.new_order(event.gid, await self._store.run("INCR", NUMBERS))
        again = documents.has(document, event)
        if not again:
            fresh = await self._ask_shop(event) if documents.is_tie(document, event) else None
            documents.apply(document, event, fresh)
            await self._store.write(key, document)
        # A worker may have died after the write, so what follows is done again: all of it under the order's number,
        # by which whoever is asked twice can tell.
        if event.topic == "orders/create":
            await self._tell(event, document)
        for variant, pieces in event.pieces:
            await self._move(event, document, variant, pieces)
        return "in the document" if again else "done"

    async def _ask_shop(self, event: Event) -> Document | None:
        self._count("tie")
        body = await self._store.read(shop_key(event.gid))
        return None if body is None else kept(body)

    async def _tell(self, event: Event, document: Document) -> None:
        """Orders the goods at the warehouse and mails the confirmation."""
        told = [orjson.dumps([what, event.gid, document["number"]]) for what in ("warehouse", "confirmation")]
        await self._store.run("RPUSH", OUTSIDE, *told)

    async def _move(self, event: Event, document: Document, variant: str, pieces: int) -> None:
        key = stock_key(variant)
        name = str(document["number"]) if pieces < 0 else f"{document['number']}/{event.body_id}"
        async with self._guard.stock(event, variant):
            stock = await self._store.read(key) or documents.new_stock(ON_HAND)
            await asyncio.sleep(_STOCK_S)
            if documents.move(stock, name, pieces):
                await self._store.write(key, stock)

    def _count(self, what: str) -> None:
        self._store.run("HINCRBY", OUTCOMES, what, 1)
