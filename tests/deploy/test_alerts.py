"""Which alerts fire in which story, as promtool runs the shipped rules, and that none fires in the others."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.alert_cases import FIRING, SILENT, Case, as_promtool
from harness.manifests import DEPLOY, program
from lockservice.reference import metrics_table
from lockservice.v1 import lockservice_pb2 as pb

SHIPPED = DEPLOY / "prometheus/alerts.yaml"
RUNBOOK = DEPLOY / "README.md"


def rules(text: str = SHIPPED.read_text()) -> list[dict[str, Any]]:
    """Returns the alerts of a file."""
    (group,) = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def verdict(text: str, cases: list[Case], directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs cases against rules."""
    (directory / "alerts.yaml").write_text(text)
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules(text)}
    tests = {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": "30s",
        "tests": [as_promtool(case, severities) for case in cases],
    }
    (directory / "cases.yaml").write_text(yaml.safe_dump(tests))
    command = [program("promtool"), "test", "rules", str(directory / "cases.yaml")]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_alerts_fire_and_stay_silent_as_they_should(tmp_path: Path) -> None:
    """Each fault raises its alert and no other; a healthy, idle or restarting service and short blips raise none."""
    ran = verdict(SHIPPED.read_text(), SILENT + FIRING, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_a_story() -> None:
    """No alert is shipped that no case makes fire; the one of the latency has cases of its own, with its words."""
    told = {
        f"Lockservice{alert.split()[0]}" for case in FIRING for alerts in case.firing.values() for alert in alerts
    }
    assert told | {"LockserviceShardSlow"} == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize(
    ("alert", "right", "wrong", "story"),
    [
        ("ShardDown", "for: 1m", "for: 0s", "changes its primary"),
        ("ShardDown", "min by", "max by", "down for one"),
        ("Errors", "0.01 *", "0.1 *", "over 1 in 100"),
        ("Errors", "|INTERNAL", "|INVALID_FIELD", "own mistakes"),
        ("Errors", "or 0 *", "and 0 *", "every call"),
        ("LeasesExpire", "> 10", "> 1", "three leases"),
        ("LeasesExpire", "> 0.05", "> 0.005", "busy and healthy"),
        ("LeasesExpire", "> 0.05", "> 0.1", "1 in 20 leases"),
        ("ClaimsExpire", "> 0.05", "> 0.005", "busy and healthy"),
        ("QueueFull", "for: 2m", "for: 0s", "wait for a moment"),
        ("QueueFull", "> 0.8", "> 0.7", "busy and healthy"),
        ("QueueFull", "TOO_MANY_WAITERS", "SESSION_LIMIT", "queue is full"),
        ("HoldOff", "for: 1m", "for: 0s", "changes its primary"),
        ("HoldOff", "and sum", "or sum", "nobody feels"),
        ("Clock", "abs(lockservice", "(lockservice", "clock is behind"),
        ("Clock", "for: 2m", "for: 0s", "one look"),
        ("Evicts", "== 1", "== 2", "wrong policy"),
        ("Evicts", "[10m])) > 0", "[10m])) > 2", "were deleted"),
        ("Memory", "> 0.8", "> 0.9", "nearly full"),
        ("Certificate", "7 * 86400", "3 * 86400", "runs out in 6"),
        ("Certificate", "for: 5m", "for: 0s", "file is replaced"),
        ("DrainStuck", "for: 30s", "for: 0s", "does not end"),
        ("ReplicaDown", "for: 2m", "for: 0s", "rolling restart"),
        ("Absent", "== 1", ">= 0", "one replica answers"),
        ("OneReplica", "for: 15m", "for: 1m", "one of two"),
    ],
)
def test_a_broken_alert_is_noticed(alert: str, right: str, wrong: str, story: str, tmp_path: Path) -> None:
    """Each part of an alert, when it is changed, fails the story that it is about."""
    text = SHIPPED.read_text()
    begin = text.index(f"alert: Lockservice{alert}\n")
    end = text.index("annotations:", begin)
    rule = text[begin:end]
    assert right in rule
    cases = [case for case in SILENT + FIRING if story in case.story]
    ran = verdict(text[:begin] + rule.replace(right, wrong) + text[end:], cases, tmp_path)
    assert ran.returncode == 1, ran.stdout
    assert "FAILED" in ran.stdout + ran.stderr


def test_every_alert_has_a_runbook_section() -> None:
    """Its link ends at a heading of the runbook, which says what to do."""
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)}
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"deploy/README.md#{rule['alert'].lower()}"
        assert rule["alert"].lower() in headings


def test_the_alerts_ask_for_what_exists() -> None:
    """Every metric, and every reason and kind of error, is one that the service has."""
    known = set(re.findall(r"`(\w+)`", metrics_table()))
    reasons = {value.name.removeprefix("ERROR_REASON_") for value in pb.ErrorReason.DESCRIPTOR.values} | {"INTERNAL"}
    for rule in rules():
        asked = re.findall(r"lockservice_\w+", rule["expr"])
        assert {re.sub("_(bucket|count)$", "", name) for name in asked} <= known, rule["alert"]
        for named in re.findall(r'reason=~?"([^"]*)"', rule["expr"]):
            assert set(named.split("|")) <= reasons
