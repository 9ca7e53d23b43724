"""Hosts whose links a test cuts and heals, seen by connections to a Redis on one of them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness.network import Network
from harness.redis_server import RedisServer

PORT = 6379
TIMEOUT_S = 0.3
PING = """
import socket, sys
try:
    connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))
    connection.sendall(b"PING\\r\\n")
    sys.exit(connection.recv(7) != b"+PONG\\r\\n")
except TimeoutError:
    sys.exit(1)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    """Two hosts."""
    with Network("a", "b") as made:
        yield made


@pytest.fixture
def server(kind: str, network: Network) -> Iterator[RedisServer]:
    """A Redis on host a."""
    made = RedisServer(kind, launcher=network["a"].launcher, port=str(PORT), bind="0.0.0.0", protected_mode="no")
    yield made
    made.remove()


def connection(network: Network) -> redis.Redis:
    """Opens a connection from the test's own host to host a; nothing is sent twice."""
    host = network["a"].address
    return redis.Redis(
        host=host,
        port=PORT,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def reaches(ask: Callable[[], object]) -> bool:
    """Says whether a question is answered."""
    try:
        ask()
    except (redis.TimeoutError, redis.ConnectionError):
        return False
    return True


def ping_from_b(network: Network) -> bool:
    """Asks host a from host b."""
    process = network["b"].start([sys.executable, "-c", PING, network["a"].address, str(PORT), str(TIMEOUT_S)])
    return process.wait() == 0


def test_a_host_is_cut_off_and_comes_back(network: Network, server: RedisServer) -> None:
    """Old connections and new are answered, then not, then again; the host itself noticed nothing."""
    with connection(network) as before:
        assert reaches(before.ping)

        network.cut(network["a"])
        assert not reaches(before.ping)
        with connection(network) as during:
            assert not reaches(during.ping)
        assert server.connect().ping()

        network.heal()
        with connection(network) as after:
            assert reaches(after.ping)
        assert reaches(before.ping)


def test_replies_alone_are_lost(network: Network, server: RedisServer) -> None:
    """A host cut one way takes the command and its answer never comes: the call that may have been done."""
    with connection(network) as outside:
        outside.set("count", 0)

        network["a"].lose(network.outside)
        assert not reaches(lambda: outside.incr("count"))
        assert server.connect().get("count") == "1"

        network["a"].find(network.outside)
        assert reaches(outside.ping)


def test_requests_alone_are_lost(network: Network, server: RedisServer) -> None:
    """A host cut the other way never sees the command."""
    with connection(network) as outside:
        outside.set("count", 0)

        network.outside.lose(network["a"])
        assert not reaches(lambda: outside.incr("count"))
        assert server.connect().get("count") == "0"

        outside.close()
        network.heal()
        assert reaches(outside.ping)


def test_a_link_between_two_hosts_is_cut_alone(network: Network, server: RedisServer) -> None:
    """Two hosts may lose each other while the test reaches both."""
    assert ping_from_b(network)

    network.cut(network["a"], network["b"])
    assert not ping_from_b(network)
    with connection(network) as outside:
        assert reaches(outside.ping)

    network.heal()
    assert ping_from_b(network)


def test_nothing_is_left() -> None:
    """Namespaces, bridge and processes go with the network, and what a killed test left goes with the next one."""

    def left() -> str:
        words = "ip netns list; ip -oneline link"
        return subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=True).stdout

    with Network("a") as network:
        process = network["a"].start(["sleep", "60"])
        assert f"ls{os.getpid()}n" in left()
    assert process.returncode is not None
    assert f"ls{os.getpid()}n" not in left()

    gone = subprocess.Popen(["true"])
    gone.wait()
    subprocess.run(["ip", "netns", "add", f"ls{gone.pid}n1h1"], check=True)
    with Network("a"):
        assert f"ls{gone.pid}n" not in left()
