"""A visitor of the console without a browser."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

import aiohttp

_PATIENCE_S = 5
OWN = {"X-Lockservice-Console": "1"}


class Visitor:
    """Asks a console.

    Args:
        ops_addr: where it is served.
        token: what it shows, if anything.
        headers: more of them, or others.
    """

    def __init__(self, ops_addr: str, token: str = "", **headers: str) -> None:
        self._base = f"http://{ops_addr}"
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = aiohttp.ClientSession(headers=OWN | shown | headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str) -> tuple[int, str]:
        """Returns status and text."""
        async with self._session.get(self._base + path) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Returns status and what the answer says."""
        async with self._session.post(self._base + path, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def find(self, resource: str) -> Any:
        """Looks a resource up, which must be allowed."""
        status, seen = await self.post("/console/resource", resource=resource)
        assert status == 200, seen
        return seen

    async def force(self, resource: str, token: int, reason: str = "it hangs") -> tuple[int, Any]:
        """Takes a lease away."""
        return await self.post("/console/force-release", resource=resource, token=token, reason=reason)

    async def watch(self, until: Callable[[Any], object] = bool) -> tuple[Any, Any]:
        """Returns how it is greeted, and the first picture of which something is true."""
        greeting = None
        async with asyncio.timeout(_PATIENCE_S), self._session.get(f"{self._base}/console/feed") as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "text/event-stream"
            while True:
                block = (await answer.content.readuntil(b"\n\n")).decode()
                kind, _, data = block.removeprefix("event: ").partition("\ndata: ")
                said = json.loads(data)
                if kind == "hello":
                    greeting = said
                elif until(said):
                    return greeting, said

    async def told(self, what: str) -> Any:
        """Returns a part of the first picture in which it is not empty."""
        return (await self.watch(lambda picture: picture[what]))[1][what]
