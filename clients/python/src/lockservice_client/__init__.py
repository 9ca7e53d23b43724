"""Leases, ordering and deduplication for workers that share entities: the Python client of lockservice.

`Client` is for asyncio; `lockservice_client.blocking.Client` has the same names for threads.
"""

from lockservice_client.claim import Claim
from lockservice_client.client import Client
from lockservice_client.delivery import Delivery, shopify_delivery
from lockservice_client.errors import (
    Duplicate,
    Early,
    Held,
    InProgress,
    InvalidRequest,
    LeaseLost,
    Mismatch,
    NotAllowed,
    Refused,
    ServiceError,
    Stale,
    Unavailable,
)
from lockservice_client.lease import Lease
from lockservice_client.values import Acquired, Deduped, Grant, Hold, Holder, Lock, Shard, Waiter

__version__ = "0.1.0"
__all__ = [
    "Acquired",
    "Claim",
    "Client",
    "Deduped",
    "Delivery",
    "Duplicate",
    "Early",
    "Grant",
    "Held",
    "Hold",
    "Holder",
    "InProgress",
    "InvalidRequest",
    "Lease",
    "LeaseLost",
    "Lock",
    "Mismatch",
    "NotAllowed",
    "Refused",
    "ServiceError",
    "Shard",
    "Stale",
    "Unavailable",
    "Waiter",
    "shopify_delivery",
]
