"""A collector of OpenTelemetry: a real gRPC server that keeps the spans it is sent."""

from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


class Collector(TraceServiceServicer):  # type: ignore[misc]  # generated without types
    """Keeps every span.

    Attributes:
        endpoint: for OTEL_EXPORTER_OTLP_ENDPOINT.
        spans: all that came, in their order.
        services: the names of the services that sent them.
    """

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self._server = grpc.aio.server()

    async def __aenter__(self) -> Self:
        add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    async def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802
        """Takes spans."""
        for of_resource in request.resource_spans:
            self.services.update(
                attribute.value.string_value
                for attribute in of_resource.resource.attributes
                if attribute.key == "service.name"
            )
            for scope in of_resource.scope_spans:
                self.spans.extend(scope.spans)
        return ExportTraceServiceResponse()

    def named(self, method: str) -> list[Any]:
        """Returns the spans of a method of LockService."""
        return [span for span in self.spans if span.name == f"lockservice.v1.LockService/{method}"]


def attributes(of: Any) -> dict[str, Any]:
    """Returns the attributes of a span or an event."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}
