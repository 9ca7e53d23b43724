"""What the overlays give: who is selected, who is let in, and what a pod may do."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from harness.manifests import (
    DEPLOY,
    OVERLAYS,
    Manifest,
    compose,
    labels_of,
    manifests,
    of_kind,
    pod_of,
    rendered,
    selects,
    servers,
    workloads,
)
from harness.schema import schema_problems

SHARDS = ["redis-a", "redis-b", "redis-c"]
ON_EACH = pytest.mark.parametrize("overlay", OVERLAYS)


@ON_EACH
def test_every_manifest_is_one_of_kubernetes(overlay: str, tmp_path: Path) -> None:
    """Each overlay renders to what the schemas allow, and a misspelt key in it would be noticed."""
    assert schema_problems(rendered(overlay), tmp_path) == ""
    misspelt = rendered(overlay).replace("terminationGracePeriodSeconds", "terminationGraceSeconds")
    assert "terminationGraceSeconds" in schema_problems(misspelt, tmp_path)


@ON_EACH
def test_what_is_named_is_there(overlay: str) -> None:
    """Each ConfigMap that a pod uses is rendered; each Secret, since people make those, is described beside it."""
    described = "".join(file.read_text() for file in (DEPLOY / "kustomize").rglob("kustomization.yaml"))
    for workload in workloads(overlay).values():
        pod = pod_of(workload)
        sources = [source for container in pod["containers"] for source in container.get("envFrom", [])]
        wanted = {source["configMapRef"]["name"] for source in sources}
        wanted |= {volume["configMap"]["name"] for volume in pod.get("volumes", []) if "configMap" in volume}
        assert wanted <= set(of_kind("ConfigMap", overlay))
        for volume in pod.get("volumes", []):
            assert "secret" not in volume or f"#   {volume['secret']['secretName']} " in described
        mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])} | claims


@ON_EACH
def test_each_service_selects_its_own_pods(overlay: str) -> None:
    """Both Services of lockservice find the replicas and nothing else; each other one finds the set of its name."""
    running = workloads(overlay)
    for name, service in of_kind("Service", overlay).items():
        found = [
            of for of in running if selects({"matchLabels": service["spec"]["selector"]}, labels_of(running[of]))
        ]
        assert found == [name.removesuffix("-headless")]
    assert {of["spec"]["serviceName"] for of in of_kind("StatefulSet", overlay).values()} <= set(
        of_kind("Service", overlay)
    )


@ON_EACH
def test_every_set_finds_the_pods_that_it_makes(overlay: str) -> None:
    """The selector of each workload fits its own pods, and no other's."""
    running = workloads(overlay)
    for name, of in running.items():
        assert [other for other in running if selects(of["spec"]["selector"], labels_of(running[other]))] == [name]


@ON_EACH
def test_services_lead_to_ports_that_exist(overlay: str) -> None:
    """Each port of a Service has a name that the container gives to a port."""
    for name, service in of_kind("Service", overlay).items():
        (container,) = pod_of(workloads(overlay)[name.removesuffix("-headless")])["containers"]
        named = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    kinds = {name: service["spec"].get("clusterIP") for name, service in of_kind("Service", overlay).items()}
    assert kinds.pop("lockservice") is None
    assert set(kinds.values()) == {"None"}


