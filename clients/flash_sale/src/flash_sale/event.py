"""What a worker reads out of a delivery. It knows headers and bodies, and nothing of the generator."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from flash_sale.shop import is_delta, order_gid, variant_gid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# What the shop's own books keep of an order.
KEPT: Final = (
    "id", "name", "created_at", "updated_at", "cancelled_at", "financial_status", "fulfillment_status", "tags",
    "total_price", "email", "order_number",
)  # fmt: skip


class Event:
    """A delivery, understood. Of the body it keeps what is needed: hundreds are in work at once.

    Attributes:
        topic: such as orders/paid.
        shop: the domain that sent it.
        gid: the order it is about, whichever field of the body names it.
        resource: what to lock: the shop and the order.
        key: the same for every delivery of one event, and for no other event.
        version: when the shop triggered it, in microseconds since 1970.
        delta: it carries only a change, which no later event repeats.
        order: what the books keep of the whole order; empty for a delta.
        added: pieces that an edit adds.
        refunded: cents that a refund gives back.
        pieces: what it takes from stock, or with positive numbers puts back: variants and how many.
    """

    __slots__ = (
        "added", "body_id", "created_at", "delta", "gid", "key", "order", "pieces", "refunded", "resource", "shop",
        "topic", "version",
    )  # fmt: skip

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        named = {name.lower(): text for name, text in headers.items()}
        self.topic = named["x-shopify-topic"]
        self.shop = named["x-shopify-shop-domain"]
        self.delta = is_delta(self.topic)
        self.version = microseconds(named["x-shopify-triggered-at"])
        self._read(orjson.loads(body))
        self.resource = f"{self.shop}:{self.gid}"
        self.key = self._key(named)

    @property
    def after_version(self) -> int | None:
        """What must be completed before: nothing before the order's creation; anything at all before the others.

        An order's first completed version is its creation's, as nothing else is let in before. No other event
        knows the moment of the creation: bodies have it in whole seconds, which may be rounded up, or not at all.
        """
        return None if self.topic == "orders/create" else 1

    @property
    def watermark(self) -> int | None:
        """The version to lock with: none for a delta.

        A delta that raised the completed version would make an older whole order stale, although it brings nothing
        of that order itself. Deltas only add up, so their own order does not matter, and event_id keeps them single.
        """
        return None if self.delta else self.version

    def _read(self, body: dict[str, Any]) -> None:
        self.order: dict[str, Any] = {}
        self.added = self.refunded = 0
        self.pieces: list[tuple[str, int]] = []
        # An edit has everything one level down.
        inner = body.get("order_edit", body)
        self.body_id, self.created_at = int(inner["id"]), str(inner["created_at"])
        if self.topic == "orders/edited":
            self.gid = order_gid(inner["order_id"])
            self.added = sum(line["delta"] for line in inner["line_items"]["additions"])
        elif self.topic == "refunds/create":
            self.gid = order_gid(body["order_id"])
            lines = body["refund_line_items"]
            self.refunded = sum(round(100 * line["subtotal"]) for line in lines)
            self.pieces = [(variant_gid(line["line_item"]["variant_id"]), line["quantity"]) for line in lines]
        else:
            self.gid = str(body["admin_graphql_api_id"])
            self.order = kept(body)
            if self.topic == "orders/create":
                self.pieces = [(variant_gid(line["variant_id"]), -line["quantity"]) for line in body["line_items"]]

    def _key(self, named: Mapping[str, str]) -> str:
        webhook_id = named.get("x-shopify-webhook-id")
        if webhook_id:
            return f"{self.shop}:{self.topic}:{webhook_id}"
        # The event id alone would not do: all events of one action of the merchant have the same.
        event_id = named.get("x-shopify-event-id", "")
        return f"{self.shop}:{self.topic}:{event_id}:{self.gid}:{named['x-shopify-triggered-at']}"


def kept(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the books keep of a whole order."""
    return {field: body[field] for field in KEPT}


def microseconds(text: str) -> int:
    """Reads a moment of any zone and any number of digits as microseconds since 1970."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
