"""The truth: what happens to each order of the sale, all of it decided by a seed."""

import itertools
import random
import uuid
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from flash_sale.catalog import CATALOG, WANTED
from flash_sale.shop import State, Topic, is_delta, order_gid

# Above 2^53 and one apart: whoever reads them as floating point numbers takes 128 of them for one order.
FIRST_ORDER_ID: Final = 820_982_911_946_154_508
_FIRST_NUMBER: Final = 1001
# 2026-11-27T08:00:00Z
SALE_BEGINS_NS: Final = 1_795_766_400 * 1_000_000_000
ORDERS_PER_SALE_S: Final = 4.3
_MS: Final = 1_000_000
_S: Final = 1_000_000_000

_EDITED: Final = 0.04
_REFUNDED: Final = 0.03
_CANCELLED: Final = 0.03
_TIED: Final = 0.01
_MORE_LINES: Final = 0.05
# How many orders are updated once, twice, three times.
_UPDATES: Final = ((1, 0.85), (2, 0.10), (3, 0.05))


class Line(NamedTuple):
    """A line of an order: which variant of the catalog, and how many."""

    variant: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an order looks like after an event; revision counts the changes that only its tags show."""

    financial_status: Literal["pending", "paid", "partially_refunded", "refunded", "voided"]
    fulfilled: bool
    cancelled: bool
    revision: int
    updated_ns: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as the shop triggers it.

    Attributes:
        triggered_ns: nanoseconds since 1970.
        webhook_id: the same in every delivery of this event.
        event_id: of the merchant's action, which may have triggered several events.
        snapshot: the order after it.
        tied: another event of this order has the same triggered_ns.
    """

    topic: Topic
    triggered_ns: int
    webhook_id: str
    event_id: str
    snapshot: Snapshot
    tied: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order and its whole life, in the order in which it happens."""

    id: int
    number: int
    created_ns: int
    lines: tuple[Line, ...]
    events: tuple[Event, ...]

    @property
    def gid(self) -> str:
        """Its id as the shop's API writes it."""
        return order_gid(self.id)

    @property
    def total(self) -> int:
        """Its price in cents."""
        return sum(CATALOG[line.variant].price * line.quantity for line in self.lines)

    @property
    def newest(self) -> Event:
        """Its last event that carries the whole order."""
        return next(event for event in reversed(self.events) if not is_delta(event.topic))

    @property
    def states(self) -> list[State]:
        """The states that it goes through."""
        return states(self.newest.snapshot)

    @property
    def edited(self) -> int:
        """How many pieces edits add to its first line."""
        return sum(event.topic == "orders/edited" for event in self.events)

    @property
    def refunded(self) -> list[Line]:
        """What refunds put back into stock: one piece of the first line each."""
        return [Line(self.lines[0].variant, 1) for event in self.events if event.topic == "refunds/create"]


def states(snapshot: Snapshot) -> list[State]:
    """Lists the states that an order has gone through when it looks like this."""
    gone: list[State] = ["created"]
    if snapshot.financial_status in {"paid", "partially_refunded", "refunded"}:
        gone.append("paid")
    if snapshot.fulfilled:
        gone.append("fulfilled")
    if snapshot.cancelled:
        gone.append("cancelled")
    return gone


def generate(count: int, seed: int) -> list[Order]:
    """Makes the orders of a sale. The same seed makes the same first orders, however many."""
    return [_order(index, random.Random(f"{seed}/{index}")) for index in range(count)]  # noqa: S311  no secret


def _order(index: int, chance: random.Random) -> Order:
    created_ns = SALE_BEGINS_NS + round((index + chance.random()) / ORDERS_PER_SALE_S * _S)
    count = 1 if chance.random() >= _MORE_LINES else chance.choice((2, 3))
    wanted = sorted({chance.choices(CATALOG, WANTED)[0].position for _ in range(count)})
    lines = tuple(Line(variant, 2 if chance.random() < 0.1 else 1) for variant in wanted)  # noqa: PLR2004  one in ten
    events = tuple(_Life(created_ns, chance).events)
    return Order(FIRST_ORDER_ID + index, _FIRST_NUMBER + index, created_ns, lines, events)


class _Life:
    """Makes the events of one order: a storm within its first second, the others over the next minutes."""

    def __init__(self, created_ns: int, chance: random.Random) -> None:
        self.events: list[Event] = []
        self._chance = chance
        self._now_ns = created_ns
        self._snapshot = Snapshot("pending", fulfilled=False, cancelled=False, revision=0, updated_ns=created_ns)
        self._action = ""
        edited, refunded = chance.random() < _EDITED, chance.random() < _REFUNDED
        cancelled = not edited and not refunded and chance.random() < _CANCELLED
        numbers, weights = zip(*_UPDATES, strict=True)
        wanted = int(chance.choices(numbers, weights)[0])
        self._further_updates = max(0, wanted - 1 - edited - refunded)
        self._begin(paid=not cancelled or chance.random() < 0.5)  # noqa: PLR2004  every second one
        if edited:
            self._act(5, 40)
            self._happen("orders/edited")
            self._revise()
        for _ in range(self._further_updates):
            self._act(1, 30)
            self._revise()
        self._end(refunded=refunded, cancelled=cancelled)

    def _begin(self, *, paid: bool) -> None:
        self._act(0, 0)
        self._happen("orders/create")
        self._revise()
        if not paid:
            return
        self._action = self._uuid()
        tied = self._chance.random() < _TIED
        if not tied:
            self._now_ns += round(self._chance.uniform(0.3, 40.0) * _S)
        self._happen("orders/paid", financial_status="paid", tied=tied)
        if tied:
            self.events[-2] = replace(self.events[-2], tied=True)

    def _end(self, *, refunded: bool, cancelled: bool) -> None:
        paid = self._snapshot.financial_status == "paid"
        self._act(30, 120)
        if cancelled:
            self._happen("orders/cancelled", financial_status="refunded" if paid else "voided", cancelled=True)
            return
        self._happen("orders/fulfilled", fulfilled=True)
        if refunded:
            self._act(5, 60)
            self._happen("refunds/create", financial_status="partially_refunded")
            self._revise()

    def _act(self, soonest_s: int, latest_s: int) -> None:
        """Something new is done to the order; all that it triggers has one event id."""
        self._action = self._uuid()
        self._now_ns += round(self._chance.uniform(soonest_s, latest_s) * _S)

    def _revise(self) -> None:
        self._now_ns += self._chance.randrange(1 * _MS, 40 * _MS)
        self._happen("orders/updated", revision=self._snapshot.revision + 1)

    def _happen(self, topic: Topic, *, tied: bool = False, **changes: object) -> None:
        self._snapshot = replace(self._snapshot, updated_ns=self._now_ns, **changes)  # type: ignore[arg-type]  # its fields
        event = Event(topic, self._now_ns, self._uuid(), self._action, self._snapshot, tied)
        self.events.append(event)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))


def count_events(orders: list[Order]) -> int:
    """Counts the events of a sale."""
    return sum(len(order.events) for order in orders)


def all_events(orders: list[Order]) -> "itertools.chain[tuple[Order, Event]]":
    """Goes through all events, order by order."""
    return itertools.chain.from_iterable(((order, event) for event in order.events) for order in orders)
