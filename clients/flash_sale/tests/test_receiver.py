"""The receiver: what it takes in, what it refuses, and what the shop hears meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from flash_sale import processes
from flash_sale.names import STREAM
from flash_sale.orders import generate
from flash_sale.payloads import Webhook, render, sign
from flash_sale.store import Store

ORDER = generate(1, 1)[0]
WEBHOOK = render(ORDER, ORDER.events[0], "sale.myshopify.com")
LIMIT_S = 5.0


class Place:
    """A Redis and a receiver before it."""

    def __init__(self, redis: processes.Process, store: Store, url: str, http: aiohttp.ClientSession) -> None:
        self.redis = redis
        self.store = store
        self._url = url
        self._http = http

    async def post(self, webhook: Webhook) -> int:
        """Sends a webhook and returns the status of the answer, which must come in time."""
        async with (
            asyncio.timeout(LIMIT_S),
            self._http.post(self._url, data=webhook.body, headers=webhook.headers) as response,
        ):
            return response.status

    async def events(self) -> list[Any]:
        """Returns the fields of what is on the stream."""
        return [fields for _, fields in await self.store.run("XRANGE", STREAM, "-", "+")]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """One of each."""
    redis, url, _ = processes.start_redis(tmp_path)
    store = Store(url)
    receiver, webhooks = await processes.start_receiver(url, blog=False)
    async with aiohttp.ClientSession() as http:
        yield Place(redis, store, webhooks, http)
    await processes.stop(receiver)
    await store.close()
    await processes.stop(redis)


async def test_a_signed_webhook_is_on_the_stream_as_it_came(place: Place) -> None:
    """The same bytes, and the headers that workers need under the names that they know."""
    shouted = Webhook({name.upper(): text for name, text in WEBHOOK.headers.items()}, WEBHOOK.body)

    assert await place.post(shouted) == 200

    (fields,) = await place.events()
    assert fields[b"body"] == WEBHOOK.body
    kept = orjson.loads(fields[b"headers"])
    assert kept == {name: text for name, text in WEBHOOK.headers.items() if not name.endswith("Sha256")}


async def test_a_duplicate_is_taken_in_again(place: Place) -> None:
    """Duplicates are the workers' business: a receiver that forgets one has lost it."""
    assert [await place.post(WEBHOOK) for _ in range(2)] == [200, 200]
    assert len(await place.events()) == 2


def _without(*names: str) -> Webhook:
    return Webhook({name: text for name, text in WEBHOOK.headers.items() if name not in names}, WEBHOOK.body)


REFUSED: dict[str, tuple[int, Callable[[], Webhook]]] = {
    "another body": (401, lambda: WEBHOOK._replace(body=WEBHOOK.body + b" ")),
    "the same JSON, written otherwise": (
        401,
        lambda: WEBHOOK._replace(body=orjson.dumps(orjson.loads(WEBHOOK.body), option=orjson.OPT_INDENT_2)),
    ),
    "no signature": (401, lambda: _without("X-Shopify-Hmac-Sha256")),
    "no base64": (401, lambda: Webhook({**WEBHOOK.headers, "X-Shopify-Hmac-Sha256": "?"}, WEBHOOK.body)),
    "another's signature": (
        401,
        lambda: Webhook({**WEBHOOK.headers, "X-Shopify-Hmac-Sha256": sign(b"{}")}, WEBHOOK.body),
    ),
    "no topic": (400, lambda: _without("X-Shopify-Topic")),
    "no id": (400, lambda: _without("X-Shopify-Webhook-Id", "X-Shopify-Event-Id")),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_not_on_the_stream(place: Place, name: str) -> None:
    """A wrong signature is 401; a signed webhook that no worker could understand is 400."""
    status, make = REFUSED[name]

    assert await place.post(make()) == status

    assert await place.events() == []


async def test_without_its_redis_it_says_so_in_time(place: Place) -> None:
    """The shop hears 503 within its 5 s, and will send again: 200 would lose the event."""
    await processes.stop(place.redis)

    assert await place.post(WEBHOOK) == 503
