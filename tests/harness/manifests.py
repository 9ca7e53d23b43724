"""What is under deploy/, read as the tools that use it read it."""

import os
import shutil
import subprocess
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
Manifest = dict[str, Any]
Labels = dict[str, str]
PRODUCTION = "production"
OVERLAYS = ("dev", PRODUCTION, "production-tls")


def program(name: str) -> str:
    """Returns a program of this machine; without it the test is skipped, or fails in CI."""
    found = shutil.which(name)
    if found is None:
        assert os.environ.get("CI") != "true", f"CI needs {name}"
        pytest.skip(f"{name} is not installed")
    return found


@cache
def rendered(overlay: str) -> str:
    """Returns what kustomize makes of an overlay."""
    command = [program("kubectl"), "kustomize", str(DEPLOY / "kustomize/overlays" / overlay)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def manifests(overlay: str) -> list[Manifest]:
    """Returns the manifests of an overlay, fresh, so that a test may break them."""
    return deepcopy(_parsed(overlay))


@cache
def _parsed(overlay: str) -> list[Manifest]:
    return list(yaml.safe_load_all(rendered(overlay)))


def of_kind(kind: str, overlay: str = PRODUCTION) -> dict[str, Manifest]:
    """Returns the manifests of a kind, by name."""
    return {found["metadata"]["name"]: found for found in manifests(overlay) if found["kind"] == kind}


def workloads(overlay: str = PRODUCTION) -> dict[str, Manifest]:
    """Returns what runs pods, by name."""
    return of_kind("Deployment", overlay) | of_kind("StatefulSet", overlay)


def servers(component: str, overlay: str = PRODUCTION) -> dict[str, Manifest]:
    """Returns the StatefulSets of a component, "shard" or "sentinel", by name."""
    label = "app.kubernetes.io/component"
    return {name: of for name, of in of_kind("StatefulSet", overlay).items() if labels_of(of)[label] == component}


def pod_of(workload: Manifest) -> Manifest:
    """Returns the pod that a workload runs."""
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def labels_of(workload: Manifest) -> Labels:
    """Returns the labels of a workload's pods."""
    labels: Labels = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Manifest, labels: Labels) -> bool:
    """Says whether a label selector matches."""
    wanted = selector.get("matchLabels", {}).items()
    among = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in among)
    return wanted <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in among)


def compose() -> Manifest:
    """Returns compose.yaml, with what its services share filled in."""
    read: Manifest = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


def environment(where: str) -> list[dict[str, str]]:
    """Returns the environment that each replica of lockservice has, in "compose" or in an overlay."""
    if where == "compose":
        services = compose()["services"]
        return [of["environment"] for name, of in services.items() if name.startswith("lockservice")]
    (container,) = pod_of(of_kind("Deployment", where)["lockservice"])["containers"]
    maps = of_kind("ConfigMap", where)
    return [maps[source["configMapRef"]["name"]]["data"] for source in container["envFrom"]]
