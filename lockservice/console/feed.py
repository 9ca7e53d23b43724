"""The live picture: looked up once for all who may see the same, and only while somebody watches."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

from lockservice.console.source import Look, Source
from lockservice.limits import CONSOLE_LOOK_MS, CONSOLE_VIEWS_MAX, CONSOLE_WATCHERS_MAX

log = logging.getLogger(__name__)

_Scope = tuple[object, ...]


class FullError(Exception):
    """There are as many watchers, or different views, as there may be."""


class _Channel:
    """The pictures of one view, and those who watch it."""

    def __init__(self) -> None:
        self.watchers = 0
        self.latest = ""
        self.changed = asyncio.Condition()
        self.task: asyncio.Task[None] | None = None


class Feed:
    """Keeps the pictures coming.

    Args:
        source: draws them.
        problems: says why the service is not ready.
    """

    def __init__(self, source: Source, problems: Callable[[], Awaitable[list[str]]]) -> None:
        self._source = source
        self._problems = problems
        self._channels: dict[_Scope, _Channel] = {}
        self._closed = False

    async def watch(self, look: Look) -> AsyncGenerator[str]:
        """Yields each picture as JSON, until the feed is closed; one that a slow watcher misses is left out.

        Raises:
            FullError: too many watch.
        """
        viewer = look.viewer
        scope = (viewer.namespace, viewer.prefixes, viewer.name, "operator" in viewer.roles, look.names)
        channel = self._enter(scope, look)
        try:
            shown = ""
            while not self._closed:
                async with channel.changed:
                    while channel.latest is shown and not self._closed:
                        await channel.changed.wait()
                    shown = channel.latest
                if shown and not self._closed:
                    yield shown
        finally:
            self._leave(scope, channel)

    @property
    def watchers(self) -> int:
        """How many watch."""
        return sum(channel.watchers for channel in self._channels.values())

    async def close(self) -> None:
        """Ends all watching."""
        self._closed = True
        for channel in list(self._channels.values()):
            async with channel.changed:
                channel.changed.notify_all()

    def _enter(self, scope: _Scope, look: Look) -> _Channel:
        if self.watchers >= CONSOLE_WATCHERS_MAX:
            raise FullError(f"{CONSOLE_WATCHERS_MAX} consoles are open already")
        channel = self._channels.get(scope)
        if channel is None:
            if len(self._channels) >= CONSOLE_VIEWS_MAX:
                raise FullError(f"consoles of {CONSOLE_VIEWS_MAX} credentials are open already")
            channel = self._channels[scope] = _Channel()
            channel.task = asyncio.create_task(self._draw(channel, look), name="lockservice console")
        channel.watchers += 1
        return channel

    def _leave(self, scope: _Scope, channel: _Channel) -> None:
        channel.watchers -= 1
        if not channel.watchers and channel.task is not None:
            channel.task.cancel()
            self._channels.pop(scope)

    async def _draw(self, channel: _Channel, look: Look) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + CONSOLE_LOOK_MS / 1000
            try:
                picture = await self._source.look(look) | {"problems": await self._problems()}
            except Exception:
                # The page says that it is stale; the next look may do better.
                log.exception("bug")
            else:
                async with channel.changed:
                    channel.latest = json.dumps(picture, ensure_ascii=False, separators=(",", ":"))
                    channel.changed.notify_all()
            await asyncio.sleep(due - loop.time())
