"""The gRPC server, with a bound on everything that a connection may make it keep."""

from typing import Final

import grpc

from lockservice import limits

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", limits.FRAME_BYTES_MAX),
    # More calls than this are refused by the connection itself, before anything is kept for them.
    ("grpc.max_concurrent_streams", limits.CALLS_A_CONNECTION),
    # A connection may begin very many waiting calls at once; gRPC would cancel what exceeds its own defaults.
    ("grpc.server.max_pending_requests", limits.CALLS_A_CONNECTION),
    ("grpc.server.max_pending_requests_hard_limit", 2 * limits.CALLS_A_CONNECTION),
    # Clients find new replicas when their connection ends; calls on the old one are finished first. What is
    # still open after the longest wait that is allowed will never end by itself.
    ("grpc.max_connection_age_ms", limits.CONNECTION_AGE_MS),
    ("grpc.max_connection_age_grace_ms", limits.WAIT_MS_MAX),
    # Who greets too slowly, or not at all, holds a file descriptor no longer than this.
    ("grpc.server_handshake_timeout_ms", limits.HANDSHAKE_MS),
    # A host that has vanished without a word must not keep its places in queues.
    ("grpc.keepalive_time_ms", limits.KEEPALIVE_MS),
    # Not grpc.keepalive_timeout_ms: gRPC waits a minute all the same unless this is less.
    ("grpc.http2.ping_timeout_ms", limits.KEEPALIVE_TIMEOUT_MS),
    # Waiting calls keep their connection alive with pings; others may not ping without end.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", limits.PING_MS_MIN),
)


def server(waiters_max: int, *, shared: bool) -> grpc.aio.Server:
    """Makes a server without services and ports.

    Args:
        waiters_max: calls that may wait in this replica.
        shared: whether other processes listen on the same port. Unless that is wanted, a second server would bind it
            without a word and take half of the connections.
    """
    return grpc.aio.server(
        options=(*_OPTIONS, ("grpc.so_reuseport", int(shared))),
        # Beyond this a call is refused before its message is read, so that memory has a bound whoever calls.
        maximum_concurrent_rpcs=waiters_max + limits.RUNNING_CALLS_MAX,
    )
