"""`lockctl run`: a command under a lease."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from typing import Any, Final

import click

from lockservice_client import errors
from lockservice_client.client import Client
from lockservice_client.lease import Lease
from lockservice_client.lockctl import guarded as guard
from lockservice_client.lockctl.calls import lease_options
from lockservice_client.lockctl.session import EXIT_ERROR, Session, command, refuse

_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
_NOT_FOUND: Final = 127
_SIGNALLED: Final = 128
# A command that is told to stop has this part of the ttl for it, before it is killed.
_STOP_PART: Final = 1 / 6


@click.command()
@lease_options
@click.option(
    "--retry-hold", type=float, default=0.0, help="After a failure keep the resource for the retry, seconds."
)
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
    async with Client(owner=owner, retry_for=2.0, **session.how) as client:
        code = EXIT_ERROR
        try:
            async with client.lock(resource, on_lost="event", **asked) as lease:
                code = await _under(lease, words, asked["ttl"])
                if code != 0:
                    lease.retry(hold=asked["retry_hold"])
        except errors.Refused as error:
            refuse(error)
        except errors.ServiceError as error:
            # The work is done or not whatever becomes of the release; the lease runs out by itself.
            click.echo(f"lockctl: {error}", err=True)
            return code or EXIT_ERROR
        return code


async def _under(lease: Lease, words: tuple[str, ...], ttl: float) -> int:
    environment = {
        **os.environ,
        "LOCKSERVICE_RESOURCE": lease.resource,
        "LOCKSERVICE_LEASE_ID": lease.lease_id,
        "LOCKSERVICE_FENCING_TOKEN": str(lease.fencing_token),
    }
    if shutil.which(words[0]) is None:
        click.echo(f"lockctl: {words[0]}: no such command", err=True)
        return _NOT_FOUND
    guarded = (sys.executable, "-I", "-S", guard.__file__, str(os.getpid()))
    process = await asyncio.create_subprocess_exec(*guarded, *words, env=environment)
    loop = asyncio.get_running_loop()
    for number in _FORWARDED:
        loop.add_signal_handler(number, process.send_signal, number)
    ended = asyncio.create_task(process.wait())
    stopper = asyncio.create_task(_stop_in_time(lease, process, ttl))
    code = await ended
    stopper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stopper
    return code if code >= 0 else _SIGNALLED - code


async def _stop_in_time(lease: Lease, process: asyncio.subprocess.Process, ttl: float) -> None:
    """Stops the command while the lease still holds: first asks it to end, then ends it."""
    while lease.remaining > ttl * _STOP_PART:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(lease.lost.wait(), lease.remaining - ttl * _STOP_PART)
    click.echo(f"lockctl: the lease on {lease.resource} cannot be renewed, stopping the command", err=True)
    lease.lost.set()
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), max(0.01, ttl * _STOP_PART / 2))
        return
    process.kill()
