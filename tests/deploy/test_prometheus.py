"""The alert of the lock latency, as promtool runs it, and what it stands on."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from harness.manifests import DEPLOY, compose, of_kind, program
from lockservice.metrics import REDIS_BUCKETS_S, SCRIPTS, Metrics

RULES = DEPLOY / "prometheus"


def verdict(directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs the alert's tests in a directory."""
    command = [program("promtool"), "test", "rules", str(directory / "alerts_test.yaml")]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_alert_passes_its_tests() -> None:
    """It fires when over 1 in 100 calls took longer than 10 ms, and at no other time."""
    ran = verdict(RULES)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("> 0.010", "> 0.1"),
        ("> 0.010", "> 0.001"),
        ("> 0.010", "> 0.010 or vector(1)"),
        ("quantile(0.99", "quantile(0.90"),
        ("quantile(0.99", "quantile(0.999"),
        ("by (job, shard, le)", "by (job, le)"),
        ("by (job, shard, le)", "by (job, instance, shard, le)"),
        ('{script="acquire"}', ""),
        ("for: 10m", "for: 1m"),
        ("for: 10m", "for: 30m"),
        ("shard further", "add memory"),
    ],
)
def test_its_tests_notice_a_broken_alert(right: str, wrong: str, tmp_path: Path) -> None:
    """Each part of the alert, when it is changed, fails a test of the alert."""
    rule = (RULES / "alerts.yaml").read_text()
    assert right in rule
    (tmp_path / "alerts.yaml").write_text(rule.replace(right, wrong))
    shutil.copy(RULES / "alerts_test.yaml", tmp_path)
    ran = verdict(tmp_path)
    assert ran.returncode == 1, ran.stdout
    assert "FAILED" in ran.stdout + ran.stderr


def test_the_alert_asks_for_a_metric_that_exists() -> None:
    """Its metric, labels, scripts and bound are those of the service."""
    metrics = Metrics(CollectorRegistry())
    rule = yaml.safe_load((RULES / "alerts.yaml").read_text())["groups"][0]["rules"][0]
    found = re.search(r'(\w+)_bucket\{(\w+)="(\w+)"\}', rule["expr"])
    assert found
    name, label, script = found.groups()
    metrics.redis_duration.labels("a", "acquire").observe(0.001)
    (family,) = metrics.redis_duration.collect()
    assert family.name == name
    assert {"shard", label, "le"} == set(family.samples[0].labels)
    assert script in SCRIPTS
    # Only at a boundary does a quantile of a histogram say exactly whether it is above.
    assert 0.010 in REDIS_BUCKETS_S


def test_each_replica_is_scraped() -> None:
    """The name that Prometheus looks up is that of every replica, in compose and in Kubernetes, and the port fits."""
    (job,) = yaml.safe_load((RULES / "prometheus.yml").read_text())["scrape_configs"]
    (lookup,) = job["dns_sd_configs"]
    (name,) = lookup["names"]
    replicas = [of for service, of in compose()["services"].items() if service.startswith("lockservice")]
    assert len(replicas) == 2
    for replica in replicas:
        assert replica["networks"]["default"]["aliases"] == [name]
        assert any(port.endswith(f":{lookup['port']}") for port in replica["ports"])
    assert "networks" not in compose()["services"]["prometheus"]
    ports = {port["name"]: port["port"] for port in of_kind("Service")[name]["spec"]["ports"]}
    assert ports["ops"] == lookup["port"]
    assert (RULES / "alerts.yaml").name in yaml.safe_load((RULES / "prometheus.yml").read_text())["rule_files"]
