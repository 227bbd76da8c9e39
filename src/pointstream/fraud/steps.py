"""Spending that needs a second confirmation: very large, or soon after an account changed hands.

Asked about a command before it is carried out, with what it would take and what there is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pointstream.contracts.detectors import Detector, LargeSpendDetector, TakeoverDetector
from pointstream.contracts.vocabulary import FlagAction
from pointstream.contracts.wire import rfc3339
from pointstream.fraud.sighting import Detected, Sighting
from pointstream.fraud.watch import FIRST, Watch
from pointstream.fraud.words import span

__all__ = ["StepUp", "step_up_of"]

_MS: Final = timedelta(milliseconds=1)


class StepUp:
    """A detector that can let a command wait."""

    def __init__(self, source: TakeoverDetector | LargeSpendDetector, version: int) -> None:
        self.source: Final = source
        self.id: Final = source.id
        self.version: Final = version
        self.types: Final = frozenset(source.types)
        self.waits: Final = source.action is FlagAction.HOLD

    def look(self, seen: Sighting, watch: Watch, available: int) -> Detected | None:
        """Return what is suspicious about a command; `available` is what could be spent."""
        source = self.source
        if isinstance(source, LargeSpendDetector):
            if seen.points <= source.points:
                return None
            return self._found(
                seen,
                source.points,
                0,
                f"{seen.type} of {seen.points} points by member {seen.member_id} is above the"
                f" limit of {source.points}: ask the member, then release or reject",
            )
        within_ms = source.within // _MS
        device = _new_device(seen, watch, within_ms)
        if device is None:
            return None
        limit = max(source.min_points, -(-available * source.share_percent // 100))
        if source.points is not None:
            limit = min(limit, source.points)
        if seen.points < limit:
            return None
        name, since_ms = device
        ago_s = max(0, seen.at_ms - since_ms) // 1_000
        return self._found(
            seen,
            limit,
            within_ms // 1_000,
            f"{seen.type} of {seen.points} of {available} points by member {seen.member_id},"
            f" {span(ago_s)} after the device {name} was first seen, at {rfc3339(since_ms)}: ask"
            " the member on another way than that device, then release or reject",
        )

    def _found(self, seen: Sighting, limit: int, window_s: int, words: str) -> Detected:
        return Detected(
            self.id,
            self.version,
            self.source.action,
            seen.points,
            limit,
            window_s,
            (seen.event_id,),
            words,
        )


def _new_device(seen: Sighting, watch: Watch, within_ms: int) -> tuple[str, int] | None:
    """Return a device that is new to the member, and since when; None if there is no such.

    What comes from a device counts for that one; what names none, for the newest one.
    """
    devices = watch.devices
    if not devices:
        return None
    oldest_ms = min(int(known[FIRST]) for known in devices.values())
    if seen.device is not None:
        known = devices.get(seen.device)
        name, since_ms = seen.device, seen.at_ms
        if known is not None:
            since_ms = min(known[FIRST], since_ms)
    else:
        name = max(devices, key=lambda each: int(devices[each][FIRST]))
        since_ms = devices[name][FIRST]
    if oldest_ms >= since_ms or not 0 <= seen.at_ms - since_ms < within_ms:
        return None
    return name, since_ms


def step_up_of(source: Detector, version: int) -> StepUp | None:
    """Return a detector of spending, made ready; None if it is none."""
    if isinstance(source, TakeoverDetector | LargeSpendDetector):
        return StepUp(source, version)
    return None
