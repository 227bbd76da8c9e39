"""Detectors of what is not one member: compiled for those who tell, and for those who count.

A member's partition needs to know what must be told to whom, the owner of a device, network or shop
what to hold it against. Both compile it from the detectors in force at the time of the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, get_args

from pointstream.contracts.detectors import (
    Detector,
    DistinctDetector,
    Entity,
    EventType,
    Measure,
    ReferralCycleDetector,
    SharedDeviceDetector,
    SpikeDetector,
    VelocityDetector,
)
from pointstream.fraud.crowd import Appearance
from pointstream.fraud.presence import Burst

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


@dataclass(slots=True)
class Elsewhere:
    """The detectors of one time."""

    device: list[Counted] = field(default_factory=list)
    network: list[Counted] = field(default_factory=list)
    """Of single addresses, and of networks of 24 or 64 bits."""
    device_bursts: list[Burst] = field(default_factory=list)
    network_bursts: list[Burst] = field(default_factory=list)
    store: list[Tallied] = field(default_factory=list)
    staff: list[Tallied] = field(default_factory=list)
    stores_by_type: dict[str, list[Tallied]] = field(default_factory=dict)
    staff_by_type: dict[str, list[Tallied]] = field(default_factory=dict)
    cycles: list[tuple[ReferralCycleDetector, int]] = field(default_factory=list)
    shared: list[tuple[SharedDeviceDetector, int]] = field(default_factory=list)
    keep_ms: int = 0
    """The longest window of appearances."""
    device_types: frozenset[str] = frozenset()
    """Of the events that are told as appearances at a device."""
    network_types: frozenset[str] = frozenset()

    asks_points: bool = False
    """Whether it counts how many points an event earns."""

    sees: bool = False
    """Whether members tell of devices or networks at all."""
    tallies: bool = False
    """Whether something is added up for shops or staff."""
    refers: bool = False
    """Whether referrals are told."""


def compile_elsewhere(detectors: Iterable[tuple[Detector, int]]) -> Elsewhere:
    """Compile the detectors that are in force at one time, each with the version of its set."""
    found = Elsewhere()
    for detector, version in detectors:
        if not detector.enabled:
            continue
        if getattr(detector, "measure", None) is Measure.POINTS:
            found.asks_points = True
        if isinstance(detector, ReferralCycleDetector):
            found.cycles.append((detector, version))
        elif isinstance(detector, SharedDeviceDetector):
            found.shared.append((detector, version))
        elif isinstance(detector, VelocityDetector | SpikeDetector) and detector.entity in (
            Entity.STORE,
            Entity.STAFF,
        ):
            tallied = _tallied(detector, version)
            (found.store if detector.entity is Entity.STORE else found.staff).append(tallied)
        elif isinstance(detector, VelocityDetector | DistinctDetector) and (
            detector.entity is Entity.DEVICE or detector.entity in NETWORKS
        ):
            counted = Counted(detector, version, _ms(detector.within), _weight(detector))
            at_device = detector.entity is Entity.DEVICE
            (found.device if at_device else found.network).append(counted)
            if isinstance(detector, VelocityDetector):
                counts = detector.measure is Measure.EVENTS
                burst = Burst(detector.limit, counted.within_ms, counted.weight, counts)
                (found.device_bursts if at_device else found.network_bursts).append(burst)
            found.keep_ms = max(found.keep_ms, counted.within_ms)
    for rows, by_type in ((found.store, found.stores_by_type), (found.staff, found.staff_by_type)):
        for row in rows:
            for name in dict.fromkeys(row.detector.types):
                by_type.setdefault(name, []).append(row)
    found.device_types = _types(found.device)
    found.network_types = _types(found.network)
    found.sees = bool(found.device or found.network)
    found.tallies = bool(found.store or found.staff)
    found.refers = bool(found.cycles or found.shared)
    return found


def _types(counted: list[Counted]) -> frozenset[str]:
    """Return the types of events that some of these count."""
    return frozenset(
        name for each in counted for name in each.detector.types or get_args(EventType)
    )


def _tallied(detector: VelocityDetector | SpikeDetector, version: int) -> Tallied:
    if isinstance(detector, SpikeDetector):
        bucket_ms = _HOUR_MS if detector.bucket == "hour" else _DAY_MS
        # The bucket itself, and those before it that are held against it.
        return Tallied(detector, version, bucket_ms, 1, detector.history + 1)
    within_ms = _ms(detector.within)
    bucket_ms = _HOUR_MS if within_ms <= _DAY_MS else _DAY_MS
    buckets = max(1, -(-within_ms // bucket_ms))
    return Tallied(detector, version, bucket_ms, buckets, 2 * buckets)


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