@pytest.mark.parametrize(("overlay", "count"), [("dev", 1), ("production", 3)])
def test_shards_keep_their_data(overlay: str, count: int) -> None:
    """Each server of a shard has a volume of its own, at the directory of redis.conf."""
    assert list(servers("shard", overlay)) == SHARDS
    for shard in servers("shard", overlay).values():
        assert shard["spec"]["replicas"] == count
        (claim,) = shard["spec"]["volumeClaimTemplates"]
        (container,) = pod_of(shard)["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts[claim["metadata"]["name"]] == "/data"
        maps = {volume["name"]: volume["configMap"]["name"] for volume in pod_of(shard)["volumes"]}
        read = of_kind("ConfigMap", overlay)[maps["config"]]["data"]["redis.conf"]
        assert mounts["config"] == "/etc/redis"
        assert "\ndir /data\n" in read


def test_one_machine_takes_one_server_of_a_group() -> None:
    """No machine has two servers of a shard or two Sentinels, and replicas spread over machines and zones."""
    hard = {
        name: [
            of for of in pod_of(workload)["topologySpreadConstraints"] if of["whenUnsatisfiable"] == "DoNotSchedule"
        ]
        for name, workload in workloads().items()
    }
    assert hard.pop("lockservice") == []
    for name, constraints in hard.items():
        (spread,) = constraints
        labels = labels_of(workloads()[name])
        own = {key: labels[key] for key in spread.get("matchLabelKeys", [])}
        selector = {"matchLabels": spread["labelSelector"]["matchLabels"] | own}
        assert [other for other, of in workloads().items() if selects(selector, labels_of(of))] == [name]
        assert (spread["maxSkew"], spread["topologyKey"]) == (1, "kubernetes.io/hostname")
    soft = pod_of(workloads()["lockservice"])["topologySpreadConstraints"]
    assert [of["topologyKey"] for of in soft] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


@ON_EACH
def test_one_replica_goes_at_a_time(overlay: str) -> None:
    """A roll-out takes no replica before its successor is ready; an emptied machine takes one server of a kind."""
    deployment = of_kind("Deployment", overlay)["lockservice"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budgets = of_kind("PodDisruptionBudget", overlay).values()
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets)
    several = {name for name, of in workloads(overlay).items() if of["spec"].get("replicas", 3) > 1}
    selected = [
        name
        for budget in budgets
        for name, of in workloads(overlay).items()
        if selects(budget["spec"]["selector"], labels_of(of))
    ]
    assert several <= set(selected)
    assert len(selected) == len(set(selected)), "a pod under two budgets can never be evicted"


@pytest.mark.parametrize("overlay", ["production", "production-tls"])
def test_the_number_of_replicas_is_the_autoscalers(overlay: str) -> None:
    """The autoscaler is for the Deployment, which names no number that a roll-out would go back to."""
    (scaler,) = of_kind("HorizontalPodAutoscaler", overlay).values()
    target = of_kind("Deployment", overlay)[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in target["spec"]
    assert scaler["spec"]["minReplicas"] >= 3
    (container,) = pod_of(target)["containers"]
    assert "cpu" in container["resources"]["requests"], "utilization is a share of what is requested"


def too_much(pod: Manifest) -> list[str]:
    """Returns what a pod may do beyond the restricted profile, and beyond what it needs."""
    of_pod = pod.get("securityContext", {})
    wrong = [] if of_pod.get("runAsNonRoot") is True else ["may run as root"]
    wrong += [] if of_pod.get("runAsUser", 0) >= 10_000 else ["shares a user with the machine"]
    wrong += [] if of_pod.get("seccompProfile") == {"type": "RuntimeDefault"} else ["makes any system call"]
    wrong += [] if pod.get("automountServiceAccountToken") is False else ["has a token of the cluster"]
    wrong += [] if pod.get("enableServiceLinks") is False else ["gets variables for each Service"]
    wrong += [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for container in pod["containers"] + pod.get("initContainers", []):
        of_container = container.get("securityContext", {})
        wrong += [] if of_container.get("allowPrivilegeEscalation") is False else ["may gain privileges"]
        wrong += [] if of_container.get("readOnlyRootFilesystem") is True else ["may write to its image"]
        wrong += [] if of_container.get("capabilities") == {"drop": ["ALL"]} else ["keeps capabilities"]
        wrong += [] if "memory" in container.get("resources", {}).get("limits", {}) else ["has no memory limit"]
    return wrong


@ON_EACH
def test_pods_may_do_only_what_they_need(overlay: str) -> None:
    """Every pod fits the restricted Pod Security profile, and writes nowhere but to its volumes."""
    assert {name: too_much(pod_of(workload)) for name, workload in workloads(overlay).items()} == {
        name: [] for name in workloads(overlay)
    }


@pytest.mark.parametrize(
    "loosen",
    [
        lambda pod: pod["securityContext"].pop("runAsNonRoot"),
        lambda pod: pod["securityContext"].update(runAsUser=999),
        lambda pod: pod["securityContext"].pop("seccompProfile"),
        lambda pod: pod.pop("automountServiceAccountToken"),
        lambda pod: pod.pop("enableServiceLinks"),
        lambda pod: pod.update(hostNetwork=True),
        lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
        lambda pod: pod["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
        lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["NET_RAW"]),
        lambda pod: pod["containers"][0].pop("resources"),
    ],
)
def test_a_looser_pod_is_noticed(loosen: Callable[[Manifest], object]) -> None:
    """Each part of the restricted profile, when it is taken away, is one thing too much."""
    pod = pod_of(of_kind("Deployment")["lockservice"])
    loosen(pod)
    assert len(too_much(pod)) == 1


@pytest.mark.parametrize("overlay", ["production", "production-tls"])
def test_every_replica_is_scraped(overlay: str) -> None:
    """The ServiceMonitor finds exactly one Service that has its port, and the rules are those of alerts.yaml."""
    (monitor,) = of_kind("ServiceMonitor", overlay).values()
    (endpoint,) = monitor["spec"]["endpoints"]
    found = [
        name
        for name, service in of_kind("Service", overlay).items()
        if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    ]
    assert found == ["lockservice-headless"]
    (rule,) = of_kind("PrometheusRule", overlay).values()
    assert rule["spec"] == yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())


@pytest.mark.parametrize("overlay", ["production", "production-tls"])
def test_the_dashboard_is_there(overlay: str) -> None:
    """The ConfigMap that Grafana's sidecar looks for has the dashboard that compose mounts."""
    found = of_kind("ConfigMap", overlay)["lockservice-dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    mounted = dict(volume.split(":")[:2] for volume in compose()["services"]["grafana"]["volumes"])
    assert mounted["./grafana/dashboards"] == "/var/lib/grafana/dashboards"
    assert found["data"]["lockservice.json"] == (DEPLOY / "grafana/dashboards/lockservice.json").read_text()


def test_the_rule_is_made_of_the_alerts() -> None:
    """The committed PrometheusRule is what `make manifests` writes."""
    folder = DEPLOY / "kustomize/components/monitoring"
    written = subprocess.run(
        [sys.executable, "-c", "import rules; print(rules.prometheus_rule(), end='')"],
        cwd=DEPLOY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert (folder / "prometheus_rule.yaml").read_text() == written, "run `make manifests` and commit the result"


def test_nothing_is_rendered_twice() -> None:
    """No overlay has two manifests of one kind and name."""
    for overlay in OVERLAYS:
        names = sorted((found["kind"], found["metadata"]["name"]) for found in manifests(overlay))
        assert all(one != other for one, other in pairwise(names))
