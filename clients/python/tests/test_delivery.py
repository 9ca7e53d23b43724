"""Reading deliveries, by the vectors that every language shares."""

import json
from pathlib import Path
from typing import Any

import pytest

from lockservice_client import shopify_delivery

VECTORS = json.loads(Path(__file__).parents[2].joinpath("deliveries.json").read_text(encoding="utf-8"))


def _name(vector: Any) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", VECTORS["deliveries"], ids=_name)
def test_s21_a_delivery(vector: Any) -> None:
    """Event key, resource and version are those of the vector, from bytes as from text."""
    expected = (vector["event_key"], vector["resource"], vector["version"])
    assert shopify_delivery(vector["headers"], vector["body"]) == expected
    assert shopify_delivery(vector["headers"], vector["body"].encode()) == expected


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=_name)
def test_s21_a_delivery_that_is_refused(vector: Any) -> None:
    """The error names what is missing or wrong."""
    with pytest.raises(ValueError, match=vector["says"]):
        shopify_delivery(vector["headers"], vector["body"])
