"""A real round trip, as a worker makes it: a lease on a scratch resource is taken, renewed and given back."""

import time
from typing import Final

from lockservice_client import blocking, errors
from lockservice_client.lockctl.finding import Finding, fail, ok, warn
from lockservice_client.lockctl.session import Session
from lockservice_client.lockctl.verdicts import SLOW_S

_TRIPS: Final = 5
_TTL_S: Final = 5.0


def lease(session: Session, resource: str) -> Finding:
    """Takes a lease a few times, and says how long each step takes in the middle of them."""
    advice = "look the reason up in the runbook (deploy/runbook.md), and see the replica's log"
    try:
        with session.connect("lockctl doctor") as client:
            steps = sorted(_trip(client, resource) for _ in range(_TRIPS))
    except (errors.ServiceError, errors.Refused, errors.LeaseLost) as error:
        return fail("lease", f"{resource}: {error}", advice)
    acquire, renew, release = steps[_TRIPS // 2]
    found = f"acquire {acquire * 1e3:.1f} ms, renew {renew * 1e3:.1f} ms, release {release * 1e3:.1f} ms, of {_TRIPS}"
    if acquire > SLOW_S:
        return warn("lease", found, "over 10 ms: if the shards above are under it, the way to the service is slow")
    return ok("lease", found)


def _trip(client: blocking.Client, resource: str) -> tuple[float, float, float]:
    """Returns the seconds of acquire, renew and release. Raises LeaseLost, Refused, ServiceError."""
    started = time.monotonic()
    answer = client.acquire(resource, ttl=_TTL_S)
    if answer.grant is None:
        raise errors.refusal(resource, answer)
    acquired = time.monotonic()
    held = client.renew(resource, answer.grant.lease_id)
    renewed = time.monotonic()
    if not (client.release(resource, answer.grant.lease_id) and held):
        raise errors.LeaseLost("a lease that was just granted was not held any more")
    return acquired - started, renewed - acquired, time.monotonic() - renewed
