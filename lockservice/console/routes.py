"""The console over HTTP: the page's files, its feed, and what it asks for."""

import json
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from aiohttp import web

from lockservice import __version__
from lockservice.console.access import Access, Visitor
from lockservice.console.feed import Feed, FullError
from lockservice.console.source import Look, Source
from lockservice.errors import CredentialMissing, Denied, LockServiceError, ResourceForbidden
from lockservice.limits import CONSOLE_REQUEST_BYTES_MAX, REASON_BYTES_MAX, RESOURCE_BYTES_MAX, VERSION_MAX

# What belongs to the page, and as what it is sent. Nothing else is.
_FILES: Final = {
    "index.html": "text/html",
    "console.css": "text/css",
    "console.js": "text/javascript",
    "drawing.js": "text/javascript",
    "feed.js": "text/javascript",
    "resource.js": "text/javascript",
    "shards.js": "text/javascript",
    "tables.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_HEADERS: Final = {
    # The page runs its own files only, talks to nobody else, and cannot be put into a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Problems = Callable[[], Awaitable[list[str]]]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@cache
def _file(name: str) -> bytes:
    return files("lockservice.console").joinpath("page", name).read_bytes()


class _Wish(NamedTuple):
    """What the page asks for: a resource and, to take its lease away, which one and why."""

    resource: str
    token: int
    reason: str


class Console:
    """Serves the console.

    Args:
        source: what it shows and does.
        access: who may.
        problems: says why the service is not ready.
    """

    def __init__(self, source: Source, access: Access, problems: Problems) -> None:
        self._source = source
        self._access = access
        self._feed = Feed(source, problems)

    def add_to(self, app: web.Application) -> None:
        """Adds its paths."""
        app.router.add_get("/", self._page)
        app.router.add_get("/console/feed", self._guarded("Watch", self._watch))
        app.router.add_post("/console/resource", self._guarded("Inspect", self._find))
        app.router.add_post("/console/force-release", self._guarded("ForceRelease", self._force_release))
        app.router.add_get("/console/{file}", self._page)
        app.on_shutdown.append(self._close)

    async def _close(self, app: web.Application) -> None:
        await self._feed.close()

    async def _page(self, request: web.Request) -> web.Response:
        name = request.match_info.get("file", "index.html")
        if name not in _FILES:
            raise web.HTTPNotFound
        return web.Response(body=_file(name), content_type=_FILES[name], charset="utf-8", headers=_HEADERS)

    def _guarded(self, method: str, handler: Callable[[web.Request, Visitor], Awaitable[Any]]) -> _Handler:
        """Has a handler called for visitors only, and what it raises told to page and audit log."""

        async def handle(request: web.Request) -> web.StreamResponse:
            visitor = None
            try:
                visitor = self._access.visitor(request)
                answer: web.StreamResponse = await handler(request, visitor)
            except Denied as error:
                name = visitor.principal.name if visitor else ""
                self._source.refused(name, f"console {method}", error.resource, str(error), request.remote or "")
                return _problem(401 if isinstance(error, CredentialMissing) else 403, error)
            except (LockServiceError, FullError) as error:
                return _problem(503, error)
            return answer

        return handle

    async def _watch(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        pictures = self._feed.watch(Look(visitor.principal, visitor.names))
        try:
            async for picture in pictures:
                # Roles may change, and tokens end, while a page is open.
                if self._access.visitor(request) != visitor:
                    break
                if not response.prepared:
                    await response.prepare(request)
                    await response.write(_event("hello", json.dumps(_greeting(visitor))))
                await response.write(_event("picture", picture))
        except (CredentialMissing, ConnectionResetError):
            pass
        finally:
            await pictures.aclose()
        if not response.prepared:
            raise FullError("the console is closing")
        return response

    async def _find(self, request: web.Request, visitor: Visitor) -> web.Response:
        wish = await _wish(request)
        self._check(visitor, wish.resource)
        return web.json_response(await self._source.find(visitor.principal, wish.resource), headers=_HEADERS)

    async def _force_release(self, request: web.Request, visitor: Visitor) -> web.Response:
        wish = await _wish(request)
        if not visitor.operator:
            raise ResourceForbidden("only operators take leases away", wish.resource)
        self._check(visitor, wish.resource)
        if not wish.reason.strip():
            raise web.HTTPBadRequest(text="a reason is required\n")
        released = await self._source.force_release(visitor.principal, *wish)
        return web.json_response({"released": released}, headers=_HEADERS)

    def _check(self, visitor: Visitor, resource: str) -> None:
        if not visitor.names or not visitor.principal.may_touch(resource):
            raise ResourceForbidden("this resource is not for this credential", resource)


def _greeting(visitor: Visitor) -> dict[str, Any]:
    principal = visitor.principal
    return {
        "version": __version__,
        "name": principal.name,
        "namespace": principal.namespace,
        "prefixes": [prefix for prefix in principal.prefixes if prefix],
        "names": visitor.names,
        "operator": visitor.operator,
    }


def _event(kind: str, data: str) -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _problem(status: int, error: Exception) -> web.Response:
    return web.json_response({"problem": str(error)}, status=status, headers=_HEADERS)


async def _wish(request: web.Request) -> _Wish:
    """Reads what the page asks for. Raises web.HTTPBadRequest."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="application/json is expected\n")
    body = await request.content.read(CONSOLE_REQUEST_BYTES_MAX + 1)
    try:
        given = json.loads(body[:CONSOLE_REQUEST_BYTES_MAX])
        wish = _Wish(given["resource"], given.get("token", 0), given.get("reason", ""))
        fits = (
            type(wish.token) is int
            and 0 <= wish.token <= VERSION_MAX
            and 1 <= len(wish.resource.encode()) <= RESOURCE_BYTES_MAX
            and len(wish.reason.encode()) <= REASON_BYTES_MAX
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise web.HTTPBadRequest(text="the request cannot be read\n") from error
    if not fits:
        raise web.HTTPBadRequest(
            text=f"resource: 1 to {RESOURCE_BYTES_MAX} bytes; reason: at most {REASON_BYTES_MAX}\n"
        )
    return wish
