"""The stand's HTTP API, for tests in any language."""

import asyncio
import base64
import contextlib
import itertools
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast, get_args

import grpc
from aiohttp import web

from lockservice_stand import faults, tenants
from lockservice_stand.certificates import Certificates
from lockservice_stand.faults import Faults
from lockservice_stand.names import Names
from lockservice_stand.proxy import Proxy
from lockservice_stand.service import Service, Store, Tls
from lockservice_stand.strangers import Kind, Stranger

ACTIONS: Final = ("kill", "terminate", "freeze", "thaw", "start")
REPLICAS_MAX: Final = 3

Handler = Callable[[web.Request], Awaitable[Any]]


class Control:
    """Keeps what was started, and ends it."""

    def __init__(self) -> None:
        self._leave = contextlib.ExitStack()
        self._directory = Path(self._leave.enter_context(tempfile.TemporaryDirectory(prefix="lockservice-stand-")))
        self._certificates = Certificates(self._directory)
        self._names = Names(self._directory / "hosts")
        self._numbers = itertools.count(1)
        self._services: dict[str, Service] = {}
        self._proxies: dict[str, tuple[Proxy, Faults]] = {}
        self._strangers: list[Stranger] = []
        self._stores: list[Store] = []

    def application(self) -> web.Application:
        """Makes the application."""
        made = web.Application()
        for method, path, handler in (
            ("POST", "/services", self._start_service),
            ("POST", "/services/{id}/{replica}/{action}", self._act),
            ("DELETE", "/services/{id}", self._stop_service),
            ("POST", "/proxies", self._start_proxy),
            ("POST", "/proxies/{id}/faults", self._add_fault),
            ("POST", "/proxies/{id}/let_go", self._let_go),
            ("GET", "/proxies/{id}", self._show_proxy),
            ("DELETE", "/proxies/{id}", self._stop_proxy),
            ("POST", "/strangers", self._start_stranger),
            ("POST", "/stores", self._start_store),
        ):
            made.router.add_route(method, path, _answering(handler))
        return made

    async def start(self) -> None:
        """Begins."""
        await self._names.start()

    async def stop(self) -> None:
        """Ends everything that was started."""
        for proxy, _ in self._proxies.values():
            await proxy.stop()
        for stranger in self._strangers:
            stranger.stop()
        for service in self._services.values():
            await asyncio.to_thread(service.stop)
        for store in self._stores:
            await asyncio.to_thread(store.stop)
        self._names.stop()
        self._leave.close()

    async def _start_service(self, request: web.Request) -> Any:
        body = await request.json()
        tls, replicas = body.get("tls", ""), int(body.get("replicas", 1))
        _need(tls in get_args(Tls), f"tls is one of {get_args(Tls)}")
        _need(1 <= replicas <= REPLICAS_MAX, f"replicas are 1 to {REPLICAS_MAX}")
        number = str(next(self._numbers))
        directory = self._directory / f"service-{number}"
        directory.mkdir()
        tokens = tenants.write(directory / "auth.toml", body.get("tenants", []))
        flags = ["--auth-file", str(directory / "auth.toml")] if tokens else []

        def make() -> Service:
            return Service(
                directory, replicas=replicas, tls=cast("Tls", tls), certificates=self._certificates, flags=flags
            )

        service = self._services[number] = await asyncio.to_thread(make)
        await asyncio.to_thread(service.start)
        name = f"s{number}.stand.test"
        self._names.give(name, service.hosts)
        return {
            "id": number,
            "addresses": [replica.address for replica in service.replicas],
            "target": f"dns://127.0.0.1:{self._names.port}/{name}:{service.port}",
            "hosts": str(self._names.hosts),
            "ca": str(self._certificates.ca),
            "other_ca": str(self._certificates.other_ca),
            "cert": str(self._certificates.cert),
            "key": str(self._certificates.key),
            "tokens": tokens,
        }

    async def _act(self, request: web.Request) -> Any:
        service, action = self._service(request), request.match_info["action"]
        _need(action in ACTIONS, f"actions are {', '.join(ACTIONS)}")
        number = request.match_info["replica"]
        _need(number.isdigit() and int(number) < len(service.replicas), "there is no such replica")
        await asyncio.to_thread(getattr(service.replicas[int(number)], action))
        return {}

    async def _stop_service(self, request: web.Request) -> Any:
        service = self._service(request)
        number = request.match_info["id"]
        self._names.take(f"s{number}.stand.test")
        del self._services[number]
        await asyncio.to_thread(service.stop)
        return {}

    def _service(self, request: web.Request) -> Service:
        found = self._services.get(request.match_info["id"])
        _need(found is not None, "there is no such service")
        return cast("Service", found)

    async def _start_proxy(self, request: web.Request) -> Any:
        proxy, number = Proxy((await request.json())["address"]), str(next(self._numbers))
        made = Faults()
        proxy.fault = made
        await proxy.start()
        self._proxies[number] = proxy, made
        return {"id": number, "address": proxy.address}

    async def _add_fault(self, request: web.Request) -> Any:
        proxy, made = self._proxy(request)
        body = await request.json()
        _need(body["fault"] in faults.NAMES, f"faults are {', '.join(sorted(faults.NAMES))}")
        if body["fault"] == faults.NO_SESSIONS:
            proxy.no_sessions = grpc.StatusCode.UNIMPLEMENTED
        else:
            made.add(body["fault"], body["method"], int(body.get("times", 1)))
        return {}

    async def _let_go(self, request: web.Request) -> Any:
        self._proxy(request)[1].let_go()
        return {}

    async def _show_proxy(self, request: web.Request) -> Any:
        proxy, _ = self._proxy(request)
        return {
            "streams": proxy.streams,
            "open_streams": len(proxy.live),
            "frames": len(proxy.frames),
            "calls": [
                {"method": seen.method, "request": base64.b64encode(seen.request).decode(), "unary": seen.unary}
                for seen in proxy.seen
            ],
        }

    async def _stop_proxy(self, request: web.Request) -> Any:
        proxy, _ = self._proxy(request)
        del self._proxies[request.match_info["id"]]
        await proxy.stop()
        return {}

    def _proxy(self, request: web.Request) -> tuple[Proxy, Faults]:
        found = self._proxies.get(request.match_info["id"])
        _need(found is not None, "there is no such proxy")
        return cast("tuple[Proxy, Faults]", found)

    async def _start_stranger(self, request: web.Request) -> Any:
        kind = (await request.json())["kind"]
        _need(kind in get_args(Kind), f"kinds are {get_args(Kind)}")
        stranger = Stranger(kind)
        await stranger.start()
        self._strangers.append(stranger)
        return {"address": stranger.address}

    async def _start_store(self, _: web.Request) -> Any:
        store = await asyncio.to_thread(Store, self._directory)
        self._stores.append(store)
        return {"address": store.address}


def _need(right: object, message: str) -> None:
    if not right:
        raise ValueError(message)


def _answering(handler: Handler) -> Handler:
    """Answers with JSON, whatever happens: a test in any language shows the message."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return web.json_response(await handler(request))
        except (ValueError, KeyError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except Exception as error:  # noqa: BLE001  whatever it is, the test must hear of it
            return web.json_response({"error": repr(error)}, status=500)

    return answer
