"""Who may call whom under the network policies of the overlays."""

from harness.manifests import Labels, Manifest, labels_of, of_kind, pod_of, selects, servers, workloads

CLIENT = {"lockservice-client": "true"}
SHARDS = ["redis-a", "redis-b", "redis-c"]


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
    """No client and no Prometheus may call a Redis; the replicas may, and the servers of the group one another."""
    replica = labels_of(workloads()["lockservice"])
    group = servers("shard") | servers("sentinel")
    for name, of in group.items():
        port = 26379 if name == "sentinel" else 6379
        assert admits(name, port, replica)
        assert all(admits(name, port, labels_of(other)) for other in group.values())
        assert not admits(name, port, CLIENT)
        assert not admits(name, port, CLIENT, CLIENT)
        assert not admits(name, port, {"app.kubernetes.io/name": "prometheus"})
        (container,) = pod_of(of)["containers"]
        assert port in {exposed["containerPort"] for exposed in container["ports"]}


def reached(workload: str, overlay: str = "production") -> set[tuple[str, int]]:
    """Returns what a workload may call: names of others or ranges, each with the port; DNS, which all may, aside."""
    running = workloads(overlay)
    policies = [p["spec"] for p in of_kind("NetworkPolicy", overlay).values()]
    rules = [
        rule
        for policy in policies
        if selects(policy["podSelector"], labels_of(running[workload]))
        for rule in policy["egress"]
    ]
    found = set()
    for rule in rules:
        ports = [port["port"] for port in rule["ports"]]
        assert "to" in rule or ports == [53, 53]
        for peer in rule.get("to", []):
            names = [peer["ipBlock"]["cidr"]] if "ipBlock" in peer else _named(peer, running)
            found |= {(name, port) for name in names for port in ports}
    return found


def _named(peer: Manifest, running: dict[str, Manifest]) -> list[str]:
    return [name for name, of in running.items() if selects(peer["podSelector"], labels_of(of))]


def test_everybody_calls_only_whom_it_needs() -> None:
    """Replicas call shards and Sentinels, these call one another, and nobody calls anything else."""
    shards = {(name, 6379) for name in SHARDS}
    assert reached("lockservice") == shards | {("sentinel", 26379)}
    assert shards | {("sentinel", 26379)} <= reached("redis-a")
    assert {name for name, _ in reached("redis-a")} == {*SHARDS, "sentinel"}
    assert reached("lockservice", "production-tls") == {("10.0.0.0/8", 6379)}
