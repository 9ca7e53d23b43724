"""Where a call belongs in a trace of its caller, if the caller's program uses OpenTelemetry."""

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]  # it is not installed


def traceparent() -> str:
    """Returns the current span as W3C Trace Context writes it; empty when there is none."""
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    ids = f"{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
    return f"00-{ids}-{context.trace_flags:02x}"
