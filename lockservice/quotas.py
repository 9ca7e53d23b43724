"""How much each namespace uses of what it may: calls a second, waiting calls, leases, remembered events.

Calls and waiters are counted here, so their limits are this replica's. How many leases are held and how many events
are remembered only Redis knows: the census asks it again and again, and what this replica did since is added. Their
limits hold for all replicas together, to within what the others did since the census looked last.

A namespace without limits costs one look into an empty dictionary.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from lockservice.auth_file import NamespaceLimits
from lockservice.credentials import Credentials
from lockservice.errors import CallsExceeded, QuotaExceeded
from lockservice.limits import BUCKETS, EVENT_SLOT_BITS

_NO_LIMITS: Final = NamespaceLimits()


class Rate:
    """Lets so many through a second, and a second's worth at once."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = math.inf
        self._at = 0.0

    def take(self, limit: int, now: float) -> bool:
        """Takes one, and says whether it was there."""
        self._left = min(limit, self._left + (now - self._at) * limit)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Use:
    """What one namespace uses.

    Attributes:
        limits: what it may.
        waiters: calls that wait at this replica.
        leases: held in each bucket, as the census found it and this replica went on.
        held: the sum of them.
        events: remembered, as the census was told last.
        unreported: events that the census has not reported yet, by the second in which they are forgotten.
    """

    def __init__(self) -> None:
        self.limits = _NO_LIMITS
        self.begun = Rate()
        self.kept = Rate()
        self.waiters = 0
        self.leases = [0] * BUCKETS
        self.held = 0
        self.events = 0
        self.unreported: dict[int, int] = defaultdict(int)

    def found(self, bucket: int, leases: int) -> None:
        """Takes over how many leases are held in a bucket."""
        self.held += leases - self.leases[bucket]
        self.leases[bucket] = leases


class Quotas:
    """The limits of all namespaces, and what they use.

    Args:
        credentials: where the limits come from; None: there are none.
        sharers: processes that are one replica for its callers, and share what is counted here.
        clock: seconds that only rise; a test has its own.
    """

    def __init__(
        self, credentials: Credentials | None, *, sharers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._credentials = credentials
        self._sharers = sharers
        self._clock = clock
        self._version = 0
        self._uses: dict[str, Use] = {}

    @property
    def uses(self) -> Mapping[str, Use]:
        """What each namespace that has limits uses."""
        self._look()
        return self._uses

    def _look(self) -> None:
        credentials = self._credentials
        if credentials is None or credentials.version == self._version:
            return
        self._version = credentials.version
        before, self._uses = self._uses, {}
        for namespace, limits in credentials.limited.items():
            # What waits and what is held stays counted when only the limits change.
            use = self._uses[namespace] = before.get(namespace) or Use()
            use.limits = limits

    def _use(self, namespace: str) -> Use | None:
        if self._credentials is None:
            return None
        self._look()
        return self._uses.get(namespace)

    def _share(self, limit: int) -> int:
        return -(-limit // self._sharers)

    def call(self, namespace: str, *, keeps: bool) -> None:
        """Counts a call in.

        Calls that keep or end what is there (renew, release, settle) have as many again as those that begin
        something, so that a namespace which begins too much does not lose what it holds.

        Raises:
            CallsExceeded: there were too many in this second.
        """
        use = self._use(namespace)
        if use is None or use.limits.calls_a_second is None:
            return
        rate = use.kept if keeps else use.begun
        limit = use.limits.calls_a_second
        if not rate.take(self._share(limit), self._clock()):
            raise CallsExceeded(f"{_name(namespace)} makes {limit} calls a second, as many as it may")

    def enter(self, namespace: str) -> None:
        """Counts a call in that may wait; `leave` counts it out. Raises CallsExceeded."""
        use = self._use(namespace)
        if use is None:
            return
        limit = use.limits.waiters
        if limit is not None and use.waiters >= self._share(limit):
            raise CallsExceeded(f"{_name(namespace)} has {limit} waiting calls at this replica, as many as it may")
        use.waiters += 1

    def leave(self, namespace: str) -> None:
        """Counts a call out that might have waited."""
        use = self._use(namespace)
        # Limits may have come while it waited.
        if use is not None and use.waiters:
            use.waiters -= 1

    def check_leases(self, namespace: str, resource: str) -> None:
        """Raises QuotaExceeded when a namespace holds as many leases as it may."""
        use = self._use(namespace)
        if use is not None and use.limits.leases is not None and use.held >= use.limits.leases:
            raise QuotaExceeded(f"{_name(namespace)} holds {use.limits.leases} leases, as many as it may", resource)

    def check_events(self, namespace: str, name: str) -> None:
        """Raises QuotaExceeded when as many events of a namespace are remembered as may be."""
        use = self._use(namespace)
        if use is None or use.limits.remembered_events is None:
            return
        limit = use.limits.remembered_events
        if use.events + sum(use.unreported.values()) >= limit:
            raise QuotaExceeded(f"{_name(namespace)} has {limit} remembered events, as many as it may", name)

    def count_lease(self, namespace: str, bucket: int, by: int) -> None:
        """Counts a lease that was granted (by 1) or ended (by -1) through this replica."""
        use = self._use(namespace)
        if use is not None:
            use.found(bucket, use.leases[bucket] + by)

    def count_event(self, namespace: str, remembered_ms: int) -> None:
        """Counts an event that is remembered from now on, for so long."""
        use = self._use(namespace)
        if use is not None and use.limits.remembered_events is not None:
            use.unreported[slot(time.time(), remembered_ms / 1000)] += 1


def slot(now_s: float, remembered_s: float) -> int:
    """Returns the second at which something is counted out that is remembered so long from now.

    Such seconds are the coarser the longer it is, so that a namespace has few of them: up to a sixteenth later.
    """
    width = 1 << max(0, int(remembered_s).bit_length() - EVENT_SLOT_BITS)
    return math.ceil((now_s + remembered_s) / width) * width


def _name(namespace: str) -> str:
    return f"namespace {namespace}" if namespace else "the namespace without a name"
