"""The receiver of the shop's webhooks: puts them on the stream as they arrive."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import orjson

from flash_sale import payloads
from flash_sale.blog import BlogReceiver
from flash_sale.deliveries import Delivery
from flash_sale.event import Event
from flash_sale.names import OUTCOMES, STREAM, shop_key
from flash_sale.orders import Order
from flash_sale.store import Store

# What workers have not taken yet. Beyond it the sale waits for them, as the shop does by repeating later.
BACKLOG_MAX: Final = 500
_LOOK_S: Final = 0.05
_SENT_AT_ONCE: Final = 64
# Sleeping for less would cost more than it gives.
_EARLY_S: Final = 0.01


class Publisher:
    """Plays the deliveries of a sale.

    Args:
        store: the Redis that has the stream.
        shop: the domain that sends the events.
        pace: seconds of the sale in one second.
        receiver: what may turn deliveries away; None: nothing does.

    Attributes:
        published: how many deliveries are on the stream, or have been.
        turned_away: how many are not.
        backlog: how many of them no worker has taken yet; whoever watches the stream writes it here.
    """

    def __init__(self, store: Store, *, shop: str, pace: float, receiver: BlogReceiver | None = None) -> None:
        self._store = store
        self._shop = shop
        self._pace = pace
        self._receiver = receiver
        self._seen: set[str] = set()
        self._behind_s = 0.0
        self.published = 0
        self.turned_away = 0
        self.backlog = 0

    async def play(self, deliveries: Sequence[Delivery]) -> None:
        """Publishes each delivery when it is due."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for at, order, event in deliveries:
                await self._wait(began + at / self._pace)
                if event.tied:
                    await self._answer_questions(order)
                webhook = payloads.render(order, event, self._shop)
                if self._receiver is None:
                    await self._put(webhook)
                else:
                    tasks.create_task(self._receive(self._receiver, webhook))

    async def _wait(self, due: float) -> None:
        while self.backlog > BACKLOG_MAX:
            await asyncio.sleep(_LOOK_S)
            self._behind_s += _LOOK_S
        early = due + self._behind_s - time.monotonic()
        if early > _EARLY_S:
            await asyncio.sleep(early)

    async def _receive(self, receiver: BlogReceiver, webhook: payloads.Webhook) -> None:
        event = Event(webhook.headers, webhook.body)
        if await receiver.lets_pass(event):
            await self._put(webhook)
        else:
            self.turned_away += 1
            if event.key not in self._seen:
                self._store.run("HINCRBY", OUTCOMES, "new_turned_away", 1)
        self._seen.add(event.key)

    async def _put(self, webhook: payloads.Webhook) -> None:
        put = self._store.run("XADD", STREAM, "*", "headers", orjson.dumps(webhook.headers), "body", webhook.body)
        self.published += 1
        if self.published % _SENT_AT_ONCE == 0:
            await put

    async def _answer_questions(self, order: Order) -> None:
        """Lets the shop's API know the order as it is after both events of one instant."""
        newest = [event for event in order.events if event.tied][-1]
        await self._store.run("SET", shop_key(order.gid), payloads.render(order, newest, self._shop).body)
