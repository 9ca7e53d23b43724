"""Who calls: the credentials of --auth-file, and what each may do.

The file is read again when it changes. One that cannot be used is reported, and what was read before stays in force.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockservice.auth_file import ROLES, AuthFile, AuthFileError, NamespaceLimits, read
from lockservice.errors import CredentialMissing
from lockservice.limits import AUTH_FILE_BYTES_MAX, AUTH_FILE_MS, TOKEN_BYTES, TOKEN_CHARACTERS_MIN

log = logging.getLogger(__name__)

_UNLIMITED: Final = NamespaceLimits()


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that is known.

    Attributes:
        name: of its credential, for people.
        namespace: what keeps its resources and keys apart from those of others.
        prefixes: the beginnings of the names that it may use; "" allows all.
        roles: "worker" may call LockService, "operator" LockAdminService.
    """

    name: str
    namespace: str
    prefixes: tuple[str, ...]
    roles: frozenset[str]

    def may_touch(self, resource: str) -> bool:
        """Says whether it may use a resource or an event key, or list all that begin with this."""
        return resource.startswith(self.prefixes)


# Everyone, where no credentials are configured.
EVERYBODY: Final = Principal("", "", ("",), ROLES)


def new_token() -> tuple[str, str]:
    """Makes a token, and the hash of it that the file has."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    return token, _hash(token).hex()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Credentials:
    """The credentials of a file.

    Args:
        path: where the file is.

    Attributes:
        version: rises when another file is taken over; who was identified before must be identified again then.

    Raises:
        AuthFileError, OSError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.version = 0
        # How long looking for a hash takes must say nothing of the hashes that are there.
        self._key = secrets.token_bytes(32)
        self._by_token: Mapping[bytes, tuple[bytes, Principal]] = {}
        self._by_certificate: Mapping[str, Principal] = {}
        self._limits: Mapping[str, NamespaceLimits] = {}
        self._signature = self._sign()
        self._take_over(_load(path))

    def identify(self, token: str | None, identities: Sequence[str]) -> Principal:
        """Returns who presents a token, or, without one, a verified client certificate with these names.

        Raises:
            CredentialMissing: nobody does.
        """
        if token is not None:
            return self._of_token(token)
        found = {name: self._by_certificate[name] for name in identities if name in self._by_certificate}
        if not found:
            raise CredentialMissing(
                "no name of the client certificate is that of a credential"
                if identities
                else "a bearer token or a client certificate is required"
            )
        if len({principal.name for principal in found.values()}) > 1:
            raise CredentialMissing(f"the client certificate has names of several credentials: {', '.join(found)}")
        return next(iter(found.values()))

    def _of_token(self, token: str) -> Principal:
        if len(token) < TOKEN_CHARACTERS_MIN:
            # The hash of a word that people think of can be found by trying words.
            raise CredentialMissing(
                f"a token has {TOKEN_CHARACTERS_MIN} characters or more: `lockservice token` makes one"
            )
        hashed = _hash(token)
        known, principal = self._by_token.get(self._index(hashed), (b"", EVERYBODY))
        if not hmac.compare_digest(known, hashed):
            raise CredentialMissing("the token is not known, or not any more")
        return principal

    def limits_of(self, namespace: str) -> NamespaceLimits:
        """Returns what a namespace may use."""
        return self._limits.get(namespace, _UNLIMITED)

    @property
    def limited(self) -> Mapping[str, NamespaceLimits]:
        """The namespaces that have limits."""
        return self._limits

    async def follow(self) -> None:
        """Takes over each new version of the file, until it is cancelled."""
        while True:
            await asyncio.sleep(AUTH_FILE_MS / 1000)
            if self._sign() != self._signature:
                # A long file takes longer to read than other calls should wait.
                await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Takes over the file if it has changed and can be used."""
        signature = self._sign()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._take_over(_load(self._path))
        except Exception as error:  # noqa: BLE001  no file, whatever is in it, may end the following of later ones
            log.error(  # noqa: TRY400  the message says it all
                "auth file is not usable, the last good one stays in force",
                extra={"file": str(self._path), "problem": str(error)},
            )
        else:
            log.info("auth file taken over", extra={"file": str(self._path), "credentials": self._count()})

    def _sign(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _count(self) -> int:
        principals = [*(found for _, found in self._by_token.values()), *self._by_certificate.values()]
        return len({principal.name for principal in principals})

    def _index(self, hashed: bytes) -> bytes:
        return hashlib.blake2b(hashed, key=self._key, digest_size=16).digest()

    def _take_over(self, file: AuthFile) -> None:
        by_token, by_certificate = {}, {}
        for entry in file.entries:
            principal = Principal(entry.name, entry.namespace, entry.prefixes, entry.roles)
            by_token.update({self._index(hashed): (hashed, principal) for hashed in entry.token_hashes})
            by_certificate.update(dict.fromkeys(entry.certificates, principal))
        self._by_token, self._by_certificate, self._limits = by_token, by_certificate, file.limits
        self.version += 1


def _load(path: Path) -> AuthFile:
    with path.open("rb") as file:
        data = file.read(AUTH_FILE_BYTES_MAX + 1)
    if len(data) > AUTH_FILE_BYTES_MAX:
        raise AuthFileError(f"is longer than {AUTH_FILE_BYTES_MAX} bytes")
    try:
        return read(data.decode())
    except UnicodeDecodeError as error:
        raise AuthFileError("is not UTF-8") from error
