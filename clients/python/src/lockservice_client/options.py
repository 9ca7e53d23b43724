"""What the helpers and the clients may be told, for the forms that pass it on. Times: seconds, or a timedelta."""

from datetime import timedelta
from pathlib import Path
from typing import Literal, TypedDict

Seconds = float | timedelta
OnLost = Literal["cancel", "event"]


class ConnectionOptions(TypedDict, total=False):
    """How the service is reached; see `Client`."""

    owner: str | None
    token: str | None
    ca: str | Path | None
    cert: str | Path | None
    key: str | Path | None
    insecure: bool
    retry_for: float
    unary: bool
    unready: bool


class AcquireOptions(TypedDict, total=False):
    """What is asked of an Acquire; see `Client.lock`."""

    ttl: Seconds
    wait: Seconds
    version: int | None
    after_version: int | None
    allow_stale: bool
    event_id: str
    event_retention: Seconds | None
    request_id: str | None


class LockOptions(AcquireOptions, total=False):
    """What `lock` takes in blocking form, where a loss is always told by the event; see `Client.lock`."""

    retry_hold: Seconds


class OnceOptions(TypedDict, total=False):
    """What `once` takes in blocking form; see `Client.once`."""

    claim_ttl: Seconds
    retention: Seconds | None
    fingerprint: bytes
    wait: Seconds
    request_id: str | None


def seconds(value: Seconds) -> float:
    """Reads seconds or a timedelta as seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value
