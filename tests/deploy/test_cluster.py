"""The manifests at a real API server: stored, defaulted, and let in by the restricted Pod Security profile."""

import json
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from harness.cluster import BUILT, Cluster
from harness.manifests import OVERLAYS, Manifest, manifests, rendered, workloads

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
CRDS = ("monitoring.coreos.com_servicemonitors.yaml", "monitoring.coreos.com_prometheusrules.yaml")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server that knows the kinds of the Prometheus operator."""
    assert (BUILT / "kube-apiserver").exists(), "run this by `make check-cluster`, which builds the API server"
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        for file in CRDS:
            running.kubectl("apply", "--server-side", "-f", str(BUILT / file))
            name = yaml.safe_load((BUILT / file).read_text())["metadata"]["name"]
            running.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
        yield running


def make_namespace(cluster: Cluster, name: str) -> None:
    """Makes a namespace that lets only restricted pods in, and says so of the workloads that make them."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(namespace))
    # Its controller would make it.
    cluster.kubectl("create", "serviceaccount", "default", "-n", name)


def apply(cluster: Cluster, namespace: str, manifest: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Applies manifests as an operator would, and strictly; returns what was said."""
    flags = ("--server-side", "--validate=strict", "-n", namespace, "-f", "-", *words)
    return cluster.kubectl("apply", *flags, given=manifest, check=False)


def pod_like(workload: Manifest) -> Manifest:
    """Makes the pod that a workload's controller would make."""
    template = workload["spec"]["template"]
    spec = dict(template["spec"])
    claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    spec["volumes"] = [*spec.get("volumes", []), *volumes]
    metadata = {"name": f"{workload['metadata']['name']}-0", "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_accepted(cluster: Cluster, overlay: str) -> None:
    """A dry run and a real one say nothing but what they made; a second one changes nothing; each pod is let in."""
    make_namespace(cluster, overlay)
    for words in (("--dry-run=server",), ()):
        said = apply(cluster, overlay, rendered(overlay), *words)
        assert said.returncode == 0, said.stderr
        assert said.stderr == ""
    for found in manifests(overlay):
        cluster.read(found["kind"].lower(), found["metadata"]["name"], "-n", overlay)
    versions = stored(cluster, overlay)
    assert apply(cluster, overlay, rendered(overlay)).returncode == 0
    assert stored(cluster, overlay) == versions
    for workload in workloads(overlay).values():
        said = apply(cluster, overlay, json.dumps(pod_like(workload)))
        assert (said.returncode, said.stderr) == (0, "")


def stored(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Returns the generation of everything that has one."""
    kinds = "deployments,statefulsets,networkpolicies,poddisruptionbudgets,servicemonitors,prometheusrules"
    found = cluster.read(kinds, "-n", namespace)["items"]
    return {f"{of['kind']} {of['metadata']['name']}": of["metadata"]["generation"] for of in found}


def test_what_is_wrong_is_refused(cluster: Cluster) -> None:
    """A misspelt key, of Kubernetes or of the operator, and a pod that may be root are noticed."""
    make_namespace(cluster, "wrong")
    misspelt = rendered("production").replace("enableServiceLinks", "enableServiceLink")
    assert "not declared in schema" in apply(cluster, "wrong", misspelt, "--dry-run=server").stderr
    (monitor,) = [found for found in manifests("production") if found["kind"] == "ServiceMonitor"]
    monitor["spec"]["selectors"] = monitor["spec"].pop("selector")
    assert apply(cluster, "wrong", json.dumps(monitor), "--dry-run=server").returncode != 0
    workload = workloads("dev")["lockservice"]
    del workload["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    assert "would violate PodSecurity" in apply(cluster, "wrong", json.dumps(workload)).stderr
    assert "violates PodSecurity" in apply(cluster, "wrong", json.dumps(pod_like(workload))).stderr
