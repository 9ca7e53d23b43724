"""Where the console has its picture from: this replica, as here, or the workers of a supervisor."""

import asyncio
import time
from typing import NamedTuple, Protocol

from lockservice.audit import Audit
from lockservice.console import picture
from lockservice.console.picture import Picture
from lockservice.console.survey import Survey
from lockservice.console.trend import Trend
from lockservice.credentials import Principal
from lockservice.inspection import Inspection
from lockservice.limits import CONSOLE_LOOK_MS, CONSOLE_VIEWS_MAX
from lockservice.shards.shard_map import ShardMap

# A view that nobody has asked for in so long begins anew.
_KEPT_S = 10 * CONSOLE_LOOK_MS / 1000


class Look(NamedTuple):
    """What a look is asked for.

    Attributes:
        viewer: sees its namespace and its prefixes only.
        names: whether resources are shown at all.
    """

    viewer: Principal
    names: bool


class Source(Protocol):
    """What a console shows and does. Everything raises what Shard.run raises, but `look` and `own`."""

    async def look(self, look: Look) -> Picture:
        """Draws everything that a viewer may see."""

    async def find(self, viewer: Principal, resource: str) -> Picture:
        """Draws one resource."""

    async def force_release(self, operator: Principal, resource: str, token: int, reason: str) -> bool:
        """Takes a lease away, or ends a hold, and says whether there was one of this token."""

    def refused(self, name: str, method: str, resource: str, reason: str, peer: str) -> None:
        """Tells the audit log of a refusal."""


class _View:
    """A survey, shared by all who may see the same; one look at a time."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.looking = asyncio.Lock()
        self.used_at = 0.0


class Here(Source):
    """This replica.

    Args:
        shard_map: what is looked through.
        inspection: takes leases away.
        audit: knows who was refused.
    """

    def __init__(self, shard_map: ShardMap, inspection: Inspection, audit: Audit) -> None:
        self.trend = Trend(shard_map)
        self._map = shard_map
        self._inspection = inspection
        self._audit = audit
        self._views: dict[tuple[str, tuple[str, ...]], _View] = {}

    async def look(self, look: Look) -> Picture:
        """Draws everything that a viewer may see."""
        findings = None
        if look.names:
            view = self._view(look.viewer)
            async with view.looking:
                findings = await view.survey.look()
        shards = [picture.of_shard(shard, findings) for shard in self._map.shards]
        seen = picture.of_findings(findings) if findings else {}
        return seen | self.own(look) | {"shards": shards, "at_ms": time.time_ns() // 1_000_000}

    def own(self, look: Look) -> Picture:
        """Draws what only this process knows."""
        return {
            "trends": picture.of_trends({shard.name: self.trend.of(shard.name) for shard in self._map.shards}),
            "refused": picture.of_refusals(self._audit.recent, look.viewer) if look.names else [],
        }

    def _view(self, viewer: Principal) -> _View:
        now = time.monotonic()
        for key in [key for key, view in self._views.items() if now - view.used_at > _KEPT_S]:
            del self._views[key]
        scope = (viewer.namespace, viewer.prefixes)
        if scope not in self._views:
            if len(self._views) >= CONSOLE_VIEWS_MAX:
                del self._views[min(self._views, key=lambda key: self._views[key].used_at)]
            self._views[scope] = _View(Survey(self._map, *scope))
        self._views[scope].used_at = now
        return self._views[scope]

    async def find(self, viewer: Principal, resource: str) -> Picture:
        """Draws one resource."""
        return picture.of_resource(await self._view(viewer).survey.find(resource))

    async def force_release(self, operator: Principal, resource: str, token: int, reason: str) -> bool:
        """Takes a lease away, or ends a hold, and says whether there was one of this token."""
        return await self._inspection.force_release(operator, resource, token, reason)

    def refused(self, name: str, method: str, resource: str, reason: str, peer: str) -> None:
        """Tells the audit log of a refusal."""
        self._audit.refused(name, method, resource, reason, peer)
