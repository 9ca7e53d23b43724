"""A Sentinel group as a shard: found, and followed wherever its primary goes."""

import asyncio
import signal
import statistics
from collections.abc import Iterator

import pytest

from harness.groups import SentinelGroup
from harness.minting import Minting
from harness.service import Service, reason_of, refused, until

DOWN_AFTER_S = 0.5
# When in Sentinel's second the primary is killed: right after it began to watch, it takes 2.0 s to name another, and
# 0.3 s later 1.7 s.
PHASES_S = (0.0, 0.3, 0.6)
# From the moment when a Sentinel names the new primary to grants by it.
FOLLOWED_S = 0.3


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    """A primary, two replicas, three Sentinels."""
    with SentinelGroup(down_after_ms=round(DOWN_AFTER_S * 1000)) as made:
        yield made


async def test_a_killed_primary_is_replaced() -> None:
    """Grants go on within 1.5 s of down-after at the median, and at once when Sentinel has named another."""
    gaps = []
    for phase_s in PHASES_S:
        with SentinelGroup(down_after_ms=round(DOWN_AFTER_S * 1000)) as group:
            async with Service([group.url]) as service, Minting(service) as minting:
                await asyncio.sleep(phase_s)
                group.primary.stop()
                await until(lambda group=group: group.current() is not group.primary, "there is another", within=10)
                await minting.more(5, within=FOLLOWED_S)
                await minting.more(200)
        assert minting.repeated() == 0
        gaps.append(max(minting.gaps))

    assert statistics.median(gaps) < DOWN_AFTER_S + 1.5, gaps


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
    # Sentinel itself names the new primary 1.5 s after down-after here: it first waits for an answer to a ping.
    assert max(minting.gaps) < DOWN_AFTER_S + 2


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
