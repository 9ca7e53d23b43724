"""The receiver of the shop's webhooks: `python -m flash_sale.receiver`.

It checks the signature, puts the event on the stream as it came, and answers. It does not know lockservice, so it
answers 200 while lockservice is down. What comes twice, or in the wrong order, is the workers' business.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import signal
from typing import Final

import click
import orjson
import uvloop
from aiohttp import web
from redis import RedisError

from flash_sale import garbage
from flash_sale.blog import BlogReceiver
from flash_sale.event import Event
from flash_sale.names import OUTCOMES, PATH, SECRETS_VARIABLE, STREAM
from flash_sale.store import Store

# The shop gives up after 5 s, and what it has given up on it sends again.
ANSWER_S: Final = 4.0
BODY_BYTES_MAX: Final = 5 << 20
_NEEDED: Final = ("X-Shopify-Topic", "X-Shopify-Shop-Domain", "X-Shopify-Triggered-At")
_ID: Final = ("X-Shopify-Webhook-Id", "X-Shopify-Event-Id")
_KEPT: Final = (*_NEEDED, *_ID, "X-Shopify-API-Version")


class Receiver:
    """Takes webhooks in.

    Args:
        store: the Redis that has the stream.
        secrets: any of them may have signed: after a change of the secret, the old one does for a while.
        blog: what may turn events away; None: nothing does.
    """

    def __init__(self, store: Store, secrets: tuple[bytes, ...], blog: BlogReceiver | None = None) -> None:
        self._store = store
        self._secrets = secrets
        self._blog = blog
        self._seen: set[str] = set()

    async def receive(self, request: web.Request) -> web.Response:
        """Answers 200 when the event is on the stream, and not before."""
        # The signature is over the bytes as they came: JSON that was read and written again has others.
        body = await request.read()
        if not self._is_signed(body, request.headers.get("X-Shopify-Hmac-Sha256", "")):
            return web.Response(status=401, text="the signature is not that of this body\n")
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        if not all(name in headers for name in _NEEDED) or not any(name in headers for name in _ID):
            return web.Response(status=400, text=f"needed are {', '.join(_NEEDED)}, and {' or '.join(_ID)}\n")
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._put(headers, body)
        except (TimeoutError, RedisError):
            # Anything but 2xx has the shop send it again.
            return web.Response(status=503, text="not now\n")
        return web.Response()

    async def _put(self, headers: dict[str, str], body: bytes) -> None:
        if self._blog is not None and not await self._lets_pass(self._blog, Event(headers, body)):
            return
        await self._store.run("XADD", STREAM, "*", "headers", orjson.dumps(headers), "body", body)

    async def _lets_pass(self, blog: BlogReceiver, event: Event) -> bool:
        passes = await blog.lets_pass(event)
        if not passes:
            self._store.run("HINCRBY", OUTCOMES, "turned_away", 1)
            if event.key not in self._seen:
                self._store.run("HINCRBY", OUTCOMES, "new_turned_away", 1)
        self._seen.add(event.key)
        return passes

    def _is_signed(self, body: bytes, signature: str) -> bool:
        try:
            given = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        digests = [hmac.digest(secret, body, hashlib.sha256) for secret in self._secrets]
        # All are compared, in the same time whatever they are: an attacker learns nothing from how long it takes.
        return any([hmac.compare_digest(given, digest) for digest in digests])  # noqa: C419  all of them


@click.command()
@click.option("--redis", required=True, help="URL of the Redis with the stream.")
@click.option("--blog", is_flag=True, help="Turn duplicates away as the incident's team did.")
def main(*, redis: str, blog: bool) -> None:
    """Receive webhooks until SIGTERM. The secrets are in FLASH_SALE_SECRETS, separated by spaces."""
    secrets = tuple(secret.encode() for secret in os.environ[SECRETS_VARIABLE].split())
    uvloop.run(_until_told(redis, secrets, blog=blog))


async def _until_told(redis: str, secrets: tuple[bytes, ...], *, blog: bool) -> None:
    garbage.collect_seldom()
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    store = Store(redis)
    receiver = Receiver(store, secrets, BlogReceiver(store) if blog else None)
    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.router.add_post(PATH, receiver.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"ready {runner.addresses[0][1]}", flush=True)  # noqa: T201  whoever started it waits for this line
    await told.wait()
    await runner.cleanup()
    await store.close()


if __name__ == "__main__":
    main()
