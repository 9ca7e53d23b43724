"""Amounts as the shop writes them. All are in cents."""

from typing import Any


def amount(cents: int) -> str:
    """Writes an amount."""
    return f"{cents // 100}.{cents % 100:02}"


def money_set(cents: int) -> dict[str, Any]:
    """Writes an amount in the shop's and in the customer's currency."""
    money = {"amount": amount(cents), "currency_code": "USD"}
    return {"shop_money": money, "presentment_money": money}


def currency_set(cents: int) -> dict[str, Any]:
    """Writes an amount as transactions have it."""
    money = {"amount": amount(cents), "currency": "USD"}
    return {"presentment_money": money, "shop_money": money}
