"""Registers the methods of a service with gRPC: each is measured, and each refusal becomes a status.

gRPC's own interceptors would do the same for more processor time a call, and a request that cannot be parsed would
never reach them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from lockservice.credentials import Principal
from lockservice.errors import CallsExceeded, LockServiceError
from lockservice.logs import CALLER
from lockservice.metrics import CallMetrics, Metrics
from lockservice.rpc import frame
from lockservice.rpc.admission import Admission, Gate, StreamGate, kept_back_s
from lockservice.rpc.status import TABLE, code_of, reason_of, status_of
from lockservice.tracing import Tracing

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Any, Principal], Awaitable[Message]]
Handle = Callable[[Message | LockServiceError, Context], Awaitable[Message]]
Streaming = Callable[[Any, Principal], AsyncIterator[Message]]
Sessions = Callable[[Context, StreamGate], Awaitable[None]]

_OK: Final = grpc.StatusCode.OK
_CANCELLED: Final = grpc.StatusCode.CANCELLED
# The metadata in which a caller names its trace.
_TRACE_CONTEXT: Final = frozenset({"traceparent", "tracestate"})


def register(
    server: grpc.aio.Server,
    service: ServiceDescriptor,
    servicer: object,
    *,
    metrics: Metrics,
    admission: Admission,
    role: str,
) -> None:
    """Registers every method of a service that the servicer has; gRPC answers UNIMPLEMENTED to the others.

    Args:
        server: of grpc.aio.
        service: from the generated code.
        servicer: its methods by name.
        metrics: where calls are measured.
        admission: is asked first.
        role: what a caller needs.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        behaviour = getattr(servicer, method.name, None)
        if behaviour is None:
            continue
        kind = _KINDS[method.client_streaming, method.server_streaming]
        calls = metrics.calls(service.full_name, method.name, kind.grpc_type)
        handle = kind.wrap(behaviour, calls, admission.gate(method.name, role))
        if metrics.tracing is not None and kind.wrap is _unary:
            handle = _traced(handle, f"{service.full_name}/{method.name}", metrics.tracing)
        handlers[method.name] = kind.make(
            handle,
            # A session takes its messages apart itself, so that one bad operation does not end the stream.
            request_deserializer=None if method.client_streaming else frame.reader(method.input_type),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _unary(behaviour: Unary, calls: CallMetrics, gate: Gate) -> Handle:
    # What _measured does, written out: its generator would cost every call, and streams begin seldom.
    async def handle(request: Message | LockServiceError, context: Context) -> Message:
        calls.began()
        started = time.perf_counter()
        code = _CANCELLED
        caller = None
        try:
            CALLER.set(context.invocation_metadata)
            caller = gate.admit(context)
            _refuse_unparsed(request)
            response = await behaviour(request, caller)
            code = _OK
        except Exception as error:
            code = _code(error)
            gate.tell(error, context, caller)
            calls.refused(reason_of(error))
            if isinstance(error, CallsExceeded):
                await asyncio.sleep(kept_back_s())
            await _abort(error, context)
            raise
        finally:
            calls.ended(code, time.perf_counter() - started)
        return response

    return handle


def _traced(handle: Handle, method: str, tracing: Tracing) -> Handle:
    async def traced(request: Message | LockServiceError, context: Context) -> Message:
        metadata = context.invocation_metadata() or ()
        parent = {name: str(value) for name, value in metadata if name in _TRACE_CONTEXT}
        # gRPC's own exception for an aborted call does not say with which code.
        with tracing.span(method, parent, lambda error: _code_told(error, context)):
            return await handle(request, context)

    return traced


def _code_told(error: BaseException | None, context: Context) -> str:
    told = context.code()
    by_number = {code.value[0]: code for code in grpc.StatusCode}
    code = told if isinstance(told, grpc.StatusCode) else by_number[told or 0]
    return code_of(error) if code is grpc.StatusCode.OK else code.name


def _streaming(
    behaviour: Streaming, calls: CallMetrics, gate: Gate
) -> Callable[[Message | LockServiceError, Context], AsyncIterator[Message]]:
    async def handle(request: Message | LockServiceError, context: Context) -> AsyncIterator[Message]:
        async with _measured(calls, context, gate) as caller:
            _refuse_unparsed(request)
            async for response in behaviour(request, caller):
                yield response

    return handle


def _session(behaviour: Sessions, calls: CallMetrics, gate: Gate) -> Callable[[Any, Context], Awaitable[None]]:
    async def handle(_: object, context: Context) -> None:
        async with _measured(calls, context, gate) as caller:
            await behaviour(context, gate.of_stream(context, caller))

    return handle


@asynccontextmanager
async def _measured(calls: CallMetrics, context: Context, gate: Gate) -> AsyncIterator[Principal]:
    calls.began()
    started = time.perf_counter()
    code = _CANCELLED
    caller = None
    try:
        CALLER.set(context.invocation_metadata)
        caller = gate.admit(context)
        yield caller
        code = _OK
    except Exception as error:  # noqa: BLE001  each becomes a status
        code = _code(error)
        gate.tell(error, context, caller)
        calls.refused(reason_of(error))
        await _abort(error, context)
    finally:
        calls.ended(code, time.perf_counter() - started)


def _refuse_unparsed(request: Message | LockServiceError) -> None:
    if isinstance(request, LockServiceError):
        raise request


def _code(error: Exception) -> grpc.StatusCode:
    if isinstance(error, LockServiceError):
        return TABLE[type(error)].code
    return grpc.StatusCode.INTERNAL


async def _abort(error: Exception, context: Context) -> None:
    await context.abort_with_status(rpc_status.to_status(status_of(error)))


class _Kind(NamedTuple):
    grpc_type: str
    make: Callable[..., "grpc.RpcMethodHandler[Any, Any]"]
    wrap: Callable[[Any, CallMetrics, Gate], Any]


# By whether the caller and the service send a stream of messages.
_KINDS: Final = {
    (False, False): _Kind("unary", grpc.unary_unary_rpc_method_handler, _unary),
    (False, True): _Kind("server_stream", grpc.unary_stream_rpc_method_handler, _streaming),
    (True, True): _Kind("bidi_stream", grpc.stream_stream_rpc_method_handler, _session),
}
