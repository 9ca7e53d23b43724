"""A service as a process of its own, to be killed, frozen and drained."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

import grpc

from harness.network import Host
from harness.service import Service
from lockservice.v1 import lockservice_pb2_grpc as pb_grpc


class ServiceProcess(Service):
    """`lockservice serve` on shards of the test."""

    def __init__(self, urls: Sequence[str], *flags: str, host: Host | None = None) -> None:
        shards = [word for number, url in enumerate(urls, 1) for word in ("--shard", f"s{number}={url}")]
        self._launcher = host.launcher if host else ()
        address = host.address if host else "127.0.0.1"
        self._words = (
            "--insecure",
            "--grpc-addr",
            f"{address}:0",
            "--ops-addr",
            "127.0.0.1:0",
            "--log-format",
            "json",
            *shards,
            *flags,
        )
        self.ready: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSERVICE_")}
        self.process = await asyncio.create_subprocess_exec(
            *self._launcher,
            sys.executable,
            "-m",
            "lockservice",
            "serve",
            *self._words,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if not line.startswith(b"{"):
                continue
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"].startswith("ready"):
                self.ready = self.lines[-1]
                break
        assert self.ready or await self.process.wait(), "neither ready nor failed"
        self._reading = asyncio.create_task(self._read())
        self.channel = grpc.aio.insecure_channel(self.ready.get("grpc", "127.0.0.1:1"))
        self.locks = pb_grpc.LockServiceStub(self.channel)
        self.admin = pb_grpc.LockAdminServiceStub(self.channel)
        return self

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if line.startswith(b"{"):
                self.lines.append(json.loads(line))

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        if self.process.returncode is None:
            self.signal(signal.SIGCONT)
            self.process.kill()
        await self.process.wait()
        await self._reading

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)
