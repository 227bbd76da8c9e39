"""What the dashboards and the rules ask for is told by workers that are well and at work."""

from __future__ import annotations

import re

import pytest

from .conftest import Scene
from .rules import RULES, expressions, shortened

pytestmark = pytest.mark.broker


def happen(scene: Scene) -> None:
    """Let something happen of everything that is counted only once it happens."""
    for number in range(5):
        scene.club.give("checkin.recorded", "hasty", store_id="s1", checkin_id=f"c{number}")


def test_no_duration_of_the_rules_stays_long() -> None:
    """What is shortened is everything: windows, waits, offsets and thresholds in seconds."""
    for file in RULES:
        text = shortened(file.read_text())
        assert not re.search(r"\[\d+[smhd]\]|(for:|offset) \d+[smhd]\b|# s$", text, re.MULTILINE)
    said = shortened("increase(x[1h]) - y offset 1h\n> 60 # s\nfor: 2m\njob:z:ratio_rate5m[5m]")
    assert said == (
        "increase(x[60000ms]) - y offset 15000ms\n> 3.0\nfor: 500ms\njob:z:ratio_rate5m[15000ms]"
    )


def test_every_panel_and_every_rule_has_an_answer_from_a_running_worker(scene: Scene) -> None:
    """All expressions are accepted by Prometheus and come back with data; alerts are asked without
    their thresholds, so that one that watches for what does not exist is found out."""
    happen(scene)
    # What looks back is asked when there is something to look back to: with the jump, below.
    waiting = [(where, expr) for where, expr in expressions() if "offset" not in expr]
    assert len(waiting) > 80

    def answered() -> bool:
        waiting[:] = [place for place in waiting if not scene.prometheus.query(place[1])]
        return not waiting

    scene.prometheus.until(answered, lambda: f"data for {waiting}")
