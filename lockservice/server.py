"""The process: builds the replica and its ports, serves, drains on the first signal and exits on the second."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import grpc
import uvloop
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from lockservice.config import Settings, ShardUrl
from lockservice.errors import Draining
from lockservice.limits import MESSAGE_BYTES_MAX, REFUSE_MS, WAITERS_A_CONNECTION
from lockservice.metrics import Metrics
from lockservice.ops import Ops
from lockservice.replica import Replica
from lockservice.rpc import handlers, tls
from lockservice.rpc.admin_service import LockAdminService
from lockservice.rpc.health import Health
from lockservice.rpc.lock_service import LockService
from lockservice.shards.embedded import EmbeddedError, EmbeddedShards
from lockservice.v1 import lockservice_pb2 as pb

log = logging.getLogger(__name__)

_SERVICES: Final = pb.DESCRIPTOR.services_by_name
_EXIT_FAILURE: Final = 1
_OPTIONS: Final = (
    # Otherwise a second server binds the same port without a word and takes half of the connections.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # A connection may begin very many waiting calls at once; gRPC would cancel what exceeds its own defaults.
    ("grpc.server.max_pending_requests", WAITERS_A_CONNECTION),
    ("grpc.server.max_pending_requests_hard_limit", 2 * WAITERS_A_CONNECTION),
    # Clients find new replicas when their connection ends; calls on the old one are finished first.
    ("grpc.max_connection_age_ms", 300_000),
    # Waiting calls keep their connection alive with pings.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class StartError(Exception):
    """The service cannot start; the message says what to change."""


class Server:
    """One lockservice process, from its first port to its last answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._not_ready = "starting"
        self._closed = False
        self._replica: Replica | None = None
        self._leave = AsyncExitStack()
        self._grpc: grpc.aio.Server | None = None
        self._health = Health(self.problems)
        self.grpc_addr = ""
        self.ops_addr = ""

    def problems(self) -> list[str]:
        """Says why this process is not ready; nothing when it is."""
        if self._not_ready or self._replica is None:
            return [self._not_ready]
        return self._replica.shard_map.problems()

    def _admit(self) -> None:
        if self._closed:
            raise Draining("this replica is going away")

    async def start(self) -> None:
        """Opens everything and says `ready`.

        Raises:
            StartError: a port is taken, a file cannot be read, or the embedded shards cannot run.
        """
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        metrics = Metrics(registry)
        shards, kind = await self._shards()
        replica = self._replica = Replica(
            shards=shards,
            redis_timeout_ms=self._settings.redis_timeout_ms,
            version_retention_ms=self._settings.version_retention_ms,
            waiters_per_resource=self._settings.waiters_per_resource,
            waiters_per_replica=self._settings.waiters_per_replica,
            metrics=metrics,
        )
        ops = Ops(self._settings.ops_addr, registry, self.problems, replica.inspection.shards)
        self.ops_addr = await self._open("--ops-addr", ops.start, ops.stop)
        await replica.start()
        self._leave.push_async_callback(replica.stop)
        await self._serve_grpc(replica, metrics)
        self._not_ready = ""
        await self._health.start()
        self._leave.push_async_callback(self._health.stop)
        names = " ".join(shard.name for shard in shards)
        described = f"{names} ({kind})" if kind else names
        log.info("ready", extra={"grpc": self.grpc_addr, "ops": self.ops_addr, "shards": described})
        for problem in self.problems():
            log.warning("not ready", extra={"problem": problem})

    async def _shards(self) -> tuple[tuple[ShardUrl, ...], str]:
        if self._settings.shards:
            return self._settings.shards, ""
        embedded = EmbeddedShards(self._settings.data_dir, self._settings.embedded_shards)
        try:
            shards = await embedded.start()
        except EmbeddedError as error:
            raise StartError(str(error)) from error
        self._leave.push_async_callback(embedded.stop)
        return shards, embedded.description

    async def _open(
        self, setting: str, start: Callable[[], Awaitable[str]], stop: Callable[[], Awaitable[None]]
    ) -> str:
        try:
            address = await start()
        except OSError as error:
            raise StartError(f"{setting}: {error}") from error
        self._leave.push_async_callback(stop)
        return address

    async def _serve_grpc(self, replica: Replica, metrics: Metrics) -> None:
        server = self._grpc = grpc.aio.server(options=_OPTIONS)
        lock_service = LockService(replica.locks, replica.dedupe)
        handlers.register(server, _SERVICES["LockService"], lock_service, metrics, self._admit)
        handlers.register(
            server, _SERVICES["LockAdminService"], LockAdminService(replica.inspection), metrics, self._admit
        )
        self._health.register(server)
        if self._settings.reflection:
            names = [service.full_name for service in _SERVICES.values()]
            reflection.enable_server_reflection([*names, "grpc.health.v1.Health", reflection.SERVICE_NAME], server)
        host = self._settings.grpc_addr.rpartition(":")[0]
        try:
            port = self._bind(server)
        except (OSError, RuntimeError) as error:
            raise StartError(f"--grpc-addr {self._settings.grpc_addr}: {error}") from error
        self.grpc_addr = f"{host}:{port}"
        await server.start()
        self._leave.push_async_callback(server.stop, 0)

    def _bind(self, server: grpc.aio.Server) -> int:
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return server.add_insecure_port(settings.grpc_addr)
        credentials = tls.credentials(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        return server.add_secure_port(settings.grpc_addr, credentials)

    async def drain(self) -> None:
        """Says that it is not ready, sends waiting calls on, and finishes the calls that run."""
        log.info("draining")
        self._not_ready = "draining"
        await self._health.look()
        await asyncio.sleep(self._settings.drain_delay_ms / 1000)
        if self._replica is not None:
            self._replica.drain()
        # gRPC cancels calls that have arrived but not begun when it stops; a moment of clear refusals sends clients
        # away first.
        self._closed = True
        await asyncio.sleep(REFUSE_MS / 1000)
        if self._grpc is not None:
            await self._grpc.stop(self._settings.shutdown_grace_ms / 1000)

    async def stop(self) -> None:
        """Closes everything that start opened."""
        await self._leave.aclose()


async def _run(settings: Settings) -> int:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if asked_to_stop.is_set():
            # Whoever asks twice does not want to wait; the embedded shards end with this process.
            os._exit(_EXIT_FAILURE)
        asked_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    server = Server(settings)
    try:
        await server.start()
        await asked_to_stop.wait()
        await server.drain()
    except StartError as error:
        log.error("cannot start: %s", error)  # noqa: TRY400  the user needs the message, not the trace
        return _EXIT_FAILURE
    finally:
        await server.stop()
    log.info("stopped")
    return 0


def serve(settings: Settings) -> int:
    """Serves until a signal and returns the exit code."""
    return uvloop.run(_run(settings))
