"""The URL of a shard: whether it names a Redis without a doubt, and what it says.

redis-py ignores what it does not understand in a URL, or fails later, when it connects; an operator should hear of it
at once. No message repeats a part of the URL, since a password with a character too many can end up anywhere in it.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

_SERVERS: Final = ("redis", "rediss", "unix")
_SENTINELS: Final = ("redis+sentinel", "rediss+sentinel")
_CLUSTERS: Final = ("redis+cluster", "rediss+cluster")
_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:,/@\s#]+))(?::(?P<port>[0-9]{1,5}))?")
_ANY: Final = re.compile(r".+")
_PARAMETERS: Final = {"db": re.compile(r"[0-9]{1,4}"), "username": _ANY, "password": _ANY}
_SENTINEL_PARAMETERS: Final = {"sentinel_username": _ANY, "sentinel_password": _ANY}
_TLS_PARAMETERS: Final = {
    "ssl_ca_certs": _ANY,
    "ssl_certfile": _ANY,
    "ssl_keyfile": _ANY,
    "ssl_cert_reqs": re.compile("none|optional|required"),
    "ssl_check_hostname": re.compile("true|false"),
}
_ONE: Final = (re.compile(r"/?|/[0-9]{1,4}"), "after HOST:PORT comes only the number of a database, such as /0")
_SENTINEL: Final = (
    re.compile(r"/[A-Za-z0-9._-]+"),
    "after the Sentinels comes the name of their group, such as /mymaster",
)
_CLUSTER: Final = (re.compile(r"/?"), "a Redis Cluster has no databases: nothing comes after its hosts")
_PATHS: Final = {
    **dict.fromkeys(_SERVERS, _ONE),
    "unix": (_ANY, ""),
    **dict.fromkeys(_SENTINELS, _SENTINEL),
    **dict.fromkeys(_CLUSTERS, _CLUSTER),
}
_PORT_MAX: Final = 65_535
_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26_379


class Host(NamedTuple):
    """Where a server listens."""

    name: str
    port: int

    def __str__(self) -> str:
        """Writes HOST:PORT, with brackets around an IPv6 address."""
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Group(NamedTuple):
    """What a URL with several hosts says: a Sentinel group, or a Redis Cluster.

    Attributes:
        hosts: the Sentinels, or some nodes of the Cluster.
        name: of the Sentinel group; empty for a Cluster.
    """

    hosts: tuple[Host, ...]
    name: str
    parts: SplitResult

    def server(self, host: Host) -> str:
        """Writes the redis-py URL of one of its servers, with the credentials and the TLS files of the whole."""
        return self._url(host, {name: text for name, text in self._given() if name not in _SENTINEL_PARAMETERS})

    def sentinel(self, host: Host) -> str:
        """Writes the redis-py URL of one of its Sentinels, with their own credentials."""
        given = {name.removeprefix("sentinel_"): text for name, text in self._given() if name not in _PARAMETERS}
        return self._url(host, given, credentials="")

    def _given(self) -> list[tuple[str, str]]:
        return parse_qsl(self.parts.query, keep_blank_values=True)

    def _url(self, host: Host, given: dict[str, str], credentials: str | None = None) -> str:
        if credentials is None:
            credentials = self.parts.netloc.rpartition("@")[0]
        before = f"{credentials}@" if credentials else ""
        query = f"?{urlencode(given)}" if given else ""
        return f"{self.parts.scheme.partition('+')[0]}://{before}{host}{query}"


def group(url: str) -> Group | None:
    """Reads the URL of a Sentinel group or of a Cluster; None: it names one server. It must have no problem."""
    parts = _split(url)
    if parts is None or parts.scheme in _SERVERS:
        return None
    sentinel = parts.scheme in _SENTINELS
    return Group(
        _hosts(parts, _SENTINEL_PORT if sentinel else _REDIS_PORT), parts.path[1:] if sentinel else "", parts
    )


def address_of(url: str) -> str:
    """Returns where a shard is, as its URL says, without credentials."""
    parts = _split(url)
    if parts is None:
        return ""
    place = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    return place + parts.path if parts.scheme in _SENTINELS else place


def with_user(url: str, user: str, password: str) -> str:
    """Writes a URL with other credentials for the Redis servers; those of Sentinels stay."""
    parts = _split(url)
    assert parts is not None
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    query = [(name, text) for name, text in parse_qsl(parts.query) if name not in {"username", "password"}]
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{credentials}@{host}", query=urlencode(query)).geturl()


def problem_with(url: str) -> str:
    """Says what is wrong with a shard's URL and what is allowed; empty when it is fine."""
    scheme = url.partition("://")[0]
    if scheme not in _SERVERS + _SENTINELS + _CLUSTERS:
        return "the URL must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
    parts = _split(url)
    if parts is None or not _names_servers(parts):
        return (
            "no server in the URL: write redis://HOST:PORT or unix:///PATH, several as HOST:PORT,HOST:PORT after "
            "redis+sentinel:// or redis+cluster://, with / ? # and @ in a password as %2F %3F %23 and %40"
        )
    path, said = _PATHS[scheme]
    if not path.fullmatch(parts.path):
        return said
    allowed = _allowed(scheme)
    if not _parameters_are(parts, allowed):
        return f"after ? come only {', '.join(allowed)}, each with a value that fits"
    return ""


def _allowed(scheme: str) -> dict[str, re.Pattern[str]]:
    allowed = dict(_PARAMETERS)
    if scheme in _CLUSTERS:
        del allowed["db"]
    if scheme in _SENTINELS:
        allowed |= _SENTINEL_PARAMETERS
    return allowed | (_TLS_PARAMETERS if scheme.startswith("rediss") else {})


def _split(url: str) -> SplitResult | None:
    try:
        return None if re.search(r"\s|#", url) else urlsplit(url)
    except ValueError:
        return None


def _names_servers(parts: SplitResult) -> bool:
    if parts.scheme == "unix":
        return parts.path.startswith("/") and not parts.netloc.rpartition("@")[2]
    hosts = _hosts(parts, _REDIS_PORT)
    return bool(hosts) and (len(hosts) == 1 or parts.scheme not in _SERVERS)


def _hosts(parts: SplitResult, port: int) -> tuple[Host, ...]:
    """Reads HOST:PORT,HOST:PORT; nothing when one of them is none."""
    hosts = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        found = _HOST.fullmatch(text)
        if found is None or not 0 < int(found["port"] or port) <= _PORT_MAX:
            return ()
        hosts.append(Host(found["six"] or found["name"], int(found["port"] or port)))
    return tuple(hosts)


def _parameters_are(parts: SplitResult, allowed: dict[str, re.Pattern[str]]) -> bool:
    try:
        found = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return False
    return all(name in allowed and allowed[name].fullmatch(value) for name, value in found)
