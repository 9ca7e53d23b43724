"""The command `python -m flash_sale`."""

import sys
from typing import Any, Final

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flash_sale.guards import Guarding
from flash_sale.report import TITLES, table
from flash_sale.sale import Outcome, Plan, Sale

_ORDERS: Final = 15_000
# The sale that went wrong was a third of the one that went well.
_FIRST_PART: Final = 3
_KILLS: Final = 3


@click.command(context_settings={"max_content_width": 110, "show_default": True})
@click.option(
    "--orders", type=click.IntRange(min=3), default=_ORDERS, help="In act two; act one has a third of them."
)
@click.option("--seed", type=int, default=1, help="Decides the orders, their events and how these arrive.")
@click.option("--act", type=click.Choice(("one", "two", "both")), default="both", help="Without, with, or both.")
@click.option("--control", type=click.Choice(("none", "blog")), default="none", help="Play a control group as well.")
@click.option("--server", default=None, help="HOST:PORT of a lockservice that runs; else one is started.")
@click.option("--ops", default=None, help="HOST:PORT of its ops port, for the hand-off's time.")
@click.option("--pace", type=click.FloatRange(min=1), default=66.0, help="Seconds of the sale in one second.")
@click.option("--workers", type=click.IntRange(1, 16), default=2, help="Processes.")
@click.option("--slots", type=click.IntRange(1, 5_000), default=600, help="Events that each works on at once.")
@click.option("--kills", type=click.IntRange(0, 20), default=_KILLS, help="How often a worker is killed in act two.")
@click.option("--locking/--no-locking", default=True, help="Without it act two must fail: a check of the audit.")
def main(**how: Any) -> None:
    """Replay a flash sale without and with lockservice, and audit the books.

    Ends with 0 only when act two lost and duplicated nothing, and act one shows that something could be.
    """
    sys.exit(uvloop.run(_play(**how)))


async def _play(
    *, orders: int, seed: int, act: str, control: str, locking: bool, kills: int, server: str | None, **how: Any
) -> int:
    console = Console()
    part = orders // _FIRST_PART
    acts: list[Outcome] = []

    async def play(count: int, guarding: Guarding, **more: Any) -> Outcome:
        plan = Plan(orders=count, seed=seed, guarding=guarding, **({"kills": 0} | how | more))
        acts.append(await _show(console, plan))
        return acts[-1]

    failures = []
    if act != "two":
        first = await play(part, "nothing")
        if first.findings.clean:
            failures.append("act one shows no damage: this run proves nothing, play more orders")
    if control == "blog":
        await play(part, "blog")
    if act != "one":
        second = await play(orders, "lockservice" if locking else "nothing", kills=kills, server=server)
        if not second.findings.clean:
            failures.append("act two lost or duplicated something")
    console.print(table(acts))
    for failure in failures:
        console.print(f"[red]{failure}")
    return 1 if failures else 0


async def _show(console: Console, plan: Plan) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{plan.orders:,} orders {TITLES[plan.guarding]}", total=None)

        def tell(settled: int, expected: int) -> None:
            progress.update(task, completed=settled, total=expected)

        return await Sale(plan, tell).play()
