"""What the service refuses, each named for what the caller can do next. rpc/status.py maps them to gRPC."""


class LockServiceError(Exception):
    """Base of everything that is refused on purpose; anything else that escapes is a bug."""


class InvalidField(LockServiceError):
    """A field is missing, too long, out of range or not text.

    Attributes:
        field: its name in the request, with dots for nested ones.
        problem: what is allowed, in words.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class MessageTooLarge(LockServiceError):
    """A request is longer than any that is well formed."""


class RequestIdReused(LockServiceError):
    """The same request_id came back with other fields."""


class ShardUnavailable(LockServiceError):
    """The shard of this key cannot be reached or refuses writes; nothing was done."""


class OutcomeUnknown(LockServiceError):
    """The shard's answer was lost: the call may have been done. Repeat it with the same ids."""


class ShardOutOfMemory(LockServiceError):
    """The shard's memory is full; renew, release and settle still work."""


class ClockUnsafe(LockServiceError):
    """The shard's clock and this replica's are too far apart to seed fencing tokens from."""


class HoldOff(LockServiceError):
    """The shard's primary has changed: until every lease that may have been lost has run out, nothing is granted.

    Attributes:
        remaining_ms: how long that is from now.
    """

    def __init__(self, message: str, remaining_ms: int) -> None:
        super().__init__(message)
        self.remaining_ms = remaining_ms


class ShardMapMismatch(LockServiceError):
    """A shard was written with another shard map than this replica's."""


class TooManyWaiters(LockServiceError):
    """The queue of the resource, or of this replica, is full."""


class SessionLimit(LockServiceError):
    """A message of a session has too many operations, or too many are open on its stream."""


class Draining(LockServiceError):
    """This replica is going away: queue again at another, with the same request_id to keep the place."""


class Denied(LockServiceError):
    """Base of what a caller may not do, or not so much of. The audit log is told.

    Attributes:
        resource: the name that it was about; empty when it was about none.
        who: the credential, when the call was refused before its method knew it.
    """

    who = ""

    def __init__(self, message: str, resource: str = "") -> None:
        super().__init__(message)
        self.resource = resource


class CredentialMissing(Denied):
    """Nobody is known by the credential that came with the call, or none came."""


class ResourceForbidden(Denied):
    """The caller is known, but this method, or this name, is not for it."""


class QuotaExceeded(Denied):
    """The namespace uses as much as it may."""


class CallsExceeded(QuotaExceeded):
    """The namespace calls as often, or has as many calls waiting, as it may; rpc/admission.py keeps this back."""
