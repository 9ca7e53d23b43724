"""Ten thousand calls that wait in one replica, begun at once on one connection."""

import asyncio

from harness.service import Service, until
from lockservice.v1 import lockservice_pb2 as pb


async def test_ten_thousand_wait_in_one_replica(service: Service) -> None:
    """All of them wait, none is turned away, and every one is answered when its wait is over or its turn comes."""
    replica = service.server._replica
    assert replica is not None
    leases = [await service.grant(f"order:{n}", ttl=60) for n in range(100)]
    waiters = [service.waiting(f"order:{n % 100}", f"w{n}", wait=60) for n in range(10_000)]
    await until(lambda: replica.waiting == 10_000, "10,000 wait", within=50)

    await asyncio.gather(*(service.release(lease) for lease in leases))
    done: set[asyncio.Task[object]] = set()

    async def hundred() -> bool:
        done.update(task for task in waiters if task.done())
        return len(done) == 100

    await until(hundred, "a hundred are granted", within=20)
    assert {task.result().outcome for task in done} == {pb.ACQUIRE_OUTCOME_GRANTED}  # type: ignore[attr-defined]
    for task in waiters:
        task.cancel()
    await until(lambda: replica.waiting == 0, "nobody waits", within=30)
    await replica._room.cleaned()
