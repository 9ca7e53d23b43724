"""Traces: spans of calls and of operations in their caller's trace, exemplars, and nothing when nobody asks."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from harness.collector import Collector, attributes
from harness.redis_server import RedisServer
from harness.service import Service, refused, until
from lockservice import tracing
from lockservice.v1 import lockservice_pb2 as pb
from lockservice_client import Client

# The example of W3C Trace Context.
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector, and the variables that name it."""
    async with Collector() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "locks-of-a-test")
        yield made


@pytest.fixture
async def service(collector: Collector, shard: str) -> AsyncIterator[Service]:
    """A replica that sends its spans there."""
    async with Service([shard]) as made:
        yield made


@pytest.fixture
def shard() -> Iterator[str]:
    """A Redis."""
    server = RedisServer()
    yield server.url
    server.remove()


async def acquire(service: Service, traceparent: str) -> pb.AcquireResponse:
    """Acquires in a caller's trace."""
    request = pb.AcquireRequest(resource="order:1", owner="worker")
    return await service.locks.Acquire(request, metadata=(("traceparent", traceparent),))


async def test_a_call_is_a_span_in_its_callers_trace(service: Service, collector: Collector) -> None:
    """It is named like the method, has the code, the shard, and the script with its shard as an event."""
    await acquire(service, SAMPLED)
    await until(lambda: collector.named("Acquire"), "the span")

    (span,) = collector.named("Acquire")
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, PARENT, span.SPAN_KIND_SERVER)
    found = attributes(span)
    assert found["rpc.service"] == "lockservice.v1.LockService"
    assert found["rpc.method"] == "Acquire"
    assert found["rpc.response.status_code"] == "OK"
    assert found["lockservice.shard"] == "s1"
    (event,) = span.events
    assert event.name == "lockservice.script"
    assert attributes(event)["lockservice.script"] == "acquire"
    assert 0 < attributes(event)["lockservice.seconds"] < 5
    assert collector.services == {"locks-of-a-test"}


async def test_a_wait_and_a_hand_off_are_events(service: Service, collector: Collector) -> None:
    """The span of a call that queued says for how long, and how soon it was answered after the release."""
    lease = await service.grant()
    waiting = service.waiting()
    await service.queued(1)
    await service.release(lease)
    await waiting
    await until(lambda: len(collector.named("Acquire")) == 2, "both spans")

    events = {event.name for span in collector.named("Acquire") for event in span.events}
    assert events == {"lockservice.script", "lockservice.wait", "lockservice.handoff"}


async def test_a_refused_call_says_its_code(service: Service, collector: Collector) -> None:
    """A caller's mistake is no error of the server, whose span only has the code."""
    await refused(service.acquire(""))
    await until(lambda: collector.named("Acquire"), "the span")

    (span,) = collector.named("Acquire")
    assert attributes(span)["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert span.status.code == span.status.STATUS_CODE_UNSET


@pytest.mark.parametrize("unary", [False, True])
async def test_the_client_carries_its_trace_along(service: Service, collector: Collector, *, unary: bool) -> None:
    """Each of its calls is a child of the span that was current, though all of them share a stream."""
    tracer = TracerProvider().get_tracer("caller")
    async with Client(service.server.grpc_addr, unary=unary) as client:

        async def work(name: str) -> str:
            with tracer.start_as_current_span(name) as span:
                async with client.lock(name):
                    pass
            return trace.format_trace_id(span.get_span_context().trace_id)

        traces = await asyncio.gather(work("order:1"), work("order:2"))
        async with client.lock("order:3"):
            pass
    await until(lambda: len(collector.named("Acquire")) == 3 == len(collector.named("Release")), "all spans")

    for method in ("Acquire", "Release"):
        found = [span.trace_id.hex() for span in collector.named(method)]
        assert set(traces) < set(found)
        assert len(set(found)) == 3


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-01", f"{SAMPLED}x", "x" * 5_000])
async def test_a_bad_traceparent_is_ignored(service: Service, collector: Collector, traceparent: str) -> None:
    """It changes nothing for the call, whose span begins a trace of its own."""
    assert (await acquire(service, traceparent)).outcome == pb.ACQUIRE_OUTCOME_GRANTED
    await until(lambda: collector.named("Acquire"), "the span")
    assert collector.named("Acquire")[0].trace_id.hex() != TRACE


async def _openmetrics(service: Service, headers: dict[str, str]) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{service.server.ops_addr}/metrics", headers=headers) as answer,
    ):
        return await answer.text()


async def test_exemplars_name_a_sampled_trace(service: Service) -> None:
    """Latency histograms name the trace of an observation, where OpenMetrics is asked for."""
    await acquire(service, SAMPLED)
    text = await _openmetrics(service, OPENMETRICS)

    with_trace = {line.split("_bucket")[0] for line in text.splitlines() if f'trace_id="{TRACE}"' in line}
    assert with_trace == {
        "grpc_server_handling_seconds",
        "lockservice_acquire_duration_seconds",
        "lockservice_redis_duration_seconds",
    }
    assert TRACE not in await _openmetrics(service, {})


async def test_what_is_not_sampled_leaves_no_exemplar(service: Service, collector: Collector) -> None:
    """A trace that its caller does not keep is nowhere."""
    await acquire(service, UNSAMPLED)
    assert TRACE not in await _openmetrics(service, OPENMETRICS)
    await service.release((await service.acquire("order:2")).lease)
    await until(lambda: collector.named("Release"), "a later span")
    assert not [span for span in collector.spans if span.trace_id.hex() == TRACE]


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "locks"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_decide(variables: dict[str, str], *, wanted: bool) -> None:
    """Spans are made when an exporter or an endpoint is named and nothing turns them off."""
    assert tracing.is_wanted(variables) == wanted


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_other_exporters_are_refused(variable: str) -> None:
    """What would be silently ignored is an error instead."""
    with pytest.raises(tracing.TracingError, match="otlp over grpc"):
        tracing.begin({"OTEL_TRACES_EXPORTER": "otlp", variable: "another"})


def test_the_sampler_is_that_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_SAMPLER decides which traces are kept."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    made = tracing.Tracing(TracerProvider())
    with made.span("lockservice.v1.LockService/Acquire", {}, lambda _: "OK"):
        assert made.trace_id() == ""


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for traces without OpenTelemetry is told what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(tracing.TracingError, match=r"lockservice\[otel\]"):
        tracing.begin({"OTEL_TRACES_EXPORTER": "otlp"})


def test_a_server_needs_no_opentelemetry() -> None:
    """Without it everything but traces works; with it, what makes spans imports nothing until it is asked to."""
    without = "import sys; sys.modules['opentelemetry'] = None; import lockservice.server, lockservice_client"
    subprocess.run([sys.executable, "-c", without], check=True)
    # redis-py imports it by itself where it is installed, so a whole server would say nothing here.
    off = (
        "import sys, lockservice.metrics, lockservice.tracing as t; "
        "assert t.begin({}) is None; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    ran = subprocess.run([sys.executable, "-c", off], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"
