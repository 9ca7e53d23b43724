"""Writes the alerts as the Prometheus operator wants them, and where the chart finds them.

Run it after a change of prometheus/alerts.yaml: `make manifests`.
"""

# ruff: noqa: INP001  a script, no package

import textwrap
from pathlib import Path
from typing import Final

_DEPLOY: Final = Path(__file__).resolve().parent
TARGET: Final = _DEPLOY / "kustomize/components/monitoring/prometheus_rule.yaml"
_HEAD: Final = """\
# Made by deploy/rules.py from deploy/prometheus/alerts.yaml; do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: lockservice
  labels:
    app.kubernetes.io/name: lockservice
    app.kubernetes.io/component: server
    app.kubernetes.io/part-of: lockservice
spec:
"""


def prometheus_rule() -> str:
    """Returns the manifest that has the alerts of alerts.yaml."""
    return _HEAD + textwrap.indent((_DEPLOY / "prometheus/alerts.yaml").read_text(), "  ")


if __name__ == "__main__":
    TARGET.write_text(prometheus_rule())
