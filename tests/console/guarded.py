"""A service with credentials: an operator, a worker with a prefix, and an operator of another namespace."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from console.visitor import Visitor
from harness.service import Service
from lockservice.audit import Audit

BOSS, CARTS, SHOP = (character * 43 for character in "bcs")


def hashed(token: str) -> str:
    """Writes a token as the file has it."""
    return hashlib.sha256(token.encode()).hexdigest()


AUTH = f"""
[[credential]]
name = "boss"
namespace = ""
token-sha256 = ["{hashed(BOSS)}"]
roles = ["operator"]

[[credential]]
name = "carts"
namespace = ""
token-sha256 = ["{hashed(CARTS)}"]
prefixes = ["cart:"]

[[credential]]
name = "shop"
namespace = "shop"
token-sha256 = ["{hashed(SHOP)}"]
roles = ["worker", "operator"]
"""


class Guarded(Service):
    """A replica that asks its callers who they are."""

    def __init__(self, urls: Sequence[str], file: Path) -> None:
        file.write_text(AUTH)
        self._file = file
        super().__init__(urls, auth_file=file)

    @property
    def audit(self) -> Audit:
        """Its audit log."""
        replica = self.server._replica
        assert replica is not None
        return replica.inspection._audit

    def visitor(self, token: str = "", **headers: str) -> Visitor:
        """Makes a visitor of its console."""
        return Visitor(self.server.ops_addr, token, **headers)

    def withdraw(self, token: str) -> None:
        """Takes a token out of the file."""
        self._file.write_text(AUTH.replace(hashed(token), "0" * 64))
