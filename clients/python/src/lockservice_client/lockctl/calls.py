"""One command for each call of the service."""

import sys
from typing import Any

import click

from lockservice_client import errors
from lockservice_client.lockctl.session import EXIT_LOST, SECONDS, Session, command

_PATH = click.Path(exists=True, dir_okay=False)


@click.group(context_settings={"max_content_width": 110})
@click.option("--server", "address", envvar="LOCKSERVICE_ADDR", default="127.0.0.1:50051", show_default=True)
@click.option("--token", envvar="LOCKSERVICE_TOKEN", help="Bearer token; better in the variable than here.")
@click.option("--ca", envvar="LOCKSERVICE_CA", type=_PATH, help="PEM file of the CA; turns TLS on.")
@click.option("--cert", envvar="LOCKSERVICE_CERT", type=_PATH, help="PEM certificate of this client.")
@click.option("--key", envvar="LOCKSERVICE_KEY", type=_PATH, help="PEM key of the certificate.")
@click.option("--insecure", is_flag=True, help="Send the token in the clear beyond loopback.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
@click.pass_context
def main(ctx: click.Context, /, output: str, **how: Any) -> None:
    """Take leases and claim event keys from a shell; look at a lockservice.

    Exit codes: 0 done, 1 error, 2 usage, 75 held, 76 duplicate or stale, 77 lease lost.
    """
    ctx.obj = Session(how, as_json=output == "json")


def lease_options(function: Any) -> Any:
    """Gives a command what an Acquire takes."""
    for option in (
        click.option("--after-version", type=int, help="Wait until the resource is completed up to this."),
        click.option("--version", type=int, help="Of the entity that the event carries."),
        click.option("--event-id", default="", help="Refuse an event that was completed before."),
        click.option(
            "--wait", type=SECONDS, default=0.0, show_default=True, help="How long to queue, such as 5 or 250ms."
        ),
        click.option("--ttl", type=SECONDS, default=10.0, show_default=True, help="Of the lease, unrenewed."),
        click.option("--owner", help="Who holds it, for people and tools."),
    ):
        function = option(function)
    return function


@main.command()
@click.argument("resource")
@lease_options
@click.option("--allow-stale", is_flag=True, help="Even if a newer version has been completed.")
@click.option("--request-id", help="The same id gives the same lease again.")
@command
def acquire(session: Session, resource: str, owner: str | None, **asked: Any) -> None:
    """Take a lease; nobody renews it."""
    with session.connect(owner) as client:
        answer = client.acquire(resource, **asked)
    if answer.grant is None:
        raise errors.refusal(resource, answer)
    shown = {**answer.grant._asdict(), "waited": answer.waited, "previous_lease": answer.previous_lease}
    del shown["sent_at"]
    session.show({**shown, "completed_version": answer.completed_version})


def _held(session: Session, *, held: bool, word: str) -> None:
    session.show({"outcome": word if held else "not_held"}, word if held else "not held")
    if not held:
        sys.exit(EXIT_LOST)


@main.command()
@click.argument("resource")
@click.argument("lease_id")
@click.option("--ttl", type=SECONDS, help="Seconds; the one it was granted with, if not given.")
@command
def renew(session: Session, resource: str, lease_id: str, ttl: float | None) -> None:
    """Extend a lease."""
    with session.connect() as client:
        _held(session, held=client.renew(resource, lease_id, ttl=ttl), word="renewed")


@main.command()
@click.argument("resource")
@click.argument("lease_id")
@click.option("--retry", is_flag=True, help="Not done: record nothing.")
@click.option("--hold", type=SECONDS, default=0.0, help="With --retry: keep the resource for it, seconds.")
@command
def release(session: Session, resource: str, lease_id: str, *, retry: bool, hold: float) -> None:
    """Give a lease back."""
    with session.connect() as client:
        _held(session, held=client.release(resource, lease_id, done=not retry, hold=hold), word="released")


@main.command()
@click.argument("key")
@click.option("--claim-ttl", type=SECONDS, help="Two phases: seconds the claim lasts until it is settled.")
@click.option("--retention", type=SECONDS, help="Seconds the key is remembered.")
@click.option("--fingerprint", default="", help="Hash of the payload.")
@click.option("--wait", type=SECONDS, default=0.0, help="Seconds to wait for another's claim to end.")
@click.option("--owner", help="Who claims it.")
@command
def dedupe(session: Session, key: str, owner: str | None, fingerprint: str, **asked: Any) -> None:
    """Claim an event key."""
    with session.connect(owner) as client:
        answer = client.dedupe(key, fingerprint=fingerprint.encode(), **asked)
    session.show({name: value for name, value in answer._asdict().items() if name != "sent_at"})
    if answer.outcome != "first":
        raise errors.claim_refusal(key, answer)


@main.command("renew-claim")
@click.argument("key")
@click.argument("claim_id")
@click.option("--claim-ttl", type=SECONDS, help="Seconds; the one it was granted with, if not given.")
@command
def renew_claim(session: Session, key: str, claim_id: str, claim_ttl: float | None) -> None:
    """Extend a claim."""
    with session.connect() as client:
        _held(session, held=client.renew_claim(key, claim_id, claim_ttl=claim_ttl), word="renewed")


@main.command()
@click.argument("key")
@click.argument("claim_id")
@click.option("--retry", is_flag=True, help="Not done: the key is free again.")
@click.option("--result", default="", help="Handed to later duplicates.")
@command
def settle(session: Session, key: str, claim_id: str, *, retry: bool, result: str) -> None:
    """End a claim."""
    with session.connect() as client:
        _held(session, held=client.settle(key, claim_id, done=not retry, result=result.encode()), word="settled")


def lock_fields(lock: Any) -> dict[str, Any]:
    """Writes a resource as nested fields."""
    return {
        **lock._asdict(),
        "holder": lock.holder and lock.holder._asdict(),
        "hold": lock.hold and lock.hold._asdict(),
    }


@main.command()
@click.argument("resource")
@command
def inspect(session: Session, resource: str) -> None:
    """Show a resource and who waits for it."""
    with session.connect(unready=True) as client:
        lock, waiters = client.inspect(resource)
    session.show({**lock_fields(lock), "waiters": [waiter._asdict() for waiter in waiters]})


@main.command("list")
@click.argument("prefix", default="")
@click.option("--limit", type=int, default=1_000, show_default=True)
@command
def list_locks(session: Session, prefix: str, limit: int) -> None:
    """List what is held, or kept for a retry."""
    with session.connect(unready=True) as client:
        for lock in client.list_locks(prefix, limit=limit):
            by = f"held by {lock.holder.owner}, {lock.holder.remaining:.1f} s left" if lock.holder else "free"
            hold = f", kept for a retry {lock.hold.remaining:.0f} s" if lock.hold else ""
            text = f"{lock.resource}  {by}{hold}, {lock.queue_length} waiting"
            session.show(lock_fields(lock), text)


@main.command("force-release")
@click.argument("resource")
@click.option("--fencing-token", type=int, required=True, help="Of the grant that is meant; see inspect.")
@click.option("--reason", required=True, help="For the log.")
@command
def force_release(session: Session, resource: str, fencing_token: int, reason: str) -> None:
    """Take a lease away from its holder, or end a hold."""
    with session.connect(unready=True) as client:
        _held(session, held=client.force_release(resource, fencing_token, reason=reason), word="released")
