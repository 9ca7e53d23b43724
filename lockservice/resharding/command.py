"""`lockservice reshard`: connects to the shards of both maps, and changes from one to the other."""

import asyncio
from collections.abc import Sequence
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
from lockservice.shards.node import Connecting
from lockservice.shards.pipeline import Pipeline
from lockservice.shards.shard import Shard

# Nobody waits for this process's calls, and a Redis that is busy should not end a move.
_TIMEOUT_S_MIN: Final = 2.0


async def reshard(settings: Settings, current: Sequence[tuple[str, str]], *, dry_run: bool) -> None:
    """Takes the service to the shards that the settings name.

    Args:
        settings: with the shards that are wanted.
        current: shards of the map that is in use, if none of them is among the wanted.
        dry_run: only say what would move.

    Raises:
        click.ClickException: it cannot be done, or is not done yet.
    """
    timeout_s = max(_TIMEOUT_S_MIN, settings.redis_timeout_ms / 1000)
    connecting = Connecting(
        replica="reshard",
        timeout_s=timeout_s,
        memory_ms=settings.version_retention_ms,
        hold_off_ms=settings.hold_off_ms,
        metrics=Metrics(CollectorRegistry()),
    )
    shards: dict[str, Shard] = {}
    try:
        await _connect({**dict(settings.shards), **dict(current)}, settings, connecting, shards)
        sites = {name: Site(shard, connecting.memory_ms) for name, shard in shards.items()}
        found = newest([await site.record() for site in sites.values()])
        # What is already there may be reached by other addresses than the record names; those given here win.
        await _connect(
            {**found.urls(), **{name: shard.url for name, shard in shards.items()}}, settings, connecting, shards
        )
        sites = {name: Site(shard, connecting.memory_ms) for name, shard in shards.items()}
        wanted = plan(found, settings.shards)
        if found.shards.keys() == dict(settings.shards).keys() and not found.before:
            click.echo("the service uses these shards already")
            return
        await _say(wanted, sites)
        if not dry_run:
            await Change(wanted, sites, timeout_s, click.echo).run()
    except Interrupted:
        raise click.ClickException("interrupted; the service goes on, and the same command moves the rest") from None
    except LockServiceError as error:
        raise click.ClickException(f"{error}; the service goes on, and the same command moves the rest") from None
    finally:
        await asyncio.gather(*(shard.stop() for shard in shards.values()))


async def _connect(
    urls: dict[str, str], settings: Settings, connecting: Connecting, shards: dict[str, Shard]
) -> None:
    async def vet(_shard: Shard, _pipeline: Pipeline) -> str:
        return ""

    added = [
        Shard(
            name=name,
            url=url,
            guarantee=settings.guarantees.of(name),
            connecting=connecting,
            seen=[0] * BUCKETS,
            vet=vet,
            on_hint=lambda _bucket, _call: None,
        )
        for name, url in urls.items()
        if name not in shards
    ]
    shards.update({shard.name: shard for shard in added})
    await asyncio.gather(*(shard.start() for shard in added))
    problems = [f"shard {shard.name}: {shard.problem}" for shard in added if shard.problem]
    if problems:
        raise click.ClickException("; ".join(problems))


async def _say(wanted: Plan, sites: dict[str, Site]) -> None:
    kinds = await count(wanted, sites)
    before, after = (" ".join(sorted(names)) for names in (wanted.record.before, wanted.record.shards))
    click.echo(f"from [{before}] to [{after}]: {wanted.buckets} of {BUCKETS} buckets move")
    for (source, target), buckets in sorted(wanted.moves.items()):
        click.echo(f"  {source} to {target}: {len(buckets)} buckets")
    click.echo(f"with {kinds['lease']} resources, {kinds['event']} completed events and {kinds['claim']} event keys")
