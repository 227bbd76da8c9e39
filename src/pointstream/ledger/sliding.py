"""Expiry that slides: a lot ends so long after the member's latest activity.

An activity moves the end of every such lot a member has. None of them is touched for that: their
keys say how the end is counted instead of when it is, and it is computed where it is needed from
the account's latest activity. Only what the account's timer finds over by then is ended. Because
the key names the policy, a lot slides on as it was made whatever the programme says later.

What counts as activity is what `Book.active` is called for. Points that come in count as well: who
is given some by hand without having done anything has them for the whole span.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from pointstream.contracts.programme import EndOf, Expiry, ExpiryKind
from pointstream.ledger.records import Account, Lot, Totals
from pointstream.ledger.state import NEVER, SLIDING_FROM
from pointstream.rules.calendar import Calendar

__all__ = ["ends_ms", "next_expiry", "pinned", "slide_in", "sliding_over", "sliding_time"]

_UNITS: Final = tuple(EndOf)


def sliding_time(policy: Expiry) -> int:
    """Return what stands in a key for the expiry of lots that slide by a policy."""
    return SLIDING_FROM + (policy.months << 19 | policy.days << 3 | _UNITS.index(policy.end_of))


def ends_ms(calendar: Calendar, account: Account, totals: Totals, expires_ms: int) -> int:
    """Return when lots with an expiry end as things are now; a fixed expiry is that itself."""
    if expires_ms < SLIDING_FROM or expires_ms == NEVER:
        return expires_ms
    from_ms = account.last_activity_ms
    for bucket in totals.slides:
        if bucket[0] == expires_ms:
            from_ms = max(from_ms, bucket[2])
    end_ms = calendar.expires_at_ms(_policy(expires_ms), from_ms)
    return NEVER if end_ms is None else end_ms


def slide_in(totals: Totals, expires_ms: int, points: int, earned_ms: int) -> None:
    """Note that points of lots which slide have become available."""
    for bucket in totals.slides:
        if bucket[0] == expires_ms:
            bucket[1] += points
            bucket[2] = max(bucket[2], earned_ms)
            return
    totals.slides.append([expires_ms, points, earned_ms])
    totals.slides.sort()


def sliding_over(
    calendar: Calendar, account: Account, totals: Totals, at_ms: int
) -> dict[int, int]:
    """Return the available points of lots that slide and are over by a time, by their expiry."""
    return {
        expires_ms: points
        for expires_ms, points, _ in totals.slides
        if points and ends_ms(calendar, account, totals, expires_ms) <= at_ms
    }


def pinned(calendar: Calendar, account: Account, totals: Totals, lots: list[Lot]) -> list[Lot]:
    """Return lots as they are for another member: with the end that they have now."""
    return [
        replace(lot, expires_ms=ends_ms(calendar, account, totals, lot.expires_ms)) for lot in lots
    ]


def next_expiry(calendar: Calendar, account: Account, totals: Totals) -> tuple[int, int]:
    """Return when the next available points expire, and how many; `NEVER` and 0 for none."""
    expires_ms, points = totals.horizon[0] if totals.horizon else (NEVER, 0)
    for sliding_ms, sliding_points, _ in totals.slides:
        if sliding_points:
            end_ms = ends_ms(calendar, account, totals, sliding_ms)
            if end_ms == expires_ms:
                points += sliding_points
            elif end_ms < expires_ms:
                expires_ms, points = end_ms, sliding_points
    return expires_ms, points


@lru_cache(maxsize=64)
def _policy(expires_ms: int) -> Expiry:
    code = expires_ms - SLIDING_FROM
    return Expiry(
        kind=ExpiryKind.SLIDING,
        months=code >> 19,
        days=code >> 3 & 0xFFFF,
        end_of=_UNITS[code & 7],
    )
