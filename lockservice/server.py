"""A process with one replica: builds it and its ports, serves, and drains."""

import asyncio
import logging
import os
import time
from functools import partial
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

from lockservice import tracing
from lockservice.audit import Audit
from lockservice.config import Settings
from lockservice.console.routes import Console, Problems
from lockservice.console.source import Here
from lockservice.credentials import Credentials
from lockservice.limits import REFUSE_MS
from lockservice.metrics import Metrics
from lockservice.ops import Ops, Part
from lockservice.process import Process, StartError
from lockservice.quotas import Quotas
from lockservice.replica import Replica
from lockservice.rpc import handlers, tls, transport
from lockservice.rpc.admin_service import LockAdminService
from lockservice.rpc.admission import Admission
from lockservice.rpc.health import Health
from lockservice.rpc.lock_service import LockService
from lockservice.v1 import lockservice_pb2 as pb

log = logging.getLogger(__name__)

_SERVICES: Final = pb.DESCRIPTOR.services_by_name


class Server(Process):
    """One lockservice process, from its first port to its last answer."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._not_ready = "starting"
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector):
            collector(registry=registry)
        self._metrics = Metrics(registry)
        self._replica: Replica | None = None
        self._grpc: grpc.aio.Server | None = None
        self._lock_service: LockService | None = None
        self._admission: Admission | None = None
        self._health = Health(self.problems)

    def problems(self) -> list[str]:
        """Says why this process is not ready; nothing when it is."""
        if self._not_ready or self._replica is None:
            return [self._not_ready]
        return self._replica.shard_map.problems()

    async def start(self) -> None:
        """Opens everything, and tells what is not ready.

        Raises:
            StartError: a port is taken, a file cannot be read, or the embedded shards cannot run.
        """
        metrics = self._metrics
        self._watch_certificates()
        self._begin_tracing()
        credentials, audit = self._credentials(), Audit()
        quotas = Quotas(credentials, sharers=self._settings.workers)
        self._admission = Admission(credentials, quotas, audit)
        replica = self._replica = Replica(
            shards=await self._shards(),
            guarantees=self._settings.guarantees,
            hold_off_ms=self._settings.hold_off_ms,
            redis_timeout_ms=self._settings.redis_timeout_ms,
            version_retention_ms=self._settings.version_retention_ms,
            waiters_per_resource=self._settings.waiters_per_resource,
            waiters_per_replica=self._settings.waiters_per_replica,
            metrics=metrics,
            audit=audit,
            quotas=quotas,
        )

        async def collect() -> Collector:
            return metrics.registry

        async def problems() -> list[str]:
            return self.problems()

        here = Here(replica.shard_map, replica.inspection, audit)
        ops = Ops(self._settings.ops_addr, collect, problems, self._console(here, problems, credentials))
        self.ops_addr = await self._open("--ops-addr", ops.start, ops.stop)
        await replica.start()
        self._leave.push_async_callback(replica.stop)
        here.trend.start()
        self._leave.push_async_callback(here.trend.stop)
        await self._serve_grpc(replica, metrics, self._admission)
        self._not_ready = ""
        await self._health.start()
        self._leave.push_async_callback(self._health.stop)
        for problem in self.problems():
            log.warning("not ready", extra={"problem": problem})

    def _console(self, here: Here, problems: Problems, credentials: Credentials | None) -> Part:
        """Makes the console or, for a worker, what it tells the console of its supervisor."""
        return Console(here, self._access(credentials), problems)

    async def _serve_grpc(self, replica: Replica, metrics: Metrics, admission: Admission) -> None:
        settings = self._settings
        server = self._grpc = transport.server(settings.waiters_per_replica, shared=settings.workers > 1)
        lock_service = self._lock_service = LockService(replica.locks, replica.dedupe)
        admin_service = LockAdminService(replica.inspection)
        register = partial(handlers.register, server, metrics=metrics, admission=admission)
        register(_SERVICES["LockService"], lock_service, role="worker")
        register(_SERVICES["LockAdminService"], admin_service, role="operator")
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

    def _begin_tracing(self) -> None:
        try:
            begun = self._metrics.tracing = tracing.begin(os.environ)
        except tracing.TracingError as error:
            raise StartError(str(error)) from error
        if begun is not None:
            self._leave.push_async_callback(asyncio.to_thread, begun.stop)

    def _watch_certificates(self) -> None:
        for of, path in (("server", self._settings.tls_cert), ("client_ca", self._settings.tls_client_ca)):
            if path is not None:
                self._metrics.certificate_expiry.labels(of).set_function(partial(tls.expires_at_s, path))

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
        limit_ms = self._settings.drain_delay_ms + REFUSE_MS + self._settings.shutdown_grace_ms
        gone_at = time.monotonic() + limit_ms / 1000
        self._metrics.drain_overdue.set_function(lambda: max(0.0, time.monotonic() - gone_at))
        await self._health.look()
        await asyncio.sleep(self._settings.drain_delay_ms / 1000)
        if self._replica is not None:
            self._replica.drain()
        # gRPC cancels calls that have arrived but not begun when it stops; a moment of clear refusals sends clients
        # away first.
        if self._admission is not None:
            self._admission.close()
        if self._lock_service is not None:
            self._lock_service.drain()
        await asyncio.sleep(REFUSE_MS / 1000)
        if self._grpc is not None:
            await self._grpc.stop(self._settings.shutdown_grace_ms / 1000)
