"""The tables of settings and metrics that the documentation shows, made from the code."""

import click
from prometheus_client import CollectorRegistry, Gauge

from lockservice import config
from lockservice.metrics import Metrics
from lockservice.tally import Counter, Histogram


def settings_table(command: click.Command) -> str:
    """Writes every setting as a Markdown table."""
    lines = ["| flag | variable | default | what |", "| --- | --- | --- | --- |"]
    for option in config.settings_of(command):
        default = option.show_default if isinstance(option.show_default, str) else option.default
        shown = str(default) if isinstance(default, str | int) and default is not False else ""
        flag = "/".join([*option.opts, *option.secondary_opts])
        lines.append(f"| `{flag}` | `{config.variable_of(option)}` | {shown} | {option.help} |")
    return "\n".join(lines)


def metrics_table() -> str:
    """Writes every metric as a Markdown table."""
    registry = CollectorRegistry()
    Metrics(registry)
    lines = ["| name | labels | what |", "| --- | --- | --- |"]
    for collector in registry._collector_to_names:  # noqa: SLF001  a registry has no public list of them
        if isinstance(collector, Counter | Histogram):
            name, labels, text = collector.name, collector.labelnames, collector.documentation
        else:
            assert isinstance(collector, Gauge)
            name, labels, text = collector._name, collector._labelnames, collector._documentation  # noqa: SLF001  as above
        lines.append(f"| `{name}` | {' '.join(labels)} | {text} |")
    return "\n".join(lines)


def fill_in(text: str, command: click.Command) -> str:
    """Replaces the tables in a Markdown text that stand between their marks."""
    for name, table in (("settings", settings_table(command)), ("metrics", metrics_table())):
        begin = f"<!-- {name}: made by `make docs` -->\n"
        before, _, rest = text.partition(begin)
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"no place for the {name}"
        text = f"{before}{begin}{table}\n{end}{after}"
    return text
