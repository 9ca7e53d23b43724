"""The tables of settings and metrics that the documentation shows, made from the code."""

import click
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from lockservice import config
from lockservice.metrics import Metrics


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
        assert isinstance(collector, MetricWrapperBase)
        name = collector._name + ("_total" if collector._type == "counter" else "")  # noqa: SLF001
        labels = " ".join(collector._labelnames)  # noqa: SLF001
        lines.append(f"| `{name}` | {labels} | {collector._documentation} |")  # noqa: SLF001
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
