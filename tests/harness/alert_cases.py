"""What a Prometheus may see, and which alerts fire then: the cases that promtool runs against the shipped rules.

A value is written as promtool writes it, one sample every 30 s: `0+20x120` rises by 20 each time, `_x10` is missing.
"""

from typing import Any, NamedTuple

ONE, OTHER = 'job="lockservice",instance="1"', 'job="lockservice",instance="2"'
ALWAYS = "1x120"
Series = dict[str, str]


class Case(NamedTuple):
    """A story: its series, and the alerts that fire at a minute of it, by name, each with labels beside its job."""

    story: str
    series: Series
    firing: dict[str, list[str]]


def of(name: str, replica: str = ONE, **labels: str) -> str:
    """Writes a series of a replica."""
    more = "".join(f',{label}="{value}"' for label, value in labels.items())
    return f"{name if name == 'up' else f'lockservice_{name}'}{{{replica}{more}}}"


UP = {of("up"): ALWAYS, of("up", OTHER): ALWAYS}
BUSY = {of("redis_duration_seconds_count", shard="a", script="acquire"): "0+3000x120"}
HOLD_OFFS = of("redis_errors_total", shard="a", kind="HoldOff")

SILENT = [
    Case(
        "a busy and healthy service",
        UP
        | BUSY
        | {
            of("redis_duration_seconds_bucket", shard="a", script="acquire", le="0.01"): "0+2995x120",
            of("redis_duration_seconds_bucket", shard="a", script="acquire", le="+Inf"): "0+3000x120",
            of("shard_up", shard="a"): ALWAYS,
            of("shard_up", OTHER, shard="a"): ALWAYS,
            of("errors_total", reason="OUTCOME_UNKNOWN"): "0+20x120",
            of("lease_expirations_total"): "0+30x120",
            of("hold_duration_seconds_count", end="released"): "0+3000x120",
            of("claim_expirations_total"): "0+30x120",
            of("dedupe_total", outcome="first"): "0+3000x120",
            of("waiters"): "790x120",
            of("waiters_limit"): "1000x120",
            of("shard_hold_off", shard="a"): "0x120",
            of("shard_clock_offset_seconds", shard="a"): "-0.2x120",
            of("redis_evicts", shard="a"): "0x120",
            of("redis_evicted_keys_total", shard="a"): "9x120",
            of("redis_memory_ratio", shard="a"): "0.79x120",
            of("certificate_expiry_timestamp_seconds", of="server"): "2592000x120",
            of("drain_overdue_seconds"): "0x120",
        },
        {"10m": [], "30m": [], "59m": []},
    ),
    Case(
        "an idle service that has had its troubles",
        UP
        | {
            of("shard_up", shard="a"): ALWAYS,
            of("lease_expirations_total"): "50x120",
            of("claim_expirations_total"): "50x120",
            of("hold_duration_seconds_count", end="expired"): "50x120",
            of("errors_total", reason="INTERNAL"): "50x120",
            of("waiters"): "0x120",
            of("waiters_limit"): "1000x120",
        },
        {"10m": [], "59m": []},
    ),
    Case("a new service that has counted nothing yet", UP, {"10m": [], "59m": []}),
    Case(
        "a rolling restart: each replica drains and leaves, and another one meets its shards",
        {
            of("up"): "1x20 0 0 stale _x98",
            of("up", OTHER): "1x40 0 0 stale _x79",
            of("up", 'job="lockservice",instance="3"'): "_x22 1x98",
            of("up", 'job="lockservice",instance="4"'): "_x42 1x78",
            of("draining"): "0x18 1 1 _x99",
            of("errors_total", reason="DRAINING"): "0x18 500 900 _x99",
            of("redis_duration_seconds_count", shard="a", script="acquire"): "0+3000x20 _x99",
            of("shard_up", 'job="lockservice",instance="3"', shard="a"): "_x22 0 1x97",
        },
        {f"{minute}m": [] for minute in (9, 10, 11, 12, 20, 21, 22, 50)},
    ),
    Case(
        "a shard that changes its primary in half a minute",
        UP
        | BUSY
        | {
            of("shard_up", shard="a"): "1x20 0 1x90",
            of("errors_total", reason="SHARD_UNAVAILABLE"): "0x20 200 200x90",
            of("shard_hold_off", shard="a"): "0x21 1 0x90",
            HOLD_OFFS: "0x21 400 400x90",
        },
        {"10m": [], "630s": [], "11m": [], "12m": [], "14m": []},
    ),
    Case(
        "a hold-off that nobody feels", UP | {of("shard_hold_off", shard="a"): ALWAYS, HOLD_OFFS: "7x120"}, {"4m": []}
    ),
    Case(
        "callers' own mistakes",
        UP
        | {
            of("errors_total", reason="INVALID_FIELD"): "0+40x120",
            of("errors_total", reason="RESOURCE_FORBIDDEN"): "0+40x120",
            of("redis_duration_seconds_count", shard="a", script="acquire"): "0+30x120",
        },
        {"15m": []},
    ),
    Case(
        "the only three leases of an hour run out",
        UP
        | {
            of("lease_expirations_total"): "0x20 1 2 3x90",
            of("hold_duration_seconds_count", end="expired"): "0x20 1 2 3x90",
        },
        {"16m": [], "20m": []},
    ),
    Case(
        "many wait for a moment",
        UP | {of("waiters"): "0x4 990 990 0x100", of("waiters_limit"): "1000x120"},
        {"3m": [], "6m": []},
    ),
    Case(
        "a clock that seems off for one look, since the replica had no time",
        UP | {of("shard_clock_offset_seconds", shard="a"): "0x4 0.9 0x100"},
        {"2m": [], "150s": [], "3m": [], "5m": []},
    ),
    Case(
        "one of two replicas restarts",
        {of("up"): ALWAYS, of("up", OTHER): "1x20 stale _x9 1x90"},
        {"15m": [], "40m": []},
    ),
    Case(
        "a certificate's file is replaced",
        UP | {of("certificate_expiry_timestamp_seconds", of="server"): "7776000x4 0 7776000x100"},
        {"2m": [], "150s": [], "3m": [], "10m": []},
    ),
]

