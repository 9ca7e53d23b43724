"""What the service says of itself on /metrics."""

import asyncio
import re
import urllib.request
from dataclasses import dataclass
from typing import Final

_TIMEOUT_S: Final = 5.0
_BUCKET: Final = re.compile(r"^lockservice_(\w+)_duration_seconds_bucket\{(.+)\} (\S+)$", re.MULTILINE)
_BOUND: Final = re.compile(r'le="([^"]+)"')

# How many took at most so many seconds.
Histogram = dict[float, float]


@dataclass(frozen=True)
class Latencies:
    """What the service has measured since it began.

    Attributes:
        locks: whole calls that were granted without queueing.
        handoffs: from a release to the answer of the next waiter.
    """

    locks: Histogram
    handoffs: Histogram


async def latencies(ops: str) -> Latencies:
    """Reads them.

    Args:
        ops: HOST:PORT of the service's ops port.
    """
    text = await asyncio.to_thread(_read, f"http://{ops}/metrics")
    made = Latencies({}, {})
    for name, labels, count in _BUCKET.findall(text):
        bound = _BOUND.search(labels)
        if bound and name == "handoff":
            made.handoffs[float(bound[1])] = float(count)
        if bound and name == "acquire" and 'outcome="granted"' in labels:
            made.locks[float(bound[1])] = float(count)
    return made


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  the address is the caller's own
        return str(answer.read().decode())


def quantile(before: Histogram, after: Histogram, part: float) -> float | None:
    """Estimates a quantile of what a histogram has seen between two readings, as Prometheus does; None: nothing.

    Args:
        before: the first reading.
        after: the second reading.
        part: of the whole, such as 0.99.
    """
    counts = [(bound, after[bound] - before.get(bound, 0.0)) for bound in sorted(after)]
    wanted = part * (counts[-1][1] if counts else 0.0)
    if not wanted:
        return None
    lower, seen = 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            return lower if bound == float("inf") else lower + (bound - lower) * (wanted - seen) / (count - seen)
        lower, seen = bound, count
    raise AssertionError("a histogram's last bucket has everything")
