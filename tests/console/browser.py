"""The console in Debian's Chromium, and what the browser has to say of it."""

import os
import shutil
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Request, async_playwright

CHROMIUM = shutil.which("chromium")
# What a browser in a test must not do: ask for the rights that root has not, or call its maker.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


_INTERFACE = "ERR_NETWORK_CHANGED"


class Browser:
    """A browser with one page on a console.

    Args:
        ops_addr: where the console is.
        how: of Playwright's new_context: viewport, color_scheme and so on.
    """

    def __init__(self, ops_addr: str, **how: Any) -> None:
        self.base = f"http://{ops_addr}"
        self._how = {"viewport": {"width": 1280, "height": 900}} | how
        self.asked: list[str] = []
        self.said: list[str] = []
        self._broken_off = False

    async def __aenter__(self) -> Self:
        if CHROMIUM is None:
            assert os.environ.get("CI") != "true", "Debian's package chromium is missing"
            pytest.skip("chromium is not installed")
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await self._browser.new_context(**self._how)
        context.set_default_timeout(10_000)
        self.page: Page = await context.new_page()
        self.page.on("request", self._note)
        self.page.on("console", lambda message: self._hear(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        return self

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)

    def _hear(self, text: str) -> None:
        # Another test has made a network interface, whereupon Chromium breaks off what it loads.
        if _INTERFACE in text:
            self._broken_off = True
        else:
            self.said.append(text)

    async def __aexit__(self, *_: object) -> None:
        await self._browser.close()
        await self._playwright.stop()

    async def open(self) -> Page:
        """Opens the console, and returns once it is live."""
        while True:
            self._broken_off = False
            await self.page.goto(f"{self.base}/", wait_until="load")
            if not self._broken_off:
                await self.page.wait_for_selector("#state[data-state=live]")
                return self.page

    def elsewhere(self) -> list[str]:
        """Returns what was asked of any other host."""
        return [url for url in self.asked if urlsplit(url).netloc != urlsplit(self.base).netloc]

    async def text(self, selector: str) -> str:
        """Returns the text that a person sees there."""
        return await self.page.inner_text(selector)

    async def width(self) -> int:
        """Returns how wide the page is, whatever is seen of it."""
        found: int = await self.page.evaluate("document.documentElement.scrollWidth")
        return found
