"""What every process of the service goes through: the start, the ready line, the drain, the exit code."""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import uvloop

from lockservice.auth_file import AuthFileError
from lockservice.config import Settings, ShardUrl
from lockservice.console.access import Access
from lockservice.credentials import Credentials
from lockservice.shards.embedded import EmbeddedError, EmbeddedShards

log = logging.getLogger(__name__)

_EXIT_FAILURE: Final = 1
# Objects made and not freed since the last look for cycles; Python's default is 700.
_GC_ALLOCATIONS: Final = 20_000


class StartError(Exception):
    """The service cannot start; the message says what to change."""


class Process(ABC):
    """A process with settings, ports, and shards that it may run itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._leave = AsyncExitStack()
        self._shards_described = ""
        self.grpc_addr = ""
        self.ops_addr = ""

    @abstractmethod
    async def start(self) -> None:
        """Opens everything.

        Raises:
            StartError: a port is taken, a file cannot be read, or the embedded shards cannot run.
        """

    def announce(self) -> None:
        """Says `ready`, once, where operators and scripts look for it."""
        log.info("ready", extra={"grpc": self.grpc_addr, "ops": self.ops_addr, "shards": self._shards_described})

    @abstractmethod
    async def drain(self) -> None:
        """Says that it is not ready, sends waiting calls on, and finishes the calls that run."""

    def abandon(self) -> None:
        """Exits at once; the embedded shards end with this process."""
        os._exit(_EXIT_FAILURE)

    async def stop(self) -> None:
        """Closes everything that start opened."""
        await self._leave.aclose()

    async def _shards(self) -> tuple[ShardUrl, ...]:
        """Returns the shards that are named, or starts embedded ones."""
        shards, kind = self._settings.shards, ""
        if not shards:
            embedded = EmbeddedShards(self._settings.data_dir, self._settings.embedded_shards)
            try:
                shards = await embedded.start()
            except EmbeddedError as error:
                raise StartError(str(error)) from error
            self._leave.push_async_callback(embedded.stop)
            kind = f" ({embedded.description})"
        self._shards_described = " ".join(shard.name for shard in shards) + kind
        return shards

    def _credentials(self) -> Credentials | None:
        """Reads the credentials, if any are configured, and takes over each new version of them."""
        path = self._settings.auth_file
        if path is None:
            return None
        try:
            credentials = Credentials(path)
        except (AuthFileError, OSError) as error:
            raise StartError(f"--auth-file {path}: {error}") from error
        following = asyncio.create_task(credentials.follow(), name="credentials")
        self._leave.callback(following.cancel)
        return credentials

    def _access(self, credentials: Credentials | None) -> Access:
        """Says who may use the console."""
        return Access(self._settings.ops_addr, insecure=self._settings.insecure, credentials=credentials)

    async def _open(
        self, setting: str, start: Callable[[], Awaitable[str]], stop: Callable[[], Awaitable[None]]
    ) -> str:
        try:
            address = await start()
        except OSError as error:
            raise StartError(f"{setting}: {error}") from error
        self._leave.push_async_callback(stop)
        return address


def _spare_the_collector() -> None:
    """Makes Python's cyclic garbage collector look less often, and not at what lives as long as the process.

    Calls leave hardly any cycles behind, and looking for them at the default rate took a seventh of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS)


async def _run(process: Process) -> int:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if asked_to_stop.is_set():
            # Whoever asks twice does not want to wait.
            process.abandon()
        asked_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await process.start()
        _spare_the_collector()
        process.announce()
        await asked_to_stop.wait()
        await process.drain()
    except StartError as error:
        log.error("cannot start: %s", error)  # noqa: TRY400  the user needs the message, not the trace
        return _EXIT_FAILURE
    finally:
        await process.stop()
    log.info("stopped")
    return 0


def _allow_connections() -> None:
    """Asks for as many open files as this process may have: each connection is one, and 1,024 are soon taken."""
    # Not on Windows, and macOS names a hard limit that it does not grant.
    with contextlib.suppress(ImportError, ValueError, OSError):
        resource = importlib.import_module("resource")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(process: Process) -> int:
    """Serves until a signal and returns the exit code."""
    _allow_connections()
    return uvloop.run(_run(process))
