"""The operators' port: metrics, probes, and the console."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import ClientError, ClientSession, UnixConnector, web
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_STOP_S: Final = 1.0
_UNIX: Final = "unix:"


class Part(Protocol):
    """Something else that is served on the port."""

    def add_to(self, app: web.Application) -> None:
        """Adds its paths."""


class Ops:
    """Serves HTTP on the operators' address.

    Args:
        addr: HOST:PORT; port 0 picks a free one. Or unix:PATH, where a supervisor asks one of its workers.
        metrics: what /metrics shows.
        problems: says why this replica is not ready; nothing when it is.
        console: what is served beside them: the console, or what a worker tells its supervisor's.
    """

    def __init__(
        self,
        addr: str,
        metrics: Callable[[], Awaitable[Collector]],
        problems: Callable[[], Awaitable[list[str]]],
        console: Part,
    ) -> None:
        self._addr = addr
        self._collect = metrics
        self._problems = problems
        self._console = console
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Begins to serve and returns the bound address. Raises OSError when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
            ]
        )
        self._console.add_to(app)
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


async def ask(socket: Path, path: str, body: Any = None) -> tuple[int, str]:
    """Asks a worker at its unix socket, and returns status and text. Raises OSError when nobody answers.

    Args:
        socket: of the worker.
        path: what is got from there, or where a body is posted.
        body: what JSON can write; None gets.
    """
    method = "GET" if body is None else "POST"
    # The host stands in the URL because there must be one.
    try:
        async with (
            ClientSession(connector=UnixConnector(str(socket))) as session,
            session.request(method, f"http://worker{path}", json=body) as answer,
        ):
            return answer.status, await answer.text()
    except ClientError as error:
        raise ConnectionError(str(error)) from error
