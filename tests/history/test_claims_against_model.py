"""Random histories of one event key on a real Redis and two replicas, judged by a model of six lines a verb."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry

from harness.redis_server import RedisServer
from lockservice.audit import Audit
from lockservice.guarantee import Guarantees
from lockservice.lease import Claim, DedupeAsk
from lockservice.metrics import Metrics
from lockservice.quotas import Quotas
from lockservice.replica import Replica

KEY = "shopify:webhook:1"
prints = st.sampled_from([b"", b"one", b"two"])


class ClaimHistory(RuleBasedStateMachine):
    """The model: nobody, or who has the claim and with which fingerprint, or the result that was left."""

    server: RedisServer
    forgets_owner = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.numbers = itertools.count()
        self.state = "free"
        self.fingerprint = b""
        self.claim_id = ""
        self.request = ""
        self.result = b""
        self.lost: list[str] = []
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

    def claim(self, replica: int, request: str, fingerprint: bytes) -> Claim:
        ask = DedupeAsk("", KEY, 86_400_000, 60_000, "worker", request, fingerprint, 0)
        answer: Claim = self.run(self.replicas[replica].dedupe.claim(ask))
        return answer

    @rule(replica=st.integers(0, 1), fingerprint=prints)
    def ask(self, replica: int, fingerprint: bytes) -> None:
        """A caller claims the key."""
        request = f"r{next(self.numbers)}"
        answer = self.claim(replica, request, fingerprint)
        if self.state == "free":
            assert answer.word == "first"
            self.state, self.claim_id, self.request = "claimed", answer.claim_id, request
            self.fingerprint, self.result = fingerprint, b""
        elif fingerprint and self.fingerprint and fingerprint != self.fingerprint:
            assert answer.word == "mismatch"
        elif self.state == "claimed":
            assert answer.word == "in_progress"
        else:
            assert (answer.word, answer.result) == ("duplicate", self.result)

    @precondition(lambda self: self.state == "claimed")
    @rule(replica=st.integers(0, 1))
    def repeat_after_a_lost_reply(self, replica: int) -> None:
        """The claimer's request again stays FIRST, with the same claim."""
        answer = self.claim(replica, self.request, self.fingerprint)
        assert (answer.word, answer.claim_id) == ("first", self.claim_id)

    @precondition(lambda self: self.state == "claimed")
    @rule(replica=st.integers(0, 1))
    def renew(self, replica: int) -> None:
        """The claimer renews."""
        assert self.run(self.replicas[replica].dedupe.renew("", KEY, self.claim_id, None)) == 60_000

    @precondition(lambda self: self.state == "claimed")
    @rule(replica=st.integers(0, 1), done=st.booleans(), result=st.sampled_from([b"", b"made 7"]))
    def settle(self, replica: int, *, done: bool, result: bytes) -> None:
        """The claimer settles, and does so again."""
        for _ in range(2):
            dedupe = self.replicas[replica].dedupe
            assert self.run(dedupe.settle("", KEY, self.claim_id, done=done, result=result))
        self.state, self.result = ("done", result) if done else ("free", b"")

    @precondition(lambda self: self.state == "claimed")
    @rule()
    def run_out(self) -> None:
        """The claim runs out; its end is moved to the past, since nobody can wait for it here."""
        with self.server.connect() as connection:
            (key,) = list(connection.scan_iter("ls:*:claim:*"))
            connection.hset(key, "until", 1)
        self.lost.append(self.claim_id)
        self.state = "free"

    @precondition(lambda self: self.lost)
    @rule(replica=st.integers(0, 1), done=st.booleans(), pick=st.integers(0, 9))
    def settle_too_late(self, replica: int, *, done: bool, pick: int) -> None:
        """Whoever lost its claim changes nothing."""
        late = self.claim_id if self.forgets_owner else self.lost[pick % len(self.lost)]
        assert not self.run(self.replicas[replica].dedupe.settle("", KEY, late, done=done, result=b"late"))
        assert self.run(self.replicas[replica].dedupe.renew("", KEY, late, None)) is None

    def teardown(self) -> None:
        """Ends all."""
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
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(120)
def test_random_claims_match_the_model(server: RedisServer) -> None:
    """Every answer is as the model says."""

    class Fair(ClaimHistory):
        pass

    Fair.server = server
    run_state_machine_as_test(Fair, settings=CHECKS)


@pytest.mark.timeout(120)
def test_the_model_catches_settles_that_do_not_know_their_owner(server: RedisServer) -> None:
    """The broken variant: a late settle that speaks for whoever holds the claim now."""

    class Ownerless(ClaimHistory):
        forgets_owner = True

    Ownerless.server = server
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Ownerless, settings=CHECKS)
