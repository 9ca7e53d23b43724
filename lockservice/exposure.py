"""Whether settings go together that say who can reach the service: addresses, TLS, credentials.

Beyond loopback callers must be known, and their secrets hidden on the way.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lockservice.auth_file import AuthFileError
from lockservice.credentials import Credentials
from lockservice.setting_types import is_loopback


def check(named: Mapping[str, Any]) -> None:
    """Checks settings by name. Raises click.UsageError."""
    if named["auth_file"] is not None:
        _check_auth_file(named["auth_file"])
    if (named["tls_cert"] is None) != (named["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    if named["tls_client_ca"] is not None and named["tls_cert"] is None:
        raise click.UsageError("--tls-client-ca needs --tls-cert and --tls-key")
    if not named["insecure"] and not is_loopback(named["grpc_addr"]):
        _check_beyond_loopback(named)


def _check_auth_file(path: Path) -> None:
    try:
        Credentials(path)
    except (AuthFileError, OSError) as error:
        raise click.UsageError(f"--auth-file {path}: {error}") from error


def _check_beyond_loopback(named: Mapping[str, Any]) -> None:
    address = named["grpc_addr"]
    if named["auth_file"] is not None and named["tls_cert"] is None:
        raise click.UsageError(
            f"--grpc-addr {address} would let everybody on the way read the tokens of --auth-file: "
            "name --tls-cert and --tls-key, or say --insecure where something else encrypts"
        )
    if named["auth_file"] is None and named["tls_client_ca"] is None:
        raise click.UsageError(
            f"--grpc-addr {address} would serve everybody who can reach it: "
            "name --auth-file with --tls-cert and --tls-key, or --tls-client-ca, or say --insecure"
        )
