"""From detector sets to what the ledger asks about an event.

A set is compiled when it is first seen. `Watchers` are all sets in force at an instant together,
arranged by what an event can trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from pointstream.contracts.detectors import (
    Detector,
    DetectorSet,
    DistinctDetector,
    Entity,
    Measure,
    SharedDeviceDetector,
    TakeoverDetector,
)
from pointstream.contracts.wire import dumps
from pointstream.fraud.elsewhere import compile_elsewhere
from pointstream.fraud.lists import Lists
from pointstream.fraud.local import (
    COLUMN_OF,
    Counter,
    Distinct,
    Local,
    RefundLoop,
    Travel,
    local_of,
)
from pointstream.fraud.sighting import KIND_OF
from pointstream.fraud.steps import StepUp, step_up_of
from pointstream.fraud.waits import compile_waits

__all__ = ["CompiledDetectorSet", "Plan", "Versioned", "Watchers", "compile_detector_set"]


@dataclass(frozen=True, slots=True)
class CompiledDetectorSet:
    """A detector set ready to be used."""

    hash: str
    """Names the content: the same set has the same hash, however it was written."""
    source: bytes
    """The set as it is stored and told."""
    local: tuple[Local, ...]
    steps: tuple[StepUp, ...]


@dataclass(frozen=True, slots=True)
class Versioned:
    """A detector that is switched on, with the version of its set."""

    source: Detector
    version: int


def compile_detector_set(detector_set: DetectorSet) -> CompiledDetectorSet:
    """Compile a set. Raises `ValueError` for an entry of a list that is no network."""
    Lists(detector_set.allow)
    Lists(detector_set.deny)
    source = dumps(detector_set.model_dump(mode="json", exclude_defaults=True))
    version = detector_set.version
    there = [each for each in detector_set.detectors if each.enabled]
    local = (local_of(each, version) for each in there)
    steps = (step_up_of(each, version) for each in there)
    return CompiledDetectorSet(
        blake2b(source, digest_size=8).hexdigest(),
        source,
        tuple(each for each in local if each is not None),
        tuple(each for each in steps if each is not None),
    )


_MS: Final = timedelta(milliseconds=1)

_MONEY: Final = {
    "order.paid": "paid_minor",
    "order.refunded": "refunded_minor",
    "referral.first_order": "paid_minor",
    "activity.recorded": "value_minor",
}
"""Where an event says how much money it is about."""

_RETURNING: Final = frozenset(("order.paid", "order.refunded", "order.cancelled"))


class Plan:
    """All that is done about events of one type."""

    __slots__ = (
        "after",
        "always",
        "at_device",
        "before",
        "commanded",
        "counters",
        "devices",
        "in_network",
        "kind",
        "money",
        "places",
        "points",
        "refers",
        "returns",
        "rows",
        "steps",
        "tallied",
        "tells",
        "waits",
    )

    def __init__(self, name: str, watchers: Watchers, local: Sequence[Local]) -> None:
        mine = [each for each in local if name in each.types]
        self.kind: Final = KIND_OF[name]
        before = tuple(each for each in mine if not each.after)
        at_place = {each for each in before if isinstance(each, Travel)}
        by_device = {each for each in before if isinstance(each, Distinct)}
        self.before: Final = tuple(
            tuple(
                tuple(
                    each
                    for each in before
                    if (place or each not in at_place) and (device or each not in by_device)
                )
                for device in (False, True)
            )
            for place in (False, True)
        )
        """Looked at before the event is handled; by whether it has a place, and a device."""
        self.commanded: Final = name.startswith("points.")
        """Whether it is a command."""
        self.after: Final = tuple(each for each in mine if each.after)
        """Looked at when it is known what it earned or gave back."""
        self.steps: Final = tuple(each for each in watchers.steps if name in each.types)
        """Can let it wait."""
        self.counters: Final = tuple(
            (each.name, each.bucket_ms, each.keep, COLUMN_OF.get(each.measure))
            for each in watchers.counters
            if name in each.types
        )
        """What it is counted in: name, length and number of buckets, column of a row or None."""
        measures = watchers.measures(name)
        self.money: Final = _MONEY.get(name) if Measure.MONEY in measures else None
        """The field that says how much money it is about, if anybody asks."""
        self.points: Final = Measure.POINTS in measures
        """Whether anybody asks how many points it earns."""
        by_row = [each for each in mine if each.rows_ms]
        self.rows: Final = any(not isinstance(each, Distinct) for each in by_row)
        """Whether it is remembered by itself, and not only for its device."""
        self.places: Final = bool(watchers.places_ms)
        self.returns: Final = bool(watchers.returns_ms) and name in _RETURNING
        elsewhere = watchers.elsewhere
        tallied = name in elsewhere.stores_by_type or name in elsewhere.staff_by_type
        self.tallied: Final = tallied
        self.at_device: Final = name in elsewhere.at_devices.types
        self.in_network: Final = name in elsewhere.in_networks.types
        self.devices: Final = watchers.devices or self.at_device
        """Whether it is remembered for its device."""
        self.refers: Final = elsewhere.refers and name.startswith("referral.")
        """Whether it is a referral that others must know."""
        self.tells: Final = tallied or self.at_device or self.in_network or self.refers
        """Whether others than the member may have to know."""
        self.waits: Final = watchers.waits.get(name)
        """For how long its points wait for those others; None if they do not."""
        self.always: Final = bool(
            self.rows
            or self.counters
            or self.steps
            or self.returns
            or not watchers.deny.empty
            or tallied
            or self.refers
        )
        """Whether it matters without a device, an address and a place, too."""


class Watchers:
    """All that is in force at an instant."""

    def __init__(self, sets: Iterable[tuple[DetectorSet, CompiledDetectorSet]]) -> None:
        there = list(sets)
        local = [each for _, compiled in there for each in compiled.local]
        steps = [each for _, compiled in there for each in compiled.steps]
        self.detectors: Final = tuple(
            Versioned(source, one.version)
            for one, _ in there
            for source in one.detectors
            if source.enabled
        )
        """All that is switched on, also what is counted for other entities than the member."""
        self.elsewhere: Final = compile_elsewhere(
            (each.source, each.version) for each in self.detectors
        )
        """What other keys than the member count."""
        self.waits: Final = compile_waits(one for one, _ in there)
        """For how long points are pending that somebody elsewhere could hold, by type of event."""
        self.release_ms: Final[Mapping[str, int]] = {
            source.id: one.release_after // _MS
            for one, _ in there
            for source in one.detectors
            if one.release_after
        }
        """By detector, after how long a flag is released on which nobody has decided."""
        self.allow: Final = Lists([each for one, _ in there for each in one.allow])
        self.deny: Final = Lists([each for one, _ in there for each in one.deny])
        self.denying: Final = max((one.version for one, _ in there if one.deny), default=0)
        """The version that flags of denied entities name."""
        self.places: Final = {
            place.store_id: (place.lat, place.lon) for one, _ in there for place in one.places
        }
        self.steps: Final[Sequence[StepUp]] = steps
        counters = {each.counts.name: each.counts for each in local if each.counts is not None}
        for each in local:
            if each.counts is not None and each.counts.keep > counters[each.counts.name].keep:
                counters[each.counts.name] = each.counts
        self.counters: Final[Sequence[Counter]] = list(counters.values())
        self.counted: Final = frozenset(counters)
        by_row = [each for each in local if each.rows_ms]
        travels = [each for each in local if isinstance(each, Travel)]
        self.places_ms: Final = max((each.places_ms for each in travels), default=0)
        """For how long it counts where a member was; 0 if nobody asks."""
        self.rows_ms: Final = max(
            self.places_ms, self.elsewhere.keep_ms, *(each.rows_ms for each in by_row)
        )
        """For how long events are needed one by one."""
        self.store_channels: Final = frozenset(
            channel for each in travels for channel in each.store_channels
        )
        loops = [each for each in local if isinstance(each, RefundLoop)]
        self.returns_ms: Final = max((each.returns_ms for each in loops), default=0)
        """For how long returned orders count; 0 if nobody asks."""
        self.devices: Final = any(
            isinstance(each.source, TakeoverDetector)
            or (isinstance(each.source, DistinctDetector) and each.source.entity is Entity.MEMBER)
            or isinstance(each.source, SharedDeviceDetector)
            for each in self.detectors
        )
        """Whether it counts with which devices a member was seen."""
        self.idle: Final = not self.detectors and self.deny.empty
        self.allows: Final = not self.allow.empty
        plans = {} if self.idle else {name: Plan(name, self, local) for name in KIND_OF}
        self.plans: Final[Mapping[str, Plan]] = {
            name: plan
            for name, plan in plans.items()
            if plan.always or plan.devices or plan.places or plan.tells
        }
        """By type of event, what is done about it; nothing about others."""

    def measures(self, name: str) -> set[Measure]:
        """Return what anybody adds up of events of a type."""
        found = set()
        for each in self.detectors:
            types: tuple[str, ...] = getattr(each.source, "types", ())
            if not types or name in types:
                found.add(getattr(each.source, "measure", Measure.EVENTS))
        return found
