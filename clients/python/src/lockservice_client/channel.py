"""How the service is reached: addresses, credentials, and calls that are repeated when that is safe."""

import asyncio
import os
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import grpc

from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.errors import NoSessions, ServiceError, Unavailable, closed_error, service_error
from lockservice_client.pending import Pending
from lockservice_client.retry import SERVICE_CONFIG, pauses
from lockservice_client.session import Session
from lockservice_client.tracing import traceparent

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
# A waiting call is answered when its wait is over; this is for the way.
_WAIT_MARGIN_S: Final = 5.0
_SERVICE: Final = "/lockservice.v1.LockService/"
_ADMIN: Final = "/lockservice.v1.LockAdminService/"
_KINDS: Final = {
    "Acquire": "acquire",
    "Renew": "renew",
    "Release": "release",
    "Dedupe": "dedupe",
    "RenewClaim": "renew_claim",
    "Settle": "settle",
}
# No good request is as large, and one that gRPC refuses for its size must not take the stream along.
_OPERATION_BYTES_MAX: Final = 65_536
_OPTIONS: Final = (
    # Two channels to one address share a connection unless told not to.
    ("grpc.use_local_subchannel_pool", 1),
    # The results of all operations of a session may come in one message, each with up to 4 KiB.
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Without this a peer that is frozen keeps its streams for a minute after the ping that it does not answer.
    ("grpc.http2.ping_timeout_ms", 10_000),
    # gRPC's own pauses between connections grow to 2 min: a lease would run out beside a service that is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.service_config", SERVICE_CONFIG),
    # Calls are repeated here, by the policy in it.
    ("grpc.enable_retries", 0),
)


