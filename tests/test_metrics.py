"""The metrics: the names, labels and buckets that dashboards and alerts rely on, and how many there are."""

import os
import shutil
import subprocess

import grpc
import pytest
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lockservice import metrics
from lockservice.metrics import Metrics
from lockservice.reference import metrics_table
from lockservice.shards import script
from lockservice.v1 import lockservice_pb2 as pb

CALL = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30)
REDIS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
METHOD = {"grpc_type", "grpc_service", "grpc_method"}
LABELS = {
    "grpc_server_started_total": METHOD,
    "grpc_server_handled_total": METHOD | {"grpc_code"},
    "grpc_server_handling_seconds": METHOD,
    "lockservice_acquire_duration_seconds": {"outcome"},
    "lockservice_wait_duration_seconds": {"outcome"},
    "lockservice_handoff_duration_seconds": set(),
    "lockservice_hold_duration_seconds": {"end"},
    "lockservice_redis_duration_seconds": {"shard", "script"},
    "lockservice_redis_batch_size": {"shard"},
    "lockservice_redis_errors_total": {"shard", "kind"},
    "lockservice_shard_up": {"shard"},
    "lockservice_shard_clock_offset_seconds": {"shard"},
    "lockservice_shard_incarnations_total": {"shard"},
    "lockservice_shard_hold_off": {"shard"},
    "lockservice_redis_evicted_keys_total": {"shard"},
    "lockservice_redis_evicts": {"shard"},
    "lockservice_redis_memory_ratio": {"shard"},
    "lockservice_errors_total": {"reason"},
    "lockservice_dedupe_total": {"outcome"},
    "lockservice_release_total": {"outcome"},
    "lockservice_renew_total": {"outcome"},
    "lockservice_settle_total": {"outcome"},
    "lockservice_renew_claim_total": {"outcome"},
    "lockservice_lease_expirations_total": set(),
    "lockservice_claim_expirations_total": set(),
    "lockservice_holds": set(),
    "lockservice_waiters": set(),
    "lockservice_waiters_limit": set(),
    "lockservice_sessions": set(),
    "lockservice_draining": set(),
    "lockservice_drain_overdue_seconds": set(),
    "lockservice_certificate_expiry_timestamp_seconds": {"of"},
    "lockservice_build_info": {"version"},
}
BUCKETS = {
    "lockservice_acquire_duration_seconds": CALL,
    "lockservice_handoff_duration_seconds": CALL,
    "grpc_server_handling_seconds": CALL,
    "lockservice_redis_duration_seconds": REDIS,
}
LAST_BUCKET = {"lockservice_wait_duration_seconds": 60, "lockservice_hold_duration_seconds": 3600}
OUTCOMES = ("granted", "granted_after_wait", "held", "duplicate", "stale", "early", "error")
SERIES_MAX = 600
# A method's calls end in about these ways.
CODES = (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INVALID_ARGUMENT)
# What the client library of Prometheus tells of the process itself.
OF_THE_PROCESS = ("process_", "python_")


