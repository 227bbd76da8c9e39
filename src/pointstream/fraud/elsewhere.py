"""Detectors of what is not one member: compiled for those who tell, and for those who count.

A member's partition needs to know what must be told to whom, the owner of a device, network or shop
what to hold it against. Both compile it from the detectors in force at the time of the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from pointstream.contracts.detectors import (
    Detector,
    DistinctDetector,
    Entity,
    Measure,
    ReferralCycleDetector,
    SharedDeviceDetector,
    SpikeDetector,
    VelocityDetector,
)
from pointstream.fraud.crowd import Appearance
from pointstream.fraud.local import measured
from pointstream.fraud.presence import NOTHING, Burst, CountedThere
from pointstream.fraud.sighting import TYPES, Sighting
from pointstream.fraud.warming import COUNTS_ONLY

__all__ = ["Counted", "Elsewhere", "Tallied", "compile_elsewhere"]

NETWORKS: Final = (Entity.IP, Entity.IP24, Entity.IP64)
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Counted:
    """A detector of members or events at a device or in a network."""

    detector: VelocityDetector | DistinctDetector
    version: int
    within_ms: int
    weight: Callable[[Appearance], int]
    """What an event adds to a sum; of a count of members, 1 for each event that counts."""

    @property
    def members(self) -> bool:
        """Whether it counts different members."""
        return isinstance(self.detector, DistinctDetector)


@dataclass(frozen=True, slots=True)
class Tallied:
    """A detector of sums of a shop, or of one who works there."""

    detector: VelocityDetector | SpikeDetector
    version: int
    bucket_ms: int
    buckets: int
    """How many in a row are one window."""
    keep: int
    """How many buckets with something in them are kept."""
    weight: Callable[[Sighting], int]
    """What an event adds."""


@dataclass(slots=True)
class Elsewhere:
    """The detectors of one time."""

    device: list[Counted] = field(default_factory=list)
    network: list[Counted] = field(default_factory=list)
    """Of single addresses, and of networks of 24 or 64 bits."""
    at_devices: CountedThere = NOTHING
    in_networks: CountedThere = NOTHING
    """The same two, for those who tell."""
    store: list[Tallied] = field(default_factory=list)
    staff: list[Tallied] = field(default_factory=list)
    stores_by_type: dict[str, list[Tallied]] = field(default_factory=dict)
    staff_by_type: dict[str, list[Tallied]] = field(default_factory=dict)
    cycles: list[tuple[ReferralCycleDetector, int]] = field(default_factory=list)
    shared: list[tuple[SharedDeviceDetector, int]] = field(default_factory=list)
    keep_ms: int = 0
    """The longest window of appearances."""
    refers: bool = False
    """Whether referrals are told."""


def compile_elsewhere(detectors: Iterable[tuple[Detector, int]]) -> Elsewhere:
    """Compile the detectors that are in force at one time, each with the version of its set."""
    found = Elsewhere()
    for detector, version in detectors:
        if not detector.enabled:
            continue
        if isinstance(detector, ReferralCycleDetector):
            found.cycles.append((detector, version))
        elif isinstance(detector, SharedDeviceDetector):
            found.shared.append((detector, version))
        elif isinstance(detector, VelocityDetector | SpikeDetector) and detector.entity in (
            Entity.STORE,
            Entity.STAFF,
        ):
            rows = found.store if detector.entity is Entity.STORE else found.staff
            # Sums go by the detector's id: what the real one counts is not to be counted twice.
            if version != COUNTS_ONLY or detector.id not in {row.detector.id for row in rows}:
                rows.append(_tallied(detector, version))
        elif isinstance(detector, VelocityDetector | DistinctDetector) and (
            detector.entity is Entity.DEVICE or detector.entity in NETWORKS
        ):
            counted = Counted(detector, version, _ms(detector.within), _weight(detector))
            at_device = detector.entity is Entity.DEVICE
            (found.device if at_device else found.network).append(counted)
            found.keep_ms = max(found.keep_ms, counted.within_ms)
    for rows, by_type in ((found.store, found.stores_by_type), (found.staff, found.staff_by_type)):
        for row in rows:
            for name in dict.fromkeys(row.detector.types):
                by_type.setdefault(name, []).append(row)
    found.at_devices = _there(found.device)
    found.in_networks = _there(found.network)
    found.refers = bool(found.cycles or found.shared)
    return found


def _there(counted: list[Counted]) -> CountedThere:
    """Return what members must know who are seen where some of these count."""
    types = frozenset(name for each in counted for name in each.detector.types or TYPES)
    bursts = [
        Burst(
            each.detector.limit,
            each.within_ms,
            each.weight,
            each.detector.measure is Measure.EVENTS,
        )
        for each in counted
        if isinstance(each.detector, VelocityDetector)
    ]
    return CountedThere(types, bursts)


def _tallied(detector: VelocityDetector | SpikeDetector, version: int) -> Tallied:
    weight = measured(detector.measure)
    if isinstance(detector, SpikeDetector):
        bucket_ms = _HOUR_MS if detector.bucket == "hour" else _DAY_MS
        # The bucket itself, and those before it that are held against it.
        return Tallied(detector, version, bucket_ms, 1, detector.history + 1, weight)
    within_ms = _ms(detector.within)
    bucket_ms = _HOUR_MS if within_ms <= _DAY_MS else _DAY_MS
    buckets = max(1, -(-within_ms // bucket_ms))
    return Tallied(detector, version, bucket_ms, buckets, 2 * buckets, weight)


def _weight(detector: VelocityDetector | DistinctDetector) -> Callable[[Appearance], int]:
    types = frozenset(detector.types)
    measure = detector.measure if isinstance(detector, VelocityDetector) else Measure.EVENTS

    def weight(event: Appearance) -> int:
        if types and event.type not in types:
            return 0
        if measure is Measure.EVENTS:
            return 1
        return event.points if measure is Measure.POINTS else event.money_minor

    return weight


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
