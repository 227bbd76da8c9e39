"""What is counted of a replay: by rule, shop and day, of what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Final

from pointstream.contracts.vocabulary import MovementType
from pointstream.contracts.wire import loads
from pointstream.engine.records import Outgoing

__all__ = ["Awards", "Tally"]

_AWARDED: Final = (MovementType.EARNED.value, MovementType.PENDING.value)
_REVERSED: Final = MovementType.REVERSED.value

Entry = Mapping[str, Any]


@dataclass(slots=True)
class Awards:
    """What rules gave, in points."""

    count: int = 0
    given: int = 0
    withheld: int = 0
    """What was due on top, and a cap or a budget did not let through."""
    taken_back: int = 0
    """By refunds, of what is left of the award."""

    @property
    def net(self) -> int:
        """What was given less what was taken back."""
        return self.given - self.taken_back

    def add(self, entry: Entry) -> None:
        """Count an entry of a rule."""
        amount = int(entry["amount"])
        if entry["type"] == _REVERSED:
            self.taken_back += amount
        else:
            self.count += 1
            self.given += amount
            self.withheld += max(0, int(entry.get("due", amount)) - amount)


@dataclass
class Tally:
    """What came out by one set of rules, from `since` on."""

    since: str
    """What was recorded, and what happened, before that moment is not counted; RFC 3339, UTC."""
    zone: tzinfo
    watched: frozenset[str] = frozenset()
    """Members whose entries are kept."""
    awards: Awards = field(default_factory=Awards)
    rules: dict[tuple[str, str], Awards] = field(default_factory=dict)
    """By hash of the rule set and id of the rule."""
    shops: dict[str, Awards] = field(default_factory=dict)
    """By store; the empty name stands for none."""
    days: dict[str, int] = field(default_factory=dict)
    """By local day of recording: points given less points taken back."""
    moved: Counter[str] = field(default_factory=Counter)
    """By type of entry, the points moved."""
    answers: Counter[str] = field(default_factory=Counter)
    """Of commands: `accepted`, or the reason why not."""
    tiers: Counter[str] = field(default_factory=Counter)
    """Changes of tiers, by direction."""
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    """Of members who are watched."""
    _days: dict[str, str] = field(default_factory=dict)

    def add_entries(self, records: Sequence[Outgoing]) -> None:
        """Count ledger entries."""
        for record in records:
            entry: Entry = loads(record.value or b"{}")
            # Both are of one form, so that texts sort like times.
            if entry["recorded_at"] < self.since and entry["occurred_at"] < self.since:
                continue
            kind = str(entry["type"])
            self.moved[kind] += int(entry["amount"])
            if "rule_id" in entry and (kind in _AWARDED or kind == _REVERSED):
                self._add_award(entry)
            member_id = str(entry["member_id"])
            if member_id in self.watched:
                self.entries.setdefault(member_id, []).append(entry)

    def add_answers(self, records: Sequence[Outgoing]) -> None:
        """Count answers to commands."""
        for record in records:
            answer = loads(record.value or b"{}")
            self.answers[str(answer.get("reason") or answer["outcome"])] += 1

    def add_tiers(self, records: Sequence[Outgoing]) -> None:
        """Count changes of tiers."""
        for record in records:
            self.tiers[str(loads(record.value or b"{}")["direction"])] += 1

    def _add_award(self, entry: Entry) -> None:
        rule = (str(entry["ruleset_hash"]), str(entry["rule_id"]))
        shop = str(entry.get("store_id") or "")
        for awards in (
            self.awards,
            self.rules.setdefault(rule, Awards()),
            self.shops.setdefault(shop, Awards()),
        ):
            awards.add(entry)
        amount = int(entry["amount"])
        day = self._day(str(entry["recorded_at"]))
        signed = -amount if entry["type"] == _REVERSED else amount
        self.days[day] = self.days.get(day, 0) + signed

    def _day(self, recorded_at: str) -> str:
        minute = recorded_at[:16]
        day = self._days.get(minute)
        if day is None:
            if len(self._days) > 10_000:
                self._days.clear()
            local = datetime.fromisoformat(recorded_at).astimezone(self.zone)
            day = self._days[minute] = local.strftime("%Y-%m-%d")
        return day
