"""The parent of several workers that share one port: it has their settings, their shards, their ops port and signals.

The kernel hands every new connection to one of the workers. Each is a whole replica, so calls that wait in one are
handed leases that callers of another release.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client.registry import Collector

from lockservice.config import Settings
from lockservice.console.relay import Relay
from lockservice.console.routes import Console
from lockservice.merge import Merged, merge
from lockservice.ops import Ops
from lockservice.process import Process, StartError
from lockservice.worker_process import WorkerProcess

log = logging.getLogger(__name__)


def reserve(address: str) -> socket.socket:
    """Takes HOST:PORT for the workers, without listening; port 0 becomes a free one.

    Raises:
        OSError: somebody else has it.
    """
    host, _, port = address.rpartition(":")
    family, kind, protocol, _, resolved = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]

    def bound(*options: int) -> socket.socket:
        taken = socket.socket(family, kind, protocol)
        try:
            for option in options:
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
            taken.bind(resolved)
        except OSError:
            taken.close()
            raise
        return taken

    # Another service that shares its port would give half of its connections to us, and we to it.
    bound(socket.SO_REUSEADDR).close()
    with contextlib.suppress(OSError):
        return bound(socket.SO_REUSEPORT)
    # Connections that a server with one process has just closed are in the way.
    return bound(socket.SO_REUSEADDR, socket.SO_REUSEPORT)


class Supervisor(Process):
    """Keeps the workers running, and speaks for all of them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._not_ready = "starting"
        self._workers: list[WorkerProcess] = []
        self._keeping: list[asyncio.Task[None]] = []
        self._private: TemporaryDirectory[str] | None = None

    async def start(self) -> None:
        """Opens everything, and returns once every worker serves.

        Raises:
            StartError: a port is taken, the embedded shards cannot run, or a worker cannot start.
        """
        settings = self._settings
        self.grpc_addr = self._reserve()
        given = replace(settings, grpc_addr=self.grpc_addr, shards=await self._shards())
        private = self._private = TemporaryDirectory(prefix="lockservice-", ignore_cleanup_errors=True)
        directory = Path(self._leave.enter_context(private))
        relay = Relay(lambda: [worker.tell for worker in self._workers])
        console = Console(relay, self._access(self._credentials()), self._problems)
        ops = Ops(settings.ops_addr, self._metrics, self._problems, console)
        self.ops_addr = await self._open("--ops-addr", ops.start, ops.stop)
        self._workers = [WorkerProcess(number, given, directory) for number in range(1, settings.workers + 1)]
        self._leave.push_async_callback(self._end)
        starts = (worker.start() for worker in self._workers)
        # All of them have ended before one error is raised, so that every process is found.
        failures = [error for error in await asyncio.gather(*starts, return_exceptions=True) if error]
        if failures:
            raise StartError(str(failures[0])) from failures[0]
        self._keeping = [asyncio.create_task(worker.keep()) for worker in self._workers]
        self._not_ready = ""

    def _reserve(self) -> str:
        address = self._settings.grpc_addr
        try:
            reserved = self._leave.enter_context(reserve(address))
        except OSError as error:
            taken = "address already in use" if error.errno == errno.EADDRINUSE else str(error)
            raise StartError(f"--grpc-addr {address}: {taken}") from error
        return f"{address.rpartition(':')[0]}:{reserved.getsockname()[1]}"

    async def drain(self) -> None:
        """Has all workers drain at once, and returns when they are gone."""
        log.info("draining")
        self._not_ready = "draining"
        for worker in self._workers:
            worker.signal_drain()
        await asyncio.gather(*self._keeping)

    def abandon(self) -> None:
        """Kills the workers and exits at once."""
        for worker in self._workers:
            worker.kill()
        if self._private is not None:
            self._private.cleanup()
        super().abandon()

    async def _end(self) -> None:
        for worker in self._workers:
            worker.kill()
        await asyncio.gather(*(worker.ended() for worker in self._workers))

    async def _problems(self) -> list[str]:
        if self._not_ready:
            return [self._not_ready]
        told = await asyncio.gather(*(worker.problems() for worker in self._workers))
        return [problem for problems in told for problem in problems]

    async def _metrics(self) -> Collector:
        told = await asyncio.gather(*(worker.metrics() for worker in self._workers))
        return Merged(await asyncio.to_thread(merge, told))
