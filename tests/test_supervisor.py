"""The port that a supervisor takes for its workers."""

import socket

import pytest

from lockservice.supervisor import reserve


def test_reserved_port() -> None:
    """A reserved port is nobody else's, from the moment it is; what a closed server left behind is not in the way."""
    with reserve("127.0.0.1:0") as first, pytest.raises(OSError, match="in use"):
        reserve(f"127.0.0.1:{first.getsockname()[1]}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        accepted, _ = server.accept()
    # The side that closes first keeps the address for a minute.
    accepted.close()
    client.close()
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(address)
    reserve(f"127.0.0.1:{address[1]}").close()
