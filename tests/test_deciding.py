"""The tests that decide between systems, T1 to T14: each beside the broken variant that it catches.

A scenario is a function of the behaviour under test, and says whether it came out right. It must come out right with
lockservice and wrong with the variant, which is how other systems or the incident's code do it.
"""

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import pytest
import redis

from harness.redis_server import RedisServer
from harness.service import Service, reason_of
from lockservice.v1 import lockservice_pb2 as pb

FIRST, DUPLICATE = pb.DEDUPE_OUTCOME_FIRST, pb.DEDUPE_OUTCOME_DUPLICATE
IN_PROGRESS, MISMATCH = pb.DEDUPE_OUTCOME_IN_PROGRESS, pb.DEDUPE_OUTCOME_MISMATCH
GRANTED = pb.ACQUIRE_OUTCOME_GRANTED

Seen = Callable[[], Awaitable[bool]]


@pytest.fixture
def store(servers: list[RedisServer], shards: list[str]) -> Iterator[redis.Redis]:
    """A plain Redis for the broken variants; its keys are removed afterwards."""
    with servers[0].connect() as connection:
        yield connection
        for key in connection.scan_iter("broken*"):
            connection.delete(key)


# T1


async def redelivery_after_a_crash_is_processed(claim: Callable[[], Awaitable[Any]]) -> bool:
    """The claimer is killed right after its claim; a redelivery some time later must be FIRST."""
    assert await claim()
    await asyncio.sleep(0.35)  # the claim's own time has to pass
    return bool(await claim())


async def test_t1_a_crash_after_the_claim_loses_no_event(service: Service, store: redis.Redis) -> None:
    """T1: two phases give the event to the next. SET NX and every one-phase dedupe lose it."""

    async def two_phases() -> bool:
        return bool((await service.dedupe(claim_ttl=0.3)).outcome == FIRST)

    async def set_nx() -> bool:
        return bool(store.set("broken:t1", 1, nx=True, ex=60))

    assert await redelivery_after_a_crash_is_processed(two_phases)
    assert not await redelivery_after_a_crash_is_processed(set_nx)


# T2


async def times_processed(first: Callable[[str], Awaitable[bool]]) -> tuple[int, int]:
    """Delivers one event 9 times in sequence, and another 8 times at once."""
    in_sequence = sum([await first("one") for _ in range(9)])
    at_once = sum(await asyncio.gather(*(first("two") for _ in range(8))))
    return in_sequence, at_once


async def test_t2_repeated_deliveries_are_processed_once(service: Service, store: redis.Redis) -> None:
    """T2: once each. The incident's GETDEL then SETEX processes every second one, and all that come at once."""

    async def ours(key: str) -> bool:
        return bool((await service.dedupe(key)).outcome == FIRST)

    async def getdel_setex(key: str) -> bool:
        if store.getdel(f"broken:t2:{key}"):
            return False
        await asyncio.sleep(0)
        store.set(f"broken:t2:{key}", "1", ex=60)
        return True

    assert await times_processed(ours) == (1, 1)
    assert await times_processed(getdel_setex) == (5, 8)


# T3


async def late_settle_changes_nothing(
    claim: Callable[[str], Awaitable[str]], settle: Callable[[str, bool], Awaitable[None]], *, done: bool
) -> bool:
    """A outlives its claim, B takes over, A settles late: C must still find B at work."""
    a = await claim("a")
    await asyncio.sleep(0.25)  # A's claim has to run out
    assert await claim("b")
    await settle(a, done)
    return not await claim("c")


async def test_t3_a_late_settle_of_a_lost_claim_changes_nothing(service: Service, store: redis.Redis) -> None:
    """T3: neither DONE nor RETRY. A settle that does not check its owner frees the key under B."""
    for done in (True, False):
        key = f"t3:{done}"

        async def claim(owner: str, key: str = key) -> str:
            answer = await service.dedupe(key, claim_ttl=0.2 if owner == "a" else 30)
            return str(answer.claim_id)

        async def settle(claim_id: str, done: bool, key: str = key) -> None:  # noqa: FBT001  as the scenario calls it
            assert await service.settle(key, claim_id, retry=not done) == pb.SETTLE_OUTCOME_NOT_HELD

        assert await late_settle_changes_nothing(claim, settle, done=done)
        assert (await service.dedupe(key)).outcome == IN_PROGRESS

    async def unowned_claim(owner: str) -> str:
        ttl = 200 if owner == "a" else 30_000
        return owner if store.set("broken:t3", owner, nx=True, px=ttl) else ""

    async def unowned_settle(_claim: str, _done: bool) -> None:  # noqa: FBT001  as the scenario calls it
        store.delete("broken:t3")

    assert not await late_settle_changes_nothing(unowned_claim, unowned_settle, done=False)


# T4


