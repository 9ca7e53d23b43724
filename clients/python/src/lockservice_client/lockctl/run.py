"""`lockctl run`: a command under a lease."""

import asyncio
import os
import sys
from typing import Any

import click

from lockservice_client import errors
from lockservice_client.client import Client
from lockservice_client.lockctl.calls import lease_options
from lockservice_client.lockctl.child import Child
from lockservice_client.lockctl.session import EXIT_ERROR, RETRY_S, SECONDS, Session, command


@click.command()
@lease_options
@click.option("--retry-hold", type=SECONDS, default=0.0, help="After a failure keep the resource for the retry.")
@click.argument("resource")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@command
def run(session: Session, resource: str, words: tuple[str, ...], owner: str | None, **asked: Any) -> None:
    """Run a command while holding a lease, which is renewed as long as it runs.

    The command finds LOCKSERVICE_RESOURCE, LOCKSERVICE_LEASE_ID and LOCKSERVICE_FENCING_TOKEN in its environment. It
    is stopped before the lease can end when renewing fails. Its exit code is passed on; 0 releases as done, any other
    as to be retried.
    """
    sys.exit(asyncio.run(_run(session, resource, words, owner, asked)))


async def _run(
    session: Session, resource: str, words: tuple[str, ...], owner: str | None, asked: dict[str, Any]
) -> int:
    async with Client(owner=owner, retry_for=RETRY_S, unary=True, **session.how) as client:
        code: int | None = None
        try:
            async with client.lock(resource, on_lost="event", **asked) as lease:
                environment = {
                    **os.environ,
                    "LOCKSERVICE_RESOURCE": lease.resource,
                    "LOCKSERVICE_LEASE_ID": lease.lease_id,
                    "LOCKSERVICE_FENCING_TOKEN": str(lease.fencing_token),
                }
                code, stopped = await Child(words, environment).run(lease, asked["ttl"])
                if stopped:
                    raise errors.LeaseLost(f"the lease on {resource} was lost, the command was stopped")
                if code != 0:
                    lease.retry(hold=asked["retry_hold"])
        except errors.ServiceError as error:
            if code is None:
                raise
            # The command has ended, whatever becomes of the release; the lease runs out by itself.
            click.echo(f"lockctl: the command ended with {code}, but its end was not recorded: {error}", err=True)
            return code or EXIT_ERROR
        return code
