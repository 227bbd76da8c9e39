"""Alerts: rules that Prometheus takes, each seen to fire and not to fire, each with a runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from programs import promtool

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
UNIT_TESTS = sorted((Path(__file__).parent / "rules").glob("*.yml"))


def rules() -> list[dict[str, Any]]:
    """Every rule of deploy/prometheus/rules."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def checked(*arguments: object) -> str:
    """What promtool says; fails when it finds something wrong."""
    done = subprocess.run(
        [str(promtool()), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_the_example_of_its_configuration() -> None:
    """Both files are what Prometheus itself calls valid, and the example loads the rules."""
    assert "rules found" in checked("check", "rules", *RULES)
    said = checked("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert all(file.name in said for file in RULES)


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(file: Path) -> None:
    """The unit tests of the rules, by Prometheus' own tool and for the real durations."""
    assert "SUCCESS" in checked("test", "rules", file)


def test_the_unit_tests_of_the_rules_see_each_alert_fire_and_not_fire() -> None:
    """No alert is left out: in each file's checks it is expected once, and once not."""
    fired, silent = set(), set()
    for file in UNIT_TESTS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for check in case.get("alert_rule_test", ()):
                (fired if check.get("exp_alerts") else silent).add(check["alertname"])
    names = {alert["alert"] for alert in ALERTS}
    assert fired == names
    assert silent == names


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    """Who is woken finds what to do under the alert's own name, by the link that it carries."""
    text = (DEPLOY / "runbooks.md").read_text()
    sections = set(re.findall(r"^## (\w+)$", text, re.MULTILINE))
    assert sections == {alert["alert"] for alert in ALERTS}
    for alert in ALERTS:
        assert alert["annotations"]["runbook_url"] == (
            f"deploy/runbooks.md#{alert['alert'].lower()}"
        )
        assert alert["annotations"]["summary"]
        body = text.split(f"## {alert['alert']}\n")[1].split("\n## ")[0]
        severity = alert["labels"]["severity"]
        assert body.startswith(f"{severity.capitalize()}. **Means**:"), alert["alert"]
        assert re.search(r"^1\. ", body, re.MULTILINE), f"{alert['alert']}: no first step"


def test_each_alert_is_caused_on_running_workers() -> None:
    """None is left out of the faults that the real Prometheus has to find."""
    faults = Path(__file__).parents[1] / "integration" / "observed" / "test_faults.py"
    caused = set(re.findall(r"Pointstream[A-Z]\w+", faults.read_text()))
    assert caused == {alert["alert"] for alert in ALERTS}
