"""Envoy as compose.yaml runs it, in front of replicas of a test."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from harness.manifests import DEPLOY

START_S = 20.0


def configuration(replicas: Sequence[str]) -> dict[str, Any]:
    """Reads envoy.yaml, with addresses of this machine in place of names and ports of containers."""
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "envoy/envoy.yaml").read_text())
    static = read["static_resources"]
    static["listeners"][0]["address"] = _address("127.0.0.1:0")
    (cluster,) = static["clusters"]
    (group,) = cluster["load_assignment"]["endpoints"]
    group["lb_endpoints"] = [{"endpoint": {"address": _address(replica)}} for replica in replicas]
    read["admin"]["address"] = _address("127.0.0.1:0")
    return read


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


class Balancer:
    """A running Envoy.

    Attributes:
        address: where callers call.
    """

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self._config = directory / "envoy.json"
        self._config.write_text(json.dumps(config))
        self._admin_file = directory / "admin"
        self.address = ""

    async def __aenter__(self) -> Self:
        words = ["-c", str(self._config), "--admin-address-path", str(self._admin_file)]
        self._process = await asyncio.create_subprocess_exec(
            Path(sys.executable).parent / "envoy",
            *words,
            *("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn"),
        )
        async with asyncio.timeout(START_S):
            while not await self._ready():
                assert self._process.returncode is None, "Envoy does not start"
                await asyncio.sleep(0.05)
        listeners = json.loads(await self.ask("/listeners?format=json"))["listener_statuses"]
        found = listeners[0]["local_address"]["socket_address"]
        self.address = f"{found['address']}:{found['port_value']}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def ask(self, path: str) -> str:
        """Reads a page of Envoy's own."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self._admin_file.read_text()}{path}") as answer,
        ):
            answer.raise_for_status()
            return await answer.text()

    async def _ready(self) -> bool:
        try:
            return (await self.ask("/ready")).startswith("LIVE")
        except (OSError, aiohttp.ClientError):
            return False

    async def healthy(self) -> int:
        """Counts the replicas that it sends calls to."""
        stats = await self.ask("/stats?filter=membership_healthy")
        return int(stats.partition("cluster.lockservice.membership_healthy: ")[2].split()[0])
