"""The blocking client keeps the same promises for threads."""

import inspect
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import lockservice_client
from lockservice_client import Duplicate, Held, LeaseLost, blocking


@pytest.fixture
def threads_client(service: Any) -> Iterator[blocking.Client]:
    """A blocking client."""
    with blocking.Client(service.address, retry_for=2.0) as client:
        yield client


def test_the_same_names() -> None:
    """Every public call of the asyncio client exists in the blocking one."""
    own = {"see_through"}
    names = {name for name, _ in inspect.getmembers(lockservice_client.Client, callable) if name[0] != "_"} - own
    assert names <= set(dir(blocking.Client))


@pytest.mark.parametrize("unary", [False, True])
def test_calls_travel_as_in_asyncio(service: Any, unary: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Threads share a session, unless the client was made with `unary=True`."""
    with blocking.Client(service.address, unary=unary) as client:
        assert client.acquire(f"travel:{unary}").outcome == "granted"
        assert (client._client._asking._session is None) is unary


def test_a_block_holds_renews_and_gives_back(threads_client: blocking.Client) -> None:
    """The lease outlives its ttl while the thread works, and is free afterwards."""
    with threads_client.lock("blocking:1", ttl=0.4) as lease:
        time.sleep(1.0)
        lease.check()
        with pytest.raises(Held), threads_client.lock("blocking:1"):
            pass
    assert threads_client.acquire("blocking:1").outcome == "granted"
    assert [lock.resource for lock in threads_client.list_locks("blocking:1")] == ["blocking:1"]


def test_an_exception_is_a_retry(threads_client: blocking.Client) -> None:
    """A block that raises records nothing, one that ends does, and the exception is the caller's own."""
    with pytest.raises(KeyError), threads_client.once("blocking:2"):
        raise KeyError
    with threads_client.once("blocking:2") as claim:
        claim.result = b"x"
    with pytest.raises(Duplicate), threads_client.once("blocking:2"):
        pass


def test_a_loss_sets_the_event_and_check_raises(threads_client: blocking.Client, frozen: Any) -> None:
    """A thread cannot be cancelled: it is told before the lease ends, and the end of the block raises."""
    ttl = 1.2
    with pytest.raises(LeaseLost), threads_client.lock("blocking:3", ttl=ttl) as lease:  # noqa: PT012  the block is what is lost
        assert isinstance(lease.lost, threading.Event)
        frozen.freeze()
        # A renewal may just have come through.
        frozen_at = time.monotonic()
        assert lease.lost.wait(5)
        assert time.monotonic() < frozen_at + ttl
        with pytest.raises(LeaseLost):
            lease.check()


def test_many_threads_share_a_client(threads_client: blocking.Client) -> None:
    """Threads exclude each other over one client."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with threads_client.lock("blocking:4", wait=20):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    workers = [threading.Thread(target=work) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == 1
