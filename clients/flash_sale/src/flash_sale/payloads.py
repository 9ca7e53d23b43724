"""The webhooks' bodies and headers, in the shape of the shop's API 2026-07.

The same event always gives the same bytes: a delivery that is repeated carries the original body.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

import orjson

from flash_sale import order_payload
from flash_sale.catalog import CATALOG
from flash_sale.money import amount, currency_set, money_set
from flash_sale.orders import Event, Order
from flash_sale.shop import is_delta

API_VERSION: Final = "2026-07"
# What the shop and its app share; the shop signs with it.
SECRET: Final = b"hush"
_SHOP_ZONE: Final = timezone(timedelta(hours=-5))
_FIRST_EDIT_ID: Final = 78_912_328_793_123_781
_FIRST_REFUND_ID: Final = 890_088_186_047_892_319


class Webhook(NamedTuple):
    """One delivery, as the receiver gets it."""

    headers: dict[str, str]
    body: bytes


def render(order: Order, event: Event, shop: str) -> Webhook:
    """Writes an event as the shop sends it.

    Args:
        order: whose event it is.
        event: what happened.
        shop: the shop's domain, such as sale.myshopify.com.
    """
    body = orjson.dumps(payload(order, event, shop))
    headers = {
        "X-Shopify-Topic": event.topic,
        "X-Shopify-Shop-Domain": shop,
        "X-Shopify-API-Version": API_VERSION,
        "X-Shopify-Webhook-Id": event.webhook_id,
        "X-Shopify-Event-Id": event.event_id,
        "X-Shopify-Triggered-At": nine_digits(event.triggered_ns),
        "X-Shopify-Hmac-Sha256": sign(body),
    }
    return Webhook(headers, body)


def sign(body: bytes) -> str:
    """Signs a body as the shop does."""
    return base64.b64encode(hmac.digest(SECRET, body, hashlib.sha256)).decode()


def nine_digits(ns: int) -> str:
    """Writes a moment as X-Shopify-Triggered-At has it."""
    whole = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09}Z"


def shop_time(ns: int) -> str:
    """Writes a moment as bodies have it: whole seconds, rounded up, in the shop's own time zone."""
    return datetime.fromtimestamp(-(-ns // 1_000_000_000), _SHOP_ZONE).isoformat()


def payload(order: Order, event: Event, shop: str) -> dict[str, Any]:
    """Makes the body of an event."""
    if not is_delta(event.topic):
        return order_payload.make(order, event.snapshot, shop, shop_time)
    return _edit(order, event) if event.topic == "orders/edited" else _refund(order, event)


def _edit(order: Order, event: Event) -> dict[str, Any]:
    at = shop_time(event.triggered_ns)
    added = {"id": order_payload.line_id(order, 0), "delta": 1}
    return {
        "order_edit": {
            "id": _FIRST_EDIT_ID + order.number,
            "app_id": None,
            "created_at": at,
            "notify_customer": False,
            "committed_at": at,
            "order_id": order.id,
            "staff_note": "one more, by phone",
            "user_id": 548_380_009,
            "line_items": {"additions": [added], "removals": []},
            "discounts": {"line_item": {"additions": [], "removals": []}},
            "shipping_lines": {"additions": [], "removals": []},
        }
    }


def _refund(order: Order, event: Event) -> dict[str, Any]:
    at, refund_id = shop_time(event.triggered_ns), _FIRST_REFUND_ID + order.number
    line = order.refunded[0]
    price = CATALOG[line.variant].price
    return {
        "id": refund_id,
        "order_id": order.id,
        "created_at": at,
        "note": "does not fit",
        "user_id": 548_380_009,
        "processed_at": at,
        "duties": [],
        "total_duties_set": money_set(0),
        "return": None,
        "refund_shipping_lines": [],
        "restock": True,
        "admin_graphql_api_id": f"gid://shopify/Refund/{refund_id}",
        "order_adjustments": [],
        "refund_line_items": [
            {
                "id": refund_id + 1,
                "quantity": line.quantity,
                "line_item_id": order_payload.line_id(order, 0),
                "location_id": 655_441_491,
                "restock_type": "return",
                "subtotal": price / 100,
                "total_tax": 0,
                "subtotal_set": money_set(price),
                "total_tax_set": money_set(0),
                "line_item": order_payload.refunded_line(order, 0),
            }
        ],
        "transactions": [_transaction(order, refund_id, price, at)],
    }


def _transaction(order: Order, refund_id: int, price: int, at: str) -> dict[str, Any]:
    return {
        "id": refund_id + 2,
        "order_id": order.id,
        "kind": "refund",
        "gateway": "bogus",
        "status": "success",
        "message": "Bogus Gateway: Forced success",
        "created_at": at,
        "test": False,
        "authorization": None,
        "location_id": None,
        "user_id": None,
        "parent_id": None,
        "processed_at": at,
        "device_id": None,
        "error_code": None,
        "source_name": "web",
        "receipt": {},
        "amount": amount(price),
        "currency": "USD",
        "payment_id": f"#{order.number}.1",
        "total_unsettled_set": currency_set(0),
        "manual_payment_gateway": False,
        "amount_rounding": None,
        "admin_graphql_api_id": f"gid://shopify/OrderTransaction/{refund_id + 2}",
    }