async def test_t4_fingerprints_outlive_the_settle(service: Service, store: redis.Redis) -> None:
    """T4: after DONE the same payload is a DUPLICATE with the result, another a MISMATCH."""
    claim = await service.dedupe("t4", claim_ttl=10, fingerprint=b"payload-1")
    await service.settle("t4", claim.claim_id, result=b"made 7")

    same = await service.dedupe("t4", fingerprint=b"payload-1")
    other = await service.dedupe("t4", fingerprint=b"payload-2")
    assert (same.outcome, same.result) == (DUPLICATE, b"made 7")
    assert other.outcome == MISMATCH

    # The variant: completion overwrites the record and the hash is gone, so both payloads look alike.
    store.hset("broken:t4", mapping={"state": "running", "hash": "payload-1"})
    store.delete("broken:t4")
    store.hset("broken:t4", mapping={"state": "done", "result": "made 7"})
    assert store.hget("broken:t4", "hash") is None


# T5


async def third_is_first_in_time(claim: Callable[[], Awaitable[bool]], *, ttl: float) -> bool:
    """A dies, B takes over and dies: C must be FIRST one claim_ttl later."""
    for _ in range(2):
        assert await claim()
        await asyncio.sleep(ttl * 1.2)  # the claim's own time has to pass
    return await claim()


async def test_t5_two_crashes_in_a_row_cost_one_claim_each(service: Service, store: redis.Redis) -> None:
    """T5: a take-over needs no lock of its own. One that takes a lock of 10 s to take over blocks the third."""

    async def ours() -> bool:
        return bool((await service.dedupe("t5", claim_ttl=0.2)).outcome == FIRST)

    async def with_takeover_lock() -> bool:
        if store.set("broken:t5", "running", nx=True, ex=60):
            store.set("broken:t5:deadline", "x", px=200)
            return True
        if store.exists("broken:t5:deadline"):
            return False
        if not store.set("broken:t5:lock", "x", nx=True, ex=10):
            return False
        store.set("broken:t5:deadline", "x", px=200)
        return True

    assert await third_is_first_in_time(ours, ttl=0.2)
    assert not await third_is_first_in_time(with_takeover_lock, ttl=0.2)


# T6


async def state_after(arrivals: list[int], process: Callable[[int], Awaitable[bool]]) -> int:
    """Applies snapshots in the order of arrival, and returns the version that the entity ends with."""
    state = 0
    for version in arrivals:
        if await process(version):
            state = version
    return state


async def test_t6_an_older_snapshot_never_wins(service: Service) -> None:
    """T6: v1 v3 v2 ends with v3. Whoever keeps the last arrival ends with v2."""

    async def ours(version: int) -> bool:
        answer = await service.acquire("t6", version=version)
        if answer.outcome == pb.ACQUIRE_OUTCOME_STALE:
            return False
        await service.release(answer.lease)
        return True

    async def last_arrival(_version: int) -> bool:
        return True

    assert await state_after([1, 3, 2], ours) == 3
    assert await state_after([1, 3, 2], last_arrival) == 2


# T7


async def test_t7_an_update_waits_for_its_create(service: Service) -> None:
    """T7: the create comes later and is processed first. A queue in the order of arrival runs the update first."""
    story = []

    async def process(name: str, **how: Any) -> None:
        answer = await service.acquire("t7", name, wait=10, **how)
        assert answer.outcome == GRANTED
        story.append(name)
        await service.release(answer.lease)

    update = asyncio.create_task(process("update", version=2, after_version=1))
    await service.queued(1, "t7")
    await process("create", version=1)
    await update
    assert story == ["create", "update"]

    story.clear()
    update = asyncio.create_task(process("update"))
    await update
    await process("create")
    assert story == ["update", "create"]


# T8


