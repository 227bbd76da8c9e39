"""From detector sets to what the ledger asks about an event.

A set is compiled when it is first seen. `Watchers` are all sets in force at an instant together,
arranged by what an event can trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from pointstream.fraud.local import KIND_OF, Counter, Local, RefundLoop, Travel, local_of
from pointstream.fraud.steps import StepUp, step_up_of

__all__ = ["CompiledDetectorSet", "Versioned", "Watchers", "compile_detector_set"]


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
        self.allow: Final = Lists([each for one, _ in there for each in one.allow])
        self.deny: Final = Lists([each for one, _ in there for each in one.deny])
        self.denying: Final = max((one.version for one, _ in there if one.deny), default=0)
        """The version that flags of denied entities name."""
        self.places: Final = {
            place.store_id: (place.lat, place.lon) for one, _ in there for place in one.places
        }
        self.before: Final = _by_type(each for each in local if not each.after)
        self.after: Final = _by_type(each for each in local if each.after)
        self.steps: Final[Mapping[str, tuple[StepUp, ...]]] = {
            name: tuple(each for each in steps if name in each.types) for name in KIND_OF
        }
        counters = {each.counts.name: each.counts for each in local if each.counts is not None}
        for each in local:
            if each.counts is not None and each.counts.keep > counters[each.counts.name].keep:
                counters[each.counts.name] = each.counts
        self.counters: Final[Mapping[str, tuple[Counter, ...]]] = {
            name: tuple(each for each in counters.values() if name in each.types)
            for name in KIND_OF
        }
        self.counted: Final = frozenset(counters)
        by_row = [each for each in local if each.rows_ms]
        self.rows: Final = frozenset(name for each in by_row for name in each.types)
        """The types of events that are remembered one by one."""
        self.rows_ms: Final = max((each.rows_ms for each in by_row), default=0)
        travels = [each for each in local if isinstance(each, Travel)]
        self.places_ms: Final = max((each.places_ms for each in travels), default=0)
        """For how long it counts where a member was; 0 if nobody asks."""
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
        self.asks_points: Final = self.elsewhere.asks_points or any(
            each.measure_of() is Measure.POINTS for each in (*local,)
        )
        """Whether it counts how many points an event earns."""
        self.idle: Final = not self.detectors and self.deny.empty


def _by_type(local: Iterable[Local]) -> dict[str, tuple[Local, ...]]:
    there: Sequence[Local] = list(local)
    return {name: tuple(each for each in there if name in each.types) for name in KIND_OF}
