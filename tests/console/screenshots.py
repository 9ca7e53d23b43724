"""Draws the pictures of the README: `make screenshots`."""

import asyncio
from pathlib import Path

from console.browser import Browser
from console.busy import Busy
from harness.redis_server import RedisServer
from harness.service import Service

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "console"
SCHEMES = ("light", "dark")
SIZE = {"width": 1280, "height": 1120}
# Long enough for the latency lines to have a shape.
WORKED_S = 150


async def draw() -> None:
    """Makes a busy service of three shards, and takes its console's picture in both schemes."""
    FOLDER.mkdir(exist_ok=True)
    servers = [RedisServer() for _ in range(3)]
    try:
        async with Service([server.url for server in servers]) as service:
            busy = Busy(service)
            await busy.begin()
            await asyncio.sleep(WORKED_S)
            for scheme in SCHEMES:
                async with Browser(service.server.ops_addr, color_scheme=scheme, viewport=SIZE) as browser:
                    page = await browser.open()
                    await page.wait_for_selector("#longest tbody tr")
                    await page.screenshot(path=FOLDER / f"{scheme}.png")
            await busy.end()
    finally:
        for server in servers:
            server.remove()


if __name__ == "__main__":
    asyncio.run(draw())
