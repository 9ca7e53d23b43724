"""What a shop's events look like from outside: topics, states, ids."""

from typing import Literal

Topic = Literal[
    "orders/create",
    "orders/updated",
    "orders/paid",
    "orders/fulfilled",
    "orders/cancelled",
    "orders/edited",
    "refunds/create",
]
State = Literal["created", "paid", "fulfilled", "cancelled"]


def is_delta(topic: str) -> bool:
    """Says whether an event carries only a change, which nothing later repeats."""
    return topic in {"orders/edited", "refunds/create"}


def order_gid(order_id: int) -> str:
    """Writes an order's id as the shop's API does: exact, however a language reads numbers."""
    return f"gid://shopify/Order/{order_id}"


def variant_gid(variant_id: int) -> str:
    """Writes a variant's id as the shop's API does."""
    return f"gid://shopify/ProductVariant/{variant_id}"
