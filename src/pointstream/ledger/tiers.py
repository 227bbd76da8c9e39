"""Tiers: what a member's tier is, when it changes, and what that gives.

A tier rises as soon as what is measured reaches it, in the record that brought it. It falls only at
a review: when it is kept no longer (`holds_for`), is not qualified for, and the grace is over. Both
happen at partition time, never at the date of a late event: what was scored stays as it was.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from pointstream.contracts.tiers import MONEY
from pointstream.contracts.vocabulary import ReminderType, TierDirection
from pointstream.ledger.book import MAX_POINTS, Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.moves import give
from pointstream.ledger.progress import (
    join,
    measured,
    rank_on,
    roll,
    rolls_ms,
    this_period,
)
from pointstream.ledger.ranks import CHANGES_KEPT, Rank
from pointstream.ledger.records import Account
from pointstream.ledger.state import NEVER
from pointstream.rules.ladders import PLAIN, CompiledLadder, CompiledTier

__all__ = ["inherit", "multiplier_at", "review", "settle", "tier_at", "tier_fields"]


def tier_at(
    book: Book, account: Account, at_ms: int, ladder: CompiledLadder | None = None
) -> str | None:
    """Return the member's tier at a moment, of the first ladder unless one is given.

    None if the programme has no ladder. `CompiledLadder.level_of` tells which tier is the higher.
    Of the past, as many changes are known as a rank keeps; before them, the earliest known counts.
    """
    if ladder is None:
        if not book.programme.ladders:
            return None
        ladder = book.programme.ladders[0]
    rank = account.tiers.get(ladder.id)
    if rank is None:
        return ladder.first
    if rank.since_ms <= at_ms:
        return rank.tier
    for since_ms, tier in reversed(rank.earlier):
        if since_ms <= at_ms:
            return str(tier)
    return str(rank.earlier[0][1])


def multiplier_at(book: Book, account: Account, at_ms: int) -> int:
    """Return what multiplies the points of `spend` rules at a moment, in thousandths.

    Of several ladders the one that gives most; they do not multiply each other.
    """
    best = PLAIN
    for ladder in book.programme.ladders:
        if not ladder.multiplies:
            continue
        tier = ladder.tier(tier_at(book, account, at_ms, ladder))
        best = max(best, tier.multiplier)
        if (
            tier.birthday_multiplier > best
            and account.birthday
            and book.programme.calendar.is_anniversary(at_ms, *divmod(account.birthday, 100))
        ):
            best = tier.birthday_multiplier
    return best


def review(book: Book, account: Account, due_ms: int) -> None:
    """Look at the tiers of a member whose timer has rung."""
    if account.tiers:
        cause = Cause.timer(account.member, "timer.tier.reviewed", due_ms)
        book.measured.append((account, cause))
    if book.measured:
        settle(book)


def settle(book: Book) -> None:
    """Change the tiers of the accounts for which something was counted.

    A bonus may count itself and lift the member further. It ends: within one record tiers rise
    only, and each at most once.
    """
    while book.measured:
        looked_at: Account | None = None
        counted, book.measured = book.measured, []
        for account, cause in counted:
            if account is not looked_at and not account.closed:
                looked_at = account
                _look_at(book, account, cause)


def inherit(
    book: Book,
    account: Account,
    ladder: CompiledLadder,
    other: Rank,
    days: list[tuple[int, int]],
    cause: Cause,
) -> None:
    """Take over how a member who was merged into this one stood on a ladder.

    What both have earned or paid adds up, the higher tier stays as long as it was to stay, and a
    bonus that either had is not paid again. `days` are as in `join`.
    """
    known = ladder.id in account.tiers
    rank = rank_on(book, account, ladder)
    rank.begun_ms = min(rank.begun_ms, other.begun_ms) if known else other.begun_ms
    join(book, account, ladder, rank, other, days)
    for tier, period in other.paid.items():
        rank.paid[tier] = max(period, rank.paid.get(tier, period))
    theirs, own = ladder.level_of(other.tier), ladder.level_of(rank.tier)
    if theirs > own:
        _change(book, account, ladder, rank, theirs, other.until_ms, measured(book, ladder, rank))
        rank.review_ms = other.review_ms
    elif theirs == own:
        rank.until_ms = max(rank.until_ms, other.until_ms)
        if rank.review_ms:
            rank.review_ms = max(rank.review_ms, other.review_ms) if other.review_ms else 0
    book.measured.append((account, cause))


def tier_fields(book: Book, account: Account, ladder: CompiledLadder) -> dict[str, Any]:
    """Return what a standing says about one ladder, by the names of `crm-sync`."""
    rank = account.tiers.get(ladder.id) or Rank(ladder.first)
    level = ladder.level_of(rank.tier)
    tier = ladder.tiers[level]
    fields: dict[str, Any] = {
        "tier": tier.id,
        "tier_since": book.text(rank.since_ms) if rank.since_ms else None,
        "tier_until": _until(book, rank),
        "services": tier.services,
    }
    above = ladder.next_above(level)
    if above is not None and above.threshold is not None:
        fields["next_tier"] = above.id
        fields["next_tier_missing"] = max(0, above.threshold - this_period(book, ladder, rank))
    return fields


def _look_at(book: Book, account: Account, cause: Cause) -> None:
    for ladder in book.programme.ladders:
        rank = account.tiers.get(ladder.id)
        if rank is None:
            if not ladder.level_for(0, account.segments):
                continue
            rank = rank_on(book, account, ladder)
        due = _move(book, account, ladder, rank, cause)
        book.ring(account, min(rolls_ms(book, ladder, rank), due))


def _move(book: Book, account: Account, ladder: CompiledLadder, rank: Rank, cause: Cause) -> int:
    """Bring a tier in line with what is measured; return when time alone may change it."""
    now_ms = book.now_ms
    while True:
        roll(book, account, ladder, rank)
        amount = measured(book, ladder, rank)
        due = ladder.level_for(amount, account.segments)
        level = ladder.level_of(rank.tier)
        if due == level:
            if rank.review_ms or 0 < rank.until_ms <= now_ms:
                rank.review_ms = 0
                rank.until_ms = _held_until_ms(ladder, level, amount, now_ms)
                book.change(account)
            return rank.until_ms or NEVER
        if due > level:
            until_ms = _held_until_ms(ladder, due, amount, now_ms)
            _change(book, account, ladder, rank, due, until_ms, amount)
            _pay(book, account, ladder, rank, ladder.tiers[due], cause)
        elif rank.until_ms > now_ms:
            return min(rank.until_ms, _remind(book, account, ladder, rank, amount))
        else:
            if not rank.review_ms:
                rank.review_ms = ladder.review_ms(now_ms, rank.since_ms)
                book.change(account)
            if rank.review_ms > now_ms:
                return min(rank.review_ms, _remind(book, account, ladder, rank, amount))
            to = due if ladder.by_balance else max(due, ladder.below(level))
            until_ms = ladder.held_until_ms(now_ms) if to else 0
            _change(book, account, ladder, rank, to, until_ms, amount)


def _held_until_ms(ladder: CompiledLadder, level: int, amount: int, now_ms: int) -> int:
    """Return until when a tier reached now is kept; one that only the segment gives is not."""
    return ladder.held_until_ms(now_ms) if ladder.level_for(amount, ()) >= level else 0


def _change(
    book: Book,
    account: Account,
    ladder: CompiledLadder,
    rank: Rank,
    to: int,
    until_ms: int,
    amount: int,
) -> None:
    tier = ladder.tiers[to]
    up = to > ladder.level_of(rank.tier)
    direction = TierDirection.UPGRADE if up else TierDirection.DOWNGRADE
    before = rank.tier
    rank.earlier.append([rank.since_ms, before])
    del rank.earlier[:-CHANGES_KEPT]
    rank.tier, rank.since_ms = tier.id, book.now_ms
    rank.until_ms, rank.review_ms = until_ms, 0
    rank.changes += 1
    book.change(account)
    now = book.text(book.now_ms)
    book.more().tier_changes.append(
        {
            "event_id": _name(account, ladder, f"changed-{rank.changes}"),
            "member_id": account.member_id,
            "ladder": ladder.id,
            "direction": direction.value,
            "from_tier": before,
            "to_tier": tier.id,
            "tier_until": _until(book, rank),
            "qualified_by": ladder.qualified_by,
            "observed": amount,
            "threshold": tier.threshold or 0,
            "occurred_at": now,
            "recorded_at": now,
        }
    )


def _pay(
    book: Book,
    account: Account,
    ladder: CompiledLadder,
    rank: Rank,
    tier: CompiledTier,
    cause: Cause,
) -> None:
    """Give the bonus of a tier just reached, unless it was given in this period already."""
    if tier.bonus is None:
        return
    paid = rank.paid.get(tier.id)
    if ladder.window == "rolling":
        # Once while the day it was given on is within the window.
        if paid is not None and ladder.leaves_ms(paid) > book.now_ms:
            return
        period = book.programme.calendar.local_day(book.now_ms)
    else:
        period = ladder.period_at(book.now_ms) if ladder.window == "calendar" else 0
        if paid == period:
            return
    totals = book.totals(account, tier.bonus.wallet)
    points = min(tier.bonus_points, MAX_POINTS - totals.granted)
    if points <= 0:
        return
    rank.paid[tier.id] = period
    # Given now, whenever the event was that brought the member here.
    now = cause.at(book.now_ms)
    give(book, account, tier.bonus, points, now, book.now_ms, reason="tier_bonus")


def _remind(book: Book, account: Account, ladder: CompiledLadder, rank: Rank, amount: int) -> int:
    """Remind a member of a tier that ends, once for each lead time; return when the next is due.

    Where several lead times are over at once, there is one reminder for all of them.
    """
    leads_ms = ladder.leads_ms
    if not leads_ms:
        return NEVER
    now_ms = book.now_ms
    ends_ms = rank.review_ms or ladder.review_ms(rank.until_ms, rank.since_ms)
    if rank.reminded_for_ms != ends_ms:
        rank.reminded_for_ms, rank.reminded = ends_ms, 0
    over = sum(1 for lead_ms in leads_ms if ends_ms - lead_ms <= now_ms)
    if over > rank.reminded:
        rank.reminded = over
        tier = ladder.tier(rank.tier)
        book.change(account)
        book.more().reminders.append(
            {
                "event_id": _name(account, ladder, f"ends-{ends_ms}-{over}"),
                "type": ReminderType.TIER_ENDING.value,
                "member_id": account.member_id,
                "wallet": None if ladder.qualified_by == MONEY else ladder.qualified_by,
                "points": max(0, tier.threshold - amount) if tier.threshold is not None else None,
                "tier": tier.id,
                "due_at": book.text(ends_ms),
                "occurred_at": book.text(now_ms),
                "recorded_at": book.text(now_ms),
            }
        )
    return ends_ms - leads_ms[over] if over < len(leads_ms) else NEVER


def _until(book: Book, rank: Rank) -> str | None:
    """Return until when a tier is sure, as a text; None if that is not known."""
    until_ms = rank.review_ms or rank.until_ms
    return book.text(until_ms) if until_ms else None


def _name(account: Account, ladder: CompiledLadder, what: str) -> str:
    """Return an id that is the same on every run and on no other change."""
    named = b"%b\0tier\0%b" % (account.member, ladder.id.encode())
    return f"{blake2b(named, digest_size=12).hexdigest()}-{what}"
