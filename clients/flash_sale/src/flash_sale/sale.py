"""One act: a sale from its first event to the audit of its books."""

import asyncio
import itertools
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import orjson

from flash_sale import processes, service_metrics
from flash_sale.audit import Books, Findings, audit
from flash_sale.blog import BlogReceiver
from flash_sale.deliveries import deliver
from flash_sale.guards import Guarding
from flash_sale.names import GROUP, OUTCOMES, OUTSIDE, STREAM
from flash_sale.orders import count_events, generate
from flash_sale.publisher import Publisher
from flash_sale.store import Store

_LOOK_S: Final = 0.25
# Longer than the slowest recovery by far: then something is broken.
_STALLED_S: Final = 60.0
_READ_AT_ONCE: Final = 1_000


@dataclass(frozen=True)
class Plan:
    """What is played.

    Attributes:
        orders: how many.
        seed: decides everything about them and their deliveries.
        guarding: what stands between the events of one order.
        pace: seconds of the sale in one second.
        workers: processes.
        slots: events that each of them works on at once.
        kills: how often one of them is killed and replaced.
        server: HOST:PORT of a lockservice that runs already; None: one is started.
        ops: HOST:PORT of its ops port, if it is known.
    """

    orders: int
    seed: int
    guarding: Guarding
    pace: float
    workers: int
    slots: int
    kills: int
    server: str | None = None
    ops: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        outcomes: how many deliveries came to which end, and how often what else happened.
        in_flight: the most deliveries that were with workers at one moment.
        lock_s: p50 and p99 of the calls for a lease that was free, as the service sees them; None: unknown.
        handoff_s: p99 from a release to the answer of the next waiter; None: unknown.
        seconds: from the first process to the last settled event.
    """

    plan: Plan
    events: int
    deliveries: int
    outcomes: Counter[str]
    in_flight: int
    lock_s: tuple[float | None, float | None]
    handoff_s: float | None
    seconds: float
    findings: Findings


class Sale:
    """Plays a plan.

    Args:
        plan: what to play.
        tell: is called with (settled, expected) deliveries again and again.
    """

    def __init__(self, plan: Plan, tell: Callable[[int, int], None]) -> None:
        self._plan = plan
        self._tell = tell
        # A shop of its own: what lockservice remembers of the shop of an earlier sale is no business of this one.
        self._shop = f"flash-sale-{secrets.token_hex(4)}.myshopify.com"
        self._names = (f"worker-{number}" for number in itertools.count(1))
        self._workers: list[processes.Process] = []
        self._killed = 0
        self._in_flight = 0
        self._leave = AsyncExitStack()

    async def play(self) -> Outcome:
        """Plays it and audits the books."""
        began = time.monotonic()
        async with self._leave:
            directory = Path(self._leave.enter_context(tempfile.TemporaryDirectory(prefix="flash-sale-")))
            redis, self._url = processes.start_redis(directory)
            self._leave.push_async_callback(processes.stop, redis)
            self._store = Store(self._url)
            self._leave.push_async_callback(self._store.close)
            await self._store.run("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
            self._server, ops = await self._reach_server(directory)
            before = await service_metrics.latencies(ops) if ops else None
            orders = generate(self._plan.orders, self._plan.seed)
            deliveries = deliver(orders, self._plan.seed)
            await self._run(deliveries)
            seconds = time.monotonic() - began
            after = await service_metrics.latencies(ops) if ops else None
            books = await self._books()
            return Outcome(
                plan=self._plan,
                events=count_events(orders),
                deliveries=len(deliveries),
                outcomes=await self._outcomes(),
                in_flight=self._in_flight,
                lock_s=(_part(before, after, "locks", 0.5), _part(before, after, "locks", 0.99)),
                handoff_s=_part(before, after, "handoffs", 0.99),
                seconds=seconds,
                findings=audit(orders, books, self._shop),
            )

    async def _reach_server(self, directory: Path) -> tuple[str | None, str | None]:
        if self._plan.guarding != "lockservice":
            return None, None
        if self._plan.server is not None:
            return self._plan.server, self._plan.ops
        process, server, ops = await processes.start_lockservice(directory)
        self._leave.push_async_callback(processes.stop, process)
        return server, ops

    async def _run(self, deliveries: list[Any]) -> None:
        receiver = BlogReceiver(self._store) if self._plan.guarding == "blog" else None
        publisher = Publisher(self._store, shop=self._shop, pace=self._plan.pace, receiver=receiver)
        self._leave.push_async_callback(self._stop_workers)
        for _ in range(self._plan.workers):
            self._start_worker()
        playing = asyncio.create_task(publisher.play(deliveries), name="publisher")
        try:
            await self._watch(publisher, playing, len(deliveries))
        finally:
            playing.cancel()
        await self._stop_workers()

    async def _watch(self, publisher: Publisher, playing: "asyncio.Task[None]", expected: int) -> None:
        """Returns when every delivery is settled; kills workers in the meantime."""
        last, settled_at = -1, time.monotonic()
        while True:
            everything = playing.done() and playing.result() is None
            length, pending = await asyncio.gather(
                self._store.run("XLEN", STREAM), self._store.run("XPENDING", STREAM, GROUP)
            )
            self._in_flight = max(self._in_flight, pending["pending"])
            publisher.backlog = length - pending["pending"]
            settled = publisher.published - length + publisher.turned_away
            self._tell(settled, expected)
            if everything and length == 0:
                return
            if settled != last:
                last, settled_at = settled, time.monotonic()
            if time.monotonic() > settled_at + _STALLED_S:
                raise click.ClickException(
                    f"nothing was settled for {_STALLED_S:.0f} s; {length} deliveries are open"
                )
            self._check_workers()
            if self._killed < self._plan.kills and settled * (self._plan.kills + 1) > expected * (self._killed + 1):
                self._kill_worker()
            await asyncio.sleep(_LOOK_S)

    def _start_worker(self) -> None:
        name = next(self._names)
        self._workers.append(
            processes.start_worker(self._url, self._plan.guarding, self._server, name=name, slots=self._plan.slots)
        )

    def _kill_worker(self) -> None:
        """Kills the oldest worker in the middle of its work, and starts another."""
        worker = self._workers.pop(0)
        worker.kill()
        worker.wait()
        self._killed += 1
        self._start_worker()

    def _check_workers(self) -> None:
        for worker in self._workers:
            if worker.poll() is not None:
                raise click.ClickException(f"a worker ended by itself with exit code {worker.returncode}")

    async def _stop_workers(self) -> None:
        await asyncio.gather(*(processes.stop(worker) for worker in self._workers))
        self._workers.clear()

    async def _outcomes(self) -> Counter[str]:
        pairs = await self._store.run("HGETALL", OUTCOMES)
        return Counter({name.decode(): int(count) for name, count in pairs.items()})

    async def _books(self) -> Books:
        outside = [tuple(orjson.loads(text)) for text in await self._store.run("LRANGE", OUTSIDE, 0, -1)]
        return Books(orders=await self._all("order:"), stock=await self._all("stock:"), outside=outside)

    async def _all(self, prefix: str) -> dict[str, Any]:
        keys = await self._store.run("KEYS", f"{prefix}*")
        found: dict[str, Any] = {}
        for start in range(0, len(keys), _READ_AT_ONCE):
            batch = keys[start : start + _READ_AT_ONCE]
            for key, text in zip(batch, await self._store.run("MGET", *batch), strict=True):
                found[key.decode().removeprefix(prefix)] = orjson.loads(text)
        return found


def _part(
    before: service_metrics.Latencies | None, after: service_metrics.Latencies | None, what: str, part: float
) -> float | None:
    if before is None or after is None:
        return None
    return service_metrics.quantile(getattr(before, what), getattr(after, what), part)
