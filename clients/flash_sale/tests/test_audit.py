"""The audit: clean books pass, and each planted fault is found."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from flash_sale.audit import Books, Findings, audit
from flash_sale.catalog import CATALOG, ON_HAND
from flash_sale.documents import apply, move, new_order, new_stock
from flash_sale.event import Event
from flash_sale.orders import generate
from flash_sale.payloads import render

SHOP = "sale.myshopify.com"
ORDERS = generate(60, 5)


def right_books() -> Books:
    """Writes the books as they must be: every event once, in its order."""
    orders: dict[str, Any] = {}
    outside: list[tuple[str, str, int]] = []
    stock = {variant.gid: new_stock(ON_HAND) for variant in CATALOG}
    for number, order in enumerate(ORDERS, 1):
        document = new_order(order.gid, number)
        for event in order.events:
            webhook = render(order, event, SHOP)
            apply(document, Event(webhook.headers, webhook.body))
        orders[order.gid] = document
        outside += [("warehouse", order.gid, number), ("confirmation", order.gid, number)]
        moves = [(line, -line.quantity, "sold") for line in order.lines]
        moves += [(line, line.quantity, "back") for line in order.refunded]
        for index, (line, pieces, why) in enumerate(moves):
            assert move(stock[CATALOG[line.variant].gid], f"{number}/{why}{index}", pieces)
    return Books(orders, stock, outside)


def test_right_books_are_clean() -> None:
    """Nothing is found where nothing is wrong."""
    findings = audit(ORDERS, right_books(), SHOP)

    assert findings.clean, findings


EDITED = next(order for order in ORDERS if order.edited)
FIRST = ORDERS[0]


def _lose_order(books: Any) -> None:
    del books.orders[FIRST.gid]


def _lose_update(books: Any) -> None:
    books.orders[FIRST.gid]["order"]["tags"] = "an older state"


def _lose_edit(books: Any) -> None:
    books.orders[EDITED.gid]["added"] = 0


def _edit_twice(books: Any) -> None:
    books.orders[EDITED.gid]["added"] *= 2


def _order_twice(books: Any) -> None:
    books.outside.append(("warehouse", FIRST.gid, 999_999))


def _confirm_twice(books: Any) -> None:
    books.outside.append(("confirmation", FIRST.gid, 999_999))


def _wrong_states(books: Any) -> None:
    books.orders[FIRST.gid]["states"].reverse()


def _lose_stock(books: Any) -> None:
    variant = books.stock[CATALOG[FIRST.lines[0].variant].gid]
    variant["moves"] = variant["moves"].rstrip(";").rpartition(";")[0] + ";"


def _overwrite_stock(books: Any) -> None:
    books.stock[CATALOG[FIRST.lines[0].variant].gid]["on_hand"] += 1


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (_lose_order, "lost_orders"),
        (_lose_update, "lost_updates"),
        (_lose_edit, "lost_changes"),
        (_edit_twice, "duplicated_changes"),
        (_order_twice, "duplicated_orders"),
        (_confirm_twice, "duplicated_confirmations"),
        (_wrong_states, "out_of_order"),
        (_lose_stock, "lost_changes"),
        (_overwrite_stock, "wrong_stock"),
    ],
)
def test_each_planted_fault_is_found(fault: Callable[[Any], None], found: str) -> None:
    """Whatever a worker could break shows under its own name."""
    books = copy.deepcopy(right_books())
    fault(books)

    findings: Findings = audit(ORDERS, books, SHOP)

    assert getattr(findings, found) > 0, findings
    assert not findings.clean
