"""Reads out of a shop's webhook what `Client.lock` asks for: what it is about, which event it is, and its version."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

_TOPIC: Final = "X-Shopify-Topic"
_SHOP: Final = "X-Shopify-Shop-Domain"
_WEBHOOK_ID: Final = "X-Shopify-Webhook-Id"
_EVENT_ID: Final = "X-Shopify-Event-Id"
_TRIGGERED_AT: Final = "X-Shopify-Triggered-At"
_RESOURCE: Final = "admin_graphql_api_id"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Delivery(NamedTuple):
    """A delivery, as far as the lock needs it.

    Attributes:
        event_key: the same for every delivery of one event, and for no other event; for `event_id`, and for `once`.
        resource: the entity's global id, a string: numbers of 19 digits are not exact in every language.
        version: when the shop triggered it, in microseconds since 1970; None: the shop did not say.
    """

    event_key: str
    resource: str
    version: int | None


def shopify_delivery(headers: Mapping[str, str], body: bytes | str) -> Delivery:
    """Reads a Shopify webhook, whose signature has been checked.

    The event's key is its shop, topic and webhook id. Without a webhook id it is shop, topic, event id, resource and
    moment: all events of one action of the merchant have the same event id.

    Args:
        headers: names in any case.
        body: JSON, as it came.

    Raises:
        ValueError: a header or a field is missing, or makes no sense; the message names it.

    Example:
        delivery = shopify_delivery(request.headers, body)
        async with client.lock(delivery.resource, version=delivery.version, event_id=delivery.event_key, wait=10):
            ...
    """
    named = {name.lower(): text for name, text in headers.items()}
    shop, topic = _part(named, _SHOP), _part(named, _TOPIC)
    triggered_at = named.get(_TRIGGERED_AT.lower(), "")
    version = _microseconds(triggered_at) if triggered_at else None
    resource = _resource(body)
    if named.get(_WEBHOOK_ID.lower()):
        return Delivery(f"{shop}:{topic}:{_part(named, _WEBHOOK_ID)}", resource, version)
    if not named.get(_EVENT_ID.lower()):
        raise ValueError(f"neither {_WEBHOOK_ID} nor {_EVENT_ID} is there")
    if not triggered_at:
        raise ValueError(f"without {_WEBHOOK_ID}, {_TRIGGERED_AT} is needed")
    return Delivery(f"{shop}:{topic}:{_part(named, _EVENT_ID)}:{resource}:{triggered_at}", resource, version)


def _part(named: Mapping[str, str], name: str) -> str:
    text = named.get(name.lower(), "")
    if not text or ":" in text:
        # With a colon inside, two deliveries could have one key.
        raise ValueError(f"{name} is {'there with a colon' if text else 'not there'}")
    return text


def _resource(body: bytes | str) -> str:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise ValueError(f"the body is no JSON: {error}") from None
    resource = fields.get(_RESOURCE) if isinstance(fields, dict) else None
    if not isinstance(resource, str) or not resource:
        raise ValueError(f"the body is no JSON object with {_RESOURCE}")
    return resource


def _microseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{_TRIGGERED_AT} is no moment: {text!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{_TRIGGERED_AT} has no zone: {text!r}")
    # What is finer than a microsecond is left off, never rounded up: a version must not be one that comes later.
    return (moment - _EPOCH) // _MICROSECOND
