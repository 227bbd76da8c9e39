"""Detector sets as they are written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pointstream.contracts.detectors import DetectorSet, Fraud, TakeoverDetector


def _set(*detectors: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "base", "version": 1, "detectors": list(detectors), **fields}


VELOCITY = {
    "kind": "velocity",
    "id": "often",
    "types": ["checkin.recorded"],
    "limit": 10,
    "within": "PT60S",
}


def test_a_detector_set_is_the_same_when_it_is_written_and_read() -> None:
    """What is published is what its author wrote, kind by kind."""
    given = DetectorSet.model_validate(
        _set(
            VELOCITY,
            {"kind": "distinct", "id": "farm", "entity": "device", "of": "member", "limit": 5}
            | {"within": "P1D", "action": "hold"},
            {"kind": "takeover", "id": "taken", "within": "PT24H"},
            deny=[{"entity": "ip", "id": "203.0.113.0/24", "until": "2026-03-01T00:00:00Z"}],
        )
    )
    text = given.model_dump_json(exclude_defaults=True)
    assert DetectorSet.model_validate_json(text) == given
    assert isinstance(given.detectors[2], TakeoverDetector)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (_set(VELOCITY, VELOCITY), "two detectors have the id 'often'"),
        (_set({**VELOCITY, "limit": 201}), "one by one up to 200"),
        (_set({**VELOCITY, "limits": 3}), "Extra inputs"),
        (_set({**VELOCITY, "types": []}), "at least 1 item"),
        (_set({**VELOCITY, "within": "P91D"}), "less than or equal to 90 days"),
        (
            _set(
                {"kind": "distinct", "id": "d", "entity": "member", "of": "member"}
                | {"limit": 1, "within": "P1D"}
            ),
            "devices of a member",
        ),
        (
            _set(
                {"kind": "spike", "id": "s", "types": ["order.paid"], "floor": 1}
                | {"history": 3, "min_history": 4}
            ),
            "history is shorter",
        ),
        (
            _set(effective_from="2026-03-02T00:00:00Z", effective_to="2026-03-01T00:00:00Z"),
            "effective_to must be later",
        ),
    ],
)
def test_a_detector_set_that_cannot_be_meant_is_refused(wrong: dict[str, Any], said: str) -> None:
    """A mistake is said where it is, before anything counts by it."""
    with pytest.raises(ValidationError, match=said):
        DetectorSet.model_validate(wrong)


def test_a_programme_names_a_version_of_a_detector_set_once() -> None:
    """Two contents under one number could not be told apart."""
    with pytest.raises(ValidationError, match="has version 1 twice"):
        Fraud.model_validate({"detector_sets": [_set(), _set()]})
