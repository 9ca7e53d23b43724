"""`lockctl doctor`: everything between a worker and its lease, checked one by one, each with what to do about it."""

import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Final

import click

from lockservice_client import __version__
from lockservice_client.lockctl import certificate, reach, replicas, trip, verdicts
from lockservice_client.lockctl.finding import Finding
from lockservice_client.lockctl.session import EXIT_ERROR, Session, command
from lockservice_client.values import Overview

_WORDS: Final = {"ok": "OK  ", "warn": "WARN", "fail": "FAIL"}


@click.command()
@click.option(
    "--resource", help="A resource that may be locked for a moment; a new name under lockctl:doctor: if not given."
)
@command
def doctor(session: Session, resource: str | None) -> None:
    """Check everything between a worker and its lease, and say what to do about what is wrong.

    The name and all its addresses, TLS, health, credentials, versions, the shard map, the shards and their Redis
    servers, clocks, and a real lease. Run it where the workers run, with their credentials. Exit code 1: something
    failed; warnings do not count.
    """
    levels: Counter[str] = Counter()
    for finding in _examine(session, resource or f"lockctl:doctor:{secrets.token_hex(4)}"):
        levels[finding.level] += 1
        text = f"{_WORDS[finding.level]}  {finding.check}: {finding.found}"
        session.show(finding._asdict(), f"{text}\n      -> {finding.advice}" if finding.advice else text)
    if not session.as_json:
        click.echo(f"{levels['ok']} ok, {levels['warn']} warnings, {levels['fail']} failed")
    if levels["fail"]:
        sys.exit(EXIT_ERROR)


def _examine(session: Session, resource: str) -> Iterator[Finding]:
    """Yields what is found; stops where every other check would only repeat the failure."""
    how = session.how
    addresses, found = reach.resolve(how["address"])
    yield from found
    addresses, found = reach.connect(addresses)
    yield from found
    files = certificate.Files(how["ca"], how["cert"], how["key"])
    looks = [certificate.look(address, _host(how["address"]), files) for address in addresses]
    yield from looks
    trusted = [address for address, look in zip(addresses, looks, strict=True) if look.level != "fail"]
    asked = []
    for address in trusted:
        asked.append(replicas.ask(session, address, resource))
        yield from asked[-1].findings
    yield from _judge([replica.overview for replica in asked if replica.overview is not None])
    if any(replica.admitted for replica in asked):
        yield trip.lease(session, resource)


def _host(server: str) -> str:
    host, port = reach.split(server)
    return host if port else ""


def _judge(overviews: list[Overview]) -> Iterator[Finding]:
    if not overviews:
        return
    yield from verdicts.of_versions(__version__, overviews)
    yield from verdicts.of_maps(overviews)
    seen = set()
    for overview in overviews:
        for shard in overview.shards:
            for finding in verdicts.of_shard(shard):
                # Replicas that agree need not be heard twice.
                about = (finding.check, finding.level, "" if finding.level == "ok" else finding.found)
                if about not in seen:
                    seen.add(about)
                    yield finding