class Target:
    """An address and the credentials for it.

    Args:
        address: HOST:PORT, or `dns:///HOST:PORT` for several replicas; None: LOCKSERVICE_ADDR, else 127.0.0.1:50051.
        token: bearer token; None: LOCKSERVICE_TOKEN.
        ca, cert, key: PEM files; ca or cert turns TLS on.
        insecure: send a token in the clear beyond loopback.
        unready: call a replica though it says that it is not ready, to look at it.

    Raises:
        ValueError: a token would be sent in the clear.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        insecure: bool = False,
        unready: bool = False,
    ) -> None:
        self.address = address or os.environ.get("LOCKSERVICE_ADDR") or DEFAULT_ADDRESS
        token = token if token is not None else os.environ.get("LOCKSERVICE_TOKEN")
        self._options = [*_OPTIONS, ("grpc.inhibit_health_checking", int(unready))]
        self._tls = (ca, cert, key) if ca or cert else None
        if token and not (self._tls or insecure or _is_loopback(self.address)):
            raise ValueError(
                f"the token would cross the network to {self.address} in the clear: use TLS, or insecure=True"
            )
        self.metadata = (("authorization", f"Bearer {token}"),) if token else None

    def open(self) -> grpc.aio.Channel:
        """Opens a channel with a connection of its own."""
        if self._tls is None:
            return grpc.aio.insecure_channel(self.address, options=self._options)
        return grpc.aio.secure_channel(self.address, self._credentials(), options=self._options)

    def open_blocking(self, *, at: str | None = None) -> grpc.Channel:
        """Opens a channel for code without an event loop; at: to this one of the addresses behind the name."""
        if self._tls is None:
            return grpc.insecure_channel(at or self.address)
        # The certificate names the name, not the address.
        options = (("grpc.ssl_target_name_override", _host(self.address)),) if at else ()
        return grpc.secure_channel(at or self.address, self._credentials(), options=options)

    def _credentials(self) -> grpc.ChannelCredentials:
        assert self._tls is not None
        ca, cert, key = (Path(path).read_bytes() if path else None for path in self._tls)
        return grpc.ssl_channel_credentials(ca, key, cert)


def _host(address: str) -> str:
    return address.removeprefix("dns:///").rpartition(":")[0].strip("[]")


def _is_loopback(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = _host(address)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Calls:
    """The calls of one channel, which travel in a session where the service has them.

    A call that is unavailable, or whose answer was lost, is repeated as it is: its ids make that safe. Nothing else
    is ever repeated.

    Args:
        target: where the service is.
        unary: each call is a gRPC call of its own.
        stream_age: seconds after which a session goes on on another stream.
    """

    def __init__(self, target: Target, *, unary: bool, stream_age: float) -> None:
        self._target = target
        self._channel = target.open()
        self._methods: dict[str, Any] = {}
        for service, prefix in (("LockService", _SERVICE), ("LockAdminService", _ADMIN)):
            for method in pb.DESCRIPTOR.services_by_name[service].methods:
                self._add(prefix, method)
        self._session = None if unary else Session(self._start_session, target.address, stream_age=stream_age)

    @property
    def in_session(self) -> bool:
        """Whether calls travel in a session, as far as that is known."""
        return self._session is not None

    def _add(self, prefix: str, method: Any) -> None:
        request, response = getattr(pb, method.input_type.name), getattr(pb, method.output_type.name)
        make: Callable[..., Any] = self._channel.unary_unary
        if method.client_streaming:
            make = self._channel.stream_stream
        elif method.server_streaming:
            make = self._channel.unary_stream
        self._methods[method.name] = make(
            prefix + method.name,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    async def call(
        self,
        method: str,
        request: Any,
        *,
        timeout: float,
        retry_for: float,
        wait: float = 0.0,
        gives_back: bool = False,
    ) -> tuple[Any, float]:
        """Returns the response, and when the request that it answers left, on time.monotonic().

        Args:
            method: its name.
            request: its message; the wait_timeout of a repeated one is cut to what is left of it.
            timeout: seconds for one attempt, beside its wait.
            retry_for: seconds during which an unavailable service is asked again.
            wait: seconds that the request waits at the service.
            gives_back: whether a grant that comes when the caller has gone is given back, where that can be told.

        Raises:
            ServiceError: of the last attempt.
        """
        began = time.monotonic()
        sent_at, left, pausing = began, wait, pauses()
        while True:
            limit = left + (_WAIT_MARGIN_S if wait else timeout)
            try:
                session, kind, size = self._session, _KINDS.get(method), request.ByteSize()
                if session is None or kind is None or size > _OPERATION_BYTES_MAX:
                    response = await self._unary(method, request, limit)
                else:
                    operation = Pending(kind, request, size=size, limit=limit, gives_back=gives_back)
                    response = await session.call(operation)
            except NoSessions:
                self._session = None
                continue
            except Unavailable as error:
                fault = error
            else:
                return response, sent_at
            delay = max(next(pausing), fault.retry_after or 0.0)
            if time.monotonic() + delay > began + max(retry_for, wait):
                raise fault
            await asyncio.sleep(delay)
            sent_at = time.monotonic()
            if wait:
                left = max(0.0, began + wait - sent_at)
                request.wait_timeout.FromMicroseconds(round(left * 1e6))

    async def _unary(self, method: str, request: Any, limit: float) -> Any:
        try:
            return await self._methods[method](request, timeout=limit, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise service_error(error, self._target.address) from None
        except grpc.aio.UsageError as error:
            raise closed_error() from error

    def _metadata(self) -> tuple[tuple[str, str], ...] | None:
        parent = traceparent()
        if not parent:
            return self._target.metadata
        return (*(self._target.metadata or ()), ("traceparent", parent))

    def _start_session(self) -> Any:
        return self._methods["Session"](metadata=self._target.metadata)

    def stream(self, method: str, request: Any, *, timeout: float) -> Any:
        """Starts a call with many responses."""
        return self._methods[method](request, timeout=timeout, metadata=self._target.metadata)

    def fault(self, error: grpc.aio.AioRpcError) -> ServiceError:
        """Translates an error of a stream."""
        return service_error(error, self._target.address)

    async def close(self) -> None:
        """Closes the channel, once what is on its way in the session is through, or a second later."""
        if self._session is not None:
            await self._session.close()
        await self._channel.close()
