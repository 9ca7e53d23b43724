"""A rolling restart under load: each replica drains, ends and comes back, while clients of every language call."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from lockservice_stand.certificates import Certificates
from lockservice_stand.clients import Plan
from lockservice_stand.names import Names
from lockservice_stand.service import Service

REPLICAS: Final = 3
CALLS_S: Final = 500.0
# Of the calls that were due; a program that stood still has no failed calls either.
SHARE_MIN: Final = 0.9
_NAME: Final = "rolling.stand.test"
_WARM_S: Final = 3.0
_BETWEEN_S: Final = 2.0
_END_S: Final = 90.0

Said = dict[str, Any]


async def roll(console: Console, plans: Sequence[Plan], drain_delay: str) -> list[Said]:
    """Restarts each of three replicas once while every client calls, and returns what the clients say.

    Args:
        console: where progress is shown.
        plans: the clients; they share 500 calls a second.
        drain_delay: how long a replica serves on when it is told to end, as the service takes it.
    """
    with tempfile.TemporaryDirectory(prefix="lockservice-rolling-") as directory:
        path = Path(directory)
        flags = ("--drain-delay", drain_delay)
        service = Service(path, replicas=REPLICAS, tls="", certificates=Certificates(path), flags=flags)
        names = Names(path / "hosts")
        await names.start()
        # A replica that is away keeps its address: what DNS says lags behind.
        names.give(_NAME, service.hosts)
        try:
            await asyncio.to_thread(service.start)
            return await _under_load(console, plans, service, names)
        finally:
            names.stop()
            await asyncio.to_thread(service.stop)


async def _under_load(console: Console, plans: Sequence[Plan], service: Service, names: Names) -> list[Said]:
    target = f"dns://127.0.0.1:{names.port}/{_NAME}:{service.port}"
    calls_s = CALLS_S / len(plans)
    programs = [await _begin(plan, target, names, calls_s) for plan in plans]
    began = time.monotonic()
    await asyncio.sleep(_WARM_S)
    for replica in service.replicas:
        console.print(f"{replica.address} restarts")
        await asyncio.to_thread(replica.stop)
        await asyncio.to_thread(replica.start)
        await asyncio.sleep(_BETWEEN_S)
    due = calls_s * (time.monotonic() - began)
    return [{**await _end(program, plan), "due": due} for program, plan in zip(programs, plans, strict=True)]


async def _begin(plan: Plan, target: str, names: Names, calls_s: float) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "LOCKSERVICE_ADDR": target,
        "LOCKSERVICE_CALLS_S": str(calls_s),
        "LOCKSERVICE_HOSTS": str(names.hosts),
        "LOCKSERVICE_PYTHON": sys.executable,
    }
    return await asyncio.create_subprocess_exec(
        shutil.which("bash") or "sh", "-c", f"exec {plan.steady}", cwd=plan.directory, env=environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _end(program: asyncio.subprocess.Process, plan: Plan) -> Said:
    out, _ = await asyncio.wait_for(program.communicate(b""), _END_S)
    if program.returncode != 0:
        raise RuntimeError(f"the steady calls of {plan.name} ended with {program.returncode}")
    said: Said = json.loads(out.splitlines()[-1])
    return said


def good(said: Said) -> bool:
    """Says whether a client made its calls, and none failed."""
    return bool(said["failed"] == 0 and said["calls"] >= SHARE_MIN * said["due"])


def table(all_said: Sequence[Said]) -> Table:
    """Sets side by side what the clients say."""
    made = Table("client", "calls", "due", "failed", "slowest, ms", "errors", title="Rolling restart")
    for said in all_said:
        cells = (f"{said['calls']:,}", f"{said['due']:,.0f}", str(said["failed"]), f"{said['slowest_ms']:,.0f}")
        made.add_row(said["client"], *cells, "; ".join(said["errors"]))
    return made
