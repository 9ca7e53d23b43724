"""The Grafana dashboard: made by its script, whole, and provisioned."""

import importlib.util
import json
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import yaml

from harness.manifests import DEPLOY
from lockservice.reference import metrics_table

GRAFANA = DEPLOY / "grafana"


def script() -> ModuleType:
    """Loads the script that makes the dashboard."""
    spec = importlib.util.spec_from_file_location("make_dashboard", GRAFANA / "make_dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def panels() -> list[dict[str, Any]]:
    """Returns the panels of the committed dashboard that show something."""
    board = json.loads((GRAFANA / "dashboards/lockservice.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Returns every query with the title of its panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_it_is_what_its_script_makes() -> None:
    """Nobody has edited the dashboard by hand, or the script without running it."""
    module = script()
    assert module.FILE.read_text() == module.made(), "run .venv/bin/python deploy/grafana/make_dashboard.py"


def test_its_panels_are_whole() -> None:
    """Every panel has a place of its own, a source that the reader chooses, a unit, and named lines."""
    places = [tuple(panel["gridPos"].values()) for panel in panels()]
    assert len(set(places)) == len(places) > 20
    for panel in panels():
        assert panel["type"] == "timeseries"
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] and target["refId"] for target in panel["targets"]), panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_the_10_ms_line_is_drawn() -> None:
    """The panel of the lock latency has a line where operators shard further."""
    (panel,) = [panel for panel in panels() if panel["title"] == "Lock latency p99 by shard"]
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "line"
    assert [step["value"] for step in defaults["thresholds"]["steps"]] == [None, 0.010]


def test_every_metric_is_shown() -> None:
    """Each metric of the service is on some panel, and each panel's metrics are the service's."""
    known = set(re.findall(r"^\| `(\w+)`", metrics_table(), re.MULTILINE))
    asked = {
        re.sub("_(bucket|count|sum)$", "", name) for _, text in queries() for name in re.findall(r"\w+(?=\{)", text)
    }
    of_prometheus = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
    assert asked - known == of_prometheus
    # Of gRPC one of three is enough.
    assert known - asked == {"grpc_server_started_total", "grpc_server_handling_seconds"}


def test_it_is_provisioned() -> None:
    """Grafana is told of Prometheus, and of the folder that the dashboard is mounted into."""
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/lockservice.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"]
