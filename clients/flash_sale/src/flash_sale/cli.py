"""The command `python -m flash_sale`."""

import sys
from typing import Any, Final

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flash_sale import languages as offered
from flash_sale.guards import Guarding
from flash_sale.languages import Language
from flash_sale.report import TITLES, table
from flash_sale.sale import Outcome, Plan, Sale

_ORDERS: Final = 15_000
# The sale that went wrong was a third of the one that went well.
_FIRST_PART: Final = 3
_KILLS: Final = 3
_WORKERS_MIN: Final = 2


@click.command(context_settings={"max_content_width": 110, "show_default": True})
@click.option(
    "--orders", type=click.IntRange(min=3), default=_ORDERS, help="In act two; act one has a third of them."
)
@click.option("--seed", type=int, default=1, help="Decides the orders, their events and how these arrive.")
@click.option("--act", type=click.Choice(("one", "two", "both")), default="both", help="Without, with, or both.")
@click.option("--control", type=click.Choice(("none", "blog")), default="none", help="Play a control group as well.")
@click.option("--server", default=None, help="HOST:PORT of a lockservice that runs; else one is started.")
@click.option("--ops", default=None, help="HOST:PORT of its ops port, for the hand-off's time.")
@click.option("--pace", type=click.FloatRange(min=1), default=100.0, help="Seconds of the sale in one second.")
@click.option("--languages", default="all", help="Of the workers, such as python,go; all: whose toolchain is here.")
@click.option("--workers", type=click.IntRange(1, 16), help="Processes; at least 2, and one for each language.")
@click.option("--slots", type=click.IntRange(1, 5_000), default=800, help="Events that all work on at once.")
@click.option("--kills", type=click.IntRange(0, 20), default=_KILLS, help="How often a worker is killed in act two.")
@click.option("--outage", type=click.FloatRange(min=0), default=0.0, help="Seconds lockservice is down in act two.")
@click.option("--locking/--no-locking", default=True, help="Without it act two must fail: a check of the audit.")
def main(**how: Any) -> None:
    """Replay a flash sale without and with lockservice, and audit the books.

    Ends with 0 only when act two lost and duplicated nothing, and act one shows that something could be.
    """
    sys.exit(uvloop.run(_play(**how)))


async def _play(
    *, orders: int, seed: int, act: str, control: str, locking: bool, kills: int, outage: float, server: str | None,
    languages: str, workers: int | None, slots: int, **how: Any,
) -> int:  # fmt: skip
    if outage and server is not None:
        raise click.UsageError("--outage ends a lockservice, and --server names one that is not the sale's own")
    console = Console()
    part = orders // _FIRST_PART
    acts: list[Outcome] = []
    spoken = _build(console, languages)
    count = workers or max(_WORKERS_MIN, len(spoken))
    how |= {"languages": spoken, "workers": count, "slots": -(-slots // count), "seed": seed}

    async def play(count: int, guarding: Guarding, **more: Any) -> Outcome:
        acts.append(await _show(console, Plan(orders=count, guarding=guarding, **({"kills": 0} | how | more))))
        return acts[-1]

    failures = []
    if act != "two":
        first = await play(part, "nothing")
        if first.findings.clean:
            failures.append("act one shows no damage: this run proves nothing, play more orders")
    if control == "blog":
        # The incident's patterns are played by the workers in Python.
        await play(part, "blog", languages=spoken[:1])
    if act != "one":
        guarding: Guarding = "lockservice" if locking else "nothing"
        second = await play(orders, guarding, kills=kills, outage=outage, server=server)
        if not second.findings.clean:
            failures.append("act two lost or duplicated something")
    console.print(table(acts))
    for failure in failures:
        console.print(f"[red]{failure}")
    return 1 if failures else 0


def _build(console: Console, languages: str) -> tuple[Language, ...]:
    """Builds the workers of the languages that take part, Python's first, and says which do."""
    known = offered.known()
    asked = known if languages == "all" else tuple(dict.fromkeys(("python", *languages.split(","))))
    built = []
    for name in asked:
        if name not in known:
            raise click.UsageError(f"there is no worker in {name}: there are {', '.join(known)}")
        program = offered.missing(name)
        if program and languages != "all":
            raise click.ClickException(f"the worker in {name} needs {program}, which is not installed")
        if program:
            console.print(f"{name} takes no part: {program} is not installed")
            continue
        with console.status(f"building the worker in {name}"):
            built.append(offered.build(name))
    console.print(f"workers in {', '.join(language.name for language in built)}")
    return tuple(built)


async def _show(console: Console, plan: Plan) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{plan.orders:,} orders {TITLES[plan.guarding]}", total=None)

        def tell(settled: int, expected: int) -> None:
            progress.update(task, completed=settled, total=expected)

        return await Sale(plan, tell).play()
