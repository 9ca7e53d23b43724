"""The shop: sends its webhooks over HTTP, over many connections at once, and again what was not answered with 2xx."""

import asyncio
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import aiohttp
import click

from flash_sale import payloads
from flash_sale.deliveries import Delivery
from flash_sale.names import shop_key
from flash_sale.orders import Order
from flash_sale.store import Store

CONNECTIONS: Final = 512
# What workers have not taken yet. Beyond it the sale waits for them, so that a slow machine needs no more memory.
BACKLOG_MAX: Final = 500
# As the shop does: 1 s to connect, 5 s in all, and eight more attempts, ever later.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0, sock_connect=1.0)
_ATTEMPTS: Final = 9
_PAUSE_S: Final = 0.25
_FORGED_EVERY: Final = 500
_LOOK_S: Final = 0.05
# Sleeping for less would cost more than it gives.
_EARLY_S: Final = 0.01


class Sender:
    """Plays the deliveries of a sale.

    Args:
        url: of the receiver.
        store: where the shop's own API gets its answers from.
        shop: the domain that sends the events.
        pace: seconds of the sale in one second.

    Attributes:
        accepted: how many deliveries were answered with 2xx.
        repeated: how many attempts were not, and made again.
        forged: how many had a wrong signature, and were refused for it.
        slowest_s: the longest that an answer took.
        backlog: how many of them no worker has taken yet; whoever watches the stream writes it here.
        patient: wait for the workers when the backlog is long.
    """

    def __init__(self, url: str, store: Store, *, shop: str, pace: float) -> None:
        self._url = url
        self._store = store
        self._shop = shop
        self._pace = pace
        self._behind_s = 0.0
        self._free = asyncio.Semaphore(CONNECTIONS)
        self.accepted = 0
        self.repeated = 0
        self.forged = 0
        self.slowest_s = 0.0
        self.backlog = 0
        self.patient = True

    async def play(self, deliveries: Sequence[Delivery]) -> None:
        """Sends each delivery when it is due."""
        began = time.monotonic()
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as http, asyncio.TaskGroup() as tasks:
            for number, (at, order, event) in enumerate(deliveries):
                await self._wait(began + at / self._pace)
                if event.tied:
                    await self._answer_questions(order)
                await self._free.acquire()
                webhook = payloads.render(order, event, self._shop)
                tasks.create_task(self._send(http, webhook))
                if number % _FORGED_EVERY == 0:
                    await self._forge(http, webhook)

    async def _wait(self, due: float) -> None:
        while self.patient and self.backlog > BACKLOG_MAX:
            await asyncio.sleep(_LOOK_S)
            self._behind_s += _LOOK_S
        early = due + self._behind_s - time.monotonic()
        if early > _EARLY_S:
            await asyncio.sleep(early)

    async def _send(self, http: aiohttp.ClientSession, webhook: payloads.Webhook) -> None:
        try:
            for attempt in range(_ATTEMPTS):
                if await self._post(http, webhook) == HTTPStatus.OK:
                    self.accepted += 1
                    return
                self.repeated += 1
                await asyncio.sleep(_PAUSE_S * 2**attempt)
            raise click.ClickException(f"the receiver has not taken a webhook in {_ATTEMPTS} attempts")
        finally:
            self._free.release()

    async def _post(self, http: aiohttp.ClientSession, webhook: payloads.Webhook) -> int:
        began = time.monotonic()
        try:
            async with http.post(self._url, data=webhook.body, headers=webhook.headers) as response:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def _forge(self, http: aiohttp.ClientSession, webhook: payloads.Webhook) -> None:
        """Sends somebody else's idea of an event, with the signature of a real one."""
        forged = webhook._replace(body=webhook.body + b" ")
        status = await self._post(http, forged)
        if status == HTTPStatus.UNAUTHORIZED:
            self.forged += 1
        elif status:
            raise click.ClickException(f"the receiver answered a wrong signature with {status}")

    async def _answer_questions(self, order: Order) -> None:
        """Lets the shop's API know the order as it is after both events of one instant."""
        newest = [event for event in order.events if event.tied][-1]
        await self._store.run("SET", shop_key(order.gid), payloads.render(order, newest, self._shop).body)
