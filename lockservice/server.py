"""The process: builds the replica and its ports, serves, drains on the first signal and exits on the second."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import grpc
import uvloop
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from lockservice.config import Settings
from lockservice.limits import MESSAGE_BYTES_MAX
from lockservice.metrics import Metrics
from lockservice.ops import Ops
from lockservice.replica import Replica
from lockservice.rpc import handlers, tls
from lockservice.rpc.admin_service import LockAdminService
from lockservice.rpc.health import Health
from lockservice.rpc.lock_service import LockService
from lockservice.shards.embedded import EmbeddedShards
from lockservice.v1 import lockservice_pb2 as pb

log = logging.getLogger(__name__)

_SERVICES: Final = pb.DESCRIPTOR.services_by_name
_SECOND_SIGNAL_EXIT: Final = 1
_OPTIONS: Final = (
    # Otherwise a second server binds the same port without a word and takes half of the connections.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Clients find new replicas when their connection ends; calls on the old one are finished first.
    ("grpc.max_connection_age_ms", 300_000),
    # Waiting calls keep their connection alive with pings.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class StartError(Exception):
    """The service cannot start; the message says what to change."""


class Server:
    """One lockservice process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._draining = False
        self._started = False
        self._replica: Replica | None = None
        self._stop = asyncio.Event()
        self._resources = AsyncExitStack()
        self.grpc_addr = ""
        self.ops_addr = ""

    def problems(self) -> list[str]:
        """Says why this process is not ready; nothing when it is."""
        if self._draining:
            return ["draining"]
        if not self._started or self._replica is None:
            return ["starting"]
        return self._replica.shard_map.problems()
