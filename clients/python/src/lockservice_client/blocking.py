"""The blocking client: the same names for code without an event loop.

The asyncio client runs on a thread of its own, which also renews leases while the caller works. A thread cannot be
stopped from outside, so a lost lease is told by `lease.lost` and `lease.check()`; call check() between the steps of
long work, and let the store compare the fencing token.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from lockservice_client import client, values
from lockservice_client.claim import Claim
from lockservice_client.lease import Lease

P = ParamSpec("P")
T = TypeVar("T")


def _waits(
    method: Callable[Concatenate[client.Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Client", P], T]:
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    call.__doc__ = method.__doc__
    return call


class Client:
    """Talks to lockservice from threads. Takes what the asyncio client takes, and raises what it raises.

    Example:
        with Client() as client, client.lock("order:1001", wait=10) as lease:
            write(order, fence=lease.fencing_token)
    """

    def __init__(self, address: str | None = None, **how: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lockservice-client", daemon=True)
        self._thread.start()
        self._client = self._run(self._make(address, how))
        self.address = self._client.address

    acquire = _waits(client.Client.acquire)
    renew = _waits(client.Client.renew)
    release = _waits(client.Client.release)
    dedupe = _waits(client.Client.dedupe)
    first = _waits(client.Client.first)
    renew_claim = _waits(client.Client.renew_claim)
    settle = _waits(client.Client.settle)
    inspect = _waits(client.Client.inspect)
    force_release = _waits(client.Client.force_release)
    describe_shards = _waits(client.Client.describe_shards)

    def list_locks(self, prefix: str = "", *, limit: int = 1_000) -> list[values.Lock]:
        """Returns the resources that are held or kept for a retry, at most limit."""
        return self._run(_all(self._client.list_locks(prefix, limit=limit)))

    @contextmanager
    def lock(self, resource: str, **asked: Any) -> Iterator[Lease]:
        """Holds a lease while a block runs. Arguments and refusals as in the asyncio client, without on_lost."""
        with self._inside(self._client.lock(resource, on_lost="event", **asked)) as lease:
            yield lease

    @contextmanager
    def once(self, key: str, **asked: Any) -> Iterator[Claim]:
        """Processes an event once. Arguments and refusals as in the asyncio client, without on_lost."""
        with self._inside(self._client.once(key, on_lost="event", **asked)) as claim:
            yield claim

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """Returns the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connections."""
        self.close()

    @contextmanager
    def _inside(self, block: AbstractAsyncContextManager[T]) -> Iterator[T]:
        entered = self._run(block.__aenter__())
        try:
            yield entered
        except BaseException as error:
            self._run(block.__aexit__(type(error), error, error.__traceback__))
            raise
        self._run(block.__aexit__(None, None, None))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @staticmethod
    async def _make(address: str | None, how: dict[str, Any]) -> client.Client:
        return client.Client(address, **how)


async def _all(locks: AsyncIterator[values.Lock]) -> list[values.Lock]:
    return [lock async for lock in locks]
