"""An auth file for tests: each tenant has a namespace of its own name, a token, and orders."""

import hashlib
import secrets
from collections.abc import Iterable
from pathlib import Path


def write(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Writes the file, and returns the token of each tenant."""
    tokens = {name: secrets.token_urlsafe(32) for name in names}
    path.write_text("".join(_credential(name, token) for name, token in tokens.items()), encoding="utf-8")
    return tokens


def _credential(name: str, token: str) -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return (
        f'[[credential]]\nname = "{name}"\nnamespace = "{name}"\nprefixes = ["order:"]\nroles = ["worker"]\n'
        f'token-sha256 = ["{digest}"]\n\n'
    )
