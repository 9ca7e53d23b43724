"""What real services tell many callers can be put in an order that a fenced mutex could have had."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from harness.checkers import too_little_traffic
from harness.history import Operation, Recorder, folded
from harness.linearizability import checker, go, not_linearizable
from harness.recording import Recorded
from harness.service import Service

CALLERS, TURNS = 40, 15


def test_the_model_knows_right_from_wrong() -> None:
    """Its own tests: histories that are possible, and for every rule one that breaks it."""
    checker()

    for words in (("vet", "./..."), ("test", "-count=1", "./...")):
        done = go(*words)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
async def history(service: Service, other: Service) -> list[Operation]:
    """What callers at two replicas were told, who repeat requests, let leases run out and cancel calls."""
    recorder = Recorder()
    replicas = [Recorded(service, recorder), Recorded(other, recorder)]
    random.seed(2)

    async def caller(number: int) -> None:
        owner = f"w{number}"
        for turn in range(TURNS):
            at, resource = random.choice(replicas), f"order:{random.randrange(4)}"
            how: dict[str, Any] = {
                "ttl": random.choice([0.1, 5]),
                "wait": random.choice([0, 0.05, 1]),
                "request_id": f"{owner}-{turn}",
            }
            if random.random() < 0.2:
                how["deadline"] = random.uniform(0.001, 0.05)
            lease = await at.acquire(resource, owner, **how)
            if "deadline" in how:
                del how["deadline"]
                lease = await random.choice(replicas).acquire(resource, owner, **how)
            if lease is None:
                continue
            if random.random() < 0.3:
                await at.renew(lease, owner, ttl=5)
            if random.random() < 0.1:
                await asyncio.sleep(0.12)
            await random.choice(replicas).release(lease, owner)

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return recorder.history()


async def test_a_real_service_is_linearizable(history: list[Operation]) -> None:
    """No history of hundreds of calls needs an exception, and each of three small lies in it is found."""
    assert too_little_traffic(history, operations_min=CALLERS * TURNS, per_second_min=50) == []
    assert not_linearizable(history, exclusive=True) == []
    assert not_linearizable(history, exclusive=False) == []

    # A lie is told by a whole request: the first call of a repeated one may have begun before the victim's release.
    requests = folded(history)
    released = {call.token: call for call in requests if call.outcome == "released"}
    grants = [call for call in requests if call.outcome == "granted" and call.token in released]
    victim = grants[len(grants) // 2]
    later = next(
        call for call in grants if call.key == victim.key and call.started_ns > released[victim.token].ended_ns
    )
    for lie in (
        replace(later, token=victim.token),
        replace(later, token=(victim.token or 0) - 1),
        replace(later, token=victim.token, outcome="held"),
    ):
        told = [lie if call is later else call for call in requests]
        assert not_linearizable(told, exclusive=True), lie
