"""A real Prometheus scrapes running services: faults raise their alerts, and the dashboard has something to show."""

import math
import time
from typing import Any

import pytest

from deploy.test_grafana import queries
from harness.ailing import FAULTS, healthy, job_of, running
from harness.collector import Collector
from harness.prometheus import Prometheus
from harness.service import until

# These show something only after a fault, or with TLS; that they are spelled right test_grafana.py sees.
ONLY_WITH_A_FAULT = {
    "Refusals by reason": "nothing is refused",
    "Failed script calls": "none fails",
    "Certificate runs out in": "it serves without TLS",
}
# What a busy machine under test may do to a service that has no fault.
OF_THE_MACHINE = {"ShardSlow"}


async def test_faults_raise_their_alerts_and_health_none() -> None:
    """Each fault is noticed, none is held against the healthy service, and when all are gone that is noticed too."""
    expected = {(alert, job_of(fault)) for fault, alerts in FAULTS.items() for alert in alerts}
    async with running(healthy, *FAULTS) as jobs, Prometheus(jobs) as prometheus:

        async def all_fire() -> bool:
            return expected <= await prometheus.firing()

        try:
            await until(all_fire, "every alert", within=50)
        except AssertionError:
            raise AssertionError(f"missing: {expected - await prometheus.firing()}") from None
        of_the_healthy = {alert for alert, job in await prometheus.firing() if job == job_of(healthy)}
        assert of_the_healthy <= OF_THE_MACHINE
        assert ("Absent", "") not in await prometheus.firing()


async def test_the_dashboard_has_something_to_show() -> None:
    """Every query of it, asked of a Prometheus that watches a working service, has an answer."""
    async with running(healthy) as jobs, Prometheus(jobs) as prometheus:
        asked = [
            (title, text.replace("$job", job_of(healthy)).replace("$__rate_interval", "10s"))
            for title, text in queries()
        ]

        async def empty() -> list[str]:
            found = []
            for title, text in asked:
                values = [float(sample["value"][1]) for sample in await prometheus.query(text)]
                if not any(math.isfinite(value) for value in values):
                    found.append(f"{title}: {text}")
            return found

        async def only_those() -> bool:
            return {text.split(":")[0] for text in await empty()} <= ONLY_WITH_A_FAULT.keys()

        try:
            await until(only_those, "an answer to every query", within=30)
        except AssertionError:
            raise AssertionError(await empty()) from None


async def test_nobody_there_is_noticed() -> None:
    """When the last replica has gone, somebody is told."""
    async with running(healthy) as jobs:
        addresses = jobs
    async with Prometheus(addresses) as prometheus:

        async def absent() -> bool:
            return ("Absent", "") in await prometheus.firing()

        await until(absent, "the alert", within=20)


async def test_prometheus_keeps_exemplars(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a latency that Prometheus has scraped there is a way to the trace of one such call."""
    async with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        async with running(healthy) as jobs, Prometheus(jobs) as prometheus:
            query = "lockservice_acquire_duration_seconds_bucket"

            async def exemplars() -> list[Any]:
                found: list[Any] = await prometheus.ask(
                    "query_exemplars", query=query, start="0", end=str(time.time())
                )
                return found

            await until(exemplars, "an exemplar", within=20)
            exemplar = (await exemplars())[0]["exemplars"][0]
    assert len(exemplar["labels"]["trace_id"]) == 32
