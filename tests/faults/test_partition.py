"""A primary that is cut off together with a replica of the service: the minority grants nothing that counts."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import pytest

from harness import checkers
from harness.groups import SentinelGroup
from harness.linearizability import not_linearizable
from harness.network import Network
from harness.process import ServiceProcess
from harness.service import until
from harness.storm import Storm
from lockservice.v1 import lockservice_pb2 as pb

LEASES = 30


class Sides(NamedTuple):
    """A Sentinel group on three hosts, and a replica of the service on each side of the cut to come."""

    network: Network
    group: SentinelGroup
    minority: ServiceProcess
    majority: ServiceProcess

    def cut(self) -> None:
        """Cuts the primary's host off from the two others; the test reaches all of them."""
        self.network.cut(*(self.network[name] for name in "abc"))


@pytest.fixture
def network() -> Iterator[Network]:
    """Three hosts."""
    with Network("a", "b", "c") as made:
        yield made


@asynccontextmanager
async def sides(network: Network, durability: str) -> AsyncIterator[Sides]:
    """Starts everything."""
    hosts = [network[name] for name in "abc"]
    flags = ("--durability", durability)
    with SentinelGroup(hosts=hosts) as group:
        async with (
            ServiceProcess([group.url], *flags, host=hosts[0]) as minority,
            ServiceProcess([group.url], *flags, host=hosts[1]) as majority,
        ):
            yield Sides(network, group, minority, majority)


async def lost_over_a_partition(network: Network, durability: str) -> tuple[int, int]:
    """Takes leases at the minority during a cut; returns how many were granted there, and lost after it."""
    async with sides(network, durability) as at:
        leases = [await at.minority.grant(f"before:{n}", ttl=60) for n in range(LEASES)]
        at.cut()
        granted = 0
        for n in range(LEASES):
            try:
                leases.append(await at.minority.grant(f"during:{n}", ttl=60))
                granted += 1
            except grpc.aio.AioRpcError:
                continue
        await until(lambda: at.group.current() is not at.group.primary, "there is another primary", within=15)
        network.heal()

        async def kept(lease: Any) -> bool:
            while True:
                try:
                    return bool(await at.majority.renew(lease) == pb.RENEW_OUTCOME_RENEWED)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)

        lost = [await kept(lease) for lease in leases].count(False)
    return granted, lost


async def test_with_a_replica_no_answered_grant_is_lost(network: Network) -> None:
    """With replicas=1 the minority can confirm nothing, so it answers nothing that could be lost."""
    assert await lost_over_a_partition(network, "replicas=1") == (0, 0)


@pytest.mark.long
async def test_a_primary_alone_grants_what_will_be_lost(network: Network) -> None:
    """The weaker level that this check catches: the minority goes on, and everything that it granted is gone."""
    granted, lost = await lost_over_a_partition(network, "primary")

    assert granted == lost == LEASES


@pytest.mark.long
@pytest.mark.parametrize("durability", ["replicas=1", "primary"])
async def test_tokens_over_a_partition(network: Network, durability: str) -> None:
    """No token is repeated; with a replica none goes back; and a store that checks them takes no stale write."""
    async with sides(network, durability) as at:
        async with Storm([at.minority, at.majority], dedupe=False) as storm:
            at.cut()
            await until(lambda: at.group.current() is not at.group.primary, "there is another primary", within=15)
            await storm.goes_on(200)
            network.heal()
            await storm.goes_on(200)
        history = storm.history()

    assert checkers.too_little_traffic(history, operations_min=500, per_second_min=30) == []
    assert checkers.repeated_tokens(history) == []
    if durability != "primary":
        assert checkers.falling_tokens(history) == []
        assert not_linearizable(history, exclusive=False) == []


@pytest.mark.parametrize("lost", [pytest.param("to", marks=pytest.mark.long), "from"])
async def test_one_way(network: Network, lost: str) -> None:
    """What is lost in one direction only is a partition all the same: no token is repeated or goes back."""
    async with sides(network, "replicas=1") as at:
        async with Storm([at.minority, at.majority], dedupe=False) as storm:
            a, others = network["a"], (network["b"], network["c"])
            for other in others:
                one, two = (a, other) if lost == "to" else (other, a)
                one.lose(two)
            await asyncio.sleep(4)
            network.heal()
            await storm.goes_on(200)
        history = storm.history()

    assert checkers.repeated_tokens(history) == []
    assert checkers.falling_tokens(history) == []
    assert not_linearizable(history, exclusive=False) == []
