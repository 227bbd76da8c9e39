"""Flags in a replay: what a candidate raises instead of the real detectors.

A flag's id has in it for how long its detector looks, so a changed detector may give another id to
one suspicion. A flag of the real detectors and one of the candidate's are the same if detector,
action and entity are, and they have their id in common, or a piece of evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pointstream.contracts.vocabulary import FlagState, MovementType
from pointstream.contracts.wire import loads
from pointstream.engine.records import Outgoing
from pointstream.engine.state import StateReader
from pointstream.ledger import flagged_lots
from pointstream.operations.simulation.flagverdict import FlagVerdict

__all__ = ["FlagLine", "FlagTally", "Flagged", "Flags", "Overlap"]

_RAISED: Final = FlagState.RAISED.value
_PENDING: Final = MovementType.PENDING.value
_HELD: Final = MovementType.HELD.value


@dataclass(slots=True)
class Flagged:
    """One flag that was raised in the span, or that something new has joined in it."""

    flag_id: str
    detector: str
    version: int
    action: str
    entity_kind: str
    entity_id: str
    occurred_at: str
    """Of the event that tripped the detector first."""
    explanation: str = ""
    """The latest before a review."""
    state: str = _RAISED
    """At the end."""
    members: set[str] = field(default_factory=set)
    evidence: set[str] = field(default_factory=set)

    @property
    def about(self) -> tuple[str, str, str, str]:
        """Detector, action and entity."""
        return self.detector, self.action, self.entity_kind, self.entity_id

    def as_json(self) -> dict[str, Any]:
        """The flag as a JSON value."""
        return {
            "flag_id": self.flag_id,
            "detector": self.detector,
            "version": self.version,
            "action": self.action,
            "entity_kind": self.entity_kind,
            "entity_id": self.entity_id,
            "occurred_at": self.occurred_at,
            "state": self.state,
            "member_ids": sorted(self.members),
            "evidence": sorted(self.evidence),
            "explanation": self.explanation,
        }


@dataclass
class FlagTally:
    """What came out by one set of detectors, from `since` on."""

    since: str
    """What happened before that moment raises nothing that counts; RFC 3339, UTC."""
    spendable: frozenset[str]
    """The wallets whose points count."""
    flags: dict[str, Flagged] = field(default_factory=dict)
    held_back: Counter[str] = field(default_factory=Counter)
    """By flag, points that came under review as they were given, or that were held."""
    _lots: set[str] = field(default_factory=set)
    """Lots that were under review from the first moment."""

    def add_flags(self, records: Sequence[Outgoing]) -> None:
        """Take in records of flags, in the order in which they were sent."""
        for record in records:
            told: Any = loads(record.value or b"{}")
            flag_id = str(told["flag_id"])
            flag = self.flags.get(flag_id)
            if told["state"] != _RAISED:
                if flag is not None:
                    flag.state = told["state"]
                continue
            if flag is None:
                # Both are of one form, so that texts sort like times.
                if told["occurred_at"] < self.since:
                    continue
                flag = self.flags[flag_id] = Flagged(
                    flag_id,
                    told["detector"],
                    told["rule_version"],
                    told["action"],
                    told["entity_kind"],
                    told["entity_id"],
                    told["occurred_at"],
                )
            flag.explanation = told["explanation"]
            flag.members.update(told["member_ids"])
            flag.evidence.update(told["evidence"])

    def add_entries(self, records: Sequence[Outgoing]) -> None:
        """Take in ledger entries: some hold points back."""
        for record in records:
            value = record.value or b"{}"
            if b'"flag_id"' not in value:
                continue
            entry: Any = loads(value)
            if entry["type"] in (_PENDING, _HELD) and entry["wallet"] in self.spendable:
                self.held_back[entry["flag_id"]] += int(entry["amount"])
                if entry["type"] == _PENDING:
                    self._lots.update(lot["lot_id"] for lot in entry["lots"])

    def add_waiting(self, state: StateReader) -> None:
        """Take in what of a partition is under review at the end and was pending before: no entry
        tells of it."""
        for wallet, lot_id, points, flag_ids in flagged_lots(state.scan):
            if lot_id not in self._lots and wallet in self.spendable:
                self.held_back[flag_ids[0]] += points


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many there are by the real detectors and by the candidate's."""

    name: str
    was: int
    would_be: int
    both: int
    """Of the real ones, those that the candidate has as well."""
    new: int
    """Only the candidate has them."""
    gone: int
    """Only the real detectors have them."""

    def as_json(self) -> dict[str, Any]:
        """The figures as a JSON value."""
        return {
            "was": self.was,
            "would_be": self.would_be,
            "both": self.both,
            "new": self.new,
            "gone": self.gone,
        }


