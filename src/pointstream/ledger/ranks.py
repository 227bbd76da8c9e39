"""Where a member stands on a ladder of tiers, as the account keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["CHANGES_KEPT", "Rank", "rank_row"]

CHANGES_KEPT: Final = 8
"""How many earlier tiers of a ladder are known: events are scored by the tier of their own time."""


@dataclass(slots=True)
class Rank:
    """One member on one ladder. Amounts are points or minor units, days are local days.

    Nothing in it grows with time: the days of a rolling window but the latest have keys of their
    own.
    """

    tier: str
    since_ms: int = 0
    """When it became that; 0 for where everybody begins."""
    begun_ms: int = 0
    """When the ladder was first measured for the member: what was earned before is not in it."""
    until_ms: int = 0
    """Until when the tier is kept, whatever is measured; 0 for no such time."""
    review_ms: int = 0
    """When the tier ends unless it is qualified for again; 0 while it is."""
    amount: int = 0
    """What is measured over a rolling window, or over the whole life."""
    first_day: int = -1
    """No day before has anything in the rolling window; -1 if none has."""
    last_day: int = -1
    """The latest day on which something was earned, in a rolling window."""
    last_amount: int = 0
    """Of that day. It has no key of its own yet."""
    periods: list[list[int]] = field(default_factory=list)
    """[period, amount] of a calendar window, earliest first: from the period before today's on."""
    earlier: list[list[Any]] = field(default_factory=list)
    """[since_ms, tier] of the tiers before this one, earliest first."""
    changes: int = 0
    """How often the tier has changed."""
    paid: dict[str, int] = field(default_factory=dict)
    """By tier: the period (rolling: the day) in which its bonus was paid last."""
    reminded_for_ms: int = 0
    """The end of the tier that reminders were last about."""
    reminded: int = 0
    """How many of the lead times before that end are over."""


def rank_row(rank: Rank) -> list[Any]:
    """Return a rank as it is stored: its fields in their order."""
    return [
        rank.tier,
        rank.since_ms,
        rank.begun_ms,
        rank.until_ms,
        rank.review_ms,
        rank.amount,
        rank.first_day,
        rank.last_day,
        rank.last_amount,
        rank.periods,
        rank.earlier,
        rank.changes,
        rank.paid,
        rank.reminded_for_ms,
        rank.reminded,
    ]
