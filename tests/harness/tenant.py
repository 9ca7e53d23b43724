"""Credentials for tests: a file of them, and callers that present one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.service import Service
from lockservice.credentials import new_token
from lockservice.server import Server
from lockservice.v1 import lockservice_pb2_grpc as pb_grpc


class AuthFile:
    """A file of --auth-file, and the tokens that are in it.

    Args:
        directory: where it is.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "auth.toml"
        self.tokens: dict[str, str] = {}
        self._blocks: dict[str, str] = {}
        self._limits: dict[str, str] = {}

    def add(
        self,
        name: str,
        namespace: str,
        *,
        roles: Sequence[str] = ("worker", "operator"),
        prefixes: Sequence[str] = (),
        certificates: Sequence[str] = (),
    ) -> str:
        """Adds a credential, or replaces that of the same name, and returns its token."""
        self.tokens[name], hashed = new_token()
        lines = [
            "[[credential]]",
            f'name = "{name}"',
            f'namespace = "{namespace}"',
            f"roles = {list(roles)}",
            f'token-sha256 = ["{hashed}"]',
        ]
        lines += [f"prefixes = {list(prefixes)}"] if prefixes else []
        lines += [f"certificates = {list(certificates)}"] if certificates else []
        self._blocks[name] = "\n".join(lines)
        self.write()
        return self.tokens[name]

    def rotate(self, name: str) -> str:
        """Gives a credential a second token beside its first, and returns it."""
        token, hashed = new_token()
        self._blocks[name] = self._blocks[name].replace("token-sha256 = [", f'token-sha256 = ["{hashed}", ')
        self.write()
        return token

    def revoke(self, name: str) -> None:
        """Takes a credential out."""
        del self._blocks[name]
        self.write()

    def limit(self, namespace: str, **limits: int) -> None:
        """Limits a namespace."""
        lines = [f"{key.replace('_', '-')} = {value}" for key, value in limits.items()]
        self._limits[namespace] = "\n".join([f"[namespace.{namespace}]", *lines])
        self.write()

    def write(self, more: str = "") -> None:
        """Writes the file as people should: whole, in one step."""
        new = self.path.with_suffix(".new")
        new.write_text("\n\n".join([*self._blocks.values(), *self._limits.values(), more]))
        new.replace(self.path)


class Caller(Service):
    """A connection to a running server that presents a token, a client certificate, or what a test likes."""

    def __init__(
        self,
        server: Server,
        token: str | None = None,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        tls: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.server = server
        self._tls = tls
        self._metadata = (*metadata, *([("authorization", f"Bearer {token}")] if token is not None else []))

    async def __aenter__(self) -> Self:
        address = self.server.grpc_addr
        if self._tls is None:
            self.channel = grpc.aio.insecure_channel(address)
        else:
            self.channel = grpc.aio.secure_channel(address.replace("127.0.0.1", "localhost"), self._tls)
        self.locks = _Bearing(pb_grpc.LockServiceStub(self.channel), self._metadata)  # type: ignore[assignment]  # as far as tests use it
        self.admin = _Bearing(pb_grpc.LockAdminServiceStub(self.channel), self._metadata)  # type: ignore[assignment]  # as above
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()


class _Bearing:
    """A stub whose every call has the same metadata."""

    def __init__(self, stub: Any, metadata: Sequence[tuple[str, str]]) -> None:
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self._stub, name), metadata=self._metadata)


class Authority:
    """A certificate authority, with files for a server's settings."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)
        issued = self._authority.issue_cert("localhost", "127.0.0.1")
        self.cert, self.key = directory / "server.pem", directory / "server.key"
        self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.key)

    def channel(self, *names: str, common_name: str = "") -> grpc.ChannelCredentials:
        """Makes what a client needs; with names it has a certificate of them, as DNS names or URIs."""
        if not names and not common_name:
            return grpc.ssl_channel_credentials(self.ca.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name or "client")]))
            .issuer_name(x509.load_pem_x509_certificate(self.ca.read_bytes()).subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        if names:
            kinds = [x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name) for name in names]
            made = made.add_extension(x509.SubjectAlternativeName(kinds), critical=False)
        signing = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), password=None)
        assert isinstance(signing, ec.EllipticCurvePrivateKey)
        chain = made.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), secret, chain)
