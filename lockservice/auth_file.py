"""The file of --auth-file: who may call, as whom, and how much.

It is TOML, read strictly:

    [[credential]]
    name = "shop-workers"
    namespace = "shop"
    token-sha256 = ["<what `lockservice token` prints>"]   # several are valid at once, while tokens are rotated
    certificates = ["spiffe://example.org/worker"]         # names of verified client certificates
    prefixes = ["order:", "cart:"]                         # absent: every name of the namespace
    roles = ["worker"]                                     # worker, operator; absent: worker

    [namespace.shop]                                       # absent, or a line of it: no such limit
    leases = 10_000
    waiters = 1_000
    remembered-events = 1_000_000
    calls-a-second = 500

Nothing that is said of a mistake repeats a value that could be a token.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from lockservice.limits import CREDENTIALS_MAX, NAMESPACE_LIMIT_MAX, RESOURCE_BYTES_MAX

ROLES: Final = frozenset({"worker", "operator"})
_NAMESPACE: Final = re.compile(r"[a-z0-9-]{0,63}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LISTS: Final = ("token-sha256", "certificates", "prefixes", "roles")


class AuthFileError(Exception):
    """The file cannot be used; the message says where and what to change."""


class Entry(NamedTuple):
    """One credential: by which secrets and names it is known, and what it may do."""

    name: str
    namespace: str
    token_hashes: tuple[bytes, ...]
    certificates: tuple[str, ...]
    prefixes: tuple[str, ...]
    roles: frozenset[str]


class NamespaceLimits(NamedTuple):
    """What a namespace may use; None: as much as it likes.

    Attributes:
        leases: held at once, on all replicas together.
        waiters: calls that wait, on each replica.
        remembered_events: event keys, on all replicas together.
        calls_a_second: on each replica.
    """

    leases: int | None = None
    waiters: int | None = None
    remembered_events: int | None = None
    calls_a_second: int | None = None


class AuthFile(NamedTuple):
    """What the file says."""

    entries: tuple[Entry, ...]
    limits: Mapping[str, NamespaceLimits]


def read(text: str) -> AuthFile:
    """Reads the file's text. Raises AuthFileError."""
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise AuthFileError(f"no TOML: {error}") from error
    _known_only("the file", found, {"credential", "namespace"})
    tables = found.get("credential")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise AuthFileError("has no [[credential]]: nobody could call")
    if len(tables) > CREDENTIALS_MAX:
        raise AuthFileError(f"has {len(tables)} credentials: at most {CREDENTIALS_MAX} are allowed")
    entries = tuple(_entry(number, table) for number, table in enumerate(tables, 1))
    _refuse_shared("name", [entry.name for entry in entries])
    _refuse_shared("token-sha256", [secret for entry in entries for secret in entry.token_hashes])
    _refuse_shared("certificates", [name for entry in entries for name in entry.certificates])
    return AuthFile(entries, _limits(found.get("namespace", {}), {entry.namespace for entry in entries}))


def _known_only(where: str, table: Mapping[str, Any], known: Collection[str]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise AuthFileError(f"{where} has an unknown {key!r}; {hint}")


def _refuse_shared(key: str, values: Collection[str | bytes]) -> None:
    if len(set(values)) < len(values):
        raise AuthFileError(f"two credentials have the same {key}: it would not say who calls")


def _entry(number: int, table: Mapping[str, Any]) -> Entry:
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AuthFileError(f"credential number {number}: name must be 1 to 128 of A-Z, a-z, 0-9 and . _ @ -")
    where = f"credential {name}"
    _known_only(where, table, {"name", "namespace", *_LISTS})
    lists = {key: _texts(where, key, table[key]) for key in _LISTS if key in table}
    hashes, certificates = lists.get("token-sha256", ()), lists.get("certificates", ())
    if not hashes and not certificates:
        raise AuthFileError(f"{where}: name token-sha256 or certificates, or nobody can be known as it")
    if not all(_SHA256.fullmatch(text) for text in hashes):
        raise AuthFileError(
            f"{where}: token-sha256 has 64 of 0-9 and a-f for each token; `lockservice token` prints it"
        )
    prefixes = lists.get("prefixes", ("",))
    if any(len(prefix.encode()) > RESOURCE_BYTES_MAX for prefix in prefixes):
        raise AuthFileError(f"{where}: a prefix has at most {RESOURCE_BYTES_MAX} bytes")
    roles = lists.get("roles", ("worker",))
    if not set(roles) <= ROLES:
        raise AuthFileError(f"{where}: roles are {', '.join(sorted(ROLES))}")
    return Entry(
        name=name,
        namespace=_namespace(where, table.get("namespace")),
        token_hashes=tuple(map(bytes.fromhex, hashes)),
        certificates=certificates,
        prefixes=prefixes,
        roles=frozenset(roles),
    )


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise AuthFileError(f"{where}: {key} is a list of texts, none of them empty")
    return tuple(value)


def _namespace(where: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAMESPACE.fullmatch(value):
        raise AuthFileError(
            f'{where}: namespace must be up to 63 of a-z, 0-9 and -; "" is the one used before there were credentials'
        )
    return value


def _limits(tables: Any, namespaces: Collection[str]) -> dict[str, NamespaceLimits]:
    if not isinstance(tables, dict):
        raise AuthFileError("namespace: write the limits of each as [namespace.NAME]")
    _known_only("namespace", tables, namespaces)
    limits = {}
    for name, table in tables.items():
        where = f"namespace {name}"
        if not isinstance(table, dict):
            raise AuthFileError(f"{where}: write its limits under [namespace.{name}]")
        _known_only(where, table, {field.replace("_", "-") for field in NamespaceLimits._fields})
        for key, value in table.items():
            if type(value) is not int or not 1 <= value <= NAMESPACE_LIMIT_MAX:
                raise AuthFileError(f"{where}: {key} must be a number from 1 to {NAMESPACE_LIMIT_MAX}")
        limits[name] = NamespaceLimits(**{key.replace("-", "_"): value for key, value in table.items()})
    return limits