FIRING = [
    Case(
        "a shard is down for one of the replicas",
        UP | {of("shard_up", shard="a"): "0x20 1x100", of("shard_up", OTHER, shard="a"): ALWAYS},
        {"30s": [], "5m": ["ShardDown shard=a"], "12m": []},
    ),
    Case(
        "over 1 in 100 calls fails",
        UP | BUSY | {of("errors_total", reason="OUTCOME_UNKNOWN"): "0+40x120"},
        {"2m": [], "15m": ["Errors"]},
    ),
    Case("every call fails", UP | {of("errors_total", reason="SHARD_UNAVAILABLE"): "0+40x120"}, {"15m": ["Errors"]}),
    Case(
        "over 1 in 20 leases runs out",
        UP
        | {
            of("lease_expirations_total"): "0+6x120",
            of("hold_duration_seconds_count", end="released"): "0+94x120",
            of("hold_duration_seconds_count", end="expired"): "0+6x120",
        },
        {"4m": [], "20m": ["LeasesExpire"]},
    ),
    Case(
        "over 1 in 20 claims runs out",
        UP | {of("claim_expirations_total"): "0+6x120", of("dedupe_total", outcome="first"): "0+100x120"},
        {"4m": [], "20m": ["ClaimsExpire"]},
    ),
    Case(
        "one replica has 81 % of the waiting calls that it may have",
        UP
        | {of("waiters"): "0x4 810x100", of("waiters_limit"): "1000x120"}
        | {of("waiters", OTHER): "0x120", of("waiters_limit", OTHER): "1000x120"},
        {"3m": [], "6m": ["QueueFull"]},
    ),
    Case(
        "a resource's queue is full",
        UP | {of("errors_total", reason="TOO_MANY_WAITERS"): "0+1x120"},
        {"6m": ["QueueFull"]},
    ),
    Case(
        "a shard holds off again and again",
        UP
        | {of("shard_hold_off", shard="a"): ALWAYS, HOLD_OFFS: "0+20x120", of("shard_hold_off", shard="b"): "0x120"},
        {"1m": [], "4m": ["HoldOff shard=a"]},
    ),
    Case(
        "a clock is behind",
        UP
        | {
            of("shard_clock_offset_seconds", shard="a"): "-0.3x120",
            of("shard_clock_offset_seconds", shard="b"): "0.2x120",
        },
        {"1m": [], "4m": ["Clock shard=a"]},
    ),
    Case("a wrong policy", UP | {of("redis_evicts", shard="a"): "0x4 1x100"}, {"1m": [], "3m": ["Evicts shard=a"]}),
    Case(
        "keys were deleted",
        UP | {of("redis_evicted_keys_total", shard="a"): "5x4 6x100"},
        {"1m": [], "3m": ["Evicts shard=a"], "20m": []},
    ),
    Case(
        "a shard is nearly full",
        UP | {of("redis_memory_ratio", shard="a"): "0.81x120"},
        {"2m": [], "8m": ["Memory shard=a"]},
    ),
    Case(
        "a certificate runs out in 6 days",
        UP | {of("certificate_expiry_timestamp_seconds", of="client_ca"): "518400x120"},
        {"2m": [], "10m": ["Certificate of=client_ca"]},
    ),
    Case(
        "a drain does not end",
        UP | {of("drain_overdue_seconds"): "0x4 10+30x100", of("drain_overdue_seconds", OTHER): "0x4 1 stale _x99"},
        {"2m": [], "150s": [], "5m": ["DrainStuck instance=1"]},
    ),
    Case(
        "one replica answers no scrape, and then no other either",
        {of("up"): "1x4 0x100", of("up", OTHER): "1x60 0x60"},
        {
            "3m": [],
            "5m": ["ReplicaDown instance=1"],
            "20m": ["ReplicaDown instance=1", "OneReplica"],
            "33m": ["ReplicaDown instance=1", "ReplicaDown instance=2", "Absent"],
        },
    ),
    Case("Prometheus knows of no replica", {'up{job="other"}': ALWAYS}, {"30s": [], "4m": ["Absent"]}),
]


def _alert(text: str, severities: dict[str, str]) -> dict[str, Any]:
    name, *words = text.split()
    labels = dict(word.split("=") for word in words) | {"severity": severities[f"Lockservice{name}"]}
    if name != "Absent":
        labels["job"] = "lockservice"
    written = "".join(f', {label}="{value}"' for label, value in labels.items())
    return {"labels": f'ALERTS{{alertname="Lockservice{name}", alertstate="firing"{written}}}', "value": 1}


def as_promtool(case: Case, severities: dict[str, str]) -> dict[str, Any]:
    """Writes a case as a test of promtool."""
    return {
        "name": case.story,
        "interval": "30s",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": at,
                "exp_samples": [_alert(alert, severities) for alert in alerts],
            }
            for at, alerts in case.firing.items()
        ],
    }
