"""What can go wrong, in two families that must not be mixed up.

`Refused` is an answer: the event need not, must not or cannot be processed now. `ServiceError` is a fault: the caller
must mend its request, or wait until the service is back.
"""

from collections.abc import Iterable
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from lockservice_client.values import Acquired, Deduped, Holder

_PLAIN_TO_TLS = ("Socket closed", "Connection reset", "recvmsg", "GOAWAY")
_TLS_TO_PLAIN = ("WRONG_VERSION_NUMBER", "SSL_ERROR", "handshake")


class Refused(Exception):
    """The lease or the claim was not given; the message says why."""


class Held(Refused):
    """Others hold the resource, or are queued for it: try later.

    Attributes:
        holder: who holds it, if anybody does.
    """

    def __init__(self, message: str, holder: Holder | None = None) -> None:
        super().__init__(message)
        self.holder = holder


class Duplicate(Refused):
    """The event was completed before: acknowledge it and go on.

    Attributes:
        result: what Settle left for later duplicates.
    """

    def __init__(self, message: str, result: bytes = b"") -> None:
        super().__init__(message)
        self.result = result


class Stale(Refused):
    """A newer version of the entity has been completed."""


class Early(Refused):
    """The version that this event needs has not been completed yet: retry later."""


class InProgress(Refused):
    """Another has claimed the event key and not settled it yet.

    Attributes:
        retry_after: seconds until the claim runs out.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Mismatch(Refused):
    """The same event key came with another payload."""


class LeaseLost(Exception):
    """The lease or claim ended before the work did: others may have gone on already."""


class ServiceError(Exception):
    """The service could not or would not do it.

    Attributes:
        code: the gRPC status code.
        reason: of google.rpc.ErrorInfo, such as SHARD_UNAVAILABLE; empty when the fault is not the service's.
        retry_after: seconds after which a retry makes sense, if the service said so.
    """

    def __init__(
        self, message: str, code: grpc.StatusCode, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


class InvalidRequest(ServiceError):
    """A field is missing, too long or out of range; the message names it."""


class Unavailable(ServiceError):
    """The service, or the shard of this key, cannot be reached. Repeat with the same ids."""


class NoSessions(ServiceError):
    """The service is older than sessions, or a proxy before it passes none. The client calls without then."""


class NotAllowed(ServiceError):
    """The credentials are missing, wrong, or not good for this."""


_BY_CODE: dict[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
}
# What a stream ends in when it was cut by whoever stands between. Other codes are meant for the callers.
_CUT: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
    }
)
_CODES: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}


def service_error(error: grpc.aio.AioRpcError, address: str) -> ServiceError:
    """Translates the error in which a call or a stream ended."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it takes this too
    return _translate(error.code(), error.details() or "", status.details if status is not None else (), address)


def operation_error(status: Status, address: str) -> ServiceError:
    """Translates the error of one operation of a Session."""
    return _translate(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message, status.details, address)


def stream_error(error: BaseException | None, address: str) -> ServiceError:
    """Makes what an operation ends in that was open when its stream ended; None: with OK, or without a word."""
    if not isinstance(error, grpc.aio.AioRpcError):
        why = f": {error!r}" if isinstance(error, Exception) else ""
        return Unavailable(f"UNAVAILABLE: {address} ended the stream{why}", grpc.StatusCode.UNAVAILABLE)
    code, words = error.code(), error.details()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return NoSessions(f"UNIMPLEMENTED: {address} knows no sessions: {words}", code)
    if code in _CUT:
        why = f"UNAVAILABLE: {address} cut the stream: {code.name} {words}"
        return Unavailable(why, grpc.StatusCode.UNAVAILABLE)
    return service_error(error, address)


def closed_error() -> ServiceError:
    """Makes what a call on a closed client ends in."""
    return ServiceError("this client is closed", grpc.StatusCode.CANCELLED)


def unknown_error(what: str) -> ServiceError:
    """Makes what a call ends in that a newer service has answered."""
    return ServiceError(f"UNKNOWN: the service is newer than this client: {what}", grpc.StatusCode.UNKNOWN)


def late_error() -> ServiceError:
    """Makes what an operation ends in whose time is over."""
    return ServiceError("DEADLINE_EXCEEDED: Deadline Exceeded", grpc.StatusCode.DEADLINE_EXCEEDED)


def _translate(code: grpc.StatusCode, words: str, details: Iterable[AnyMessage], address: str) -> ServiceError:
    """Makes the exception, and names the cause where gRPC's own words hide it."""
    reason, retry_after, fields = "", None, ""
    for detail in details:
        info, retry, bad = ErrorInfo(), RetryInfo(), BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Unpack(bad):
            fields = "; ".join(f"{v.field} {v.description}" for v in bad.field_violations)
    message = fields or words or code.name
    if not reason and code is grpc.StatusCode.UNAVAILABLE:
        message = _cause(message, address)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        message = f"{message} (give a valid token by LOCKSERVICE_TOKEN or token=, or a client certificate)"
    kind = _BY_CODE.get(code, ServiceError)
    name = f"{code.name} {reason}".rstrip()
    return kind(f"{name}: {message}", code, reason, retry_after)


def _cause(details: str, address: str) -> str:
    if any(word in details for word in _TLS_TO_PLAIN):
        return (
            f"{address} does not speak TLS as this client does (plaintext server, or other certificates): {details}"
        )
    if any(word in details for word in _PLAIN_TO_TLS):
        return f"{address} closed the connection: does it expect TLS, and this client speaks plaintext? {details}"
    return f"{address} cannot be reached: {details}"


def refusal(resource: str, answer: Acquired) -> Refused:
    """Turns the answer of an Acquire that was not granted into its exception."""
    match answer.outcome:
        case "held":
            by = f" by {answer.holder.owner}" if answer.holder else ""
            return Held(f"{resource} is held{by}", answer.holder)
        case "duplicate":
            return Duplicate(f"the event was completed on {resource} before")
        case "stale":
            return Stale(f"{resource} has been completed up to version {answer.completed_version}")
        case _:
            return Early(f"{resource} has been completed only up to {answer.completed_version}")


def claim_refusal(key: str, answer: Deduped) -> Refused:
    """Turns the answer of a Dedupe that was not FIRST into its exception."""
    match answer.outcome:
        case "duplicate":
            return Duplicate(f"{key} was completed before", answer.result)
        case "in_progress":
            return InProgress(f"{key} is being processed by another", answer.retry_after)
        case _:
            return Mismatch(f"{key} came with another payload before")
