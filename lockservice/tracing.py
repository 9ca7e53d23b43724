"""Spans of calls for OpenTelemetry, which is imported only where it is installed and its own variables ask for it.

A call of its own and an operation of a session have the same span, in the trace that their caller names. What a span
has beside its name are events: each script with its shard, a wait, and a hand-off. Spans leave in the background; a
collector that does not answer costs spans and no call.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_T = TypeVar("_T")
# Names the gRPC status code of a call by the exception that it ended in, if any.
Code = Callable[[BaseException | None], str]

# The extra of this project that has OpenTelemetry.
EXTRA: Final = "otel"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# Codes for which it is the server that failed, as OpenTelemetry's conventions for gRPC say.
_FAULTS: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class TracingError(Exception):
    """Traces are asked for and cannot be made; the message says what to do."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Says whether OpenTelemetry's variables ask for spans: an exporter or an endpoint is named, and not off."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter != "none" and (bool(exporter) or any(environment.get(name) for name in _ENDPOINTS))


def begin(environment: Mapping[str, str]) -> "Tracing | None":
    """Returns what makes spans, or None when nobody asks for them.

    Raises:
        TracingError: they are asked for, and OpenTelemetry is not installed or cannot export as it is told to.
    """
    if not is_wanted(environment):
        return None
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    of_all = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", of_all)
    if exporter != "otlp" or protocol != "grpc":
        raise TracingError(f"traces leave by otlp over grpc, and the OTEL_ variables say {exporter} over {protocol}")
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  when asked for
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  as above
    except ImportError as error:
        raise TracingError(f"the OTEL_ variables ask for traces: install lockservice[{EXTRA}]") from error
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over this name, OTEL_TRACES_SAMPLER over the default sampler.
    named = environment.get("OTEL_SERVICE_NAME", "lockservice")
    provider = TracerProvider(resource=Resource.create({"service.name": named}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


class Tracing:
    """Makes spans, and adds to the one that is current.

    Args:
        provider: OpenTelemetry's.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415  only where it is installed
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415  as above

        self._provider = provider
        self._api = trace
        self._tracer = provider.get_tracer("lockservice")
        self._extract = TraceContextTextMapPropagator().extract

    def stop(self) -> None:
        """Sends what has not left yet. It blocks for as long as the exporter waits for a collector."""
        self._provider.shutdown()

    @contextmanager
    def span(self, method: str, parent: Mapping[str, str], code: Code) -> Iterator[None]:
        """Makes the span of a call current.

        Args:
            method: as gRPC names it, with its service.
            parent: traceparent and tracestate as the caller gave them; what is not valid is ignored.
            code: names the gRPC status code of a call that ended in an exception, or did not.
        """
        service, _, name = method.partition("/")
        with self._tracer.start_as_current_span(
            method,
            context=self._extract(parent),
            kind=self._api.SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            ended: BaseException | None = None
            try:
                yield
            except BaseException as error:
                ended = error
                raise
            finally:
                ending = code(ended)
                span.set_attribute("rpc.response.status_code", ending)
                if ending in _FAULTS:
                    span.set_status(self._api.StatusCode.ERROR, ending)

    async def follow(self, method: str, traceparent: str, work: Awaitable[_T], code: Code) -> _T:
        """Awaits an operation of a session within its span."""
        with self.span(method, {"traceparent": traceparent}, code):
            return await work

    def script(self, shard: str, verb: str, seconds: float) -> str:
        """Notes a script that has answered, and returns trace_id()."""
        span = self._api.get_current_span()
        if span.is_recording():
            span.set_attribute("lockservice.shard", shard)
            self._note(span, "script", {"script": verb, "shard": shard, "seconds": seconds})
        return self.trace_id()

    def event(self, name: str, seconds: float) -> None:
        """Notes something that took a time: a wait, a hand-off."""
        span = self._api.get_current_span()
        if span.is_recording():
            self._note(span, name, {"seconds": seconds})

    def _note(self, span: Any, name: str, what: Mapping[str, str | float]) -> None:
        span.add_event(f"lockservice.{name}", {f"lockservice.{key}": value for key, value in what.items()})

    def trace_id(self) -> str:
        """Returns the id of the current trace, for an exemplar; empty when its spans are not sampled."""
        context = self._api.get_current_span().get_span_context()
        return self._api.format_trace_id(context.trace_id) if context.trace_flags.sampled else ""
