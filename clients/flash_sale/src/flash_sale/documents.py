"""How an event changes a document. Pure: nothing here knows of locks, of Redis or of the generator."""

from collections.abc import Mapping
from typing import Any

from flash_sale.event import Event
from flash_sale.shop import State

Document = dict[str, Any]


def new_order(gid: str, number: int) -> Document:
    """Returns the document of an order that is new to our books, with the number that these give to it."""
    return {
        "gid": gid,
        "number": number,
        "version": 0,
        "states": [],
        "order": {},
        "added": 0,
        "refunded": 0,
        "applied": [],
    }


def has(document: Document, event: Event) -> bool:
    """Says whether the document holds this event already, or a newer whole order.

    Nothing outside can know that of a worker which died between its write and its release.
    """
    return event.key in document["applied"] or (not event.delta and event.version < document["version"])


def is_tie(document: Document, event: Event) -> bool:
    """Says whether the document holds another whole order of the same instant: nobody can tell which is newer."""
    return not event.delta and event.version == document["version"] and event.key not in document["applied"]


def apply(document: Document, event: Event, fresh: dict[str, Any] | None = None) -> None:
    """Changes an order's document as an event says.

    Args:
        document: of the order.
        event: what happened.
        fresh: what to keep of the order instead of the event's own, as the shop answers when it is asked.
    """
    if event.delta:
        document["added"] += event.added
        document["refunded"] += event.refunded
    else:
        document["order"] = event.order if fresh is None else fresh
        document["version"] = event.version
        document["states"] = _with_state(document["states"], states(document["order"]))
    document["applied"].append(event.key)


def states(order: Mapping[str, Any]) -> list[State]:
    """Lists the states that an order has gone through when it looks like this."""
    gone: list[State] = ["created"]
    if order["financial_status"] in {"paid", "partially_refunded", "refunded"}:
        gone.append("paid")
    if order["fulfillment_status"] == "fulfilled":
        gone.append("fulfilled")
    if order["cancelled_at"]:
        gone.append("cancelled")
    return gone


def _with_state(history: list[State], gone: list[State]) -> list[State]:
    # A whole order that has skipped a state has still gone through it; one that goes back is written down as it is.
    if gone[: len(history)] == history:
        return gone
    return history if history[-1] == gone[-1] else [*history, gone[-1]]


def new_stock(on_hand: int) -> Document:
    """Returns the document of a variant: what is on hand, and which movement led to it."""
    return {"on_hand": on_hand, "moves": ";"}


def move(stock: Document, name: str, pieces: int) -> bool:
    """Moves pieces in or out of stock under a name, and says whether that was new."""
    # Thousands of movements are one text: as fields they would be read and written one by one, at each movement.
    if f";{name}:" in stock["moves"]:
        return False
    stock["on_hand"] += pieces
    stock["moves"] += f"{name}:{pieces};"
    return True


def moves(stock: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Lists the movements of a variant: their names and pieces."""
    entries = [entry.rpartition(":") for entry in stock["moves"].split(";") if entry]
    return [(name, int(pieces)) for name, _, pieces in entries]
