"""The whole order, as five topics send it: 93 fields, 7 to 13 KB."""

from collections.abc import Callable
from typing import Any, Final

from flash_sale.catalog import CATALOG, Variant
from flash_sale.money import amount, money_set
from flash_sale.orders import Order, Snapshot

_FIRST_LINE_ID: Final = 487_817_672_276_298_554
_FIRST_CUSTOMER_ID: Final = 115_310_627_314_723_954
_FIRST_FULFILLMENT_ID: Final = 255_858_046_100_000_001
_LINES_MAX: Final = 3
_NAMES: Final = ("Avery", "Blake", "Casey", "Devon", "Emery", "Finley", "Harper", "Jordan", "Kendall", "Logan")
# Fields that carry an amount: one of the four that an order knows.
_FREE_SETS: Final = (
    "current_shipping_price_set", "current_total_discounts_set", "current_total_tax_set", "total_discounts_set",
    "total_shipping_price_set", "total_tax_set", "total_cash_rounding_payment_adjustment_set",
    "total_cash_rounding_refund_adjustment_set",
)  # fmt: skip
_PRICE_SETS: Final = (
    "current_subtotal_price_set", "current_total_price_set", "subtotal_price_set", "total_line_items_price_set",
    "total_price_set",
)  # fmt: skip
_FREE: Final = (
    "current_total_discounts", "current_total_tax", "total_discounts", "total_tax", "total_tip_received",
)  # fmt: skip
_PRICES: Final = (
    "current_subtotal_price", "current_total_price", "subtotal_price", "total_line_items_price", "total_price",
)  # fmt: skip
_EMPTY: Final = (
    "app_id", "cancel_reason", "cancelled_at", "cart_token", "checkout_token", "closed_at",
    "current_total_additional_fees_set", "current_total_duties_set", "device_id", "landing_site", "landing_site_ref",
    "location_id", "merchant_of_record_app_id", "note", "original_total_additional_fees_set",
    "original_total_duties_set", "payment_terms", "phone", "po_number", "reference", "referring_site",
    "source_identifier", "source_url", "user_id",
)  # fmt: skip
_LISTS: Final = (
    "discount_applications", "discount_codes", "line_item_groups", "note_attributes", "refunds", "returns",
    "tax_lines",
)  # fmt: skip
_NO: Final = ("duties_included", "estimated_taxes", "tax_exempt", "taxes_included", "test")
_NOTHING: Final = money_set(0)
_CLIENT: Final = {
    "accept_language": "en-US", "browser_height": 1080, "browser_ip": "192.0.2.7", "browser_width": 1920,
    "session_hash": None, "user_agent": "Mozilla/5.0",
}  # fmt: skip


def line_id(order: Order, position: int) -> int:
    """Returns the id of a line of an order."""
    return _FIRST_LINE_ID + order.number * _LINES_MAX + position


def make(order: Order, snapshot: Snapshot, shop: str, shop_time: Callable[[int], str]) -> dict[str, Any]:
    """Makes the body of an order in one state.

    Args:
        order: which one.
        snapshot: what it looks like.
        shop: the shop's domain.
        shop_time: writes nanoseconds since 1970 as the shop does.
    """
    total, created = order.total, shop_time(order.created_ns)
    updated = shop_time(snapshot.updated_ns)
    customer, address, email = _customer(order, created)
    unpaid = snapshot.financial_status in {"pending", "voided"}
    return {
        "id": order.id,
        "admin_graphql_api_id": order.gid,
        **dict.fromkeys(_EMPTY),
        **{name: [] for name in _LISTS},
        **dict.fromkeys(_NO, False),
        **dict.fromkeys(_FREE, "0.00"),
        **dict.fromkeys(_PRICES, amount(total)),
        **dict.fromkeys(_FREE_SETS, _NOTHING),
        **dict.fromkeys(_PRICE_SETS, money_set(total)),
        "total_outstanding": amount(total if unpaid else 0),
        "total_weight": 900 * len(order.lines),
        "browser_ip": "192.0.2.7",
        "client_details": _CLIENT,
        "buyer_accepts_marketing": False,
        "cancelled_at": updated if snapshot.cancelled else None,
        "cancel_reason": "customer" if snapshot.cancelled else None,
        "confirmation_number": f"FS{order.number}",
        "confirmed": True,
        "contact_email": email,
        "email": email,
        "created_at": created,
        "processed_at": created,
        "updated_at": updated,
        "currency": "USD",
        "presentment_currency": "USD",
        "customer_locale": "en",
        "financial_status": snapshot.financial_status,
        "fulfillment_status": "fulfilled" if snapshot.fulfilled else None,
        "merchant_business_entity_id": "MTU0ODM4MDAwOQ",
        "name": f"#{order.number}",
        "number": order.number - 1000,
        "order_number": order.number,
        "order_status_url": f"https://{shop}/548380009/orders/{order.number:x}/authenticate?key=abcdefg",
        "payment_gateway_names": ["bogus"],
        "source_name": "web",
        "tags": f"flash-sale, revision-{snapshot.revision}",
        "token": f"{order.id:032x}",
        "billing_address": address,
        "shipping_address": address,
        "customer": customer,
        "fulfillments": [_fulfillment(order, updated)] if snapshot.fulfilled else [],
        "line_items": [_line(order, position, fulfilled=snapshot.fulfilled) for position in range(len(order.lines))],
        "shipping_lines": [_shipping_line(order)],
    }


