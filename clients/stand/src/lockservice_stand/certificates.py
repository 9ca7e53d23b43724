"""Certificates for one stand: an authority, another one, and what they sign. Files in PEM."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme

_NAMES: Final = ("localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3")


class Certificates:
    """Issues them into a directory.

    Attributes:
        ca: of the authority that signs everything here.
        other_ca: of one that has signed nothing.
        cert, key: of a client.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self.other_ca = directory / "other-ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other_ca)
        self.cert, self.key = self._write("client", self._authority.issue_cert("worker.example"))

    def server(self, *, expired: bool) -> tuple[Path, Path]:
        """Issues a server's certificate and its key for the loopback addresses."""
        now = datetime.now(UTC)
        ends = now - timedelta(hours=1) if expired else now + timedelta(days=1)
        issued = self._authority.issue_cert(*_NAMES, not_before=now - timedelta(days=2), not_after=ends)
        return self._write("expired" if expired else "server", issued)

    def _write(self, name: str, issued: trustme.LeafCert) -> tuple[Path, Path]:
        cert, key = self._directory / f"{name}.pem", self._directory / f"{name}-key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return cert, key
