"""One act: a sale from its first event to the audit of its books."""

import asyncio
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

from flash_sale import garbage, processes
from flash_sale.audit import Books, Findings, audit
from flash_sale.crew import Crew, Place
from flash_sale.deliveries import Delivery, deliver
from flash_sale.guards import Guarding
from flash_sale.languages import Language
from flash_sale.names import GROUP, OUTCOMES, OUTSIDE, SHARES, STREAM
from flash_sale.orders import count_events, generate
from flash_sale.sender import Sender
from flash_sale.service import Latencies, Service
from flash_sale.store import Store

_LOOK_S: Final = 0.25
# Longer than the slowest recovery by far: then something is broken.
_STALLED_S: Final = 60.0
_OUTAGE_AT: Final = 1 / 3
_READ_AT_ONCE: Final = 1_000


@dataclass(frozen=True)
class Plan:
    """What is played.

    Attributes:
        orders: how many.
        seed: decides everything about them and their deliveries.
        guarding: what stands between the events of one order.
        pace: seconds of the sale in one second.
        languages: of the workers.
        workers: processes.
        slots: events that each of them works on at once.
        kills: how often one of them is killed and replaced.
        outage: seconds for which lockservice is down in the middle of it.
        server: HOST:PORT of a lockservice that runs already; None: one is started.
        ops: HOST:PORT of its ops port, if it is known.
    """

    orders: int
    seed: int
    guarding: Guarding
    pace: float
    languages: tuple[Language, ...]
    workers: int
    slots: int
    kills: int
    outage: float = 0.0
    server: str | None = None
    ops: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        outcomes: how many deliveries came to which end, and how often what else happened.
        shares: how many deliveries the workers of each language settled.
        in_flight: the most deliveries that were with workers at one moment.
        taken_over: deliveries that a killed worker had, and others brought to their end.
        forged: webhooks with a wrong signature, all refused.
        answer_s: the longest that the shop waited for the receiver's answer.
        latencies: of the service.
        seconds: from the first process to the last settled event.
    """

    plan: Plan
    events: int
    deliveries: int
    outcomes: Counter[str]
    shares: Counter[str]
    in_flight: int
    taken_over: int
    forged: int
    answer_s: float
    latencies: Latencies
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
        self._killed = 0
        self._taken_over = 0
        self._in_flight = 0
        self._outage: asyncio.Task[None] | None = None
        self._leave = AsyncExitStack()

    async def play(self) -> Outcome:
        """Plays it and audits the books."""
        began = time.monotonic()
        async with self._leave:
            orders = generate(self._plan.orders, self._plan.seed)
            deliveries = deliver(orders, self._plan.seed)
            garbage.collect_seldom()
            await self._set_up()
            await self._run(deliveries)
            seconds = time.monotonic() - began
            shares = await self._counts(SHARES)
            return Outcome(
                plan=self._plan,
                events=count_events(orders),
                deliveries=len(deliveries),
                outcomes=await self._counts(OUTCOMES),
                shares=sum((Counter({name.rpartition("-")[0]: n}) for name, n in shares.items()), Counter()),
                in_flight=self._in_flight,
                taken_over=self._taken_over,
                forged=self._sender.forged,
                answer_s=self._sender.slowest_s,
                latencies=await self._service.latencies(),
                seconds=seconds,
                findings=audit(orders, await self._books(), self._shop),
            )

    async def _set_up(self) -> None:
        plan, leave = self._plan, self._leave
        directory = Path(leave.enter_context(tempfile.TemporaryDirectory(prefix="flash-sale-")))
        redis, url, address = processes.start_redis(directory)
        leave.push_async_callback(processes.stop, redis)
        self._store = Store(url)
        leave.push_async_callback(self._store.close)
        await self._store.run("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
        self._service = Service(directory, plan.server, plan.ops)
        leave.push_async_callback(self._service.stop)
        guarded = plan.guarding == "lockservice"
        if guarded:
            await self._service.start()
        receiver, webhooks = await processes.start_receiver(url, blog=plan.guarding == "blog")
        leave.push_async_callback(processes.stop, receiver)
        self._sender = Sender(webhooks, self._store, shop=self._shop, pace=plan.pace)
        server = self._service.address if guarded else None
        self._crew = Crew(plan.languages, Place(url, address, plan.guarding, server, plan.slots))
        leave.push_async_callback(self._crew.stop)

    async def _run(self, deliveries: list[Delivery]) -> None:
        self._crew.start(self._plan.workers)
        playing = asyncio.create_task(self._sender.play(deliveries), name="shop")
        try:
            await self._watch(playing, len(deliveries))
        finally:
            playing.cancel()
        await self._crew.stop()

    async def _watch(self, playing: "asyncio.Task[None]", expected: int) -> None:
        """Returns when every delivery is settled; disturbs the workers in the meantime."""
        last, settled_at = -1, time.monotonic()
        while True:
            everything = playing.done() and playing.result() is None
            length, pending = await asyncio.gather(
                self._store.run("XLEN", STREAM), self._store.run("XPENDING", STREAM, GROUP)
            )
            self._in_flight = max(self._in_flight, pending["pending"])
            self._sender.backlog = length - pending["pending"]
            settled = self._sender.accepted - length
            self._tell(settled, expected)
            if everything and length == 0:
                return
            if settled != last or self._service.down:
                last, settled_at = settled, time.monotonic()
            if time.monotonic() > settled_at + _STALLED_S:
                raise click.ClickException(
                    f"nothing was settled for {_STALLED_S:.0f} s; {length} deliveries are open"
                )
            self._crew.check()
            await self._disturb(settled, expected)
            await asyncio.sleep(_LOOK_S)

    async def _disturb(self, settled: int, expected: int) -> None:
        """Kills a worker at equal distances; takes lockservice down at a third."""
        if self._killed < self._plan.kills and settled * (self._plan.kills + 1) > expected * (self._killed + 1):
            name = self._crew.kill()
            self._killed += 1
            pending = await self._store.run("XPENDING", STREAM, GROUP)
            self._taken_over += sum(who["pending"] for who in pending["consumers"] if who["name"] == name.encode())
        if self._plan.outage and self._outage is None and settled > expected * _OUTAGE_AT:
            # The shop does not know of it, and goes on sending.
            self._sender.patient = False
            self._outage = asyncio.create_task(self._service.outage(self._plan.outage), name="outage")
        if self._outage is not None and self._outage.done():
            self._outage.result()
            self._sender.patient = True

    async def _counts(self, key: str) -> Counter[str]:
        pairs = await self._store.run("HGETALL", key)
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
