"""What kustomize gives: who is selected, who is let in, and what a pod may do."""

from collections.abc import Callable

import pytest

from harness.manifests import Labels, Manifest, labels_of, of_kind, pod_of, selects, workloads

CLIENT = {"lockservice-client": "true"}


def test_each_service_selects_its_own_pods() -> None:
    """Both Services of lockservice find the replicas and nothing else; each shard's finds that shard alone."""
    found = {
        name: [
            workload
            for workload, of in workloads().items()
            if selects({"matchLabels": service["spec"]["selector"]}, labels_of(of))
        ]
        for name, service in of_kind("Service").items()
    }
    assert found == {
        "lockservice": ["lockservice"],
        "lockservice-headless": ["lockservice"],
        "redis-a": ["redis-a"],
        "redis-b": ["redis-b"],
        "redis-c": ["redis-c"],
    }


def test_services_lead_to_ports_that_exist() -> None:
    """Each port of a Service has a name that the container gives to a port."""
    for name, service in of_kind("Service").items():
        (container,) = pod_of(workloads()[name.removesuffix("-headless")])["containers"]
        named = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    kinds = {name: service["spec"].get("clusterIP") for name, service in of_kind("Service").items()}
    assert kinds.pop("lockservice") is None
    assert set(kinds.values()) == {"None"}


def test_shards_keep_their_data() -> None:
    """Each shard is one server with a volume of its own at the directory of redis.conf."""
    for name, shard in of_kind("StatefulSet").items():
        assert (shard["spec"]["replicas"], shard["spec"]["serviceName"]) == (1, name)
        (claim,) = shard["spec"]["volumeClaimTemplates"]
        (container,) = pod_of(shard)["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts[claim["metadata"]["name"]] == "/data"
        (config,) = pod_of(shard)["volumes"]
        read = of_kind("ConfigMap")[config["configMap"]["name"]]["data"]["redis.conf"]
        assert "\ndir /data\n" in read


def test_each_spreads_over_machines_with_its_likes() -> None:
    """The shards count as one group when they are spread, and so do the replicas."""
    for name, workload in workloads().items():
        (spread,) = pod_of(workload)["topologySpreadConstraints"]
        alike = {other for other, of in workloads().items() if selects(spread["labelSelector"], labels_of(of))}
        assert alike == ({"lockservice"} if name == "lockservice" else {"redis-a", "redis-b", "redis-c"})


def test_one_replica_goes_at_a_time() -> None:
    """There are two replicas; a roll-out takes none before its successor is ready, an emptied machine takes one."""
    deployment = of_kind("Deployment")["lockservice"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (budget,) = of_kind("PodDisruptionBudget").values()
    assert budget["spec"]["maxUnavailable"] == 1
    assert [name for name, of in workloads().items() if selects(budget["spec"]["selector"], labels_of(of))] == [
        "lockservice"
    ]


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


def test_pods_may_do_only_what_they_need() -> None:
    """Every pod fits the restricted Pod Security profile, and writes nowhere but to its volumes."""
    assert {name: too_much(pod_of(workload)) for name, workload in workloads().items()} == {
        name: [] for name in workloads()
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


def admits(target: str, port: str | int, source: Labels, namespace: Labels | None = None) -> bool:
    """Says whether pods may call a workload's port; namespace has the labels of another namespace of theirs."""
    labels = labels_of(workloads()[target])
    applied = [p["spec"] for p in of_kind("NetworkPolicy").values() if selects(p["spec"]["podSelector"], labels)]
    rules = [rule for policy in applied for rule in policy["ingress"]]
    return not applied or any(
        {"port": port} in rule["ports"] and any(_is_peer(peer, source, namespace) for peer in rule["from"])
        for rule in rules
    )


def _is_peer(peer: Manifest, source: Labels, namespace: Labels | None) -> bool:
    if "namespaceSelector" in peer:
        return selects(peer["namespaceSelector"], namespace or {}) and selects(peer["podSelector"], source)
    return namespace is None and selects(peer["podSelector"], source)


def test_only_labelled_clients_reach_the_service() -> None:
    """Workers need the label, and their namespace too when it is another; Prometheus reaches the operators' port."""
    assert admits("lockservice", "grpc", CLIENT)
    assert admits("lockservice", "grpc", CLIENT, CLIENT)
    assert not admits("lockservice", "grpc", CLIENT, {"team": "orders"})
    assert not admits("lockservice", "grpc", {"app": "orders"})
    assert not admits("lockservice", "ops", CLIENT)
    assert admits("lockservice", "ops", {"app.kubernetes.io/name": "prometheus"}, {"team": "monitoring"})
    assert not admits("lockservice", "grpc", {"app.kubernetes.io/name": "prometheus"})


def test_only_the_service_reaches_the_shards() -> None:
    """No client, no Prometheus and no other shard may call a Redis; the replicas may, and may call nothing else."""
    replica = labels_of(workloads()["lockservice"])
    for shard in of_kind("StatefulSet"):
        assert admits(shard, "redis", replica)
        assert not admits(shard, "redis", CLIENT)
        assert not admits(shard, "redis", CLIENT, CLIENT)
        assert not admits(shard, "redis", labels_of(workloads()[shard]))
    egress = of_kind("NetworkPolicy")["lockservice"]["spec"]["egress"]
    reached = [port["port"] for rule in egress for port in rule["ports"]]
    assert reached == [6379, 53, 53]
    (peer,) = egress[0]["to"]
    assert all(selects(peer["podSelector"], labels_of(of)) for of in of_kind("StatefulSet").values())
    assert of_kind("NetworkPolicy")["lockservice-shards"]["spec"].get("egress") is None
