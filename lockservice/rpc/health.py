"""grpc.health.v1: `liveness` says that the process runs; every other name says whether it wants calls."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

_LIVENESS: Final = "liveness"
_READINESS: Final = ("", "readiness", "lockservice.v1.LockService", "lockservice.v1.LockAdminService")
_LOOK_S: Final = 0.1


class Health:
    """Answers health checks, and tells those who watch when readiness changes.

    Args:
        problems: says why this replica is not ready; nothing when it is.
    """

    def __init__(self, problems: Callable[[], list[str]]) -> None:
        self._problems = problems
        self._servicer = aio.HealthServicer()
        self._ready: bool | None = None
        self._task: asyncio.Task[None] | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Begins to follow readiness."""
        await self._servicer.set(_LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        await self.look()
        self._task = asyncio.create_task(self._follow(), name="health")

    async def stop(self) -> None:
        """Stops following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """Takes over what readiness is now."""
        ready = not self._problems()
        if ready == self._ready:
            return
        self._ready = ready
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in _READINESS:
            await self._servicer.set(name, status)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.look()
