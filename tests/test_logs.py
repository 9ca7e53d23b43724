"""Log lines: one JSON object each, with fields, a request id, and never a secret."""

import json
import subprocess
import sys
from typing import Any

import pytest

from lockservice.logs import mask

SECRET = "s3cr3t"
URLS = (
    f"redis://:{SECRET}@h:6379/0",
    f"rediss://user:{SECRET}@h",
    f"redis://:a@{SECRET}@h",
    f"redis://:a/{SECRET}@h",
    f'redis://:a"{SECRET}@h',
    f"redis+sentinel://user:{SECRET}@h1,h2/main",
    f"redis://h?db=1&password={SECRET}",
)
PREPARE = "import logging, structlog; from lockservice.logs import set_up; log = logging.getLogger('x');"


def lines(code: str, log_format: str | None = "json", level: str = "info") -> list[str]:
    """Runs code in a process that has set up its logs, and returns what it wrote to standard error."""
    program = f"{PREPARE} set_up({log_format!r}, {level!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == ""
    return done.stderr.splitlines()


def line(code: str) -> dict[str, Any]:
    """Runs code that logs one JSON line."""
    (only,) = lines(code)
    return dict(json.loads(only))


def test_fields() -> None:
    """A line has its event, level, UTC time and the extras as fields of their own."""
    found = line("log.info('ready', extra={'grpc': '127.0.0.1:1', 'count': 2})")
    assert found.pop("timestamp").endswith("Z")
    assert found == {"event": "ready", "level": "info", "grpc": "127.0.0.1:1", "count": 2}


def test_request_id() -> None:
    """The request id that is bound to a call stands in all its lines."""
    bind = "structlog.contextvars.bind_contextvars(request_id='r-1');"
    assert line(bind + "log.info('acquired')")["request_id"] == "r-1"


def test_level() -> None:
    """Lines below the level are not written."""
    assert lines("log.info('a')\nlog.warning('b')", level="warning")[0].count('"b"') == 1


@pytest.mark.parametrize(
    "crash",
    [
        "raise ValueError('boom')",
        "import threading; t = threading.Thread(target=lambda: int('boom')); t.start(); t.join()",
    ],
)
def test_uncaught(crash: str) -> None:
    """An exception that nobody catches, in any thread, is one JSON line with its trace."""
    found = line(crash)
    assert (found["event"], found["level"]) == ("crashed", "critical")
    assert "ValueError" in found["exception"]
    assert "boom" in found["exception"]


def test_warnings() -> None:
    """A warning of a library is a JSON line too."""
    assert "old" in line("import warnings; warnings.warn('old')")["event"]


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("url", URLS)
def test_no_secret(url: str, log_format: str) -> None:
    """A secret in a URL shows nowhere: not in the event, an extra, a list, an object or a trace."""
    code = f"""
url = {url!r}
log.info("to " + url)
log.info("to %s", url)
thing = type("T", (), {{"__repr__": lambda self: url}})()
log.info("shard", extra={{"url": url, "urls": [url], "of": {{"s1": url}}, "thing": thing}})
try:
    raise ValueError(url)
except ValueError:
    log.exception("failed")
raise ValueError(url)
"""
    found = lines(code, log_format)
    assert len(found) >= 5
    assert SECRET not in "\n".join(found)
    if log_format == "json":
        assert len([json.loads(text) for text in found]) == 5


def test_a_mask_that_stops_too_early_is_caught() -> None:
    """The URLs above tell a mask that ends at the first @ from one that does not."""
    import re  # noqa: PLC0415  only the broken variant needs it

    broken = [re.sub(r"(\w+://)[^/@\s]*@", r"\1***@", url) for url in URLS]
    assert any(SECRET in text for text in broken)
    assert not any(SECRET in mask(url) for url in URLS)


def test_what_is_no_secret_stays() -> None:
    """Addresses, resources and owners are left as they are."""
    for text in ("redis://h:6379/0", "order:1001", "worker@host", "unix:///run/s1.sock", "127.0.0.1:50051"):
        assert mask(text) == text


def test_text() -> None:
    """The text form has what scripts look for in one piece, without colours when it is no terminal."""
    (found,) = lines("log.info('ready', extra={'grpc': '127.0.0.1:1', 'ops': '127.0.0.1:2', 'shards': 's1'})", "text")
    assert found.endswith("ready grpc=127.0.0.1:1 ops=127.0.0.1:2 shards=s1")
    assert "\x1b" not in found
