"""Services with one fault each, and a healthy one, for whoever watches them."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc

from harness.clock import Clock
from harness.redis_server import RedisServer
from harness.service import Service, settings
from lockservice.guarantee import Guarantees
from lockservice.server import Server
from lockservice.v1 import lockservice_pb2 as pb
from lockservice_stand.certificates import Certificates

Addresses = list[str]
Fault = Callable[[AsyncExitStack], Awaitable[Addresses]]


async def again(work: Callable[[int], Awaitable[object]], pause_s: float = 0.02) -> None:
    """Does something again and again, whatever comes of it."""
    for number in itertools.count():
        with contextlib.suppress(grpc.aio.AioRpcError):
            await work(number)
        await asyncio.sleep(pause_s)


def keep_doing(leave: AsyncExitStack, work: Callable[[int], Awaitable[object]], pause_s: float = 0.02) -> None:
    """Does something until the test is over."""
    leave.callback(asyncio.create_task(again(work, pause_s)).cancel)


def shard(leave: AsyncExitStack, **options: str) -> RedisServer:
    """Starts a Redis."""
    server = RedisServer(**options)  # type: ignore[arg-type]  # its options are text
    leave.callback(server.remove)
    return server


async def healthy(leave: AsyncExitStack) -> Addresses:
    """Two replicas on two shards, whose workers make every call, wait, and hand over."""
    urls = [shard(leave).url, shard(leave).url]
    one, other = [await leave.enter_async_context(Service(urls)) for _ in range(2)]

    async def work(number: int) -> None:
        lease = await one.grant(f"order:{number}")
        waiting = other.waiting(f"order:{number}", "next")
        await asyncio.sleep(0.01)
        await one.renew(lease)
        await one.release(lease)
        await other.release((await waiting).lease)
        kept = await one.grant(f"kept:{number}")
        await one.release(kept, retry=True, hold=0.1)
        claim = await one.dedupe(f"event:{number}", claim_ttl=10)
        await one.locks.RenewClaim(pb.RenewClaimRequest(key=f"event:{number}", claim_id=claim.claim_id))
        await one.settle(f"event:{number}", claim.claim_id)

    async def all_day() -> None:
        for number in itertools.count():
            await work(number)

    leave.callback(asyncio.create_task(all_day()).cancel)
    return [one.server.ops_addr, other.server.ops_addr]


async def shard_down(leave: AsyncExitStack) -> Addresses:
    """A shard that has been killed, and is asked."""
    server = shard(leave)
    service = await leave.enter_async_context(Service([server.url, shard(leave).url]))
    server.stop()
    keep_doing(leave, lambda number: service.acquire(f"order:{number}"))
    return [service.server.ops_addr]


async def slow(leave: AsyncExitStack) -> Addresses:
    """A shard that stops for 20 ms again and again."""
    server = shard(leave)
    service = await leave.enter_async_context(Service([server.url]))
    connection = server.connect()
    leave.callback(connection.close)
    keep_doing(leave, lambda _: asyncio.to_thread(connection.execute_command, "DEBUG", "SLEEP", "0.02"), 0.001)
    keep_doing(leave, lambda number: service.acquire(f"order:{number}"))
    return [service.server.ops_addr]


async def expiring(leave: AsyncExitStack) -> Addresses:
    """Holders and claimants that never come back."""
    service = await leave.enter_async_context(Service([shard(leave).url]))
    keep_doing(leave, lambda number: service.acquire(f"order:{number}", ttl=0.1))
    keep_doing(leave, lambda number: service.dedupe(f"event:{number}", claim_ttl=0.1))
    # Whoever waits in a bucket has it swept often.
    for number in range(256):
        await service.grant(f"held:{number}", ttl=300)
        leave.callback(service.waiting(f"held:{number}", wait=300).cancel)
    return [service.server.ops_addr]


async def queue_full(leave: AsyncExitStack) -> Addresses:
    """A replica with nine of the ten waiting calls that it may have."""
    service = await leave.enter_async_context(Service([shard(leave).url], waiters_per_replica=10))
    await service.grant(ttl=300)
    for _ in range(9):
        leave.callback(service.waiting(wait=300).cancel)
    return [service.server.ops_addr]


async def evicting(leave: AsyncExitStack) -> Addresses:
    """A shard that somebody gave a policy which deletes live leases."""
    server = shard(leave)
    service = await leave.enter_async_context(Service([server.url]))
    with server.connect() as connection:
        connection.config_set("maxmemory-policy", "allkeys-lru")
    return [service.server.ops_addr]


async def nearly_full(leave: AsyncExitStack) -> Addresses:
    """A shard that uses 90 % of its memory."""
    server = shard(leave)
    service = await leave.enter_async_context(Service([server.url]))
    with server.connect() as connection:
        connection.config_set("maxmemory", int(connection.info()["used_memory"] / 0.9))
    return [service.server.ops_addr]


async def holding_off(leave: AsyncExitStack) -> Addresses:
    """An exclusive shard that has come back as another process, and is asked for leases."""
    server = shard(leave)
    exclusive = Guarantees({}, {"": "exclusive"})
    service = await leave.enter_async_context(Service([server.url], guarantees=exclusive, hold_off_ms=300_000))
    keep_doing(leave, lambda number: service.acquire(f"order:{number}"))
    server.stop()
    server.start()
    return [service.server.ops_addr]


async def wrong_clock(leave: AsyncExitStack) -> Addresses:
    """A shard whose clock is 0.4 s ahead."""
    clock = leave.enter_context(Clock())
    server = RedisServer(launcher=clock.launcher)
    leave.callback(server.remove)
    clock.set_offset(0.4)
    service = await leave.enter_async_context(Service([server.url]))
    return [service.server.ops_addr]


async def old_certificate(leave: AsyncExitStack) -> Addresses:
    """A replica whose certificate runs out in a day."""
    redis = shard(leave)
    cert, key = Certificates(redis.directory).server(expired=False)
    server = Server(settings([redis.url], tls_cert=cert, tls_key=key))
    await server.start()
    leave.push_async_callback(server.stop)
    return [server.ops_addr]


async def stuck_drain(leave: AsyncExitStack) -> Addresses:
    """A replica that drains, and a part of which never ends."""
    service = await leave.enter_async_context(Service([shard(leave).url], shutdown_grace_ms=0))
    for_ever = asyncio.Event()

    async def never(_: float | None) -> None:
        await for_ever.wait()

    assert service.server._grpc is not None
    service.server._grpc.stop, really = never, service.server._grpc.stop  # type: ignore[method-assign]
    leave.callback(lambda: setattr(service.server._grpc, "stop", really))
    leave.callback(asyncio.create_task(service.server.drain()).cancel)
    return [service.server.ops_addr]


async def gone(leave: AsyncExitStack) -> Addresses:
    """A replica that is gone, and one that is there."""
    urls = [shard(leave).url]
    service = await leave.enter_async_context(Service(urls))
    async with Service(urls) as other:
        address = other.server.ops_addr
    return [address, service.server.ops_addr]


# What Prometheus must find, by the fault.
FAULTS: dict[Fault, set[str]] = {
    shard_down: {"ShardDown", "Errors"},
    slow: {"ShardSlow"},
    expiring: {"LeasesExpire", "ClaimsExpire"},
    queue_full: {"QueueFull"},
    evicting: {"Evicts"},
    nearly_full: {"Memory"},
    holding_off: {"HoldOff"},
    wrong_clock: {"Clock"},
    old_certificate: {"Certificate"},
    stuck_drain: {"DrainStuck"},
    gone: {"ReplicaDown", "OneReplica"},
}


def job_of(fault: Fault) -> str:
    """Names the job under which Prometheus scrapes it."""
    return f"lockservice-{fault.__name__}"


@asynccontextmanager
async def running(*faults: Fault) -> AsyncIterator[dict[str, Addresses]]:
    """Runs services, and gives the addresses of each one's replicas by its job."""
    async with AsyncExitStack() as leave:
        yield {job_of(fault): await fault(leave) for fault in faults}
