"""The way to the service, up to its open port: the name, the addresses behind it, a connection to each."""

import os
import socket
import time
from typing import Final, NamedTuple

from lockservice_client.lockctl.finding import Finding, fail, ok, warn

TIMEOUT_S: Final = 3.0
# Of a name with more addresses than these, the first ones are looked at.
_ADDRESSES_MAX: Final = 32
# gRPC goes through the first of these that is set, unless the host is named by the second kind.
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES: Final = ("no_grpc_proxy", "no_proxy")


class Address(NamedTuple):
    """One address behind a name; without a port it is the path of a unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """Opens a connection. Raises OSError."""
        if self.port:
            return socket.create_connection(self, timeout=TIMEOUT_S)
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(TIMEOUT_S)
        made.connect(self.host)
        return made


def split(server: str) -> tuple[str, int]:
    """Returns host and port of what --server names; port 0: the host is the path of a unix socket.

    Raises ValueError: it has no port.
    """
    if server.startswith("unix:"):
        return server.removeprefix("unix:").removeprefix("//"), 0
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        if server.startswith(scheme):
            server = server.removeprefix(scheme).rpartition("/")[2]
    host, colon, port = server.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{server!r} has no port")
    return host.strip("[]"), int(port)


def resolve(server: str) -> tuple[list[Address], list[Finding]]:
    """Finds the addresses behind --server; none when that fails."""
    try:
        host, port = split(server)
    except ValueError as error:
        return [], [fail("name", str(error), "write --server or LOCKSERVICE_ADDR as HOST:PORT")]
    if not port:
        return [Address(host, 0)], [ok("name", f"{server} is a socket of this machine")]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        advice = "check the host of --server or LOCKSERVICE_ADDR, and this machine's DNS"
        return [], [fail("name", f"{host} has no address: {error}", advice)]
    addresses = [Address(str(entry[4][0]), port) for entry in found]
    addresses = list(dict.fromkeys(addresses))
    names = ", ".join(address.host for address in addresses)
    return addresses[:_ADDRESSES_MAX], [ok("name", f"{host} is {names}"), *_proxies(host)]


def _proxies(host: str) -> list[Finding]:
    proxy = next((name for name in _PROXIES if os.environ.get(name)), "")
    spared = next((os.environ[name] for name in _NO_PROXIES if os.environ.get(name)), "")
    if not proxy or any(host.endswith(part.strip().lstrip("*")) for part in spared.split(",") if part.strip()):
        return []
    advice = f"gRPC clients here go through that proxy; if they shall not, add {host} to no_proxy"
    return [warn("proxy", f"{proxy} is set", advice)]


def connect(addresses: list[Address]) -> tuple[list[Address], list[Finding]]:
    """Connects to every address; returns those that accept."""
    findings, open_ones = [], []
    for address in addresses:
        started = time.monotonic()
        try:
            address.connect().close()
        except OSError as error:
            findings.append((address, str(error)))
        else:
            open_ones.append(address)
            findings.append((address, f"accepts, {(time.monotonic() - started) * 1e3:.1f} ms"))
    return open_ones, [_connection(address, text, open_ones) for address, text in findings]


def _connection(address: Address, text: str, open_ones: list[Address]) -> Finding:
    if address in open_ones:
        return ok("connection", f"{address} {text}")
    if open_ones:
        advice = (
            "clients go on to the other addresses; take this one out of the name, or see why nobody listens there"
        )
        return warn("connection", f"{address}: {text}", advice)
    advice = "is the server running, is the port right, does a firewall or a network policy stand between?"
    return fail("connection", f"{address}: {text}", advice)
