"""TLS for the gRPC port: certificate files are read again for every connection, so a renewed one needs no restart."""

import contextlib
from pathlib import Path

import grpc
from cryptography import x509


def expires_at_s(path: Path) -> float:
    """Returns when the first certificate in a PEM file runs out, in seconds since 1970; 0: it cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return 0.0
    return min(certificate.not_valid_after_utc.timestamp() for certificate in found)


def credentials(cert: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """Builds credentials from PEM files. With client_ca only clients with a certificate of it are let in.

    Raises:
        OSError: a file cannot be read now; later a connection is served with what was read last.
    """

    def read() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(key.read_bytes(), cert.read_bytes())],
            root_certificates=client_ca.read_bytes() if client_ca else None,
        )

    last = read()

    def fetch() -> grpc.ServerCertificateConfiguration:
        nonlocal last
        # A file that is being replaced may be missing for a moment.
        with contextlib.suppress(OSError):
            last = read()
        return last

    return grpc.dynamic_ssl_server_credentials(last, fetch, require_client_authentication=client_ca is not None)
