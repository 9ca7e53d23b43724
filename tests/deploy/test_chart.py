"""The Helm chart: linted, validated, and saying what the overlays say."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.manifests import DEPLOY, Manifest, manifests, selects
from harness.schema import schema_problems
from lockservice import config
from lockservice.cli import serve

pytestmark = pytest.mark.long
HELM = DEPLOY.parent / "build/helm/helm"
CHART = DEPLOY / "helm/lockservice"
PLAIN = {"insecure": True, "shards": {"a": "redis://redis-a:6379", "b": "redis+sentinel://s1:26379,s2:26379/b"}}
SECURE = {
    "tls": {"secret": "lockservice-tls"},
    "auth": {"secret": "lockservice-credentials"},
    "shardsSecret": "lockservice-shards",
    "autoscaling": {"enabled": True},
    "monitoring": {"enabled": True},
}


def helm(verb: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Runs helm on the chart with values, strictly."""
    assert HELM.exists(), "run this by `make check-helm`, which builds helm"
    words = ["lockservice", str(CHART)] if verb == "template" else [str(CHART), "--strict"]
    command = [str(HELM), verb, *words, "--kube-version", "1.32.0", "--values", "-"]
    return subprocess.run(command, input=json.dumps(values), check=False, capture_output=True, text=True)


def rendered(values: dict[str, Any]) -> list[Manifest]:
    """Returns what the chart gives."""
    ran = helm("template", values)
    assert ran.returncode == 0, ran.stderr
    return list(yaml.safe_load_all(ran.stdout))


def one(found: list[Manifest], kind: str, name: str = "lockservice") -> Manifest:
    """Returns the manifest of a kind and name."""
    (manifest,) = [of for of in found if (of["kind"], of["metadata"]["name"]) == (kind, name)]
    return manifest


@pytest.mark.parametrize("values", [PLAIN, SECURE], ids=["plain", "secure"])
def test_it_is_clean(values: dict[str, Any], tmp_path: Path) -> None:
    """Helm's linter and the schemas of Kubernetes find nothing."""
    linted = helm("lint", values)
    assert linted.returncode == 0, linted.stdout
    assert schema_problems(helm("template", values).stdout, tmp_path) == ""


def without_labels(spec: Any) -> Any:
    """Returns a manifest's part without what each way of installing names differently: labels and annotations."""
    if isinstance(spec, dict):
        dropped = {"annotations", "labels"}
        return {
            key: without_labels(value)
            for key, value in spec.items()
            if key not in dropped and not key.startswith("app.kubernetes.io/")
        }
    return [without_labels(item) for item in spec] if isinstance(spec, list) else spec


@pytest.mark.parametrize(("overlay", "values"), [("dev", PLAIN), ("production-tls", SECURE)])
def test_its_pods_are_those_of_the_overlays(overlay: str, values: dict[str, Any]) -> None:
    """Probes, drain, security, spread, ports and mounts are the same as kustomize gives."""
    theirs = one(manifests(overlay), "Deployment")["spec"]
    ours = one(rendered(values), "Deployment")["spec"]
    for part in (ours, theirs):
        (container,) = part["template"]["spec"]["containers"]
        container.pop("envFrom")
        container["volumeMounts"] = sorted(container.get("volumeMounts", []), key=lambda mount: mount["name"])
        part["template"]["spec"]["volumes"] = sorted(
            part["template"]["spec"].get("volumes", []), key=lambda of: of["name"]
        )
        if overlay == "dev":
            # It is smaller on purpose.
            part.pop("replicas")
            container.pop("resources")
    assert without_labels(ours) == without_labels(theirs)


@pytest.mark.parametrize(
    "kind", ["PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceMonitor", "PrometheusRule"]
)
def test_what_stands_beside_is_that_of_the_overlays(kind: str) -> None:
    """Budget, autoscaler, monitor and alerts are the same as kustomize gives."""
    theirs, ours = (one(found, kind)["spec"] for found in (manifests("production-tls"), rendered(SECURE)))
    if kind == "PrometheusRule":
        assert ours == theirs
    assert without_labels(ours) == without_labels(theirs)


def test_its_dashboard_is_that_of_the_overlays() -> None:
    """The ConfigMap that Grafana's sidecar looks for has the same in it."""
    both = manifests("production"), rendered(SECURE)
    theirs, ours = (one(found, "ConfigMap", "lockservice-dashboard") for found in both)
    assert json.loads(ours["data"]["lockservice.json"]) == json.loads(theirs["data"]["lockservice.json"])
    assert ours["metadata"]["labels"]["grafana_dashboard"] == theirs["metadata"]["labels"]["grafana_dashboard"]


@pytest.mark.parametrize(("overlay", "values"), [("dev", PLAIN), ("production-tls", SECURE)])
def test_its_settings_are_those_of_the_overlays(overlay: str, values: dict[str, Any]) -> None:
    """The variables are settings, and the same as kustomize gives, but for the shards."""
    ours = one(rendered(values), "ConfigMap", "lockservice-settings")["data"]
    assert config.unknown_variables(ours, serve) == []
    (theirs,) = [
        found["data"]
        for found in manifests(overlay)
        if found["kind"] == "ConfigMap" and found["metadata"]["name"].startswith("lockservice-settings")
    ]
    shards = ours.pop("LOCKSERVICE_SHARDS", "")
    theirs.pop("LOCKSERVICE_SHARDS", "")
    assert ours == theirs
    assert [(shard.name, shard.url) for shard in config.shards(shards.split())] == list(
        values.get("shards", {}).items()
    )


def test_services_select_its_pods() -> None:
    """Services, budget, monitor and network policy find the pods of their release, and not those of another."""
    found = rendered(SECURE)
    labels = one(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
    other = labels | {"app.kubernetes.io/instance": "other"}
    selectors = [{"matchLabels": of["spec"]["selector"]} for of in found if of["kind"] == "Service"]
    selectors += [one(found, kind)["spec"]["selector"] for kind in ("PodDisruptionBudget", "ServiceMonitor")]
    selectors += [one(found, "NetworkPolicy")["spec"]["podSelector"], one(found, "Deployment")["spec"]["selector"]]
    assert len(selectors) == 6
    assert all(selects(selector, labels) and not selects(selector, other) for selector in selectors)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"insecure": True}, "name shards"),
        (PLAIN | {"shardsSecret": "s"}, "both set"),
        ({"shards": PLAIN["shards"]}, "serve everybody"),
        ({"shards": PLAIN["shards"], "auth": {"secret": "s"}}, "serve everybody"),
        (PLAIN | {"tls": {"clientCA": True}}, "needs tls.secret"),
        (PLAIN | {"shards": {"A_1": "redis://a"}}, "A_1"),
        (PLAIN | {"shards": {"a": "http://a"}}, "shards"),
        (PLAIN | {"replica": 3}, "replica"),
        (PLAIN | {"env": {"LOCKSERVICE_PORT": "1"}}, "LOCKSERVICE_PORT"),
        (PLAIN | {"env": {"LOCKSERVICE_HOLD_OFF": 30}}, "HOLD_OFF"),
        (PLAIN | {"image": {"repository": "r", "digest": "sha256:1"}}, "digest"),
    ],
)
def test_what_is_wrong_is_refused(values: dict[str, Any], said: str) -> None:
    """Values that are misspelt, of the wrong kind, or would serve everybody are refused; the message says which."""
    ran = helm("template", values)
    assert ran.returncode != 0
    assert said in ran.stderr
