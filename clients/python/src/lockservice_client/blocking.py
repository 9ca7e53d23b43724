"""The blocking client: the same names for code without an event loop.

The asyncio client runs on a thread of its own, which also renews leases while the caller works. A thread cannot be
stopped from outside, so a lost lease is told by `lease.lost` and `lease.check()`; call check() between the steps of
long work, and let the store compare the fencing token.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, Unpack

from lockservice_client import client, values
from lockservice_client.claim import ClaimBase
from lockservice_client.lease import LeaseBase
from lockservice_client.options import ConnectionOptions, LockOptions, OnceOptions
from lockservice_client.renewal import Renewal

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Lease(LeaseBase):
    """What a block of `Client.lock` knows of its lease.

    Attributes:
        lost: set when the lease is lost, before it can end at the service.
    """

    def __init__(self, grant: values.Grant, answer: values.Acquired, version: int | None, renewal: Renewal) -> None:
        super().__init__(grant, answer, version, renewal)
        self.lost = threading.Event()
        renewal.told.append(self.lost.set)


class Claim(ClaimBase):
    """What a block of `Client.once` knows of its claim.

    Attributes:
        lost: set when the claim is lost, before it can end at the service.
    """

    def __init__(self, key: str, answer: values.Deduped, renewal: Renewal) -> None:
        super().__init__(key, answer, renewal)
        self.lost = threading.Event()
        renewal.told.append(self.lost.set)


class _Block(Protocol[T_co]):
    async def __aenter__(self) -> T_co: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def abandon(self) -> None: ...


def _waits(
    method: Callable[Concatenate[client.Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Client", P], T]:
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    call.__doc__ = method.__doc__
    return call


class Client:
    """Talks to lockservice from threads. Takes what the asyncio client takes, and raises what it raises.

    Make it after a fork, not before: threads do not survive one.

    Example:
        with Client() as client, client.lock("order:1001", wait=10) as lease:
            write(order, fence=lease.fencing_token)
    """

    def __init__(self, address: str | None = None, **how: Unpack[ConnectionOptions]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lockservice-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(self._make(address, how))
        except BaseException:
            self._end()
            raise
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
    overview = _waits(client.Client.overview)

    def list_locks(self, prefix: str = "", *, limit: int = 1_000) -> list[values.Lock]:
        """Returns the resources that are held or kept for a retry, at most limit."""
        return self._run(_all(self._client.list_locks(prefix, limit=limit)))

    @contextmanager
    def lock(self, resource: str, **asked: Unpack[LockOptions]) -> Iterator[Lease]:
        """Holds a lease while a block runs. Arguments and refusals as in the asyncio client, without on_lost.

        Raises LeaseLost when the block ends without an error of its own after the lease was lost.
        """
        with self._inside(self._client.lock(resource, on_lost="event", **asked).giving(Lease)) as lease:
            yield lease

    @contextmanager
    def once(self, key: str, **asked: Unpack[OnceOptions]) -> Iterator[Claim]:
        """Processes an event once. Arguments and refusals as in the asyncio client, without on_lost."""
        with self._inside(self._client.once(key, on_lost="event", **asked).giving(Claim)) as claim:
            yield claim

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        self._run(self._client.close())
        self._end()

    def __enter__(self) -> Self:
        """Returns the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connections."""
        self.close()

    @contextmanager
    def _inside(self, block: "_Block[T]") -> Iterator[T]:
        try:
            entered = self._run(block.__aenter__())
        except BaseException:
            # Ctrl-C may come just after the grant: nobody must go on renewing it.
            self._loop.call_soon_threadsafe(block.abandon)
            raise
        try:
            yield entered
        except BaseException as error:
            self._run(block.__aexit__(type(error), error, error.__traceback__))
            raise
        self._run(block.__aexit__(None, None, None))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        finally:
            # Ctrl-C ends the wait, and with it the call.
            future.cancel()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    async def _make(address: str | None, how: ConnectionOptions) -> client.Client:
        return client.Client(address, **how)


async def _all(locks: AsyncIterator[values.Lock]) -> list[values.Lock]:
    return [lock async for lock in locks]
