"""The walk through the buckets: it finds what matters, however much there is, and asks little each time."""

import asyncio

import pytest

from harness.service import Service
from lockservice.console import survey as survey_module
from lockservice.console.survey import Findings, Seen, Survey
from lockservice.credentials import EVERYBODY
from lockservice.limits import BUCKETS, CONSOLE_BUSIEST, CONSOLE_LONGEST, CONSOLE_OTHER_BUCKETS

MANY = 1_200
OLDER_S = 1.0
# A bucket has about 5 leases and at most 20, of which so many are looked at each time, in every eighth look.
LOOKED = 4
LOOKS = 6 * BUCKETS // CONSOLE_OTHER_BUCKETS + 1


def survey_of(service: Service, namespace: str = "", *prefixes: str) -> Survey:
    """Makes a survey on the shards of a service."""
    replica = service.server._replica
    assert replica is not None
    return Survey(replica.shard_map, namespace, prefixes or ("",))


def names(seen: tuple[Seen, ...]) -> list[str]:
    """Returns the resources that were seen."""
    return [one.lock.resource for one in seen]


async def take(service: Service, count: int) -> None:
    """Takes many leases."""
    for start in range(0, count, 200):
        numbers = range(start, min(start + 200, count))
        await asyncio.gather(*(service.grant(f"order:{number}", ttl=600) for number in numbers))


async def looks(survey: Survey, count: int) -> Findings:
    """Looks so many times, and returns what the last look found."""
    for _ in range(count - 1):
        await survey.look()
    return await survey.look()


async def test_all_of_few(service: Service) -> None:
    """With few leases one look finds all: how many, the oldest first, holds, and who waits."""
    leases = [await service.grant(f"order:{number}", ttl=60) for number in range(5)]
    tasks = [service.waiting("order:3", f"w{number}") for number in range(2)]
    await service.queued(2, "order:3")
    await service.release(await service.grant("kept:1", event_id="e"), retry=True, hold=60)
    survey = survey_of(service)
    found = await survey.look()
    assert set(names(found.longest[:5])) == {f"order:{number}" for number in range(5)}
    assert names(found.longest[5:]) == ["kept:1"]
    assert (names(found.busiest), found.busiest[0].lock.queue_length) == (["order:3"], 2)
    assert [waiter.owner for waiter in found.busiest[0].waiters] == ["w0", "w1"]
    assert (sum(found.locks.values()), sum(found.waiting.values()), found.holds) == (5, 2, 1)
    await service.release(leases[0])
    found = await survey.look()
    assert "order:0" not in names(found.longest)
    assert sum(found.locks.values()) == 4
    for task in tasks:
        task.cancel()


async def test_the_oldest_and_the_busiest_of_many(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many leases all are seen in some looks, and the few that matter stay in sight."""
    monkeypatch.setattr(survey_module, "CONSOLE_LOOKS", LOOKED)
    old = [f"old:{number}" for number in range(CONSOLE_LONGEST)]
    for name in old:
        await service.grant(name, ttl=600)
    # The looks of one moment are some milliseconds apart; who is older must be so by more than that.
    await asyncio.sleep(OLDER_S)
    await take(service, MANY)
    tasks = [service.waiting("order:777", f"w{number}") for number in range(3)]
    await service.queued(3, "order:777")
    survey = survey_of(service)
    found = await looks(survey, LOOKS)
    assert set(names(found.longest)) == set(old)
    assert names(found.busiest) == ["order:777"]
    assert sum(found.locks.values()) == MANY + len(old)
    assert sum(found.waiting.values()) == 3
    assert set(names((await survey.look()).longest)) == set(old)
    for task in tasks:
        task.cancel()


async def test_little_comes_back(service: Service) -> None:
    """Once the oldest are known, and nothing is granted, a look asks few buckets, and hardly any lease comes back."""
    await take(service, MANY)
    survey = survey_of(service)
    await looks(survey, LOOKS)
    replica = service.server._replica
    assert replica is not None
    back, asked = 0, 0
    for shard in replica.shard_map.shards:
        run = shard.run

        async def counted(verb, bucket, arguments, run=run):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            nonlocal back, asked
            reply = await run(verb, bucket, arguments)
            # Sweeps go on beside it.
            if verb == "survey":
                asked += 1
                back += len(reply[5])
            return reply

        shard.run = counted  # type: ignore[method-assign]
    await survey.look()
    assert asked <= CONSOLE_OTHER_BUCKETS + CONSOLE_LONGEST
    assert back <= 2 * (CONSOLE_LONGEST + CONSOLE_BUSIEST)


async def test_only_what_may_be_seen(service: Service) -> None:
    """Prefixes and namespaces bound what is found, and what has ended."""
    for name in ("cart:1", "order:1", "cart%3A2", "cart/3"):
        await service.grant(name, ttl=60)
    lease = await service.grant("cart:4", ttl=60)
    replica = service.server._replica
    assert replica is not None
    assert await replica.inspection.force_release(EVERYBODY, "cart:4", lease.fencing_token, "why")
    assert set(names((await survey_of(service, "", "cart:").look()).longest)) == {"cart:1"}
    assert set(names((await survey_of(service).look()).longest)) == {"cart:1", "order:1", "cart%3A2", "cart/3"}
    assert not (await survey_of(service, "", "order:").look()).ended
    assert [ended.resource for ended in (await survey_of(service, "", "cart:").look()).ended] == ["cart:4"]
    assert not names((await survey_of(service, "cart").look()).longest)


async def test_what_has_ended_is_told_once(service: Service) -> None:
    """An expiry is told when it was and for how long the lease was held, and not again."""
    lease = await service.grant("gone:1", "late", ttl=0.1)
    waiting = service.waiting("gone:1", "next", ttl=60)
    await waiting
    survey = survey_of(service)
    (ended,) = (await survey.look()).ended
    assert (ended.kind, ended.resource, ended.owner, ended.token) == (
        "expired",
        "gone:1",
        "late",
        lease.fencing_token,
    )
    assert ended.held_ms in range(99, 102)
    assert (await survey.look()).ended == (ended,)


async def test_few_ends_are_kept(service: Service) -> None:
    """Of each bucket the last ends are kept, so that a storm of them fills nothing."""
    for number in range(40):
        lease = await service.grant("same:1", f"o{number}", ttl=60)
        replica = service.server._replica
        assert replica is not None
        await replica.inspection.force_release(EVERYBODY, "same:1", lease.fencing_token, "why")
    ended = (await survey_of(service).look()).ended
    assert [end.owner for end in ended] == [f"o{number}" for number in range(39, 23, -1)]