def _customer(order: Order, created: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    customer_id = _FIRST_CUSTOMER_ID + order.number
    first_name, last_name = _NAMES[order.number % 10], f"{_NAMES[order.number // 10 % 10]}son"
    email = f"customer{order.number}@example.com"
    address = {
        "first_name": first_name, "last_name": last_name, "name": f"{first_name} {last_name}", "company": None,
        "address1": f"{order.number} Elm Street", "address2": None, "city": "Springfield", "zip": "40003",
        "province": "Kentucky", "province_code": "KY", "country": "United States", "country_code": "US",
        "phone": "555-0100", "latitude": None, "longitude": None,
    }  # fmt: skip
    own = {"id": customer_id + 1, "customer_id": customer_id, "country_name": "United States", "default": True}
    home = {name: text for name, text in address.items() if name not in {"latitude", "longitude"}}
    customer = {
        "id": customer_id, "created_at": created, "updated_at": created, "first_name": first_name,
        "last_name": last_name, "state": "disabled", "note": None, "verified_email": True,
        "multipass_identifier": None, "tax_exempt": False, "email": email, "phone": None, "currency": "USD",
        "tax_exemptions": [], "admin_graphql_api_id": f"gid://shopify/Customer/{customer_id}",
        "default_address": home | own,
    }  # fmt: skip
    return customer, address, email


def refunded_line(order: Order, position: int) -> dict[str, Any]:
    """Makes a line as refunds have it."""
    line = order.lines[position]
    variant = CATALOG[line.variant]
    return _goods(variant) | {
        "id": line_id(order, position),
        "admin_graphql_api_id": f"gid://shopify/LineItem/{line_id(order, position)}",
        "quantity": line.quantity,
        "fulfillable_quantity": 0,
        "fulfillment_status": "fulfilled",
    }


def _line(order: Order, position: int, *, fulfilled: bool) -> dict[str, Any]:
    quantity = order.lines[position].quantity
    return refunded_line(order, position) | {
        "attributed_staffs": [],
        "current_quantity": quantity,
        "fulfillable_quantity": 0 if fulfilled else quantity,
        "fulfillment_status": "fulfilled" if fulfilled else None,
        "sales_line_item_group_id": None,
    }


def _goods(variant: Variant) -> dict[str, Any]:
    return {
        "variant_id": variant.id, "product_id": variant.product_id, "product_exists": True, "sku": variant.sku,
        "title": variant.title, "name": variant.title, "variant_title": None, "vendor": "Sneakerworks",
        "variant_inventory_management": "shopify", "fulfillment_service": "manual", "gift_card": False, "grams": 900,
        "requires_shipping": True, "taxable": True, "properties": [], "price": amount(variant.price),
        "price_set": money_set(variant.price), "total_discount": "0.00", "total_discount_set": _NOTHING,
        "tax_lines": [], "duties": [], "discount_allocations": [],
    }  # fmt: skip


def _fulfillment(order: Order, at: str) -> dict[str, Any]:
    fulfillment_id = _FIRST_FULFILLMENT_ID + order.number
    return {
        "id": fulfillment_id, "admin_graphql_api_id": f"gid://shopify/Fulfillment/{fulfillment_id}",
        "created_at": at, "updated_at": at, "location_id": 655_441_491, "name": f"#{order.number}.1",
        "order_id": order.id, "origin_address": {}, "receipt": {}, "service": "manual", "shipment_status": None,
        "status": "success", "tracking_company": None, "tracking_number": None, "tracking_numbers": [],
        "tracking_url": None, "tracking_urls": [],
        "line_items": [refunded_line(order, position) for position in range(len(order.lines))],
    }  # fmt: skip


def _shipping_line(order: Order) -> dict[str, Any]:
    return {
        "id": _FIRST_LINE_ID - order.number, "carrier_identifier": None, "code": "Standard",
        "current_discounted_price_set": _NOTHING, "discounted_price": "0.00", "discounted_price_set": _NOTHING,
        "is_removed": False, "phone": None, "price": "0.00", "price_set": _NOTHING,
        "requested_fulfillment_service_id": None, "source": "shopify", "title": "Standard", "tax_lines": [],
        "discount_allocations": [],
    }  # fmt: skip
