"""Counters and histograms that cost next to nothing where they are used, and do their sums when they are scraped.

prometheus_client takes a lock for every number, which made a tenth of the processor time of a call. Here only the
event loop writes, an observation is an append to a list, and the list is sorted into its buckets when it is long or
when somebody looks. Names, labels and the exposition stay prometheus_client's business.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from math import fsum
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

# So many observations are kept before they are sorted in, about 32 KB of them.
_KEPT_MAX: Final = 4_096


class Count:
    """A number that rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Raises it."""
        self.value += amount


class Distribution:
    """How many observations fell into each bucket. A bound belongs to the bucket below it, as in Prometheus."""

    __slots__ = ("_bounds", "_new", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._new: list[float] = []
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def mark(self, value: float, trace_id: str) -> None:
        """Remembers of which trace an observation was, the last one in each bucket; "": of none."""
        if trace_id:
            bucket = bisect_left(self._bounds, value)
            self.exemplars[bucket] = Exemplar({"trace_id": trace_id}, value, time.time())

    def observe(self, value: float) -> None:
        """Adds an observation."""
        self._new.append(value)
        if len(self._new) >= _KEPT_MAX:
            self.fold()

    def fold(self) -> None:
        """Sorts what is new into the buckets."""
        # A scrape does this from its own thread: what is appended meanwhile stays for the next time.
        seen = len(self._new)
        values = sorted(self._new[:seen])
        del self._new[:seen]
        self.total += fsum(values)
        below = 0
        for index, bound in enumerate(self._bounds):
            upto = bisect_right(values, bound)
            self.counts[index] += upto - below
            below = upto
        self.counts[-1] += len(values) - below


class _Family(Collector):
    """A metric with its children by the values of their labels, each made when it is first asked for."""

    def __init__(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.labelnames = tuple(labelnames)
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Names the metric, without a sample."""
        return [self._empty()]

    def _empty(self) -> Metric:
        raise NotImplementedError


class Counter(_Family):
    """A family of counters; its name ends in _total."""

    def __init__(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self._children: dict[tuple[str, ...], Count] = {}
        super().__init__(name, documentation, labelnames, registry=registry)

    def labels(self, *values: str) -> Count:
        """Returns the counter of these labels."""
        return self._children.setdefault(values, Count())

    def _empty(self) -> CounterMetricFamily:
        return CounterMetricFamily(self.name, self.documentation, labels=self.labelnames)

    def collect(self) -> Iterable[Metric]:
        """Writes the counters."""
        family = self._empty()
        for values, count in list(self._children.items()):
            family.add_metric(values, count.value)
        return [family]


class Histogram(_Family):
    """A family of histograms over ascending bounds."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        buckets: Sequence[float],
    ) -> None:
        self._children: dict[tuple[str, ...], Distribution] = {}
        self._bounds = tuple(buckets)
        super().__init__(name, documentation, labelnames, registry=registry)

    def labels(self, *values: str) -> Distribution:
        """Returns the histogram of these labels."""
        return self._children.setdefault(values, Distribution(self._bounds))

    def _empty(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self.name, self.documentation, labels=self.labelnames)

    def collect(self) -> Iterable[Metric]:
        """Writes the histograms."""
        family = self._empty()
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for values, distribution in list(self._children.items()):
            distribution.fold()
            upto = 0
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for index, (bound, count) in enumerate(zip(bounds, distribution.counts, strict=True)):
                upto += count
                exemplar = distribution.exemplars.get(index)
                # OpenMetrics alone writes the exemplar.
                buckets.append((bound, float(upto), exemplar) if exemplar else (bound, float(upto)))
            family.add_metric(values, buckets=buckets, sum_value=distribution.total)
        return [family]
