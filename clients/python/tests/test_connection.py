"""How the service is reached, and that a wrong way is named."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lockservice_client import Client, Unavailable


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject)
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def tls_address(certificate: tuple[Path, Path]) -> Iterator[str]:
    """A gRPC server that speaks TLS and has no services."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  only here

    cert, key = certificate
    server = grpc.server(ThreadPoolExecutor(1))
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


async def test_s27_plaintext_to_a_tls_server_is_named(tls_address: str) -> None:
    """Who forgot TLS is asked whether the server expects it."""
    async with Client(tls_address, retry_for=0.3) as client:
        with pytest.raises(Unavailable, match="does it expect TLS"):
            await client.acquire("x")


async def test_s27_tls_to_a_plaintext_server_is_named(service: Any, certificate: tuple[Path, Path]) -> None:
    """Who speaks TLS to a plaintext server is told so."""
    async with Client(service.address, ca=certificate[0], retry_for=0.3) as client:
        with pytest.raises(Unavailable, match="does not speak TLS as this client does"):
            await client.acquire("x")


async def test_a_closed_port_is_named() -> None:
    """A refused connection names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Client(f"127.0.0.1:{port}", retry_for=0.2) as client:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} cannot be reached"):
            await client.acquire("x")


async def test_s28_a_token_does_not_cross_the_network_in_the_clear() -> None:
    """A token needs TLS, loopback, or the caller's word."""
    with pytest.raises(ValueError, match="in the clear"):
        Client("db.example:50051", token="secret")
    for address in ("127.0.0.1:1", "dns:///localhost:1"):
        await Client(address, token="secret").close()
    await Client("db.example:50051", token="secret", insecure=True).close()


async def test_a_name_that_only_looks_local_is_not_loopback() -> None:
    """A host such as 127.example.com or localhost.example.com is not this machine."""
    for address in ("127.example.com:50051", "localhost.example.com:50051"):
        with pytest.raises(ValueError, match="in the clear"):
            Client(address, token="secret")


async def test_s36_address_and_owner_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOCKSERVICE_ADDR, else the loopback port; the owner names host and process."""
    monkeypatch.delenv("LOCKSERVICE_ADDR", raising=False)
    async with Client() as client:
        assert client.address == "127.0.0.1:50051"
        assert client.owner == f"{socket.gethostname()}:{os.getpid()}"
    monkeypatch.setenv("LOCKSERVICE_ADDR", "127.0.0.1:1")
    async with Client() as client:
        assert client.address == "127.0.0.1:1"
