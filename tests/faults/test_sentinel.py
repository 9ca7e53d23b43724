"""A Sentinel group as a shard: found, and followed wherever its primary goes."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
import redis

from harness.groups import SentinelGroup
from harness.minting import Minting
from harness.service import Service, reason_of, refused, until

DOWN_AFTER_S = 0.5
# When in the second between two INFOs of Sentinel the primary is killed.
PHASES_S = (0.0, 0.3, 0.6)
# From the moment when a Sentinel says whom it promotes until nothing is granted by the old primary any more.
LEFT_S = 0.3


def promoted(sentinel: redis.Redis) -> bool:
    """Whether it says whom it promotes."""
    return any("promoted" in replica["flags"] for replica in sentinel.sentinel_slaves(SentinelGroup.NAME))


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    """A primary, two replicas, three Sentinels."""
    with SentinelGroup(down_after_ms=round(DOWN_AFTER_S * 1000)) as made:
        yield made


@pytest.mark.parametrize("phase_s", PHASES_S)
async def test_a_killed_primary_is_replaced(group: SentinelGroup, phase_s: float) -> None:
    """Grants go on within 1.5 s of down-after, by the Redis that the Sentinels then name."""
    async with Service([group.url]) as service, Minting(service) as minting:
        await asyncio.sleep(phase_s)
        group.primary.stop()
        await until(lambda: group.current() is not group.primary, "there is another", within=10)
        await minting.more(200)

    assert minting.repeated() == 0
    assert max(minting.gaps) < DOWN_AFTER_S + 1.5


async def test_a_frozen_primary_is_replaced_and_not_believed_afterwards(group: SentinelGroup) -> None:
    """Grants go on elsewhere, and when it wakes it grants nothing."""
    async with Service([group.url]) as service, Minting(service) as minting:
        group.primary.signal(signal.SIGSTOP)
        await until(lambda: group.current() is not group.primary, "there is another", within=10)
        await minting.more(200)
        group.primary.signal(signal.SIGCONT)
        await minting.more(200)
        with group.primary.connect() as connection:
            await until(lambda: connection.info("replication")["role"] == "slave", "it follows the other", within=15)
        await minting.more(50)

    assert minting.repeated() == 0
    assert max(minting.gaps) < DOWN_AFTER_S + 1.5


async def test_sentinels_that_do_not_tell_whom_they_promote_are_followed(group: SentinelGroup) -> None:
    """Without the right to ask for replicas, it takes until they name another."""
    for sentinel in group.sentinels:
        with sentinel.connect() as connection:
            connection.execute_command("ACL", "SETUSER", "default", "-sentinel|replicas")
    async with Service([group.url]) as service, Minting(service) as minting:
        group.primary.stop()
        await until(lambda: group.current() is not group.primary, "there is another", within=10)
        await minting.more(200)

    assert minting.repeated() == 0
    assert max(minting.gaps) < DOWN_AFTER_S + 2  # Sentinel alone takes 1.7 to 2.1 s here.


async def test_a_promotion_that_is_given_up_brings_the_old_primary_back(group: SentinelGroup) -> None:
    """Nothing is granted that a promotion would undo, and grants go on when Sentinel has given it up."""
    async with Service([group.url]) as service, Minting(service) as minting:
        for replica in group.replicas:
            replica.signal(signal.SIGSTOP)
        with group.sentinels[0].connect() as connection:
            connection.execute_command("SENTINEL", "FAILOVER", group.NAME)
            await until(lambda: promoted(connection), "one is to be promoted", within=5)
        await asyncio.sleep(LEFT_S)
        before = minting.count
        await asyncio.sleep(LEFT_S)
        assert minting.count == before
        await minting.more(200)

    assert group.current() is group.primary
    assert minting.repeated() == 0


async def test_a_planned_switch_is_followed(group: SentinelGroup) -> None:
    """SENTINEL FAILOVER is followed at once, though the old primary goes on answering."""
    async with Service([group.url]) as service, Minting(service) as minting:
        with group.sentinels[0].connect() as connection:
            connection.execute_command("SENTINEL", "FAILOVER", group.NAME)
        await until(lambda: group.current() is not group.primary, "there is another", within=10)
        await minting.more(200)

    assert minting.repeated() == 0
    assert max(minting.gaps) < DOWN_AFTER_S + 1.5


async def test_without_a_majority_of_sentinels_nobody_is_connected_to(group: SentinelGroup) -> None:
    """One Sentinel alone is not believed at the start; a connection that was made before is kept."""
    async with Service([group.url]) as before:
        lease = await before.grant()
        for sentinel in group.sentinels[1:]:
            sentinel.stop()
        async with Service([group.url]) as after:
            error = await refused(after.acquire("order:2"))
        assert await before.release(lease)

    assert reason_of(error) == "SHARD_UNAVAILABLE"
    assert "no majority of its 3 Sentinels" in (error.details() or "")
