"""The URL of a shard: whether it names a Redis without a doubt.

redis-py ignores what it does not understand in a URL, or fails later, when it connects; an operator should hear of it
at once. No message repeats a part of the URL, since a password with a character too many can end up anywhere in it.
"""

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

_SCHEMES: Final = ("redis", "rediss", "unix")
_LATER: Final = ("redis+sentinel", "redis+cluster")
_DATABASE: Final = re.compile(r"/?|/[0-9]{1,4}")
_ANY: Final = re.compile(r".+")
_PARAMETERS: Final = {"db": re.compile(r"[0-9]{1,4}"), "username": _ANY, "password": _ANY}
_TLS_PARAMETERS: Final = {
    "ssl_ca_certs": _ANY,
    "ssl_certfile": _ANY,
    "ssl_keyfile": _ANY,
    "ssl_cert_reqs": re.compile("none|optional|required"),
    "ssl_check_hostname": re.compile("true|false"),
}


def problem_with(url: str) -> str:
    """Says what is wrong with a shard's URL and what is allowed; empty when it is fine."""
    scheme = url.partition("://")[0]
    if scheme in _LATER:
        return f"{scheme}:// comes in a later version; name a single Redis with redis://"
    if scheme not in _SCHEMES:
        return "the URL must begin with redis://, rediss:// or unix://"
    if not _names_a_server(url):
        return (
            "no server in the URL: write redis://HOST:PORT or unix:///PATH, "
            "with / ? # and @ in a password as %2F %3F %23 and %40"
        )
    parts = urlsplit(url)
    if scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        return "after HOST:PORT comes only the number of a database, such as /0"
    allowed = _PARAMETERS | (_TLS_PARAMETERS if scheme == "rediss" else {})
    if not _parameters_are(parts, allowed):
        return f"after ? come only {', '.join(allowed)}, each with a value that fits"
    return ""


def _names_a_server(url: str) -> bool:
    if re.search(r"\s|#", url):
        return False
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return parts.path.startswith("/") and not parts.hostname
        # An unreadable port is only found by asking for it.
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _parameters_are(parts: SplitResult, allowed: dict[str, re.Pattern[str]]) -> bool:
    try:
        found = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return False
    return all(name in allowed and allowed[name].fullmatch(value) for name, value in found)
