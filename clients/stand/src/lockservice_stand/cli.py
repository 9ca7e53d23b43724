"""The commands `python -m lockservice_stand`."""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

import click
from aiohttp import web
from rich.console import Console

from lockservice_stand import clients, figures, rolling, runner, tls
from lockservice_stand.clients import Plan
from lockservice_stand.control import Control

_LOGS: Final = clients.CLIENTS.parent / "build" / "clients"
_ROUNDS: Final = 3


@click.group()
def main() -> None:
    """Test the clients of every language."""


@main.command()
@click.argument("languages", nargs=-1)
@click.option("--directory", type=click.Path(path_type=Path), default=clients.CLIENTS, help="Where the clients are.")
def run(languages: tuple[str, ...], directory: Path) -> None:
    """Build, install and test clients; without names, all whose toolchain is here."""
    console = Console()
    promises = clients.promises(directory)
    plans = _chosen(console, languages, directory)
    with runner.stand() as address:
        all_ran = [runner.run(plan, promises, address, _LOGS / f"{plan.name}.log") for plan in plans]
    runner.report(console, all_ran, _LOGS)
    sys.exit(0 if all(ran.good for ran in all_ran) else 1)


@main.command()
@click.argument("languages", nargs=-1)
@click.option("--rounds", type=click.IntRange(1, 20), default=_ROUNDS, help="Of which the medians are shown.")
def bench(languages: tuple[str, ...], rounds: int) -> None:
    """Measure clients beside each other. They must have been built by `run`."""
    console = Console()
    plans = [plan for plan in _chosen(console, languages, clients.CLIENTS) if plan.bench]
    console.print(figures.table(figures.measure(console, plans, rounds)))


@main.command()
@click.argument("languages", nargs=-1)
@click.option("--drain-delay", default="5s", show_default=True, help="As the manifests ship it.")
def roll(languages: tuple[str, ...], drain_delay: str) -> None:
    """Restart three replicas one by one while clients call. They must have been built by `run`."""
    console = Console()
    plans = [plan for plan in _chosen(console, languages, clients.CLIENTS) if plan.steady]
    all_said = asyncio.run(rolling.roll(console, plans, drain_delay))
    console.print(rolling.table(all_said))
    sys.exit(0 if all(map(rolling.good, all_said)) else 1)


@main.command("tls")
@click.option("--rounds", type=click.IntRange(1, 50), default=7, help="Of which medians are taken.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, help="Of each measurement.")
def cost_of_tls(rounds: int, seconds: float) -> None:
    """Measure what TLS costs unary calls."""
    console = Console()
    medians = asyncio.run(tls.measure(console, rounds, seconds))
    clear = medians[""]
    for kind, what in (("", "in the clear"), ("server", "TLS"), ("mutual", "TLS with client certificates")):
        found = medians[kind]
        slower, dearer = 1 - found.operations_s / clear.operations_s, found.processor_us / clear.processor_us - 1
        verdict = "" if slower < tls.COST_MAX else f", NOT under {tls.COST_MAX:.0%}"
        console.print(
            f"{what}: {found.operations_s:,.0f} operations/s ({slower:.1%} less{verdict}), "
            f"{found.processor_us:.0f} µs of the replica's processor time each ({dearer:+.1%})"
        )


def _chosen(console: Console, languages: tuple[str, ...], directory: Path) -> list[Plan]:
    """Names and skips those whose toolchain is missing, but not in CI, which must have everything."""
    plans = {plan.name: plan for plan in clients.plans(directory)}
    unknown = set(languages) - set(plans)
    if unknown:
        raise click.UsageError(f"there is no client in {', '.join(unknown)}: there are {', '.join(plans)}")
    chosen = []
    for name in languages or plans:
        missing = plans[name].missing
        if missing and os.environ.get("CI") == "true":
            raise click.ClickException(f"{missing} is not installed, which {name} needs")
        if missing:
            console.print(f"skipped: {name}, since {missing} is not installed")
        else:
            chosen.append(plans[name])
    return chosen


@main.command()
def serve() -> None:
    """Serve the stand's API until standard input ends."""
    asyncio.run(_serve())


async def _serve() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    _watch_input(loop, told)
    control = Control()
    await control.start()
    runner = web.AppRunner(control.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    click.echo(f"stand http://127.0.0.1:{runner.addresses[0][1]}")
    await told.wait()
    await runner.cleanup()
    await control.stop()


def _watch_input(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    """Tells when standard input ends: whoever started the stand is gone then, however that came."""

    def read() -> None:
        while os.read(sys.stdin.fileno(), 1 << 10):
            pass
        loop.call_soon_threadsafe(told.set)

    threading.Thread(target=read, daemon=True, name="standard input").start()
