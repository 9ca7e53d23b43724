"""Says what a sale did to the books. It knows from the generator what must be in them, and believes no worker."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flash_sale import payloads
from flash_sale.catalog import CATALOG, ON_HAND
from flash_sale.documents import Document, moves
from flash_sale.event import kept
from flash_sale.orders import Order

# An order and a variant: who moved stock.
_Move = tuple[str, str]


@dataclass(frozen=True)
class Books:
    """What is there after the sale.

    Attributes:
        orders: their documents by the order's gid.
        stock: documents by the variant's gid.
        outside: what the outside world was asked for: what, for which order, under which number.
    """

    orders: Mapping[str, Document]
    stock: Mapping[str, Document]
    outside: Sequence[tuple[str, str, int]]


@dataclass(frozen=True)
class Findings:
    """What is wrong. Every number is a count of orders or events that should be 0, but for asked_again.

    Attributes:
        duplicated_orders: ordered from the warehouse under more than one number, each further number counted; and
            orders that nobody placed.
        duplicated_confirmations: mails for one order, each after the first.
        duplicated_changes: edits, refunds and movements of stock that took effect twice.
        lost_orders: never written, or nothing ordered from the warehouse.
        lost_updates: whose newest state is not the one in the books.
        lost_changes: edits, refunds and movements of stock without effect.
        out_of_order: that did not go through their states in the right order.
        wrong_stock: variants of which another number is on hand than must be.
        asked_again: requests to the outside that repeat one under the same number, so that it could ignore them.
    """

    duplicated_orders: int
    duplicated_confirmations: int
    duplicated_changes: int
    lost_orders: int
    lost_updates: int
    lost_changes: int
    out_of_order: int
    wrong_stock: int
    asked_again: int

    @property
    def duplicated(self) -> int:
        """Everything that happened twice."""
        return self.duplicated_orders + self.duplicated_confirmations + self.duplicated_changes

    @property
    def lost(self) -> int:
        """Everything that should have happened and did not."""
        return self.lost_orders + self.lost_updates + self.lost_changes

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.duplicated or self.lost or self.out_of_order or self.wrong_stock)


def audit(orders: Sequence[Order], books: Books, shop: str) -> Findings:
    """Compares the books with the truth.

    Args:
        orders: the truth.
        books: what the workers made of it.
        shop: the domain that the events came from.
    """
    known = {order.gid for order in orders}
    numbers = _numbers(books.outside, "warehouse")
    mails = _numbers(books.outside, "confirmation")
    pairs = [(order, books.orders.get(order.gid)) for order in orders]
    there = [(order, document) for order, document in pairs if document is not None]
    changes = Counter(_change(order, document) for order, document in there)
    moved = _moves(books.stock, numbers)
    expected = Counter(_expected_moves(orders))
    return Findings(
        duplicated_orders=sum(len(used) - 1 for used in numbers.values())
        + len((numbers.keys() | books.orders.keys()) - known),
        duplicated_confirmations=sum(len(used) - 1 for used in mails.values()),
        duplicated_changes=changes["twice"] + (moved - expected).total(),
        lost_orders=sum(document is None or order.gid not in numbers for order, document in pairs),
        lost_updates=sum(document["order"] != _newest(order, shop) for order, document in there),
        lost_changes=changes["lost"] + (expected - moved).total(),
        out_of_order=sum(document["states"] != order.states for order, document in there),
        wrong_stock=_wrong_stock(orders, books.stock),
        asked_again=len(books.outside) - sum(len(used) for told in (numbers, mails) for used in told.values()),
    )


def _numbers(outside: Iterable[tuple[str, str, int]], wanted: str) -> dict[str, set[int]]:
    numbers: dict[str, set[int]] = defaultdict(set)
    for what, gid, number in outside:
        if what == wanted:
            numbers[gid].add(number)
    return numbers


def _newest(order: Order, shop: str) -> dict[str, Any]:
    return kept(payloads.payload(order, order.newest, shop))


def _change(order: Order, document: Document) -> str:
    refunded = sum(CATALOG[line.variant].price * line.quantity for line in order.refunded)
    off = (document["added"] - order.edited, document["refunded"] - refunded)
    if max(off) > 0:
        return "twice"
    return "lost" if min(off) < 0 else "right"


def _expected_moves(orders: Iterable[Order]) -> Iterable[tuple[_Move, int]]:
    """Lists who must have moved how much."""
    for order in orders:
        for line in order.lines:
            yield (order.gid, CATALOG[line.variant].gid), -line.quantity
        for line in order.refunded:
            yield (order.gid, CATALOG[line.variant].gid), line.quantity


def _moves(stock: Mapping[str, Document], numbers: Mapping[str, set[int]]) -> "Counter[tuple[_Move, int]]":
    """Counts who moved how much; the number of an order is known to the warehouse."""
    gids = {number: gid for gid, used in numbers.items() for number in used}
    return Counter(
        ((gids.get(int(name.partition("/")[0]), "nobody"), variant), pieces)
        for variant, document in stock.items()
        for name, pieces in moves(document)
    )


def _wrong_stock(orders: Iterable[Order], stock: Mapping[str, Document]) -> int:
    right: Final = Counter({variant.gid: ON_HAND for variant in CATALOG})
    for (_, variant), pieces in _expected_moves(orders):
        right[variant] += pieces
    return sum(stock.get(variant, {"on_hand": ON_HAND})["on_hand"] != on_hand for variant, on_hand in right.items())
