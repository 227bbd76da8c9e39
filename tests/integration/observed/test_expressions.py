"""What the dashboards and the rules ask for is told by workers that are well and at work."""

from __future__ import annotations

import pytest

from .conftest import Scene
from .rules import expressions

pytestmark = pytest.mark.broker


def happen(scene: Scene) -> None:
    """Let something happen of everything that is counted only once it happens."""
    for number in range(5):
        scene.club.give("checkin.recorded", "hasty", store_id="s1", checkin_id=f"c{number}")


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
