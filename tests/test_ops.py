"""The operators' port: metrics, probes, and room for the console."""

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from lockservice.metrics import Metrics
from lockservice.ops import Ops


class Part:
    """Something that is served beside metrics and probes."""

    def add_to(self, app: web.Application) -> None:
        """Adds one path."""
        app.router.add_get("/", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """Answers there."""
        return web.Response(text="a page")


class Page:
    """A running Ops whose problems a test sets, and its base URL."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        Metrics(self.registry)
        self.problems: list[str] = []
        self.ops = self.another("127.0.0.1:0")
        self.address = ""

    def another(self, address: str) -> Ops:
        """Makes an Ops that shows the same."""

        async def metrics() -> Collector:
            return self.registry

        async def problems() -> list[str]:
            return self.problems

        return Ops(address, metrics, problems, Part())

    async def get(self, path: str, accept: str = "*/*") -> tuple[int, str, str]:
        """Returns status, content type and body."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.address}{path}", headers={"Accept": accept}) as answer,
        ):
            return answer.status, answer.headers["Content-Type"], await answer.text()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """An Ops on a free port."""
    made = Page()
    made.address = await made.ops.start()
    yield made
    await made.ops.stop()


async def test_metrics(page: Page) -> None:
    """/metrics is Prometheus text, and OpenMetrics for who asks for it."""
    status, kind, body = await page.get("/metrics")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert "lockservice_build_info" in {family.name for family in parse_text(body)}
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    status, kind, body = await page.get("/metrics", accept)
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert "lockservice_holds" in {family.name for family in parse_openmetrics(body)}  # type: ignore[no-untyped-call]  # it has no annotations


async def test_readiness(page: Page) -> None:
    """/readyz says every reason a line, and /livez stays well."""
    assert (await page.get("/readyz"))[::2] == (200, "ready\n")
    page.problems = ["draining", "no shard can be reached"]
    assert (await page.get("/readyz"))[::2] == (503, "draining\nno shard can be reached\n")
    assert (await page.get("/livez"))[::2] == (200, "alive\n")


async def test_part(page: Page) -> None:
    """What is served beside them has its own paths."""
    assert (await page.get("/"))[::2] == (200, "a page")


async def test_nothing_else(page: Page) -> None:
    """Other paths do not exist, and nothing can be written."""
    assert (await page.get("/metrics/x"))[0] == 404
    async with aiohttp.ClientSession() as session, session.post(f"http://{page.address}/") as answer:
        assert answer.status == 405


async def test_port_in_use(page: Page) -> None:
    """A second server on the same port fails with OSError and leaves nothing open."""
    second = page.another(page.address)
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.stop()
    assert (await page.get("/livez"))[0] == 200


async def test_stop() -> None:
    """After stop nobody listens."""
    page = Page()
    host, _, port = (await page.ops.start()).rpartition(":")
    await page.ops.stop()
    with socket.socket() as client:
        assert client.connect_ex((host, int(port))) != 0
