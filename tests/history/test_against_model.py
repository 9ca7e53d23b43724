"""Random histories on a real Redis, two replicas, lost replies and replicas that die, judged by the model."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry

from harness.redis_server import RedisServer
from history.model import Ask, Model
from lockservice.audit import Audit
from lockservice.guarantee import Guarantees
from lockservice.lease import AcquireAsk, Grant, Held
from lockservice.metrics import Metrics
from lockservice.quotas import Quotas
from lockservice.replica import Replica

RESOURCE = "order:1001"
versions = st.none() | st.integers(0, 5)
events = st.sampled_from(["", "", "e1", "e2", "e3"])
# Moves the end of a lease to the past.
_RUN_OUT = """
local state = cmsgpack.unpack(redis.call('GET', KEYS[1]))
state['until'] = '1'
redis.call('SET', KEYS[1], cmsgpack.pack(state), 'KEEPTTL')
redis.call('ZADD', KEYS[2], 1, ARGV[1])
"""


class History(RuleBasedStateMachine):
    """One resource, two replicas, and as many callers as come."""

    server: RedisServer
    broken = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.numbers = itertools.count()
        self.waiters: dict[Ask, asyncio.Task[Any]] = {}
        self.homes: dict[Ask, int] = {}
        self.lease = ""
        with self.server.connect() as connection:
            connection.flushall()
        self.replicas = [self.run(self.start()) for _ in range(2)]

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 10))

    async def start(self) -> Replica:
        replica = Replica(
            shards=[("s1", self.server.url)],
            guarantees=Guarantees({}, {}),
            hold_off_ms=30_000,
            redis_timeout_ms=1_000,
            version_retention_ms=86_400_000,
            waiters_per_resource=100,
            waiters_per_replica=100,
            metrics=Metrics(CollectorRegistry()),
            audit=Audit(),
            quotas=Quotas(None),
        )
        await replica.start()
        return replica

    def ask(self, version: int | None, event: str) -> Ask:
        number = next(self.numbers)
        return Ask(f"w{number}", f"r{number}", version, event)

    async def acquire(self, replica: int, ask: Ask, wait_ms: int) -> Any:
        asked = AcquireAsk(
            namespace="",
            resource=RESOURCE,
            owner=ask.owner,
            ttl_ms=60_000,
            wait_ms=wait_ms,
            request_id=ask.request_id,
            version=ask.version,
            after_version=None,
            allow_stale=False,
            event_id=ask.event_id,
            retention_ms=86_400_000,
        )
        return await self.replicas[replica].locks.acquire(asked)

    def heard(self, answer: Any, word: str) -> None:
        """Compares an answer with the model's, and the token with all before."""
        if word in {"granted", "again"}:
            assert isinstance(answer, Grant), (answer, word)
            if word == "granted":
                assert answer.token > self.model.token
            else:
                assert answer.lease_id == self.lease
            self.model.token, self.lease = answer.token, answer.lease_id
        elif word == "held":
            assert isinstance(answer, Held), (answer, word)
        else:
            assert getattr(answer, "word", "") == word, (answer, word)

    def told(self, answers: dict[Ask, str]) -> None:
        """Waits until those waiters are answered whom the model says, and nobody else."""
        for ask, word in answers.items():
            self.heard(self.run(self.waiters.pop(ask)), word)
        self.run(asyncio.sleep(0))
        assert not [ask for ask, task in self.waiters.items() if task.done()]

    @rule(replica=st.integers(0, 1), version=versions, event=events)
    def attempt(self, replica: int, version: int | None, event: str) -> None:
        """A call that does not wait."""
        ask = self.ask(version, event)
        word = self.model.attempt(ask)
        self.heard(self.run(self.acquire(replica, ask, 0)), word)

    @precondition(lambda self: self.model.holder is not None)
    @rule(replica=st.integers(0, 1))
    def repeat_after_a_lost_reply(self, replica: int) -> None:
        """The holder's request again, at either replica."""
        ask = self.model.holder
        assert ask is not None
        self.heard(self.run(self.acquire(replica, ask, 0)), self.model.attempt(ask))

    @precondition(lambda self: len(self.waiters) < 6)
    @rule(replica=st.integers(0, 1), version=versions, event=events)
    def wait(self, replica: int, version: int | None, event: str) -> None:
        """A call that waits."""
        ask = self.ask(version, event)
        word = self.model.wait(ask)
        task = self.loop.create_task(self.acquire(replica, ask, 60_000))
        if word != "waiting":
            self.heard(self.run(task), word)
            return
        self.waiters[ask] = task
        self.homes[ask] = replica
        self.run(self.queued(len(self.waiters)))

    async def queued(self, count: int) -> None:
        while (await self.replicas[0].inspection.inspect("", RESOURCE))[0].queue_length != count:
            await asyncio.sleep(0.001)

    @precondition(lambda self: self.model.holder is not None)
    @rule(replica=st.integers(0, 1), done=st.booleans())
    def release(self, replica: int, *, done: bool) -> None:
        """The holder releases, and does so again."""
        lease = self.lease
        for _ in range(2):
            locks = self.replicas[replica].locks
            released = self.run(locks.release("", RESOURCE, lease, done=done and self.broken != "forgets", hold_ms=0))
            assert released
        self.told(self.model.end(done=done))

    @precondition(lambda self: self.model.holder is not None)
    @rule()
    def expire(self) -> None:
        """The lease runs out; its end is moved to the past, since nobody can wait for it here."""
        with self.server.connect() as connection:
            (key,) = list(connection.scan_iter("ls:*:lease:*"))
            connection.eval(_RUN_OUT, 2, key, key.split("lease:")[0] + "leases", RESOURCE)
        lease = self.lease
        assert self.run(self.replicas[0].locks.renew("", RESOURCE, lease, None)) is None
        self.told(self.model.end(done=False))

    @precondition(lambda self: self.model.holder is not None)
    @rule(replica=st.integers(0, 1))
    def renew(self, replica: int) -> None:
        """The holder renews."""
        assert self.run(self.replicas[replica].locks.renew("", RESOURCE, self.lease, None)) == 60_000

    @precondition(lambda self: self.waiters)
    @rule(pick=st.integers(0, 5))
    def cancel(self, pick: int) -> None:
        """A waiter goes."""
        ask = list(self.waiters)[pick % len(self.waiters)]
        task = self.waiters.pop(ask)
        task.cancel()
        self.run(asyncio.wait([task]))
        self.model.queue.remove(ask)
        self.run(self.queued(len(self.waiters)))

    @rule(replica=st.integers(0, 1))
    def die(self, replica: int) -> None:
        """A replica is gone at once, and its waiting callers come back at a new one: they keep their places."""
        asks = [ask for ask in self.waiters if self.homes[ask] == replica]
        dead = self.replicas[replica]
        node = dead.shard_map.shards[0].topology.by_bucket[0]
        node._task.cancel()  # type: ignore[union-attr]  # it runs
        node._pipeline.close("dead")  # type: ignore[union-attr]  # it is connected
        tasks = [self.waiters[ask] for ask in asks]
        for task in tasks:
            task.cancel()
        if tasks:
            self.run(asyncio.wait(tasks))
        for cleaning in list(dead._room._cleaning):
            cleaning.cancel()
        self.run(dead.stop())
        self.replicas[replica] = self.run(self.start())
        for ask in asks:
            self.waiters[ask] = self.loop.create_task(self.acquire(replica, ask, 60_000))
        for ask in asks:
            word = self.model.come_back(ask)
            if word == "waiting":
                self.run(self.attached(ask, replica))
            else:
                self.heard(self.run(self.waiters.pop(ask)), word)

    async def attached(self, ask: Ask, replica: int) -> None:
        room = self.replicas[replica]._room
        while room.waiting < sum(1 for waiter in self.model.queue if self.homes[waiter] == replica):
            assert not self.waiters[ask].done(), self.waiters[ask]
            await asyncio.sleep(0.001)

    @invariant()
    def the_queue_is_in_order(self) -> None:
        """Redis has the waiters that the model has, in its order."""
        _, waiters = self.run(self.replicas[0].inspection.inspect("", RESOURCE))
        expected = sorted(self.model.queue, key=lambda ask: -1 if ask.version is None else ask.version)
        assert [waiter.owner for waiter in waiters] == [ask.owner for ask in expected]

    def teardown(self) -> None:
        """Ends all."""
        for task in self.waiters.values():
            task.cancel()
        if self.waiters:
            self.run(asyncio.wait(self.waiters.values()))
        for replica in self.replicas:
            self.run(replica.stop())
        self.loop.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis of its own."""
    made = RedisServer()
    yield made
    made.remove()


CHECKS = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(240)
def test_random_histories_match_the_model(server: RedisServer) -> None:
    """Every answer, every token and the order of the queue are as the model says."""

    class Fair(History):
        pass

    Fair.server = server
    run_state_machine_as_test(Fair, settings=CHECKS)


@pytest.mark.timeout(240)
def test_the_model_catches_a_service_that_forgets_what_was_done(server: RedisServer) -> None:
    """The broken variant: releases that record nothing, as a lock without events does."""

    class Forgetful(History):
        broken = "forgets"

    Forgetful.server = server
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Forgetful, settings=settings(CHECKS, report_multiple_bugs=False))
