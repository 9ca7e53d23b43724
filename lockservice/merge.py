"""The metrics of several workers as those of one replica.

What a worker said last counts until it says more, and the counters of one that died stay: Prometheus takes a counter
that falls for a new process, and would count all that the others have counted once more.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

# Every worker sees all shards: what they say of the same thing is not summed.
_HIGHEST: Final = frozenset(
    {
        "lockservice_holds",
        "lockservice_draining",
        "lockservice_drain_overdue_seconds",
        "lockservice_build_info",
        "lockservice_shard_hold_off",
        "lockservice_redis_evicts",
        "lockservice_redis_memory_ratio",
        # As the parser names the family of …_total.
        "lockservice_redis_evicted_keys",
        "python_info",
    }
)
_LOWEST: Final = frozenset(
    {
        "lockservice_shard_up",
        "lockservice_certificate_expiry_timestamp_seconds",
        "process_start_time_seconds",
    }
)
# A clock may be off in both directions.
_FURTHEST: Final = frozenset({"lockservice_shard_clock_offset_seconds"})
_LASTING: Final = frozenset({"counter", "histogram"})

Families = list[Metric]


def read(text: str) -> Families:
    """Reads the text that a worker shows at /metrics."""
    return list(text_string_to_metric_families(text))


def lasting(families: Families) -> Families:
    """Returns what stays true when the process that said it has died: its counters and histograms."""
    return [family for family in families if family.type in _LASTING]


def merge(workers: Iterable[Families]) -> Families:
    """Sums the families of several workers; a few gauges are the highest or the lowest of them."""
    merged: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in workers:
        for family in families:
            merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known = values.setdefault(family.name, {})
            for sample in family.samples:
                series = (sample.name, tuple(sample.labels.items()))
                known[series] = _join(family.name, known[series], sample.value) if series in known else sample.value
    for name, family in merged.items():
        family.samples = [Sample(of, dict(labels), value) for (of, labels), value in values[name].items()]
    return list(merged.values())


def _join(name: str, one: float, other: float) -> float:
    if name in _HIGHEST:
        return max(one, other)
    if name in _LOWEST:
        return min(one, other)
    if name in _FURTHEST:
        return max(one, other, key=abs)
    return one + other


class Merged(Collector):
    """Merged families, as prometheus_client writes them out."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Families:
        """Returns the families."""
        return self._families
