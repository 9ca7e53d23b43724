"""One resource in the console, and how an operator takes its lease away."""

import asyncio

from playwright.async_api import Route

from console.browser import Browser
from harness.service import Service, until


async def test_force_release_by_keyboard_alone(browser: Browser, service: Service) -> None:
    """Found, taken away with a reason, told to who hears the page, and audited; the next waiter goes on."""
    lease = await service.grant("cart:77", "stuck", ttl=60)
    waiting = service.waiting("cart:77", "next")
    await service.queued(1, "cart:77")
    page = await browser.open()
    keys = page.keyboard
    focused = "document.activeElement.id || document.activeElement.textContent"

    async def tab_to(what: str) -> None:
        for _ in range(30):
            await keys.press("Tab")
            if await page.evaluate(focused) == what:
                return
        raise AssertionError(f"Tab does not lead to {what}")

    await tab_to("wanted")
    await keys.type("cart:77")
    await keys.press("Enter")
    await page.wait_for_selector("#resource .danger:visible")
    await tab_to("Force release…")
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    await keys.press("Enter")
    await page.wait_for_selector("#confirm[open]")
    assert str(lease.fencing_token) in await browser.text("#confirm")
    await tab_to("Force release")
    await keys.press("Enter")
    assert await page.is_visible("#confirm"), "it needs a reason"
    await page.focus("#reason")
    await keys.type("the worker is gone")
    await tab_to("Force release")
    await keys.press("Enter")

    assert (await waiting).lease.fencing_token > lease.fencing_token
    await page.wait_for_selector("#recent [data-kind=forced]")
    assert "the worker is gone" in await browser.text("#recent")
    assert "taken away" in await page.text_content("#announcement")
    replica = service.server._replica
    assert replica is not None
    event = replica.inspection._audit.recent[-1]
    assert (event.kind, event.resource, event.detail) == ("force-release", "cart:77", "the worker is gone")


async def test_nothing_is_taken_away_that_was_not_seen(browser: Browser, service: Service) -> None:
    """The button is there only once the lease of the resource that is shown is."""
    await service.grant("cart:1", "first", ttl=60)
    await service.grant("cart:2", "second", ttl=60)
    page = await browser.open()
    answered = asyncio.Event()

    async def late(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await page.route("**/console/resource", late)
    for resource in ("cart:1", "cart:2"):
        answered.clear()
        await page.click(f"[data-resource='{resource}']")
        assert not await page.is_visible("#resource .danger")
        answered.set()
        await page.click("#resource .danger")
        assert resource in await browser.text("#confirm")
        await page.click("#confirm-cancel")


async def test_the_lease_that_was_seen_is_meant(browser: Browser, service: Service) -> None:
    """Who gets the resource while the reason is being written keeps it."""
    lease = await service.grant("cart:77", "first", ttl=60)
    page = await browser.open()
    await page.click("[data-resource='cart:77']")
    await page.click("#resource .danger")
    await service.release(lease)
    await service.grant("cart:77", "second", ttl=60)
    await page.fill("#reason", "it hangs")
    await page.click("#confirm .danger")
    await page.wait_for_selector("#confirm", state="hidden")
    await until(lambda: page.text_content("#announcement"), "an announcement")
    assert "already ended" in (await page.text_content("#announcement") or "")
    assert (await service.inspect("cart:77")).lock.holder.owner == "second"
