"""Programmes with detectors, for the tests of what they do."""

from __future__ import annotations

from typing import Any

from ledger_support import programme, rule

from pointstream.rules import CompiledProgramme

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000

CHECK_IN = rule("check_in", points=5, every_time=True)
SPEND = rule("spend", points=1, per_minor=100)


def detector(kind: str, **fields: Any) -> dict[str, Any]:
    """A detector as it stands in a set; its id is its kind unless said."""
    return {"kind": kind, "id": kind, **fields}


OFTEN = detector(
    "velocity", types=["checkin.recorded"], limit=10, within="PT60S", action="hold", id="often"
)


def watched(
    *detectors: dict[str, Any], settings: dict[str, Any] | None = None, **fields: Any
) -> CompiledProgramme:
    """A programme with one set of detectors; check-ins earn 5 each time, orders 1 per 1.00."""
    detector_set = {"id": "base", "version": 3, "detectors": list(detectors), **fields}
    fraud = {"detector_sets": [detector_set]}
    return programme(CHECK_IN, SPEND, fraud=fraud, **(settings or {}))
