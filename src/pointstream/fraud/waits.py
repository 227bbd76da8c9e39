"""How long the points of an event wait, because somebody else than the member judges it as well.

A device, a network, a shop or a circle of referrers is judged by its owner, in another partition,
a moment after the event was taken. Where a set has a `pending_window`, points that such a detector
could hold are pending for so long. What no other owner could hold back waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, get_args

from pointstream.contracts.detectors import (
    Detector,
    DetectorSet,
    DistinctDetector,
    Entity,
    EventType,
    ReferralCycleDetector,
    SharedDeviceDetector,
    SpikeDetector,
    VelocityDetector,
)
from pointstream.contracts.vocabulary import FlagAction

__all__ = ["Waits", "compile_waits"]

_MS: Final = timedelta(milliseconds=1)
_REFERRALS: Final = ("referral.registered", "referral.first_order")
_FIELD: Final = {
    Entity.DEVICE: "device_ms",
    Entity.IP: "ip_ms",
    Entity.IP24: "ip_ms",
    Entity.IP64: "ip_ms",
    Entity.STORE: "store_ms",
    Entity.STAFF: "staff_ms",
}


@dataclass(frozen=True, slots=True)
class Waits:
    """For how long the points of one type of event wait, in ms, by what the event names."""

    device_ms: int = 0
    ip_ms: int = 0
    store_ms: int = 0
    staff_ms: int = 0
    always_ms: int = 0
    """Whatever it names: a referral can close a circle."""

    @property
    def most_ms(self) -> int:
        """The longest of them."""
        return max(self.device_ms, self.ip_ms, self.store_ms, self.staff_ms, self.always_ms)


def compile_waits(sets: Iterable[DetectorSet]) -> dict[str, Waits]:
    """Return, for each type of event that may have to wait, for how long. The longest counts."""
    found: dict[str, Waits] = {}
    for one in sets:
        window_ms = one.pending_window // _MS
        for detector in one.detectors if window_ms else ():
            if not detector.enabled or detector.action is FlagAction.FLAG:
                continue
            name, types = _judged(detector)
            for each in types if name is not None else ():
                known = found.get(each, Waits())
                if name is not None and getattr(known, name) < window_ms:
                    found[each] = replace(known, **{name: window_ms})
    return found


def _judged(detector: Detector) -> tuple[str | None, tuple[str, ...]]:
    """Return by what of an event a detector elsewhere finds it, and the types it looks at."""
    if isinstance(detector, ReferralCycleDetector | SharedDeviceDetector):
        return "always_ms", _REFERRALS
    if isinstance(detector, VelocityDetector | DistinctDetector | SpikeDetector):
        types: tuple[str, ...] = detector.types or get_args(EventType)
        return _FIELD.get(detector.entity), types
    return None, ()