def used(shards: int) -> CollectorRegistry:
    """Makes the metrics of a replica after workers and operators have made every call and got every outcome."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector):
        collector(registry=registry)
    made = Metrics(registry)
    _use_methods(made)
    _use_outcomes(made)
    for number in range(1, shards + 1):
        _use_shard(made, f"s{number}")
    return registry


def _use_methods(made: Metrics) -> None:
    for service in pb.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            calls = made.calls(service.full_name, method.name, "unary")
            for code in CODES:
                calls.began()
                calls.ended(code, 0.001)


def _use_outcomes(made: Metrics) -> None:
    for outcome in OUTCOMES:
        made.acquire_duration[outcome].observe(0.001)
        if outcome not in {"granted", "duplicate"}:
            made.wait_duration[outcome].observe(0.001)
    for end in ("released", "expired", "forced"):
        made.hold_duration[end].observe(1)
    made.handoff_duration.observe(0.001)
    for word in ("first", "duplicate", "in_progress", "mismatch"):
        made.dedupe[word].inc()
    for counter, word in (
        (made.release, "released"), (made.renew, "renewed"), (made.settle, "settled"), (made.renew_claim, "renewed")
    ):  # fmt: skip
        counter[word].inc()
        counter["not_held"].inc()
    for value in pb.ErrorReason.DESCRIPTOR.values:
        made.errors[value.name].inc()
    for of in ("server", "client_ca"):
        made.certificate_expiry.labels(of).set(0)


def _use_shard(made: Metrics, shard: str) -> None:
    by_script = made.redis(shard)
    for name in script.NAMES:
        by_script[name].observe(0.001)
    made.redis_batch_size.labels(shard).observe(1)
    for kind in ("ShardUnavailable", "OutcomeUnknown"):
        made.redis_errors.labels(shard, kind).inc()
    for gauge in (made.shard_up, made.clock_offset, made.hold_off, made.evicts, made.memory_ratio):
        gauge.labels(shard).set(0)
    made.evicted_keys.labels(shard).inc()
    made.shard_incarnations.labels(shard).inc()


def samples(registry: CollectorRegistry) -> dict[str, list[dict[str, str]]]:
    """Returns the labels of every sample, by the name it is scraped under."""
    text = generate_latest(registry).decode()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def series(registry: CollectorRegistry) -> int:
    """Counts what one scrape adds to a Prometheus."""
    return sum(len(labels) for labels in samples(registry).values())


def test_names_and_labels() -> None:
    """The metrics are exactly these, each with exactly these labels."""
    found = {}
    for name, labels in samples(used(shards=1)).items():
        base = name
        for ending in ("_bucket", "_count", "_sum"):
            base = base.removesuffix(ending)
        if not base.startswith(OF_THE_PROCESS):
            found[base] = set().union(*labels) - {"le"}
    assert found == LABELS


def test_buckets() -> None:
    """The buckets are those that alerts name, the 10 ms of the sharding rule among them."""
    found: dict[str, set[float]] = {}
    for name, labels in samples(used(shards=1)).items():
        for label in labels:
            if name.endswith("_bucket"):
                found.setdefault(name.removesuffix("_bucket"), set()).add(float(label["le"]))
    infinity = {float("inf")}
    for name, bounds in BUCKETS.items():
        assert found[name] == {*bounds} | infinity, name
    for name, bound in LAST_BUCKET.items():
        assert max(found[name] - infinity) == bound, name


def test_codes_are_written_as_dashboards_expect() -> None:
    """Status codes read OK, Unavailable, DeadlineExceeded, as in the dashboards that others publish."""
    registry = CollectorRegistry()
    calls = Metrics(registry).calls("lockservice.v1.LockService", "Acquire", "unary")
    for code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        calls.began()
        calls.ended(code, 0.001)
    codes = {labels["grpc_code"] for labels in samples(registry)["grpc_server_handled_total"]}
    assert codes == {"OK", "Unavailable", "DeadlineExceeded"}


def test_few_series() -> None:
    """A replica with four shards whose workers make every call stays under 600 series."""
    assert series(used(shards=4)) < SERIES_MAX


def test_operators_calls_are_counted_and_not_timed() -> None:
    """A method of the admin service is counted by its code, and has no histogram."""
    found = samples(used(shards=1))
    methods = {
        name: {labels["grpc_method"] for labels in found[f"grpc_server_{name}"]}
        for name in ("started_total", "handled_total", "handling_seconds_count")
    }
    assert "Inspect" in methods["started_total"] & methods["handled_total"]
    assert "Acquire" in methods["handling_seconds_count"]
    assert "Inspect" not in methods["handling_seconds_count"]


def test_too_many_series_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that every script gets for itself would break that limit."""
    monkeypatch.setattr(metrics, "SCRIPTS", script.NAMES)
    assert series(used(shards=4)) >= SERIES_MAX


def _promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        assert os.environ.get("CI") != "true", "CI needs promtool"
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    return found


def _lint(exposition: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [_promtool(), "check", "metrics"], input=exposition, capture_output=True, timeout=30, check=False
    )


def test_promtool() -> None:
    """Prometheus' own linter has nothing to say about the exposition."""
    done = _lint(generate_latest(used(shards=2)))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_speaks_up() -> None:
    """The linter does find a counter with a wrong name."""
    assert _lint(b"# HELP bad Wrong.\n# TYPE bad counter\nbad 1\n").returncode != 0


def test_table() -> None:
    """The reference table has every metric with its labels."""
    rows = [row.split(" | ") for row in metrics_table().splitlines()[2:]]
    assert {row[0].strip("| `"): set(row[1].split()) for row in rows} == LABELS
