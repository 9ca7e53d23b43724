"""What TLS costs: the same unary calls to a service in the clear and to one with TLS, in turns."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import grpc
from rich.console import Console

from lockservice_client._stubs import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc
from lockservice_stand.certificates import Certificates
from lockservice_stand.service import Replica, Service, Tls


class Cost(NamedTuple):
    """What a kind of service reached: operations a second, and its processor time of each in µs.

    The second tells what TLS costs on a machine that has other work too.
    """

    operations_s: float
    processor_us: float


COST_MAX: Final = 0.15
CALLERS: Final = 32
_KINDS: Final[tuple[Tls, ...]] = ("", "server", "mutual")


async def measure(console: Console, rounds: int, seconds: float) -> dict[str, Cost]:
    """Returns the medians in the clear, with TLS, and with client certificates too.

    Args:
        console: where rounds are shown.
        rounds: of which medians are taken; one more warms up.
        seconds: of each measurement.
    """
    seen: dict[str, list[Cost]] = {kind: [] for kind in _KINDS}
    with tempfile.TemporaryDirectory(prefix="lockservice-tls-") as directory:
        certificates = Certificates(Path(directory))
        services = {kind: _service(Path(directory), kind, certificates) for kind in _KINDS}
        try:
            for number in range(-1, rounds):
                # Another order each time, so that nobody always comes after the same.
                for kind in _KINDS if number % 2 else reversed(_KINDS):
                    found = await _cost(services[kind].replicas[0], kind, certificates, seconds)
                    if number >= 0:
                        seen[kind].append(found)
                        console.print(
                            f"round {number + 1}, {kind or 'clear'}: {found.operations_s:,.0f} operations/s"
                        )
        finally:
            for service in services.values():
                await asyncio.to_thread(service.stop)
    return {kind: Cost(*map(statistics.median, zip(*found, strict=True))) for kind, found in seen.items()}


def _service(directory: Path, kind: Tls, certificates: Certificates) -> Service:
    own = directory / (kind or "clear")
    own.mkdir()
    service = Service(own, replicas=1, tls=kind, certificates=certificates)
    service.start()
    return service


def _channel(kind: Tls, address: str, certificates: Certificates) -> Callable[[], grpc.aio.Channel]:
    if not kind:
        return lambda: grpc.aio.insecure_channel(address)
    own = (certificates.key.read_bytes(), certificates.cert.read_bytes()) if kind == "mutual" else (None, None)
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), *own)
    return lambda: grpc.aio.secure_channel(address, credentials)


async def _cost(replica: Replica, kind: Tls, certificates: Certificates, seconds: float) -> Cost:
    used, began = replica.processor_s, time.perf_counter()
    done = await _operations(_channel(kind, replica.address, certificates), seconds)
    return Cost(done / (time.perf_counter() - began), (replica.processor_s - used) * 1e6 / done)


async def _operations(connect: Callable[[], grpc.aio.Channel], seconds: float) -> int:
    async with connect() as channel:
        locks = pb_grpc.LockServiceStub(channel)
        await channel.channel_ready()
        done, until = 0, time.perf_counter() + seconds

        async def caller(number: int) -> None:
            nonlocal done
            name = f"tls:{number}"
            while time.perf_counter() < until:
                taken = await locks.Acquire(pb.AcquireRequest(resource=name, owner="tls"))
                await locks.Release(pb.ReleaseRequest(resource=name, lease_id=taken.lease.lease_id))
                done += 2

        await asyncio.gather(*map(caller, range(CALLERS)))
        return done
