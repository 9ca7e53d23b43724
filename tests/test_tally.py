"""Tallies count what prometheus_client's own metrics count."""

import random

from prometheus_client import CollectorRegistry, Histogram as TheirHistogram, generate_latest

from lockservice.tally import Counter, Histogram

BOUNDS = (0.001, 0.01, 0.1, 1)


def test_a_histogram_says_what_prometheus_clients_own_says() -> None:
    """The same observations, bounds themselves among them, give the same exposition."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    made = Histogram("latency_seconds", "Text.", ("outcome",), registry=ours, buckets=BOUNDS)
    reference = TheirHistogram("latency_seconds", "Text.", ("outcome",), registry=theirs, buckets=BOUNDS)
    chance = random.Random(1)
    for number in range(10_000):
        value = chance.choice([*BOUNDS, 0, 5, chance.random()])
        for family in (made, reference):
            family.labels("granted" if number % 3 else "held").observe(value)

    def lines(registry: CollectorRegistry) -> list[str]:
        found = generate_latest(registry).decode().splitlines()
        return sorted(line for line in found if "_created" not in line and "_sum" not in line)

    assert lines(ours) == lines(theirs)
    for outcome in ("granted", "held"):
        labels = {"outcome": outcome}
        sums = [registry.get_sample_value("latency_seconds_sum", labels) for registry in (ours, theirs)]
        assert abs(sums[0] - sums[1]) < 1e-6  # type: ignore[operator]  # both are there


def test_a_counter_counts() -> None:
    """By label, and from nothing."""
    registry = CollectorRegistry()
    counter = Counter("calls_total", "Text.", ("code",), registry=registry)
    counter.labels("OK").inc()
    counter.labels("OK").inc(2)

    assert registry.get_sample_value("calls_total", {"code": "OK"}) == 3
    assert registry.get_sample_value("calls_total", {"code": "Unavailable"}) is None


def test_looking_twice_counts_once() -> None:
    """A scrape changes nothing."""
    registry = CollectorRegistry()
    histogram = Histogram("size", "Text.", registry=registry, buckets=(1,))
    histogram.labels().observe(0.5)

    assert [registry.get_sample_value("size_count") for _ in range(2)] == [1, 1]
