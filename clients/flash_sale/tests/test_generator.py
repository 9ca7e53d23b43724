"""The generator: the same seed makes the same sale, in the shapes that a shop really sends."""

import base64
import hashlib
import hmac
import itertools
import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import jsonschema
import orjson
import pytest

from flash_sale.deliveries import deliver
from flash_sale.orders import all_events, generate
from flash_sale.payloads import render

SHOP = "sale.myshopify.com"
ORDERS = generate(400, 1)
SCHEMAS = Path(__file__).parents[3] / "build" / "schemas"
PACKAGE = "shopify-webhook-schemas@0.3.8"


def test_a_seed_decides_everything() -> None:
    """Two runs make the same deliveries; another seed makes others."""
    assert deliver(ORDERS, 1) == deliver(generate(400, 1), 1)
    assert deliver(ORDERS, 1) != deliver(generate(400, 2), 2)


def test_each_order_lives_its_whole_life() -> None:
    """Created first; updated one to three times or more; paid and fulfilled unless it was cancelled."""
    for order in ORDERS:
        topics = Counter(event.topic for event in order.events)
        assert order.events[0].topic == "orders/create"
        assert topics["orders/updated"] >= 1
        assert topics["orders/cancelled"] or topics["orders/paid"]
        assert topics["orders/cancelled"] != topics["orders/fulfilled"]
    seen = Counter(event.topic for _, event in all_events(ORDERS))
    assert min(seen["orders/edited"], seen["refunds/create"], seen["orders/cancelled"]) > 0


def test_deliveries_are_as_a_network_makes_them() -> None:
    """5 to 10 % come twice or more, some late by minutes, many in another order, several within one second."""
    deliveries = deliver(ORDERS, 1)
    counts = Counter(delivery.event.webhook_id for delivery in deliveries)
    twice = sum(count > 1 for count in counts.values()) / len(counts)
    assert 0.04 < twice < 0.11

    triggered = [delivery.event.triggered_ns for delivery in deliveries]
    assert sum(later < earlier for earlier, later in itertools.pairwise(triggered)) > len(triggered) / 4
    storms = sum(
        sum(event.triggered_ns - order.created_ns < 1_000_000_000 for event in order.events) > 1 for order in ORDERS
    )
    assert storms > len(ORDERS) / 2
    assert any(event.tied for _, event in all_events(ORDERS))


def test_ids_are_beyond_what_a_double_holds() -> None:
    """The order of the shop's own sample is among them."""
    assert ORDERS[0].id == 820982911946154508
    assert all(order.id > 2**53 for order in ORDERS)
    assert len({order.id for order in ORDERS}) == len(ORDERS)


def test_headers_and_signature() -> None:
    """Every delivery carries the headers of a shop, and its body is signed."""
    order = ORDERS[0]
    webhook = render(order, order.events[0], SHOP)

    assert webhook.headers["X-Shopify-Topic"] == "orders/create"
    assert len(webhook.headers["X-Shopify-Triggered-At"].split(".")[1].rstrip("Z")) == 9
    digest = hmac.digest(b"hush", webhook.body, hashlib.sha256)
    assert base64.b64decode(webhook.headers["X-Shopify-Hmac-Sha256"]) == digest
    assert len(orjson.loads(webhook.body)) == 93


def schemas() -> Path:
    """Installs the schemas of the shop's webhooks, for development only."""
    folder = SCHEMAS / "node_modules" / "shopify-webhook-schemas" / "schemas" / "2026-07"
    if not folder.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            assert os.environ.get("CI") != "true", "npm is missing"
            pytest.skip("npm is not installed, so the schemas cannot be fetched")
        SCHEMAS.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", PACKAGE], cwd=SCHEMAS, check=True)
    return folder


@pytest.mark.timeout(180)
def test_payloads_fit_the_schemas() -> None:
    """Each topic's payloads are what the published schemas of API 2026-07 say."""
    folder = schemas()
    validators: dict[str, jsonschema.Draft202012Validator] = {}
    seen: Counter[str] = Counter()
    for order, event in all_events(ORDERS[:60]):
        if event.topic not in validators:
            schema = json.loads((folder / f"{event.topic}.json").read_text())
            validators[event.topic] = jsonschema.Draft202012Validator(schema)
        errors = list(validators[event.topic].iter_errors(json.loads(render(order, event, SHOP).body)))
        assert not errors, (event.topic, errors[0].message, list(errors[0].path))
        seen[event.topic] += 1

    assert seen["orders/create"] == 60
