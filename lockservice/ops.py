"""The operators' port: metrics, probes, and a page that shows the shards."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, UnixConnector, web
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from lockservice import __version__
from lockservice.inspection import ShardView

_STOP_S: Final = 1.0
_UNIX: Final = "unix:"
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>lockservice</title><style>body{{font:15px system-ui;margin:2rem}}td,th{{padding:.3rem 1rem;text-align:left}}
tr:nth-child(even){{background:#f4f4f4}}</style><h1>lockservice {version}</h1><p>{state}; up {uptime} s</p>
<table><tr><th>shard<th>address<th>state<th>p50<th>p99<th>leases<th>waiting</tr>{rows}</table>
<p><a href="/metrics">metrics</a> · <a href="/readyz">readyz</a> · <a href="/livez">livez</a></p></html>"""
_ROW: Final = "<tr><td>{}<td>{}<td>{}<td>{:.2f} ms<td>{:.2f} ms<td>{}<td>{}</tr>"


class Ops:
    """Serves HTTP on the operators' address.

    Args:
        addr: HOST:PORT; port 0 picks a free one. Or unix:PATH, where a supervisor asks one of its workers.
        metrics: what /metrics shows.
        problems: says why this replica is not ready; nothing when it is.
        shards: describes the shards.
    """

    def __init__(
        self,
        addr: str,
        metrics: Callable[[], Awaitable[Collector]],
        problems: Callable[[], Awaitable[list[str]]],
        shards: Callable[[], Awaitable[Sequence[ShardView]]],
    ) -> None:
        self._addr = addr
        self._collect = metrics
        self._problems = problems
        self._shards = shards
        self._started = time.monotonic()
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Begins to serve and returns the bound address. Raises OSError when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/", self._page),
            ]
        )
        if self._addr.startswith(_UNIX):
            app.add_routes([web.get("/shards", self._views)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        try:
            return await self._listen(self._runner)
        except OSError:
            await self.stop()
            raise

    async def _listen(self, runner: web.AppRunner) -> str:
        if self._addr.startswith(_UNIX):
            await web.UnixSite(runner, self._addr.removeprefix(_UNIX)).start()
            return self._addr
        host, _, port = self._addr.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        return f"{host}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stops serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # It takes milliseconds of processor time, which waiting calls should not pay for.
        body = await asyncio.to_thread(encode, await self._collect())
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _livez(self, request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        problems = await self._problems()
        if problems:
            return web.Response(status=503, text="".join(f"{problem}\n" for problem in problems))
        return web.Response(text="ready\n")

    async def _page(self, request: web.Request) -> web.Response:
        rows = "".join(
            _ROW.format(
                escape(view.name),
                escape(view.address),
                escape(view.problem) or "up",
                view.latency_p50_ms,
                view.latency_p99_ms,
                view.locks_held,
                view.waiters,
            )
            for view in await self._shards()
        )
        state = escape("; ".join(await self._problems())) or "ready"
        uptime = f"{time.monotonic() - self._started:.0f}"
        page = _PAGE.format(version=__version__, state=state, uptime=uptime, rows=rows)
        return web.Response(text=page, content_type="text/html")

    async def _views(self, request: web.Request) -> web.Response:
        return web.json_response(await self._shards())


async def ask(socket: Path, path: str) -> tuple[int, str]:
    """Asks a worker at its unix socket, and returns status and text. Raises OSError when nobody answers."""
    # The host stands in the URL because there must be one.
    try:
        async with (
            ClientSession(connector=UnixConnector(str(socket))) as session,
            session.get(f"http://worker{path}") as answer,
        ):
            return answer.status, await answer.text()
    except ClientError as error:
        raise ConnectionError(str(error)) from error
