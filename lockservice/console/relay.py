"""The console of a supervisor: it asks its workers, each at its own unix socket that nobody else may use."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web

from lockservice.audit import Audit
from lockservice.console import picture
from lockservice.console.picture import Picture
from lockservice.console.source import Here, Look, Source
from lockservice.credentials import Principal
from lockservice.errors import LockServiceError, OutcomeUnknown, ShardUnavailable

# Asks a worker at a path with a JSON body; None: it does not answer.
Ask = Callable[[str, Any], Awaitable[Any]]

_UNAVAILABLE: Final = 503


class Relay(Source):
    """The workers as one source.

    Args:
        workers: asks each of those that run.
    """

    def __init__(self, workers: Callable[[], Sequence[Ask]]) -> None:
        self._workers = workers
        self._audit = Audit()

    async def look(self, look: Look) -> Picture:
        """Draws what one worker sees in the shards, and what each of them knows by itself."""
        body = _written(look.viewer) | {"names": look.names}
        seen: Picture
        # One that is frozen is waited for once.
        seen, *own = await asyncio.gather(
            self._first("/look", body), *(worker("/own", body) for worker in self._workers())
        )
        known = [answer for answer in own if answer]
        refused = [*(answer["refused"] for answer in known), picture.of_refusals(self._audit.recent, look.viewer)]
        return seen | {
            "trends": picture.join_trends(answer["trends"] for answer in known),
            "refused": picture.join_refusals(refused) if look.names else [],
        }

    async def find(self, viewer: Principal, resource: str) -> Picture:
        """Draws one resource."""
        found: Picture = await self._first("/find", _written(viewer) | {"resource": resource})
        return found

    async def force_release(self, operator: Principal, resource: str, token: int, reason: str) -> bool:
        """Takes a lease away. Raises OutcomeUnknown when the worker that was asked does not answer."""
        body = _written(operator) | {"resource": resource, "token": token, "reason": reason}
        for worker in self._workers():
            # A second one would say that there is no such lease, though the first may have taken it away.
            answer = await worker("/force-release", body)
            if answer is None:
                raise OutcomeUnknown("the worker does not answer: look whether the lease is gone")
            return bool(_told(answer)["released"])
        raise ShardUnavailable("no worker runs")

    def refused(self, name: str, method: str, resource: str, reason: str, peer: str) -> None:
        """Tells the audit log of a refusal."""
        self._audit.refused(name, method, resource, reason, peer)

    async def _first(self, path: str, body: Picture) -> Any:
        for worker in self._workers():
            answer = await worker(path, body)
            if answer is not None:
                return _told(answer)
        raise ShardUnavailable("no worker answers")


def _told(answer: Picture) -> Picture:
    if "problem" in answer:
        raise ShardUnavailable(answer["problem"])
    return answer


def _written(viewer: Principal) -> Picture:
    return {"viewer": [viewer.name, viewer.namespace, viewer.prefixes, sorted(viewer.roles)]}


def _read(body: Picture) -> Principal:
    name, namespace, prefixes, roles = body["viewer"]
    return Principal(name, namespace, tuple(prefixes), frozenset(roles))


class Answering:
    """What a worker answers to the relay of its supervisor, which has checked who asks."""

    def __init__(self, here: Here) -> None:
        self._here = here

    def add_to(self, app: web.Application) -> None:
        """Adds its paths."""
        for path, answer in (
            ("/look", self._look), ("/own", self._own), ("/find", self._find), ("/force-release", self._force_release)
        ):  # fmt: skip
            app.router.add_post(path, _json(answer))

    async def _look(self, body: Picture) -> Picture:
        return await self._here.look(Look(_read(body), body["names"]))

    async def _own(self, body: Picture) -> Picture:
        return self._here.own(Look(_read(body), body["names"]))

    async def _find(self, body: Picture) -> Picture:
        return await self._here.find(_read(body), body["resource"])

    async def _force_release(self, body: Picture) -> Picture:
        done = await self._here.force_release(_read(body), body["resource"], body["token"], body["reason"])
        return {"released": done}


def _json(answer: Callable[[Picture], Awaitable[Picture]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(await answer(await request.json()))
        except LockServiceError as error:
            return web.json_response({"problem": str(error)}, status=_UNAVAILABLE)

    return handle
