"""Messages of a Session, taken apart into operations.

One operation that cannot be parsed makes protobuf refuse its whole message. Such a message is split by hand, so that
the others in it go on and the broken one is answered like the unary call with the same request.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from lockservice.errors import InvalidField, LockServiceError, MessageTooLarge
from lockservice.limits import MESSAGE_BYTES_MAX
from lockservice.v1 import lockservice_pb2 as pb

_NO_MESSAGE: Final = "is not a message of this method"


class Operation(NamedTuple):
    """One operation: its id, the name of its kind, its request or what is wrong with it, and its place in a trace."""

    id: int
    kind: str
    request: Any
    traceparent: str = ""


def reader(descriptor: Descriptor) -> Callable[[bytes], Message | LockServiceError]:
    """Makes the function that parses requests; what is no such message is answered like any other bad field."""
    parse = GetMessageClass(descriptor).FromString

    def read(data: bytes) -> Message | LockServiceError:
        if len(data) > MESSAGE_BYTES_MAX:
            return MessageTooLarge(f"the request is {len(data)} bytes long: at most {MESSAGE_BYTES_MAX} are allowed")
        try:
            return parse(data)
        except DecodeError:
            return _bad_field(descriptor, data)

    return read


def operations(data: bytes, *, traced: bool = False) -> list[Operation]:
    """Parses a SessionRequest.

    Args:
        data: the message.
        traced: whether anybody wants to know to which traces the operations belong.

    Raises:
        InvalidField: not even its operations can be told apart.
    """
    try:
        parsed = pb.SessionRequest.FromString(data).operations
    except DecodeError:
        return [_operation(part) for part in _parts("operations", data, pb.SessionRequest.DESCRIPTOR)]
    return [_of(operation, traced=traced) for operation in parsed]


def _of(operation: pb.Operation, *, traced: bool = False) -> Operation:
    kind = operation.WhichOneof("kind")
    if kind is None:
        return Operation(operation.id, "", InvalidField("kind", "is unset, or not known to this server"))
    return Operation(operation.id, kind, getattr(operation, kind), operation.traceparent if traced else "")


def _operation(data: bytes) -> Operation:
    try:
        return _of(pb.Operation.FromString(data))
    except DecodeError:
        pass
    number, problem = 0, InvalidField("request", _NO_MESSAGE)
    fields = pb.Operation.DESCRIPTOR.fields_by_number
    for found in _fields(data) or ():
        field = fields.get(found.field_number)
        if field is not None and field.name == "id" and isinstance(found.data, int):
            number = found.data
        elif field is not None and field.message_type is not None and isinstance(found.data, bytes):
            problem = _bad_field(field.message_type, found.data)
    return Operation(number, "", problem)


def _parts(name: str, data: bytes, descriptor: Descriptor) -> list[bytes]:
    fields = _fields(data)
    if fields is None:
        raise InvalidField("request", _NO_MESSAGE)
    number = descriptor.fields_by_name[name].number
    return [found.data for found in fields if found.field_number == number and isinstance(found.data, bytes)]


def _fields(data: bytes) -> Any | None:
    """Returns the fields of any message by number, or None when it is none."""
    try:
        return UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return None


def _bad_field(descriptor: Descriptor, data: bytes) -> InvalidField:
    for found in _fields(data) or ():
        field = descriptor.fields_by_number.get(found.field_number)
        if field is not None and field.type == FieldDescriptor.TYPE_STRING and isinstance(found.data, bytes):
            try:
                found.data.decode()
            except UnicodeDecodeError:
                return InvalidField(field.name, "is not UTF-8")
    return InvalidField("request", _NO_MESSAGE)
