"""A Redis Cluster as one shard: every bucket where its slot is, and followed when that changes."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from grpc.aio import AioRpcError

from harness.groups import Cluster, Member
from harness.minting import Minting
from harness.service import Service, until
from lockservice.lease import AcquireAsk, Grant
from lockservice.shards import condition
from lockservice.shards.keys import place

# The election takes about a second whatever the timeout is; with shorter ones the Cluster alone takes too long.
NODE_TIMEOUT_S = 3.0
# From the election to grants by the new primary.
FOLLOWED_S = 0.5
RESOURCES = tuple(f"order:{n}" for n in range(40))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three primaries with a replica each."""
    with Cluster(node_timeout_ms=round(NODE_TIMEOUT_S * 1000)) as made:
        yield made


def replica_of(cluster: Cluster, primary: Member) -> Member:
    """Returns the replica of a primary."""
    for node in cluster.nodes:
        with node.connect() as connection:
            if connection.info("replication").get("master_port") == primary.port:
                return node
    raise AssertionError("it has none")


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_lost_primary_is_replaced(cluster: Cluster, fault: signal.Signals) -> None:
    """Grants go on within 2.4 node timeouts of a kill or a freeze, at once after the election, with higher tokens."""
    resource = RESOURCES[0]
    old = cluster.serving(place("", resource).bucket)
    heir = replica_of(cluster, old)
    async with Service([cluster.url]) as service, Minting(service, resource) as minting:
        old.signal(fault)
        with heir.connect() as connection:
            await until(lambda: connection.info("replication")["role"] == "master", "an heir", within=15)
        await minting.more(5, within=FOLLOWED_S)
        await minting.more(200)
        old.signal(signal.SIGCONT)
        await minting.more(100)

    assert minting.repeated() == 0
    assert max(minting.gaps) < 2.4 * NODE_TIMEOUT_S


async def _granted_together(cluster: Cluster) -> list[object]:
    """Returns what comes of acquires that leave together, in buckets that are seeded already."""
    async with Service([cluster.url]) as service:
        leases = await asyncio.gather(*(service.grant(resource) for resource in RESOURCES))
        await asyncio.gather(*(service.release(lease) for lease in leases))
        replica = service.server._replica
        assert replica is not None
        asks = [
            AcquireAsk("", one, "w", 60_000, 0, "", None, None, allow_stale=False, event_id="", retention_ms=60_000)
            for one in RESOURCES
        ]
        answers = await asyncio.gather(*(replica.locks.acquire(ask) for ask in asks), return_exceptions=True)
        return [type(answer) for answer in answers]


async def test_calls_share_a_command_within_a_slot_only(cluster: Cluster) -> None:
    """A node refuses commands whose keys are in several slots, so the calls that leave together are kept apart."""
    assert set(await _granted_together(cluster)) == {Grant}


async def test_calls_of_several_slots_in_one_command_are_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: a replica that does not notice that it talks to a Cluster."""
    read = condition.read
    monkeypatch.setattr(condition, "read", lambda info: replace(read(info), clustered=False))

    with pytest.raises(AioRpcError, match="internal error"):
        await _granted_together(cluster)


async def test_other_primaries_go_on(cluster: Cluster) -> None:
    """While one primary is frozen, resources of the others are served as before."""
    serving = {resource: cluster.serving(place("", resource).bucket) for resource in RESOURCES}
    frozen = serving[RESOURCES[0]]
    others = [resource for resource, member in serving.items() if member is not frozen]
    async with Service([cluster.url]) as service, Minting(service, *others) as minting:
        frozen.signal(signal.SIGSTOP)
        await minting.more(500)
        frozen.signal(signal.SIGCONT)

    assert max(minting.gaps) < 0.25
    assert not minting.errors


async def test_migrating_slots_is_invisible(cluster: Cluster) -> None:
    """Slots move from one primary to another under load: no call fails, no token repeats, the waiter is served."""
    async with Service([cluster.url]) as service:
        lease = await service.grant("held", ttl=60)
        waiter = service.waiting("held", "next", wait=40)
        await service.queued(1, "held")
        source = cluster.serving(place("", "held").bucket)
        target = next(node for node in cluster.primaries() if node is not source)
        async with Minting(service, *RESOURCES) as minting:
            with source.connect() as connection, target.connect() as other:
                ids = [str(each.execute_command("CLUSTER MYID")) for each in (connection, other)]
            words = ("--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", "5000", "--cluster-yes")
            await asyncio.to_thread(
                cluster.cli, "--cluster", "reshard", source.address, *words, "--cluster-pipeline", "100"
            )
            await minting.more(200)
        assert cluster.serving(place("", "held").bucket) is not source
        await service.release(lease)
        granted = await waiter

    assert granted.lease.fencing_token > lease.fencing_token
    assert not minting.errors
    assert minting.repeated() == 0


async def test_a_hint_is_heard_once(cluster: Cluster) -> None:
    """Every node repeats what one publishes; a waiter is woken by the one that serves its bucket."""
    async with Service([cluster.url]) as service:
        lease = await service.grant()
        waiter = service.waiting(owner="next")
        await service.queued(1)
        replica = service.server._replica
        assert replica is not None
        heard = replica._room.waiters.hints_heard
        bucket = place("", "order:1001").bucket
        before = heard[bucket]
        await service.release(lease)
        await waiter
        await until(lambda: service.server.problems() == [], "it is ready")
        assert heard.get(bucket, before) - before <= 1
