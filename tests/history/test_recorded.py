"""Histories recorded from real servers: a careless lock is caught, and the service is not accused."""

import asyncio
import random
from dataclasses import replace

from harness import checkers
from harness.history import Recorder
from harness.recording import Recorded
from harness.redis_server import RedisServer
from harness.service import Service

RESOURCE = "order:1001"


async def test_plain_incr_locks_are_caught_over_a_rollback() -> None:
    """The broken service that these judges are for: SET NX and INCR on a Redis that lost a second of writes."""
    recorder = Recorder()
    server = RedisServer("valkey")

    def work(shift: str, count: int) -> None:
        with server.connect() as connection:
            for number in range(count):
                owner = f"{shift}{number}"
                begun = recorder.begin("acquire", RESOURCE, owner, ttl_ms=60_000)
                assert connection.set("lock", number, nx=True, px=60_000)
                token = int(connection.incr("token"))
                begun.end("granted", token)
                begun = recorder.begin("release", RESOURCE, owner, token=token)
                connection.delete("lock")
                begun.end("released")

    try:
        work("morning", 20)
        with server.connect() as connection:
            saved = connection.get("token")
        work("noon", 10)
        begun = recorder.begin("acquire", RESOURCE, "holder", ttl_ms=60_000)
        with server.connect() as connection:
            begun.end("granted", int(connection.incr("token")))
            connection.flushall()
            connection.set("token", saved)
        work("evening", 5)
    finally:
        server.remove()

    history = recorder.history()
    assert len(checkers.repeated_tokens(history)) == 5
    assert len(checkers.falling_tokens(history)) == 5
    assert len(checkers.overlapping_holders(history)) == 5


async def test_a_real_service_is_not_accused(service: Service, other: Service) -> None:
    """Forty callers at two replicas, who wait, renew, release, run out and give up: no judge finds anything."""
    recorder = Recorder()
    replicas = [Recorded(service, recorder), Recorded(other, recorder)]
    random.seed(1)

    async def caller(number: int) -> None:
        owner, at = f"w{number}", replicas[number % 2]
        for turn in range(10):
            await at.dedupe(f"event:{turn}", owner)
            resource = f"order:{random.randrange(4)}"
            lease = await at.acquire(resource, owner, ttl=random.choice([0.1, 5]), wait=random.choice([0, 0.05, 2]))
            if lease is None:
                continue
            if random.random() < 0.3:
                await at.renew(lease, owner, ttl=5)
            if random.random() < 0.9:
                await at.release(lease, owner)
            else:
                await asyncio.sleep(0.1)
                await at.release(lease, owner)

    await asyncio.gather(*(caller(number) for number in range(40)))

    history = recorder.history()
    assert [words for judge in checkers.ALL for words in judge(history)] == []
    assert checkers.too_little_traffic(history, operations_min=800, per_second_min=50) == []


async def test_the_order_of_a_real_queue_is_not_accused(service: Service, other: Service) -> None:
    """Thirty waiters who queue one after another are granted in that order; a swapped record is caught."""
    recorder = Recorder()
    replicas = [Recorded(service, recorder), Recorded(other, recorder)]
    lease = await replicas[0].acquire(RESOURCE, "holder")
    waiting = []
    for number in range(30):
        begun, task = replicas[number % 2].waiting(RESOURCE, f"w{number}")
        await service.queued(number + 1)
        begun.queued()
        waiting.append(task)

    await replicas[0].release(lease, "holder")
    for number, task in enumerate(waiting):
        await replicas[0].release(await task, f"w{number}")

    history = recorder.history()
    assert [words for judge in checkers.ALL for words in judge(history)] == []
    assert sum(operation.queued_ns is not None for operation in history) == 30
    third, seventh = history[3], history[7]
    history[3], history[7] = replace(third, token=seventh.token), replace(seventh, token=third.token)
    assert checkers.overtaken_waiters(history)
