"""Ladders of tiers, compiled: what level an amount gives, and when days leave the window.

A level is the place of a tier in its ladder, 0 is where everybody begins. Amounts are points or
minor units. A period is a calendar month, quarter or year as a number that rises by one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Final, Literal

from pointstream.contracts.programme import EndOf, Expiry
from pointstream.contracts.tiers import CalendarWindow, Ladder, RollingWindow, Tier
from pointstream.contracts.wire import dumps
from pointstream.rules.calendar import Calendar
from pointstream.rules.model import Reward

__all__ = ["PLAIN", "CompiledLadder", "CompiledTier"]

PLAIN: Final = 1_000
"""The multiplier that changes nothing, in thousandths."""

_MS: Final = timedelta(milliseconds=1)
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}


class CompiledTier:
    """One tier, and what it gives. Multipliers are in thousandths."""

    def __init__(self, tier: Tier, bonus: Reward | None) -> None:
        self.id: Final = tier.id
        self.threshold: Final = tier.threshold
        self.segment: Final = tier.segment
        self.bonus: Final = bonus
        self.bonus_points: Final = tier.bonus.points if tier.bonus is not None else 0
        self.multiplier: Final = int(tier.benefits.multiplier * PLAIN)
        self.birthday_multiplier: Final = int(tier.benefits.birthday_multiplier * PLAIN)
        self.services: Final = list(tier.benefits.services)


class CompiledLadder:
    """One ladder. Holds no state but caches of pure results."""

    def __init__(self, ladder: Ladder, calendar: Calendar) -> None:
        self.id: Final = ladder.id
        self.qualified_by: Final = ladder.qualified_by
        self.by_balance: Final = ladder.downgrade == "by_balance"
        self.grace_ms: Final = ladder.grace // _MS
        self.leads_ms: Final = sorted({lead // _MS for lead in ladder.remind_before}, reverse=True)
        """How long before a tier ends the member is reminded, the longest first."""
        hash_ = blake2b(dumps(ladder.model_dump(mode="json")), digest_size=8).hexdigest()
        self.tiers: Final = tuple(
            CompiledTier(tier, _bonus(ladder, tier, hash_)) for tier in ladder.tiers
        )
        self.first: Final = self.tiers[0].id
        self.multiplies: Final = any(
            max(tier.multiplier, tier.birthday_multiplier) > PLAIN for tier in self.tiers
        )
        self._levels: Final = {tier.id: level for level, tier in enumerate(self.tiers)}
        measured = [
            (tier.threshold, level)
            for level, tier in enumerate(self.tiers)
            if tier.threshold is not None
        ]
        self._thresholds: Final = [threshold for threshold, _ in measured]
        self._measured: Final = [level for _, level in measured]
        self._by_segment: Final = [
            (tier.segment, level)
            for level, tier in enumerate(self.tiers)
            if tier.segment is not None
        ]
        window = ladder.window
        self.window: Final[Literal["rolling", "calendar", "lifetime"]] = window.kind
        self._months: Final = window.months if isinstance(window, RollingWindow) else 0
        self._days: Final = window.days if isinstance(window, RollingWindow) else 0
        self._unit_months: Final = _MONTHS[window.unit] if isinstance(window, CalendarWindow) else 0
        holds = ladder.holds_for
        self._holds: Final = (
            None
            if holds is None
            else Expiry(months=holds.months, days=holds.days, end_of=EndOf(holds.end_of))
        )
        self._calendar: Final = calendar
        # One entry per local day on which something was earned: small, and pure results.
        self._leaves_by_day: Final[dict[int, int]] = {}
        self._starts_by_period: Final[dict[int, int]] = {}
        # Start, end and number of the period asked for last: nearly always the next one, too.
        self._span = (0, 0, 0)

    # --- levels -----------------------------------------------------------------------------

    def level_of(self, tier: str) -> int:
        """Return the level of a tier; 0 for one that the ladder does not have any more."""
        return self._levels.get(tier, 0)

    def tier(self, tier: str | None) -> CompiledTier:
        """Return a tier by its id; the first for one that the ladder does not have any more."""
        return self.tiers[self._levels.get(tier or "", 0)]

    def level_for(self, amount: int, segments: Sequence[str]) -> int:
        """Return the highest level that an amount reaches or a segment is given."""
        level = self._measured[max(0, bisect_right(self._thresholds, amount) - 1)]
        for segment, given in self._by_segment:
            if given > level and segment in segments:
                level = given
        return level

    def below(self, level: int) -> int:
        """Return the next lower level that can be reached."""
        return max(reached for reached in self._measured if reached < level)

    def next_above(self, level: int) -> CompiledTier | None:
        """Return the next higher tier that can be reached."""
        for tier in self.tiers[level + 1 :]:
            if tier.threshold is not None:
                return tier
        return None

    # --- days and periods -------------------------------------------------------------------

    def leaves_ms(self, day: int) -> int:
        """Return when a local day leaves the rolling window."""
        at_ms = self._leaves_by_day.get(day)
        if at_ms is None:
            at_ms = self._calendar.start_of_later_day_ms(day, self._months, self._days)
            self._leaves_by_day[day] = at_ms
        return at_ms

    def period_at(self, at_ms: int) -> int:
        """Return the calendar period of a moment."""
        starts_ms, ends_ms, period = self._span
        if not starts_ms <= at_ms < ends_ms:
            day = self._calendar.local_day(at_ms)
            period = self._calendar.month_of_day(day) // self._unit_months
            starts_ms, ends_ms = self.period_starts_ms(period), self.period_starts_ms(period + 1)
            self._span = starts_ms, ends_ms, period
        return period

    def period_starts_ms(self, period: int) -> int:
        """Return when a calendar period begins."""
        starts_ms = self._starts_by_period.get(period)
        if starts_ms is None:
            starts_ms = self._calendar.start_of_month_ms(period * self._unit_months)
            self._starts_by_period[period] = starts_ms
        return starts_ms

    # --- moments ----------------------------------------------------------------------------

    def held_until_ms(self, reached_ms: int) -> int:
        """Return until when a tier reached at a moment is kept at least; 0 if not at all."""
        if self._holds is None:
            return 0
        return self._calendar.expires_at_ms(self._holds, reached_ms) or 0

    def review_ms(self, fell_ms: int, after_ms: int) -> int:
        """Return when a tier ends that is qualified for no more since `fell_ms`.

        The first local midnight when the grace is over, and after the last change of the tier:
        one level down is one level per review.
        """
        at_ms = max(fell_ms + self.grace_ms, after_ms + 1)
        return self._calendar.start_of_day_ms(self._calendar.local_day(at_ms - 1) + 1)


def _bonus(ladder: Ladder, tier: Tier, hash_: str) -> Reward | None:
    if tier.bonus is None:
        return None
    return Reward(
        rule_id=f"{ladder.id}.{tier.id}",
        rule_version=1,
        ruleset_hash=hash_,
        wallet=tier.bonus.wallet,
        matches=None,
    )
