"""Turns messages of the wire into what the domain takes, and refuses what breaks a limit.

Every refusal names the field and the limit. Nothing is clamped silently.
"""

import unicodedata
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from lockservice import limits
from lockservice.errors import InvalidField
from lockservice.lease import AcquireAsk, DedupeAsk
from lockservice.v1 import lockservice_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

_DURATION_SECONDS_MAX = 315_576_000_000
_NANOS = 1_000_000_000
_DISPOSITIONS = frozenset(pb.Disposition.values())


def text(field: str, value: str, *, bytes_max: int, required: bool = True) -> str:
    """Checks a text: its length in bytes of UTF-8, and that people and tools can tell it from any other."""
    if not value:
        if required:
            raise InvalidField(field, f"is required: 1 to {bytes_max} bytes of UTF-8")
        return value
    if value.isascii():
        if len(value) > bytes_max:
            raise InvalidField(field, f"is {len(value)} bytes long: at most {bytes_max} are allowed")
        if not value.isprintable():
            raise InvalidField(field, "has control characters")
        return value
    length = len(value.encode())
    if length > bytes_max:
        raise InvalidField(field, f"is {length} bytes long: at most {bytes_max} are allowed")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidField(field, "has control characters")
    if not unicodedata.is_normalized("NFC", value):
        raise InvalidField(field, "is not in Unicode normalization form C, so it looks like another name")
    return value


def octets(field: str, value: bytes, *, bytes_max: int) -> bytes:
    """Checks the length of bytes."""
    if len(value) > bytes_max:
        raise InvalidField(field, f"is {len(value)} bytes long: at most {bytes_max} are allowed")
    return value


def milliseconds(message: Message, field: str, *, ms_min: int, ms_max: int) -> int | None:
    """Checks a duration field and returns it in whole milliseconds, or None when it is unset.

    A part of a millisecond is dropped, so that no lease lasts longer than it was asked for.
    """
    if not message.HasField(field):
        return None
    duration: Duration = getattr(message, field)
    seconds, nanos = duration.seconds, duration.nanos
    well_formed = abs(nanos) < _NANOS and abs(seconds) <= _DURATION_SECONDS_MAX and seconds * nanos >= 0
    ms = seconds * 1000 + nanos // 1_000_000
    if not well_formed or ms < ms_min or ms > ms_max:
        raise InvalidField(field, f"must be {ms_min} ms to {ms_max} ms")
    return ms


def version(message: Message, field: str) -> int | None:
    """Checks a version that may be unset."""
    if not message.HasField(field):
        return None
    value: int = getattr(message, field)
    if not 0 <= value <= limits.VERSION_MAX:
        raise InvalidField(field, "must be 0 to 2^53 - 1")
    return value


def token(value: int) -> int:
    """Checks a fencing token."""
    if not 0 < value <= limits.VERSION_MAX:
        raise InvalidField("fencing_token", "must be 1 to 2^53 - 1")
    return value


def disposition(value: int) -> bool:
    """Checks a disposition, and says whether it means that the work was done."""
    if value not in _DISPOSITIONS:
        raise InvalidField("disposition", "must be DISPOSITION_DONE or DISPOSITION_RETRY")
    return value != pb.DISPOSITION_RETRY


def resource(value: str) -> str:
    """Checks the name of a resource."""
    return text("resource", value, bytes_max=limits.RESOURCE_BYTES_MAX)


def key(value: str) -> str:
    """Checks an event key."""
    return text("key", value, bytes_max=limits.RESOURCE_BYTES_MAX)


def lease_id(value: str) -> str:
    """Checks the form of a lease id."""
    return text("lease_id", value, bytes_max=limits.LEASE_ID_BYTES_MAX)


def claim_id(value: str) -> str:
    """Checks the form of a claim id."""
    return text("claim_id", value, bytes_max=limits.LEASE_ID_BYTES_MAX)


def ttl(message: Message, field: str) -> int | None:
    """Checks how long a lease or a claim shall last."""
    return milliseconds(message, field, ms_min=limits.TTL_MS_MIN, ms_max=limits.TTL_MS_MAX)


def _request_id(value: str) -> str:
    return text("request_id", value, bytes_max=limits.REQUEST_ID_BYTES_MAX, required=False)


def _retention(message: Message, field: str) -> int:
    ms = milliseconds(message, field, ms_min=limits.RETENTION_MS_MIN, ms_max=limits.RETENTION_MS_MAX)
    return limits.RETENTION_MS_DEFAULT if ms is None else ms


def _wait(message: Message) -> int:
    return milliseconds(message, "wait_timeout", ms_min=0, ms_max=limits.WAIT_MS_MAX) or 0


def acquire(request: pb.AcquireRequest, namespace: str) -> AcquireAsk:
    """Checks an AcquireRequest."""
    ttl_ms = ttl(request, "ttl")
    # In the order of its fields: naming them would cost the most frequent call half a microsecond.
    return AcquireAsk(
        namespace,
        resource(request.resource),
        text("owner", request.owner, bytes_max=limits.OWNER_BYTES_MAX),
        limits.TTL_MS_DEFAULT if ttl_ms is None else ttl_ms,
        _wait(request),
        _request_id(request.request_id),
        version(request, "version"),
        version(request, "after_version"),
        request.allow_stale,
        text("event_id", request.event_id, bytes_max=limits.RESOURCE_BYTES_MAX, required=False),
        _retention(request, "event_retention"),
    )


def dedupe(request: pb.DedupeRequest, namespace: str) -> DedupeAsk:
    """Checks a DedupeRequest."""
    return DedupeAsk(
        namespace=namespace,
        key=key(request.key),
        retention_ms=_retention(request, "retention"),
        claim_ttl_ms=ttl(request, "claim_ttl"),
        owner=text("owner", request.owner, bytes_max=limits.OWNER_BYTES_MAX, required=False),
        request_id=_request_id(request.request_id),
        fingerprint=octets("fingerprint", request.fingerprint, bytes_max=limits.FINGERPRINT_BYTES_MAX),
        wait_ms=_wait(request),
    )


def hold(request: pb.ReleaseRequest, *, done: bool) -> int:
    """Checks how long a resource shall be kept for a retry, in ms; 0: it shall not."""
    hold_ms = milliseconds(request, "hold", ms_min=0, ms_max=limits.HOLD_MS_MAX) or 0
    if hold_ms and done:
        raise InvalidField("hold", "goes with DISPOSITION_RETRY only: finished work needs no retry")
    return hold_ms
