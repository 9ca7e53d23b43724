"""The one table that turns refusals of the domain into gRPC statuses with google.rpc details."""

import logging
from asyncio import CancelledError
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lockservice import errors
from lockservice.v1 import lockservice_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

log = logging.getLogger(__name__)

DOMAIN: Final = "lockservice"
# One for each namespace with a limit of calls, and one with a limit of waiters.
_MESSAGES_KEPT: Final = 64
_PREFIX: Final = "ERROR_REASON_"


class Refusal(NamedTuple):
    """How an error looks on the wire: its code, its reason, and after how many ms a retry makes sense, if any."""

    code: grpc.StatusCode
    reason: pb.ErrorReason.ValueType
    retry_ms: int | None = None


TABLE: Final[dict[type[errors.LockServiceError], Refusal]] = {
    errors.InvalidField: Refusal(grpc.StatusCode.INVALID_ARGUMENT, pb.ERROR_REASON_INVALID_FIELD),
    # As gRPC itself answers, without a reason of ours: it does so for messages that are larger still.
    errors.MessageTooLarge: Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_UNSPECIFIED),
    errors.RequestIdReused: Refusal(grpc.StatusCode.FAILED_PRECONDITION, pb.ERROR_REASON_REQUEST_ID_REUSED),
    errors.ShardUnavailable: Refusal(grpc.StatusCode.UNAVAILABLE, pb.ERROR_REASON_SHARD_UNAVAILABLE, retry_ms=250),
    errors.OutcomeUnknown: Refusal(grpc.StatusCode.UNAVAILABLE, pb.ERROR_REASON_OUTCOME_UNKNOWN, retry_ms=100),
    errors.ClockUnsafe: Refusal(grpc.StatusCode.UNAVAILABLE, pb.ERROR_REASON_CLOCK_UNSAFE, retry_ms=1_000),
    errors.HoldOff: Refusal(grpc.StatusCode.UNAVAILABLE, pb.ERROR_REASON_HOLD_OFF, retry_ms=1_000),
    errors.Draining: Refusal(grpc.StatusCode.UNAVAILABLE, pb.ERROR_REASON_DRAINING, retry_ms=0),
    errors.TooManyWaiters: Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_TOO_MANY_WAITERS, retry_ms=1_000
    ),
    errors.SessionLimit: Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_SESSION_LIMIT),
    errors.ShardOutOfMemory: Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_SHARD_OUT_OF_MEMORY, retry_ms=1_000
    ),
    errors.CredentialMissing: Refusal(grpc.StatusCode.UNAUTHENTICATED, pb.ERROR_REASON_CREDENTIAL_MISSING),
    errors.ResourceForbidden: Refusal(grpc.StatusCode.PERMISSION_DENIED, pb.ERROR_REASON_RESOURCE_FORBIDDEN),
    errors.QuotaExceeded: Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_QUOTA_EXCEEDED, retry_ms=1_000),
    errors.CallsExceeded: Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, pb.ERROR_REASON_QUOTA_EXCEEDED, retry_ms=1_000),
    errors.ShardMapMismatch: Refusal(grpc.StatusCode.FAILED_PRECONDITION, pb.ERROR_REASON_SHARD_MAP_MISMATCH),
}


def reason_of(error: Exception) -> str:
    """Names an error as metrics do: by its ErrorReason, or INTERNAL for a bug."""
    if not isinstance(error, errors.LockServiceError):
        return "INTERNAL"
    return pb.ErrorReason.Name(TABLE[type(error)].reason).removeprefix(_PREFIX)


def code_of(error: BaseException | None) -> str:
    """Names the status code of a call as gRPC does: of one that ended in an error, or without."""
    if error is None:
        return "OK"
    if isinstance(error, errors.LockServiceError):
        return TABLE[type(error)].code.name
    return "CANCELLED" if isinstance(error, CancelledError) else "INTERNAL"


def status_of(error: Exception) -> Status:
    """Builds the status of an error, the same for a unary call and for an operation of a session."""
    if not isinstance(error, errors.LockServiceError):
        log.error("bug", exc_info=error)
        return Status(code=Code.INTERNAL, message="internal error")
    # The same again and again, to those who make so many calls that their answers should cost little.
    return _of_calls_exceeded(str(error)) if isinstance(error, errors.CallsExceeded) else _build(error)


@lru_cache(maxsize=_MESSAGES_KEPT)
def _of_calls_exceeded(message: str) -> Status:
    return _build(errors.CallsExceeded(message))


def _build(error: errors.LockServiceError) -> Status:
    refusal = TABLE[type(error)]
    details: list[Message] = []
    if refusal.reason != pb.ERROR_REASON_UNSPECIFIED:
        details.append(ErrorInfo(reason=reason_of(error), domain=DOMAIN))
    if isinstance(error, errors.InvalidField):
        violation = BadRequest.FieldViolation(field=error.field, description=error.problem)
        details.append(BadRequest(field_violations=[violation]))
    retry_ms = error.remaining_ms if isinstance(error, errors.HoldOff) else refusal.retry_ms
    if retry_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(retry_ms)
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=Code.Value(refusal.code.name), message=str(error))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status
