"""Writes the Grafana dashboard: `.venv/bin/python deploy/grafana/make_dashboard.py`, after a change here."""

# ruff: noqa: INP001  a script, no package

from pathlib import Path
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes, dashboard as parts

FILE: Final = Path(__file__).resolve().parent / "dashboards/lockservice.json"
# The latency at which operators shard further.
LINE_S: Final = 0.010
_SOURCE: Final = parts.DataSourceRef(type_val="prometheus", uid="${datasource}")
_COLUMNS: Final = 2
_GRID_WIDTH: Final = 24
_HEIGHT: Final = 8


class Plot(NamedTuple):
    """A panel: what it shows, in which unit, and each query with the name of its lines."""

    title: str
    unit: str
    lines: dict[str, str]
    line_at_10_ms: bool = False
    text: str = ""


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Writes what a counter gains a second, summed over replicas."""
    return f'sum by ({by}) (rate(lockservice_{metric}{{job=~"$job"{where}}}[$__rate_interval]))'


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """Writes a quantile of a histogram over all replicas."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, where)})"


def gauge(metric: str, how: str, by: str) -> str:
    """Writes a gauge of all replicas."""
    return f'{how} by ({by}) (lockservice_{metric}{{job=~"$job"}})'


_ACQUIRE: Final = ', script="acquire"'
_GRANTED: Final = ', outcome="granted"'
_HANDLED: Final = 'sum by (grpc_method, grpc_code) (rate(grpc_server_handled_total{job=~"$job"}[$__rate_interval]))'

ROWS: Final[dict[str, list[Plot]]] = {
    "Lock latency": [
        Plot(
            "Lock latency p99 by shard",
            "s",
            {"{{shard}}": quantile(0.99, "redis_duration_seconds", "shard", _ACQUIRE)},
            line_at_10_ms=True,
            text="Above the line: shard further, with lockservice reshard.",
        ),
        Plot(
            "Lock latency p50 by shard",
            "s",
            {"{{shard}}": quantile(0.5, "redis_duration_seconds", "shard", _ACQUIRE)},
        ),
        Plot(
            "Acquire, granted at once",
            "s",
            {f"p{share}": quantile(share / 100, "acquire_duration_seconds", where=_GRANTED) for share in (50, 99)},
            line_at_10_ms=True,
        ),
        Plot(
            "Hand-off to the next waiter",
            "s",
            {f"p{share}": quantile(share / 100, "handoff_duration_seconds") for share in (50, 99)},
            line_at_10_ms=True,
        ),
    ],
    "Calls": [
        Plot("Acquires by outcome", "ops", {"{{outcome}}": rate("acquire_duration_seconds_count", "outcome")}),
        Plot("Refusals by reason", "ops", {"{{reason}}": rate("errors_total", "reason")}),
        Plot("gRPC calls by method and code", "ops", {"{{grpc_method}} {{grpc_code}}": _HANDLED}),
        Plot(
            "Releases, renewals and events",
            "ops",
            {
                f"{name} {{{{outcome}}}}": rate(f"{name}_total", "outcome")
                for name in ("release", "renew", "dedupe", "settle", "renew_claim")
            },
        ),
    ],
    "Leases and queues": [
        Plot(
            "Waiting calls",
            "short",
            {"waiting": gauge("waiters", "sum", ""), "limit": gauge("waiters_limit", "sum", "")},
        ),
        Plot("Waited p99 by outcome", "s", {"{{outcome}}": quantile(0.99, "wait_duration_seconds", "outcome")}),
        Plot("Held p99 by end", "s", {"{{end}}": quantile(0.99, "hold_duration_seconds", "end")}),
        Plot(
            "Ran out without a release",
            "ops",
            {"leases": rate("lease_expirations_total"), "claims": rate("claim_expirations_total")},
        ),
        Plot("Sessions", "short", {"{{instance}}": gauge("sessions", "sum", "instance")}),
        Plot("Kept for a retry", "short", {"held back": gauge("holds", "max", "")}),
    ],
    "Shards": [
        Plot("Usable", "short", {"{{shard}}": gauge("shard_up", "min", "shard")}),
        Plot("Holding off", "short", {"{{shard}}": gauge("shard_hold_off", "max", "shard")}),
        Plot("Script calls", "ops", {"{{shard}}": rate("redis_duration_seconds_count", "shard")}),
        Plot(
            "Script calls in one write, mean",
            "short",
            {"{{shard}}": f"{rate('redis_batch_size_sum', 'shard')} / {rate('redis_batch_size_count', 'shard')}"},
        ),
        Plot("Failed script calls", "ops", {"{{shard}} {{kind}}": rate("redis_errors_total", "shard, kind")}),
        Plot("Clock off by", "s", {"{{shard}}": gauge("shard_clock_offset_seconds", "max", "shard")}),
        Plot("Memory in use", "percentunit", {"{{shard}}": gauge("redis_memory_ratio", "max", "shard")}),
        Plot(
            "Evictions",
            "short",
            {
                "{{shard}} keys a second": rate("redis_evicted_keys_total", "shard"),
                "{{shard}} may evict": gauge("redis_evicts", "max", "shard"),
            },
        ),
        Plot("Redis processes seen", "short", {"{{shard}}": gauge("shard_incarnations_total", "max", "shard")}),
    ],
    "Replicas": [
        Plot("Answering", "short", {"{{instance}}": 'up{job=~"$job"}'}),
        Plot(
            "Processor",
            "percentunit",
            {"{{instance}}": 'rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval])'},
        ),
        Plot("Memory", "bytes", {"{{instance}}": 'process_resident_memory_bytes{job=~"$job"}'}),
        Plot(
            "Draining",
            "short",
            {
                "{{instance}} draining": gauge("draining", "max", "instance"),
                "{{instance}} overdue, s": gauge("drain_overdue_seconds", "max", "instance"),
            },
        ),
        Plot(
            "Certificate runs out in",
            "s",
            {"{{of}}": f"{gauge('certificate_expiry_timestamp_seconds', 'min', 'of')} - time()"},
        ),
        Plot("Version", "short", {"{{version}}": gauge("build_info", "count", "version")}),
    ],
}


def _panel(plot: Plot) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(plot.title)
        .description(plot.text)
        .datasource(_SOURCE)
        .unit(plot.unit)
        .span(_GRID_WIDTH // _COLUMNS)
        .height(_HEIGHT)
    )
    for letter, (legend, expression) in zip("ABCDE", plot.lines.items(), strict=False):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter).datasource(_SOURCE)
        panel = panel.with_target(query)
    if plot.line_at_10_ms:
        steps = [parts.Threshold(value=None, color="green"), parts.Threshold(value=LINE_S, color="red")]
        panel = panel.thresholds(
            dashboard.ThresholdsConfig().mode(parts.ThresholdsMode.ABSOLUTE).steps(steps)
        ).thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.LINE))
    return panel


def made() -> str:
    """Returns the dashboard as JSON."""
    board = (
        dashboard.Dashboard("lockservice")
        .uid("lockservice")
        .tags(["lockservice"])
        .refresh("10s")
        .time("now-30m", "now")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("job")
            .label("Job")
            .datasource(_SOURCE)
            .query('label_values(up{job=~"lockservice.*"}, job)')
            .refresh(parts.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)  # noqa: FBT003  the builder's own form
            .multi(True)  # noqa: FBT003  as above
        )
    )
    for title, plots in ROWS.items():
        board = board.with_row(dashboard.Row(title))
        for plot in plots:
            board = board.with_panel(_panel(plot))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


if __name__ == "__main__":
    FILE.write_text(made())