async def test_t8_two_events_of_one_second_in_reverse(service: Service) -> None:
    """T8: microseconds tell them apart. With seconds as version the older one overwrites the newer."""

    def versions(unit_us: int) -> list[int]:
        newer, older = 1_778_500_019_900_000, 1_778_500_019_100_000
        return [newer // unit_us, older // unit_us]

    async def apply(resource: str, arrivals: list[int]) -> list[str]:
        applied = []
        for name, version in zip(["newer", "older"], arrivals, strict=True):
            answer = await service.acquire(resource, version=version)
            if answer.outcome == GRANTED:
                applied.append(name)
                await service.release(answer.lease)
        return applied

    assert await apply("t8:us", versions(1)) == ["newer"]
    assert await apply("t8:s", versions(1_000_000)) == ["newer", "older"]


# T9


async def story_of_a_retry(service: Service, resource: str, *, hold: float | None) -> list[str]:
    """v1 fails once while v2 and v3 wait; returns in which order the three were done."""
    story: list[str] = []
    lease = await service.grant(resource, event_id="v1")

    async def process(event: str) -> None:
        answer = await service.acquire(resource, event, event_id=event, wait=10)
        story.append(event)
        await service.release(answer.lease)

    waiting = []
    for number, event in enumerate(("v2", "v3"), 1):
        waiting.append(asyncio.create_task(process(event)))
        await service.queued(number, resource)
    await service.release(lease, retry=True, hold=hold)
    other = await service.grant(f"{resource}:other")
    await service.release(other)
    await asyncio.sleep(0.05)  # the back-off of the retry
    await process("v1")
    await asyncio.gather(*waiting)
    return story


async def test_t9_a_retry_keeps_its_place_with_a_hold(service: Service) -> None:
    """T9: v1 v2 v3, and other orders go on meanwhile. Without a hold, as in most queues, v1 comes last."""
    assert await story_of_a_retry(service, "t9", hold=30) == ["v1", "v2", "v3"]
    assert await story_of_a_retry(service, "t9:broken", hold=None) == ["v2", "v3", "v1"]


# T10


async def test_t10_a_hold_ends_though_its_retry_never_comes(service: Service) -> None:
    """T10: the key opens after the bound and shows meanwhile. A block without a bound stays shut."""
    await service.release(await service.grant("t10", event_id="v1"), retry=True, hold=0.5)
    await service.release(await service.grant("t10:broken", event_id="v1"), retry=True, hold=3_600)

    listed = [lock async for page in service.admin.ListLocks(pb.ListLocksRequest()) for lock in page.locks]
    assert sorted(lock.resource for lock in listed if lock.HasField("hold")) == ["t10", "t10:broken"]
    opened = await asyncio.gather(*(service.acquire(resource, wait=2) for resource in ("t10", "t10:broken")))
    assert [answer.outcome == GRANTED for answer in opened] == [True, False]


# T11


async def test_t11_four_updates_of_one_order_are_all_processed(service: Service, store: redis.Redis) -> None:
    """T11: the key is the delivery's. The incident's hash of id, topic and created_at drops three of the four."""
    updates = [("820982911946154508", "orders/updated", "2026-05-11", f"webhook-{n}") for n in range(4)]

    async def ours(delivery: tuple[str, ...]) -> bool:
        return bool((await service.dedupe(f"shop:{delivery[1]}:{delivery[3]}")).outcome == FIRST)

    async def hash_of_the_entity(delivery: tuple[str, ...]) -> bool:
        return bool(store.set("broken:t11:" + "-".join(delivery[:3]), 1, nx=True, ex=60))

    assert [await ours(update) for update in updates] == [True] * 4
    assert [await hash_of_the_entity(update) for update in updates] == [True, False, False, False]


# T12


async def test_t12_ids_beyond_2_to_the_53_exclude_each_other(service: Service) -> None:
    """T12: named by admin_graphql_api_id, Node and Python mean the same order; as a number Node names another."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    program = (
        'const o = JSON.parse(\'{"id":820982911946154508,"gid":"gid://shopify/Order/820982911946154508"}\');'
        "process.stdout.write(`${o.gid} order:${o.id}`)"
    )
    from_node = (await asyncio.to_thread(subprocess.check_output, [node, "-e", program], text=True)).split()

    await service.grant("gid://shopify/Order/820982911946154508", "python")
    assert (await service.acquire(from_node[0], "node")).outcome == pb.ACQUIRE_OUTCOME_HELD

    await service.grant("order:820982911946154508", "python")
    assert (await service.acquire(from_node[1], "node")).outcome == GRANTED


# T13


async def test_t13_versions_beyond_2_to_the_53_are_refused(service: Service, servers: list[RedisServer]) -> None:
    """T13: refused, not equal. As Lua's doubles the two versions are one."""
    for version in (2**53, 2**53 + 1):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.acquire("t13", version=version)
        assert reason_of(refused.value) == "INVALID_FIELD"

    with servers[0].connect() as connection:
        compare = "return tonumber(ARGV[1]) == tonumber(ARGV[2]) and 1 or 0"
        assert connection.eval(compare, 0, str(2**53), str(2**53 + 1)) == 1


# T14


async def write_of_a_paused_worker(service: Service, statement: str) -> str:
    """A worker pauses past its ttl and writes after the next has written; returns what the row says then."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE orders (id TEXT, state TEXT, fence INTEGER)")
    database.execute("INSERT INTO orders VALUES ('1', 'pending', 0)")
    paused = await service.grant("t14", "paused", ttl=0.1)
    following = (await service.acquire("t14", "next", wait=5)).lease
    database.execute(statement, {"state": "paid", "fence": following.fencing_token})
    database.execute(statement, {"state": "pending again", "fence": paused.fencing_token})
    await service.release(following)
    (state,) = database.execute("SELECT state FROM orders").fetchone()
    database.close()
    return str(state)


async def test_t14_a_paused_worker_is_refused_at_the_store(service: Service) -> None:
    """T14: the store compares tokens. A store that does not is overwritten, whatever the lock service does."""
    checked = "UPDATE orders SET state = :state, fence = :fence WHERE id = '1' AND fence < :fence"
    unchecked = "UPDATE orders SET state = :state, fence = :fence WHERE id = '1'"

    assert await write_of_a_paused_worker(service, checked) == "paid"
    assert await write_of_a_paused_worker(service, unchecked) == "pending again"
