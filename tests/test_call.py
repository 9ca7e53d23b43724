"""Calls that share a command: which do, in what order, and whose reply is whose."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from harness.redis_server import RedisServer
from harness.service import Service, reason_of, refused
from lockservice.lease import AcquireAsk, Grant
from lockservice.limits import SHARED_CALLS_MAX
from lockservice.shards import script
from lockservice.shards.call import Call, Command, Shared, commands
from lockservice.shards.keys import BUCKET_PREFIXES, place
from lockservice.shards.script import Script
from lockservice.v1 import lockservice_pb2 as pb

ACQUIRE = Shared(b"acquire", b"acquires", ("run", 60), b"")
RELEASE = Shared(b"release", b"releases", ("run", 60), b"")
IN_A_SLOT = Shared(b"acquire", b"acquires", ("run", 60), b"ls:{b1}:")
ECHO = None


def call(number: int, shared: Shared | None) -> Call:
    """Makes a call that says its number."""
    return Call(asyncio.get_running_loop().create_future(), (f"call-{number}",), b"key", shared)


def numbers(command: Command, count: int) -> list[int]:
    """Returns the calls of a command, in their order."""
    text = command.packed.decode()
    found = [number for number in range(count) if f"call-{number}\r\n" in text]
    return sorted(found, key=lambda number: text.index(f"call-{number}\r\n"))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], []),
        ([ACQUIRE, ACQUIRE, ACQUIRE], [[0, 1, 2]]),
        ([ACQUIRE, RELEASE, ACQUIRE, ACQUIRE], [[0], [1], [2, 3]]),
        ([ACQUIRE, ACQUIRE, ECHO, ACQUIRE], [[0, 1], [2], [3]]),
        ([ECHO, ECHO, RELEASE, RELEASE], [[0], [1], [2, 3]]),
        ([ACQUIRE, IN_A_SLOT, IN_A_SLOT], [[0], [1, 2]]),
        (
            [ACQUIRE] * (SHARED_CALLS_MAX + 1),
            [list(range(SHARED_CALLS_MAX)), [SHARED_CALLS_MAX]],
        ),
    ],
)
async def test_only_neighbours_of_one_kind_share(kinds: list[Shared | None], expected: list[list[int]]) -> None:
    """So no call passes another: a clean-up stays behind the call that it is for."""
    calls = [call(number, kind) for number, kind in enumerate(kinds)]

    made = list(commands(calls))

    assert [numbers(command, len(calls)) for command in made] == expected
    assert [future for command in made for future in command.futures()] == [one.future for one in calls]


async def test_each_call_gets_its_part_of_the_reply() -> None:
    """One whose caller has left is passed over; an error in place of the list is everybody's."""
    calls = [call(number, ACQUIRE) for number in range(3)]
    calls[1].future.cancel()
    [command] = commands(calls)
    command.answer([[b"granted"], [b"held"], [b"stale"]])
    assert [calls[0].future.result(), calls[2].future.result()] == [[b"granted"], [b"stale"]]

    calls = [call(number, ACQUIRE) for number in range(2)]
    [command] = commands(calls)
    error = RuntimeError("NOSCRIPT")
    command.answer(error)
    assert [one.future.result() for one in calls] == [error, error]


async def _acquired_together(service: Service, server: RedisServer, prefix: str) -> list[Any]:
    """Acquires eight resources at the same moment, of which the record of the fourth is broken in Redis."""
    replica = service.server._replica
    assert replica is not None
    shard_of = replica.shard_map.pick
    names = [f"{prefix}:{number}" for number in range(60)]
    names = [name for name in names if shard_of(place("", name).bucket).name == "s1"][:8]
    for name in names:
        # What is asked for the first time would be told, each by itself, to seed its bucket.
        await service.release(await service.grant(name))
    broken = place("", names[3])
    key = BUCKET_PREFIXES[broken.bucket] + f"lease:{broken.name}".encode()
    with server.connect() as connection:
        connection.delete(key)
        connection.rpush(key, "no lease")
        connection.expire(key, 60)
    asks = [
        AcquireAsk("", name, "w", 60_000, 0, "", None, None, allow_stale=False, event_id="", retention_ms=60_000)
        for name in names
    ]
    answers = await asyncio.gather(*(replica.locks.acquire(ask) for ask in asks), return_exceptions=True)
    return [type(answer) for answer in answers]


async def test_what_goes_wrong_in_one_call_is_its_own(servers: list[RedisServer], shards: list[str]) -> None:
    """Calls that share its command are answered, since they have been done."""
    async with Service(shards) as service:
        answers = await _acquired_together(service, servers[0], "protected")

    assert answers == [Grant] * 3 + [RuntimeError] + [Grant] * 4


async def test_without_protection_one_call_takes_all_with_it(
    servers: list[RedisServer], shards: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: a script that ends at the first error."""
    load = script.load

    def unprotected(name: str) -> Script:
        loaded = load(name)
        many = loaded.many.replace("pcall(one, ", "true, one(")
        sha = hashlib.sha1(many.encode(), usedforsecurity=False).hexdigest().encode()
        return replace(loaded, many=many, many_sha=sha)

    monkeypatch.setattr(script, "load", unprotected)
    async with Service(shards) as service:
        answers = await _acquired_together(service, servers[0], "unprotected")

    assert answers == [RuntimeError] * 8


async def test_a_script_that_redis_has_forgotten_is_sent_again(servers: list[RedisServer], shards: list[str]) -> None:
    """Every one of the calls that shared its command is done once."""
    async with Service(shards) as service:
        await service.grant("forgotten:0")
        for server in servers:
            with server.connect() as connection:
                connection.script_flush()
        leases = await asyncio.gather(*(service.grant(f"forgotten:{number}") for number in range(1, 30)))
        released = await asyncio.gather(*(service.release(lease) for lease in leases))

    assert len({lease.fencing_token for lease in leases}) == len(leases)
    assert set(released) == {pb.RELEASE_OUTCOME_RELEASED}


def memory(servers: list[RedisServer], *, bytes_max: int) -> None:
    """Bounds the memory of every Redis; 0: as much as there is."""
    for server in servers:
        with server.connect() as connection:
            connection.config_set("maxmemory", bytes_max)


async def test_a_full_redis_refuses_all_that_take_and_none_that_give_back(
    servers: list[RedisServer], shards: list[str]
) -> None:
    """Also when they come together."""
    async with Service(shards) as service:
        leases = await asyncio.gather(*(service.grant(f"full:{number}") for number in range(20)))
        try:
            memory(servers, bytes_max=1)
            errors = await asyncio.gather(*(refused(service.acquire(f"more:{number}")) for number in range(20)))
            renewed = await asyncio.gather(*(service.renew(lease) for lease in leases))
            released = await asyncio.gather(*(service.release(lease) for lease in leases))
        finally:
            memory(servers, bytes_max=0)

    assert {reason_of(error) for error in errors} == {"SHARD_OUT_OF_MEMORY"}
    assert set(renewed) == {pb.RENEW_OUTCOME_RENEWED}
    assert set(released) == {pb.RELEASE_OUTCOME_RELEASED}
