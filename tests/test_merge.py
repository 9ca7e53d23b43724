"""The metrics of several workers, merged: sums, what is no sum, and an exposition like that of one."""

import subprocess

import pytest
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from harness.manifests import program
from harness.workers import total
from lockservice import merge
from lockservice.metrics import Metrics

SHARDS = ("s1", "s2")


def worker(*, calls: int, up: int = 1, holds: int = 3, clock_off_s: float = 0, expiry_s: int = 100) -> str:
    """Writes what a worker shows after some calls, each a quarter of a second long."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector):
        collector(registry=registry)
    metrics = Metrics(registry)
    for _ in range(calls):
        metrics.acquire_duration["granted"].observe(0.25)
        metrics.release["released"].inc()
    for shard in SHARDS:
        metrics.shard_up.labels(shard).set(up)
        metrics.clock_offset.labels(shard).set(clock_off_s)
        metrics.evicted_keys.labels(shard).inc(7)
        metrics.memory_ratio.labels(shard).set(0.5)
    metrics.certificate_expiry.labels("server").set(expiry_s)
    metrics.holds.set(holds)
    metrics.waiters.set(calls)
    return generate_latest(registry).decode()


def merged(*texts: str) -> str:
    """Merges what workers show."""
    return generate_latest(merge.Merged(merge.merge(merge.read(text) for text in texts))).decode()


def series(text: str) -> list[tuple[str, dict[str, str]]]:
    """Returns name and labels of every sample, in their order."""
    families = text_string_to_metric_families(text)
    return [(sample.name, sample.labels) for family in families for sample in family.samples]


def test_one_worker_stays_as_it_is() -> None:
    """Merging a single worker changes nothing: names, labels, buckets, help texts, their order and the values."""
    text = worker(calls=3)
    assert merged(text) == text


def test_sums() -> None:
    """Counters, every bucket of a histogram, and the gauges of a worker's own are summed."""
    text = merged(worker(calls=2), worker(calls=5), worker(calls=0))
    assert total(text, "lockservice_release_total", outcome="released") == 7
    assert total(text, "lockservice_waiters") == 7
    name = "lockservice_acquire_duration_seconds"
    assert total(text, f"{name}_count") == 7
    assert total(text, f"{name}_sum") == pytest.approx(7 * 0.25)
    assert [total(text, f"{name}_bucket", le=le) for le in ("0.2", "0.5", "+Inf")] == [0, 7, 7]
    assert series(text) == series(worker(calls=1))


def test_what_is_no_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every worker sees is the highest, a shard is up when all say so; a plain sum would be noticed."""
    texts = (
        worker(calls=0, holds=3, clock_off_s=0.1),
        worker(calls=0, holds=4, up=0, clock_off_s=-0.3, expiry_s=50),
    )
    text = merged(*texts)
    for name, value in (("holds", 4), ("build_info", 1), ("draining", 0)):
        assert total(text, f"lockservice_{name}") == value, name
    assert total(text, "lockservice_shard_up") == 0
    assert total(text, "lockservice_shard_clock_offset_seconds", shard="s1") == -0.3
    assert total(text, "lockservice_redis_evicted_keys_total", shard="s1") == 7
    assert total(text, "lockservice_redis_memory_ratio", shard="s1") == 0.5
    assert total(text, "lockservice_certificate_expiry_timestamp_seconds") == 50
    assert total(text, "process_start_time_seconds") == total(texts[0], "process_start_time_seconds")
    monkeypatch.setattr(merge, "_HIGHEST", frozenset())
    monkeypatch.setattr(merge, "_LOWEST", frozenset())
    broken = merged(*texts)
    assert total(broken, "lockservice_holds") == 7
    assert total(broken, "lockservice_shard_up") == len(SHARDS)


def test_what_stays_of_a_dead_worker() -> None:
    """Its counters and histograms stay, so that no sum falls; its gauges go."""
    dead = merge.lasting(merge.read(worker(calls=2)))
    text = generate_latest(merge.Merged(merge.merge([dead, merge.read(worker(calls=5))]))).decode()
    assert total(text, "lockservice_release_total") == 7
    assert total(text, "lockservice_acquire_duration_seconds_count") == 7
    assert total(text, "lockservice_waiters") == 5
    assert sorted(map(str, series(text))) == sorted(map(str, series(worker(calls=1))))


def test_promtool() -> None:
    """Prometheus' own linter has nothing to say about a merged exposition."""
    text = merged(worker(calls=2), worker(calls=5)).encode()
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
