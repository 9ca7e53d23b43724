"""`lockservice reshard`: connects to the shards of both maps, and changes from one to the other."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click
from prometheus_client import CollectorRegistry

from lockservice.config import Settings
from lockservice.errors import LockServiceError
from lockservice.limits import BUCKETS
from lockservice.metrics import Metrics
from lockservice.resharding.change import Change, Interrupted, count
from lockservice.resharding.plan import Plan, newest, plan
from lockservice.resharding.site import Site
from lockservice.shard_url import with_user
from lockservice.shards.node import Connecting
from lockservice.shards.pipeline import Pipeline
from lockservice.shards.shard import Shard

# Nobody waits for this process's calls, and a Redis that is busy should not end a move.
_TIMEOUT_S_MIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator wants.

    Attributes:
        settings: with the shards that are wanted.
        current: shards of the map that is in use, if none of them is among the wanted.
        user: who this process is at the Redis servers; empty: whom the URLs name.
        password: of the user.
        dry_run: only say what would move.
    """

    settings: Settings
    current: Sequence[tuple[str, str]]
    user: str
    password: str
    dry_run: bool


class _Connections:
    """The shards that this process is connected to.

    Args:
        order: says who it is there.
    """

    def __init__(self, order: Order) -> None:
        settings = order.settings
        self._order = order
        self.connecting = Connecting(
            replica="reshard",
            timeout_s=max(_TIMEOUT_S_MIN, settings.redis_timeout_ms / 1000),
            memory_ms=settings.version_retention_ms,
            hold_off_ms=settings.hold_off_ms,
            metrics=Metrics(CollectorRegistry()),
        )
        self._shards: dict[str, Shard] = {}

    async def open(self, urls: Mapping[str, str]) -> dict[str, Site]:
        """Connects to shards too, and returns all.

        Raises:
            click.ClickException: one of them cannot be used.
        """
        added = [self._shard(name, url) for name, url in urls.items() if name not in self._shards]
        self._shards.update({shard.name: shard for shard in added})
        await asyncio.gather(*(shard.start() for shard in added))
        problems = [f"shard {shard.name}: {shard.problem}" for shard in added if shard.problem]
        if problems:
            raise click.ClickException("; ".join(problems))
        return {name: Site(shard, self.connecting.memory_ms) for name, shard in self._shards.items()}

    def _shard(self, name: str, url: str) -> Shard:
        async def vet(_shard: Shard, _pipeline: Pipeline) -> str:
            return ""

        order = self._order
        return Shard(
            name=name,
            url=with_user(url, order.user, order.password) if order.user else url,
            guarantee=order.settings.guarantees.of(name),
            connecting=self.connecting,
            seen=[0] * BUCKETS,
            vet=vet,
            on_hint=lambda _bucket, _call: None,
        )

    async def close(self) -> None:
        """Disconnects."""
        await asyncio.gather(*(shard.stop() for shard in self._shards.values()))


async def reshard(order: Order) -> None:
    """Takes the service to the shards that the settings name.

    Raises:
        click.ClickException: it cannot be done, or is not done yet.
    """
    connections = _Connections(order)
    wanted = dict(order.settings.shards)
    try:
        sites = await connections.open({**wanted, **dict(order.current)})
        found = newest([await site.record() for site in sites.values()])
        sites = await connections.open(found.urls())
        if found.shards.keys() == wanted.keys() and not found.before:
            click.echo("the service uses these shards already")
            return
        change = plan(found, order.settings.shards)
        await _say(change, sites)
        if not order.dry_run:
            await Change(change, sites, connections.connecting.timeout_s, click.echo).run()
    except Interrupted:
        raise click.ClickException("interrupted; the service goes on, and the same command moves the rest") from None
    except LockServiceError as error:
        raise click.ClickException(f"{error}; the service goes on, and the same command moves the rest") from None
    finally:
        await connections.close()


async def _say(wanted: Plan, sites: dict[str, Site]) -> None:
    kinds = await count(wanted, sites)
    before, after = (" ".join(sorted(names)) for names in (wanted.record.before, wanted.record.shards))
    click.echo(f"from [{before}] to [{after}]: {wanted.buckets} of {BUCKETS} buckets move")
    for (source, target), buckets in sorted(wanted.moves.items()):
        click.echo(f"  {source} to {target}: {len(buckets)} buckets")
    click.echo(f"with {kinds['lease']} resources, {kinds['event']} completed events and {kinds['claim']} event keys")
