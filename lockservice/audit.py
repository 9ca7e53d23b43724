"""The audit log: who forced a lease away and whose calls were refused, why, and never with which secret.

Refusals are limited, each caller's apart, so that a flood of them can neither fill a disk nor hide those of another.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from lockservice.limits import AUDIT_BURST, AUDIT_CALLERS_MAX, AUDIT_EVENTS_KEPT, AUDIT_PAUSE_S

log = logging.getLogger(__name__)


class Event(NamedTuple):
    """Something that was written to the audit log.

    Attributes:
        at_s: when, in seconds since 1970.
        kind: "refused" or "force-release".
        resource: "" when the call had none yet.
        owner: the credential; "" without credentials.
        detail: the method that was refused and why, or the reason that was given for the force-release.
    """

    at_s: float
    kind: str
    resource: str
    owner: str
    detail: str


class _Allowance:
    """How many lines a caller may still cause, and how many were left out since its last one."""

    __slots__ = ("at", "left", "unwritten")

    def __init__(self, now: float) -> None:
        self.left = float(AUDIT_BURST)
        self.at = now
        self.unwritten = 0

    def take(self, now: float) -> bool:
        self.left = min(AUDIT_BURST, self.left + (now - self.at) / AUDIT_PAUSE_S)
        self.at = now
        if self.left < 1:
            self.unwritten += 1
            return False
        self.left -= 1
        return True


class Audit:
    """Writes the audit log.

    Args:
        clock: seconds that only rise; a test has its own.

    Attributes:
        recent: the last events that were written, oldest first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.recent: deque[Event] = deque(maxlen=AUDIT_EVENTS_KEPT)
        self._clock = clock
        self._allowances: dict[str, _Allowance] = {}

    def refused(self, principal_name: str, method: str, resource: str, reason: str, peer: str = "") -> None:
        """Notes a call that was refused.

        Args:
            principal_name: of the credential; "" when there was none.
            method: what was called.
            resource: what it was about, if that is known.
            reason: why it was refused.
            peer: the address that the call came from.
        """
        allowance = self._allowance(principal_name)
        if not allowance.take(self._clock()):
            return
        self._keep("refused", resource, principal_name, f"{method}: {reason}")
        log.warning(
            "refused",
            extra={
                "audit": "refused",
                "principal": principal_name,
                "peer": peer,
                "method": method,
                "resource": resource,
                "reason": reason,
                "unwritten": allowance.unwritten,
            },
        )
        allowance.unwritten = 0

    def force_released(self, principal_name: str, resource: str, token: int, reason: str, released: bool) -> None:  # noqa: FBT001  one of five facts
        """Notes that a lease was to be taken from its holder, and whether it was. Every one is written."""
        self._keep("force-release", resource, principal_name, reason)
        log.warning(
            "force-release",
            extra={
                "audit": "force-release",
                "principal": principal_name,
                "resource": resource,
                "fencing_token": token,
                "reason": reason,
                "released": released,
            },
        )

    def _keep(self, kind: str, resource: str, owner: str, detail: str) -> None:
        self.recent.append(Event(time.time(), kind, resource, owner, detail))

    def _allowance(self, name: str) -> _Allowance:
        allowance = self._allowances.get(name)
        if allowance is None:
            if len(self._allowances) >= AUDIT_CALLERS_MAX:
                # Names of credentials are few; only files that changed very often come here.
                self._allowances.clear()
            allowance = self._allowances[name] = _Allowance(self._clock())
        return allowance
