"""Registers the methods of a service with gRPC: each is measured, and each refusal becomes a status.

gRPC's own interceptors would do the same for more processor time a call, and a request that cannot be parsed would
never reach them.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_status import rpc_status

from lockservice.errors import InvalidField, LockServiceError
from lockservice.logs import CALLER
from lockservice.metrics import CallMetrics, Metrics
from lockservice.rpc.status import TABLE, status_of

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Any, Context], Awaitable[Message]]
Streaming = Callable[[Any, Context], AsyncIterator[Message]]

Gate = Callable[[], None]


def register(
    server: grpc.aio.Server, service: ServiceDescriptor, servicer: object, metrics: Metrics, gate: Gate
) -> None:
    """Registers every method of a service that the servicer has; gRPC answers UNIMPLEMENTED to the others.

    Args:
        server: of grpc.aio.
        service: from the generated code.
        servicer: its methods by name.
        metrics: where calls are measured.
        gate: called first; raises when no calls are wanted any more.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        behaviour = getattr(servicer, method.name, None)
        if behaviour is None:
            continue
        calls = metrics.calls(service.full_name, method.name, streaming=method.server_streaming)
        make = (
            grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        )
        wrapped = _streaming(behaviour, calls, gate) if method.server_streaming else _unary(behaviour, calls, gate)
        handlers[method.name] = make(
            wrapped,
            request_deserializer=_reader(method.input_type),
            response_serializer=lambda message: message.SerializeToString(),
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _reader(descriptor: Descriptor) -> Callable[[bytes], Message | InvalidField]:
    """Parses requests; one that is no such message is answered like any other bad field, not as a bug of ours."""
    parse = GetMessageClass(descriptor).FromString

    def read(data: bytes) -> Message | InvalidField:
        try:
            return parse(data)
        except DecodeError:
            return _bad_field(descriptor, data)

    return read


def _bad_field(descriptor: Descriptor, data: bytes) -> InvalidField:
    try:
        fields = UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return InvalidField("request", "is not a message of this method")
    for found in fields:  # type: ignore[attr-defined]  # the stub lacks it
        field = descriptor.fields_by_number.get(found.field_number)
        if field is not None and field.type == FieldDescriptor.TYPE_STRING and isinstance(found.data, bytes):
            try:
                found.data.decode()
            except UnicodeDecodeError:
                return InvalidField(field.name, "is not UTF-8")
    return InvalidField("request", "is not a message of this method")


def _unary(behaviour: Unary, calls: CallMetrics, gate: Gate) -> Unary:
    async def handle(request: Message | InvalidField, context: Context) -> Message:
        calls.began()
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED
        try:
            CALLER.set(context.invocation_metadata)
            gate()
            _refuse_unparsed(request)
            response = await behaviour(request, context)
            code = grpc.StatusCode.OK
        except Exception as error:
            code = _code(error)
            await _abort(error, context)
            raise
        finally:
            calls.ended(code, time.perf_counter() - started)
        return response

    return handle


def _streaming(behaviour: Streaming, calls: CallMetrics, gate: Gate) -> Streaming:
    async def handle(request: Message | InvalidField, context: Context) -> AsyncIterator[Message]:
        calls.began()
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED
        try:
            CALLER.set(context.invocation_metadata)
            gate()
            _refuse_unparsed(request)
            async for response in behaviour(request, context):
                yield response
            code = grpc.StatusCode.OK
        except Exception as error:  # noqa: BLE001  each becomes a status
            code = _code(error)
            await _abort(error, context)
        finally:
            calls.ended(code, time.perf_counter() - started)

    return handle


def _refuse_unparsed(request: Message | InvalidField) -> None:
    if isinstance(request, InvalidField):
        raise request


def _code(error: Exception) -> grpc.StatusCode:
    if isinstance(error, LockServiceError):
        return TABLE[type(error)].code
    return grpc.StatusCode.INTERNAL


async def _abort(error: Exception, context: Context) -> None:
    if isinstance(error, LockServiceError):
        status = rpc_status.to_status(status_of(error))
        await context.abort_with_status(status)
    log.error("bug", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error")
