"""What the network makes of the truth: events come twice, late and in another order."""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from flash_sale.orders import SALE_BEGINS_NS, Event, Order

TWICE: Final = 0.06
THRICE: Final = 0.10  # of those that come twice
LATE: Final = 0.01
# All in seconds of the sale's time.
_REORDERED_S: Final = 2.0
_LATE_S: Final = (120.0, 240.0)
# Two subscriptions at once, or a receiver whose answer was lost.
_AGAIN_AT_ONCE: Final = 0.7
_AGAIN_AT_ONCE_S: Final = (0.0, 2.0)
_AGAIN_LATER_S: Final = (60.0, 180.0)


class Delivery(NamedTuple):
    """One arrival of an event; at is in seconds of the sale's time since it began."""

    at: float
    order: Order
    event: Event


def deliver(orders: Sequence[Order], seed: int) -> list[Delivery]:
    """Lists all deliveries as they arrive."""
    deliveries = [
        Delivery(at, order, event)
        for order in orders
        for chance in (random.Random(f"{seed}/{order.id}/deliveries"),)  # noqa: S311  no secret
        for event in order.events
        for at in _arrivals(event, chance)
    ]
    # Stable, so that arrivals of one instant keep an order that the seed decides.
    return sorted(deliveries, key=lambda delivery: delivery.at)


def _arrivals(event: Event, chance: random.Random) -> list[float]:
    triggered = (event.triggered_ns - SALE_BEGINS_NS) / 1e9
    late = chance.uniform(*_LATE_S) if chance.random() < LATE else 0.0
    arrivals = [triggered + late + chance.uniform(0.0, _REORDERED_S)]
    if chance.random() < TWICE:
        for _ in range(2 if chance.random() < THRICE else 1):
            span = _AGAIN_AT_ONCE_S if chance.random() < _AGAIN_AT_ONCE else _AGAIN_LATER_S
            arrivals.append(arrivals[0] + chance.uniform(*span))
    return arrivals
