"""Detectors that only count: so that windows are full when a backtest begins.

A candidate that begins to hold at a moment knows nothing of the time before. For so long as its
longest window reaches back, a set that counts the same and trips on nothing is put in before it,
beside the real ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from pointstream.contracts.detectors import (
    Detector,
    DetectorSet,
    DistinctDetector,
    LargeSpendDetector,
    ReferralCycleDetector,
    RefundLoopDetector,
    SharedDeviceDetector,
    SpikeDetector,
    TakeoverDetector,
    TravelDetector,
    VelocityDetector,
)
from pointstream.contracts.vocabulary import FlagAction

__all__ = ["COUNTS_ONLY", "counting_only", "reach"]

COUNTS_ONLY: Final = 0
"""The version of a set that only counts: those that are published are above it."""

_DAY: Final = timedelta(days=1)
_NEVER: Final = 2**60
"""More than anything that is counted."""


def reach(sets: Iterable[DetectorSet]) -> timedelta:
    """Return how far back detectors look at most; nothing where none has a history."""
    spans = [_reach(each) for one in sets for each in one.detectors if each.enabled]
    return max(spans, default=timedelta(0))


def counting_only(one: DetectorSet, begin: datetime, end: datetime) -> DetectorSet:
    """Return a set of another id that counts what this one does, from `begin` until `end`."""
    return one.model_copy(
        update={
            # No id has a control character.
            "id": f"\x01{one.id}",
            "version": COUNTS_ONLY,
            "effective_from": begin,
            "effective_to": end,
            "pending_window": timedelta(0),
            "deny": (),
            "detectors": tuple(
                each.model_copy(update={"action": FlagAction.FLAG, **_out_of_reach(each)})
                for each in one.detectors
            ),
        }
    )


def _reach(detector: Detector) -> timedelta:
    match detector:
        case SpikeDetector():
            bucket = _DAY if detector.bucket == "day" else timedelta(hours=1)
            # Buckets without anything are no part of the history: it can reach back further.
            return bucket * (detector.history + 1)
        case TravelDetector():
            return _DAY
        case RefundLoopDetector():
            return detector.within + (detector.back_within or _DAY)
        case LargeSpendDetector():
            return timedelta(0)
        case VelocityDetector() | DistinctDetector():
            # Longer windows are made of whole days.
            return detector.within + (_DAY if detector.within > _DAY else timedelta(0))
        case _:
            return detector.within


def _out_of_reach(detector: Detector) -> dict[str, Any]:
    """Return what to change for a detector to go on counting, and never to trip."""
    match detector:
        case SpikeDetector():
            return {"floor": _NEVER}
        case TravelDetector():
            return {"min_km": _NEVER}
        case TakeoverDetector():
            return {"min_points": _NEVER, "points": None}
        case LargeSpendDetector():
            return {"points": _NEVER}
        case ReferralCycleDetector():
            return {"length": 0}
        case SharedDeviceDetector():
            return {"within": timedelta(milliseconds=-1)}
        case _:
            return {"limit": _NEVER}
