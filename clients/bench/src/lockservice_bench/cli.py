"""The benchmark's rounds, its table and its raw numbers."""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import click
import grpc
import uvloop
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from lockservice_bench import memory, peers, ping
from lockservice_bench.machine import on_core, pin, start_redis

CALLERS: Final = (1, 32, 128)
_UNITS: Final = {"empty": "empty grpc.aio handler", "unary": "lockservice, unary", "redis": "redis-py Lock"}
Round = dict[str, Any]


@click.command()
@click.option(
    "--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Of which medians are taken."
)
@click.option("--seconds", type=float, default=2.0, show_default=True, help="Of each measurement.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=Path("build/bench.json"), show_default=True)
def main(rounds: int, seconds: float, path: Path) -> None:
    """Measure what a call costs on this machine, beside what Python's gRPC and Redis cost by themselves."""
    pin(1)
    found = uvloop.run(_measure(rounds, seconds))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    _print(found)
    Console().print(f"raw numbers: {path}")


async def _measure(rounds: int, seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as leave:
        directory = Path(leave.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        empty_port, _ = _start(leave, "-m", "lockservice_bench.empty")
        socket = await start_redis(leave, directory)
        flags = ("--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--log-format", "json")
        ready, pid = _start(leave, "-m", "lockservice", "serve", *flags, "--shard", f"unix://{socket}")
        # Its default of 100 connections is less than the callers.
        redis = Redis(unix_socket_path=str(socket), max_connections=max(CALLERS) + 1)
        leave.push_async_callback(redis.aclose)
        empty = grpc.aio.insecure_channel(f"127.0.0.1:{empty_port}")
        channel = grpc.aio.insecure_channel(json.loads(ready)["grpc"])
        for opened in (empty, channel):
            leave.push_async_callback(opened.close)
        work = {"empty": peers.empty(empty), "unary": peers.unary(channel), "redis": peers.redis_lock(redis)}
        measured: list[Round] = []
        for callers in CALLERS:
            for number in range(-1, rounds):
                for name, unit in work.items():
                    taken = await _round(unit, callers, seconds if number >= 0 else seconds / 4)
                    if number >= 0:  # the first only warms up
                        measured.append({"peer": name, "callers": callers, **taken})
        found = {"rounds": measured, "redis_ping_p50_ms": await ping.measure(on_core(0), str(socket))}
        found["memory"] = await memory.remembered(channel, [redis]) | await memory.waiting(channel, pid)
        return found


def _start(leave: AsyncExitStack, *words: str) -> tuple[str, int]:
    """Starts a process and returns the first line that it says when it is ready."""
    process = subprocess.Popen(
        [*on_core(0), sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    leave.callback(_stop, process)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdecimal() or '"event": "ready"' in line:
            return line.strip(), process.pid
    raise click.ClickException(f"{words} did not start")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate()


async def _round(unit: peers.Work, callers: int, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        while time.perf_counter() < until:
            latencies.append(await unit(number))

    started = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    taken = time.perf_counter() - started
    return {"operations_s": 2 * len(latencies) / taken, "p50_ms": statistics.median(latencies) * 1e3}


def _median(found: dict[str, Any], peer: str, callers: int, what: str) -> float:
    rounds: list[float] = [r[what] for r in found["rounds"] if (r["peer"], r["callers"]) == (peer, callers)]
    return float(statistics.median(rounds))


def _print(found: dict[str, Any]) -> None:
    table = Table("", *(f"{callers} callers" for callers in CALLERS), title="Operations/s, p50 of the first call")
    for peer, title in _UNITS.items():
        cells = [
            f"{_median(found, peer, count, 'operations_s'):,.0f}/s  {_median(found, peer, count, 'p50_ms'):.2f} ms"
            for count in CALLERS
        ]
        table.add_row(title, *cells)
    ratios = [
        f"{_median(found, 'unary', c, 'operations_s') / _median(found, 'empty', c, 'operations_s'):.2f} x"
        for c in CALLERS
    ]
    table.add_row("unary against empty", *ratios)
    console = Console()
    console.print(table)
    added = _median(found, "unary", 1, "p50_ms") - _median(found, "empty", 1, "p50_ms")
    trip = found["redis_ping_p50_ms"]
    console.print(
        f"added p50 of an Acquire: {added:.2f} ms = {added / trip:.1f} round trips to Redis of {trip:.2f} ms"
    )
    for name, value in found["memory"].items():
        console.print(f"{name}: {value:,.1f}")