@dataclass(frozen=True, slots=True)
class FlagLine:
    """The flags of one detector with one action."""

    detector: str
    action: str
    flags: Overlap
    gone_confirmed: int
    """Of those that are gone: what a reviewer has confirmed since."""
    gone_released: int
    """Of those that are gone: what a reviewer has released since."""
    held_was: int
    """Points held back, by the real detectors ..."""
    held_would_be: int
    """... and by the candidate's."""

    def as_json(self) -> dict[str, Any]:
        """The figures as a JSON value."""
        return {
            "detector": self.detector,
            "action": self.action,
            **self.flags.as_json(),
            "gone_confirmed": self.gone_confirmed,
            "gone_released": self.gone_released,
            "points_held_was": self.held_was,
            "points_held_would_be": self.held_would_be,
        }


class Flags:
    """The flags of the real detectors beside the candidate's."""

    def __init__(self, real: FlagTally, other: FlagTally, verdict: FlagVerdict) -> None:
        self.real: Final = real
        self.other: Final = other
        self.verdict: Final = verdict
        self._both: Final = frozenset(_alike(real.flags.values(), other.flags.values()))
        self._both_other: Final = frozenset(_alike(other.flags.values(), real.flags.values()))
        self.new: Final = _in_order(other.flags.values(), self._both_other)
        """Flags that only the candidate raises, the first one first."""
        self.gone: Final = _in_order(real.flags.values(), self._both)
        """Flags that only the real detectors raise, the first one first."""

    def lines(self) -> list[FlagLine]:
        """By detector and action."""
        found = {each.about[:2] for side in (self.real, self.other) for each in side.flags.values()}
        return [self._line(detector, action) for detector, action in sorted(found)]

    def over_all(self) -> list[Overlap]:
        """All flags, and what they are about, whatever the detector."""
        was, would_be = (list(side.flags.values()) for side in (self.real, self.other))
        entities = ({each.about[2:] for each in side} for side in (was, would_be))
        members = ({one for each in side for one in each.members} for side in (was, would_be))
        return [
            Overlap(
                "flags", len(was), len(would_be), len(self._both), len(self.new), len(self.gone)
            ),
            _overlap("entities flagged by any detector", *entities),
            _overlap("members concerned by any flag", *members),
        ]

    def held(self) -> tuple[int, int]:
        """Points held back in all: by the real detectors, and by the candidate's."""
        was, would_be = (_held(side, side.flags) for side in (self.real, self.other))
        return was, would_be

    def as_json(self, top: int) -> dict[str, Any]:
        """All of it as a JSON value, with so many examples of each kind."""
        was, would_be = self.held()
        return {
            **{each.name.split()[0]: each.as_json() for each in self.over_all()},
            "points_held": {"was": was, "would_be": would_be},
            "detectors": [line.as_json() for line in self.lines()],
            "new": [each.as_json() for each in self.new[:top]],
            "gone": [each.as_json() for each in self.gone[:top]],
        }

    def _line(self, detector: str, action: str) -> FlagLine:
        was, would_be = (
            [each for each in side.flags.values() if each.about[:2] == (detector, action)]
            for side in (self.real, self.other)
        )
        gone = [each for each in was if each.flag_id not in self._both]
        states = Counter(each.state for each in gone)
        new = sum(each.flag_id not in self._both_other for each in would_be)
        flags = Overlap(detector, len(was), len(would_be), len(was) - len(gone), new, len(gone))
        return FlagLine(
            detector,
            action,
            flags,
            states[FlagState.CONFIRMED.value],
            states[FlagState.RELEASED.value],
            _held(self.real, (each.flag_id for each in was)),
            _held(self.other, (each.flag_id for each in would_be)),
        )


def _held(side: FlagTally, flag_ids: Iterable[str]) -> int:
    return sum(side.held_back[flag_id] for flag_id in flag_ids)


def _overlap(name: str, was: set[Any], would_be: set[Any]) -> Overlap:
    both = len(was & would_be)
    return Overlap(name, len(was), len(would_be), both, len(would_be - was), len(was - would_be))


def _alike(flags: Iterable[Flagged], others: Iterable[Flagged]) -> Iterator[str]:
    """Yield the ids of those flags that the others have as well."""
    known: dict[tuple[str, ...], set[str]] = {}
    for each in others:
        known.setdefault((*each.about, "id"), set()).add(each.flag_id)
        known.setdefault((*each.about, "evidence"), set()).update(each.evidence)
    nothing: set[str] = set()
    for each in flags:
        ids = known.get((*each.about, "id"), nothing)
        if each.flag_id in ids or each.evidence & known.get((*each.about, "evidence"), nothing):
            yield each.flag_id


def _in_order(flags: Iterable[Flagged], without: frozenset[str]) -> list[Flagged]:
    found = (each for each in flags if each.flag_id not in without)
    return sorted(found, key=lambda each: (each.occurred_at, each.flag_id))
