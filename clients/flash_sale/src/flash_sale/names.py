"""The keys that the sale uses in its Redis, and the times that its processes share. Times are in seconds."""

from typing import Final

STREAM: Final = "sale:events"
GROUP: Final = "workers"
# Where the receiver takes webhooks in.
PATH: Final = "/webhooks"
# The secrets with which the shop may have signed its webhooks.
SECRETS_VARIABLE: Final = "FLASH_SALE_SECRETS"
# How many events each worker settled.
SHARES: Final = "sale:shares"
# How many events came to which end.
OUTCOMES: Final = "sale:outcomes"
# What was asked of the outside world, as it arrived there.
OUTSIDE: Final = "sale:outside"
# The last number that our books gave to an order.
NUMBERS: Final = "sale:numbers"

LEASE_S: Final = 4.0
# Longer than it waits in the queue, an event is better handed back.
WAIT_S: Final = 10.0
# An entry that its worker has not been heard of for this long is given to another.
SILENT_S: Final = 3.0
HEARTBEAT_S: Final = 1.0
# One that its worker could not work on yet is given to another, or to itself again, after this long.
AGAIN_S: Final = 0.5


def order_key(gid: str) -> str:
    """Names the document of an order."""
    return f"order:{gid}"


def stock_key(gid: str) -> str:
    """Names the document of a variant's stock."""
    return f"stock:{gid}"


def shop_key(gid: str) -> str:
    """Names what the shop's own API answers when it is asked for an order."""
    return f"shop:{gid}"
