"""Events processed once."""

import asyncio

import pytest

from lockservice_client import Client, Duplicate, InProgress, LeaseLost, Mismatch


async def test_s18_an_event_is_processed_once_and_leaves_its_result(client: Client) -> None:
    """The first caller settles with a result that later duplicates are handed."""
    async with client.once("once:1") as claim:
        with pytest.raises(InProgress) as refused:
            await client.once("once:1").__aenter__()
        assert 0 < refused.value.retry_after <= 30
        claim.result = b"receipt 7"
    with pytest.raises(Duplicate) as duplicate:
        await client.once("once:1").__aenter__()
    assert duplicate.value.result == b"receipt 7"


async def test_s19_an_exception_frees_the_key(client: Client) -> None:
    """A block that raises leaves the event to be processed again."""
    with pytest.raises(KeyError):
        async with client.once("once:2"):
            raise KeyError
    async with client.once("once:2"):
        pass


async def test_s19_another_payload_is_a_mismatch(client: Client) -> None:
    """The same key with another fingerprint is refused."""
    async with client.once("once:3", fingerprint=b"a"):
        pass
    with pytest.raises(Mismatch):
        await client.once("once:3", fingerprint=b"b").__aenter__()


async def test_s19_a_claim_is_renewed_past_its_ttl(client: Client) -> None:
    """A block of several claim ttls settles its claim."""
    async with client.once("once:4", claim_ttl=0.3):
        await asyncio.sleep(0.9)
    with pytest.raises(Duplicate):
        await client.once("once:4").__aenter__()


async def test_a_claim_settled_elsewhere_is_lost(client: Client) -> None:
    """Whose claim was settled by another hand is cancelled and told."""
    with pytest.raises(LeaseLost):  # noqa: PT012  the block is what is lost
        async with client.once("once:5", claim_ttl=0.3) as claim:
            assert await client.settle("once:5", claim.claim_id, done=False)
            await asyncio.sleep(10)


async def test_s18_a_waiter_hears_when_the_claim_ends(client: Client) -> None:
    """With wait the second caller is answered when the first settles."""
    async with client.once("once:6"):
        waiting = asyncio.create_task(client.dedupe("once:6", claim_ttl=5, wait=10))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert (await asyncio.wait_for(waiting, 2)).outcome == "duplicate"


async def test_first_says_true_once(client: Client) -> None:
    """Of many callers of `first` exactly one hears True."""
    assert sum(await asyncio.gather(*(client.first("once:7") for _ in range(20)))) == 1
