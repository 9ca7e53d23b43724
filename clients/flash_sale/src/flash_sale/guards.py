"""What stands between the events of one order: lockservice or nothing. What the incident's team put in is in blog.py.

All raise what the client of lockservice raises, so that the work itself is the same code.
"""

import contextlib
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, Protocol

from flash_sale.event import Event
from flash_sale.names import LEASE_S, WAIT_S
from lockservice_client import Client

Guarding = Literal["lockservice", "nothing", "blog"]
# Stock is changed in milliseconds; its queue moves fast.
_STOCK_LEASE_S: Final = 3.0


class Guard(Protocol):
    """Lets events at documents."""

    def order(self, event: Event) -> AbstractAsyncContextManager[object]:
        """Holds the event's order while a block runs."""

    def stock(self, event: Event, variant: str) -> AbstractAsyncContextManager[object]:
        """Holds a variant's stock while a block runs."""


class Lockservice:
    """One lease an order, one a variant; both know which events they have seen."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def order(self, event: Event) -> AbstractAsyncContextManager[object]:
        """Refuses duplicates and stale versions, and lets nothing in before the order's creation."""
        return self._client.lock(
            event.resource,
            ttl=LEASE_S,
            wait=WAIT_S,
            version=event.watermark,
            after_version=event.after_version,
            event_id=event.key,
        )

    def stock(self, event: Event, variant: str) -> AbstractAsyncContextManager[object]:
        """Lets everybody in, each in turn."""
        return self._client.lock(f"{event.shop}:{variant}", ttl=_STOCK_LEASE_S, wait=WAIT_S)


class Nothing:
    """Everybody at once, as before the incident."""

    def order(self, event: Event) -> AbstractAsyncContextManager[object]:
        """Lets everybody in."""
        return contextlib.nullcontext()

    def stock(self, event: Event, variant: str) -> AbstractAsyncContextManager[object]:
        """Lets everybody in."""
        return contextlib.nullcontext()
