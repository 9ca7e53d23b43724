"""The table at the end: the acts side by side."""

from collections.abc import Callable
from typing import Final

from rich.table import Table

from flash_sale.sale import Outcome

TITLES: Final = {"nothing": "without lockservice", "blog": "the blog's patterns", "lockservice": "with lockservice"}


def title(outcome: Outcome) -> str:
    """Names an act."""
    return TITLES[outcome.plan.guarding]


def _number(count: int) -> str:
    return f"{count:,}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _of(name: str) -> Callable[[Outcome], str]:
    return lambda outcome: _number(outcome.outcomes[name])


def _found(name: str) -> Callable[[Outcome], str]:
    def show(outcome: Outcome) -> str:
        count: int = getattr(outcome.findings, name)
        return f"[red]{count:,}[/red]" if count else "0"

    return show


_SECTIONS: Final[tuple[tuple[tuple[str, Callable[[Outcome], str]], ...], ...]] = (
    (
        ("orders", lambda act: _number(act.plan.orders)),
        ("events", lambda act: _number(act.events)),
        ("deliveries", lambda act: _number(act.deliveries)),
        ("workers killed", lambda act: _number(act.plan.kills)),
        ("  their events, taken over", lambda act: _number(act.taken_over)),
        ("most events in flight", lambda act: _number(act.in_flight)),
    ),
    (
        ("forged, refused with 401", lambda act: _number(act.forged)),
        ("slowest answer to the shop", lambda act: _ms(act.answer_s)),
    ),
    (
        ("duplicates refused", _of("duplicate")),
        ("in the document already", _of("in the document")),
        ("turned away by hash", _of("turned_away")),
        ("  of them new events", _of("new_turned_away")),
        ("others' locks deleted", _of("foreign_deletes")),
        ("stale", _of("stale")),
        ("early, retried", _of("early")),
        ("before their order, retried", _of("no order yet")),
        ("handed back in all", _of("handed back")),
        ("ties, fetched afresh", _of("tie")),
        ("asked again under the same number", lambda act: _number(act.findings.asked_again)),
    ),
    (
        ("DUPLICATED orders", _found("duplicated_orders")),
        ("DUPLICATED confirmations", _found("duplicated_confirmations")),
        ("DUPLICATED changes", _found("duplicated_changes")),
        ("LOST orders", _found("lost_orders")),
        ("LOST updates", _found("lost_updates")),
        ("LOST edits, refunds, stock", _found("lost_changes")),
        ("OUT OF ORDER", _found("out_of_order")),
        ("variants with wrong stock", _found("wrong_stock")),
    ),
    (
        ("lock latency p50", lambda act: _ms(act.latencies.lock_p50)),
        ("lock latency p99", lambda act: _ms(act.latencies.lock_p99)),
        ("hand-off p99", lambda act: _ms(act.latencies.handoff_p99)),
        ("time", lambda act: f"{act.seconds:.1f} s"),
    ),
)


def table(outcomes: list[Outcome]) -> Table:
    """Sets the acts side by side."""
    made = Table(title="The flash sale", title_justify="left")
    made.add_column("")
    for outcome in outcomes:
        made.add_column(title(outcome), justify="right")
    for section in _SECTIONS:
        for name, show in section:
            made.add_row(name, *(show(outcome) for outcome in outcomes))
        made.add_section()
    for language in outcomes[0].plan.languages if outcomes else ():
        made.add_row(f"settled by {language.name}", *(_number(act.shares[language.name]) for act in outcomes))
    return made
