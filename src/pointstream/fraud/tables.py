"""Which detectors are in force when: versions of detector sets in, `Watchers` per span of time out.

As with rule sets (`rules/tables.py`): of the versions of one id the highest in force counts, sets
of different ids are in force side by side, and a span's watchers are made when they are first asked
for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import epoch_ms
from pointstream.fraud.compile import CompiledDetectorSet, Watchers, compile_detector_set
from pointstream.rules.versions import VersionBook

__all__ = ["DetectorBook", "DetectorTables", "DetectorVersion", "detector_versions"]


@dataclass(frozen=True, slots=True)
class DetectorVersion:
    """One version of one detector set, and when it holds: from, inclusive, to, exclusive."""

    detector_set: DetectorSet
    compiled: CompiledDetectorSet
    from_ms: int | None
    to_ms: int | None

    @classmethod
    def of(cls, detector_set: DetectorSet) -> DetectorVersion:
        """Return a version that holds for the span that it names itself."""
        starts, ends = detector_set.effective_from, detector_set.effective_to
        return cls(
            detector_set,
            compile_detector_set(detector_set),
            None if starts is None else epoch_ms(starts),
            None if ends is None else epoch_ms(ends),
        )

    @property
    def id(self) -> str:
        """Of the detector set."""
        return self.detector_set.id

    @property
    def number(self) -> int:
        """Of the version, from 1."""
        return self.detector_set.version

    def until(self, at_ms: int) -> DetectorVersion:
        """Return the version as it is when it holds no longer than until a moment."""
        return (
            self if self.to_ms is not None and self.to_ms <= at_ms else replace(self, to_ms=at_ms)
        )

    def holds(self, at_ms: int | None) -> bool:
        """Tell whether it is in force at a moment; None stands for before everything."""
        if at_ms is None:
            return self.from_ms is None
        return (self.from_ms is None or self.from_ms <= at_ms) and (
            self.to_ms is None or at_ms < self.to_ms
        )


class DetectorTables:
    """The watchers of some versions. Never changes; what it makes late is a pure result."""

    def __init__(self, versions: Iterable[DetectorVersion]) -> None:
        """Of two versions with the same number, the later one counts."""
        self.versions: Final = tuple(versions)
        moments = {at for each in self.versions for at in (each.from_ms, each.to_ms)}
        self._cuts_ms: Final = sorted(at_ms for at_ms in moments if at_ms is not None)
        self._watchers: Final[list[Watchers | None]] = [None] * (len(self._cuts_ms) + 1)

    def at(self, at_ms: int) -> Watchers:
        """Return what is in force at an instant."""
        place = bisect_right(self._cuts_ms, at_ms)
        watchers = self._watchers[place]
        if watchers is None:
            since_ms = self._cuts_ms[place - 1] if place else None
            watchers = self._watchers[place] = _watchers(self.versions, since_ms)
        return watchers


class DetectorBook(VersionBook[DetectorVersion]):
    """The detector sets that one partition knows, as they come and go while it runs."""

    def __init__(
        self, base: Sequence[DetectorVersion], instead: Sequence[DetectorVersion] = ()
    ) -> None:
        """See `VersionBook`."""
        super().__init__(base, instead)
        self.tables: DetectorTables
        self.any: bool
        """Whether there are any."""
        self._renew()

    def at(self, at_ms: int) -> Watchers:
        """Return what is in force at an instant."""
        return self.tables.at(at_ms)

    def _renew(self) -> None:
        self.tables = DetectorTables(self._all())
        self.any = bool(self.tables.versions)


def detector_versions(programme: Programme) -> tuple[DetectorVersion, ...]:
    """Return what a programme itself says of detectors."""
    if programme.fraud is None:
        return ()
    return tuple(DetectorVersion.of(each) for each in programme.fraud.detector_sets)


def _watchers(versions: Iterable[DetectorVersion], at_ms: int | None) -> Watchers:
    """Return what is in force from `at_ms` on; None stands for before everything."""
    highest: dict[str, DetectorVersion] = {}
    for version in versions:
        known = highest.get(version.id)
        if version.holds(at_ms) and (known is None or known.number <= version.number):
            highest[version.id] = version
    return Watchers((each.detector_set, each.compiled) for each in highest.values())
