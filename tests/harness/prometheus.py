"""A real Prometheus that scrapes services of a test, with the shipped rules in a hurry."""

import asyncio
import json
import re
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket
from typing import Any, Self

import yaml

from harness.manifests import DEPLOY, program
from harness.service import until

SCRAPE_MS = 500
# Minutes of the shipped rules become so many milliseconds.
MINUTE_MS = 1_000


def hurried(text: str) -> str:
    """Shortens every `for` and every window of the shipped rules, and leaves all else as it is."""

    def shorter(found: re.Match[str]) -> str:
        number, unit = int(found["number"]), found["unit"]
        ms = number * MINUTE_MS // (1 if unit == "m" else 60)
        # A window has two scrapes at least, and some to spare on a busy machine.
        return f"{found['before']}{max(ms, 6 * SCRAPE_MS) if found['before'] == '[' else ms}ms"

    return re.sub(r"(?P<before>\[|for: )(?P<number>\d+)(?P<unit>[ms])\b", shorter, text)


class Prometheus:
    """Prometheus on a port of its own.

    Args:
        jobs: the operators' addresses of the replicas of each job.
    """

    def __init__(self, jobs: Mapping[str, Sequence[str]]) -> None:
        self._jobs = jobs
        self._leave = AsyncExitStack()

    async def __aenter__(self) -> Self:
        directory = Path(self._leave.enter_context(tempfile.TemporaryDirectory(prefix="ls-prometheus-")))
        (directory / "alerts.yaml").write_text(hurried((DEPLOY / "prometheus/alerts.yaml").read_text()))
        scrape = [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
            for job, addresses in self._jobs.items()
        ]
        times = {
            "scrape_interval": f"{SCRAPE_MS}ms",
            "scrape_timeout": f"{SCRAPE_MS}ms",
            "evaluation_interval": "500ms",
        }
        (directory / "prometheus.yml").write_text(
            yaml.safe_dump({"global": times, "rule_files": ["alerts.yaml"], "scrape_configs": scrape})
        )
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={self._address}",
            "--enable-feature=exemplar-storage",
            "--log.level=error",
        )
        self._leave.push_async_callback(process.wait)
        self._leave.callback(process.kill)
        await until(self._ready, "Prometheus is ready", within=30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave.aclose()

    async def _ready(self) -> bool:
        try:
            await asyncio.to_thread(self._read, "/-/ready")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def _read(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self._address}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    async def ask(self, path: str, **words: str) -> Any:
        """Asks its API, and returns the data of the answer."""
        query = urllib.parse.urlencode(words)
        return json.loads(await asyncio.to_thread(self._read, f"/api/v1/{path}?{query}"))["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluates an expression now."""
        found: list[dict[str, Any]] = (await self.ask("query", query=expression))["result"]
        return found

    async def firing(self) -> set[tuple[str, str]]:
        """Returns the alerts that fire, each with the job that it is about, "" for none."""
        alerts = (await self.ask("alerts"))["alerts"]
        return {
            (alert["labels"]["alertname"].removeprefix("Lockservice"), alert["labels"].get("job", ""))
            for alert in alerts
            if alert["state"] == "firing"
        }
