"""What a member has earned or paid towards a tier, within the window of a ladder.

Everything counts on the local day it was earned, however late it comes. A rolling window keeps one
amount per day that has any, under a key of its own until the day leaves the window; the latest day
is in the account, so that the orders of today read and write no more than the account.
"""

from __future__ import annotations

from typing import Final

from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.ranks import Rank
from pointstream.ledger.records import Account
from pointstream.ledger.state import NEVER, day_key, days_prefix, prefix_stop
from pointstream.rules.ladders import CompiledLadder

__all__ = ["count", "join", "measured", "rank_on", "roll", "rolls_ms", "this_period"]

_MOST: Final = (1 << 53) - 1
"""Amounts end here, on either side of zero. Without an end, orders of the largest sums would add up
to a number that no value can hold, and the partition would stop for good."""


def count(
    book: Book,
    account: Account,
    measure: str,
    amount: int,
    earned_ms: int,
    cause: Cause,
    taken_ms: int = NEVER,
) -> None:
    """Count points of a wallet, or money, towards every ladder that measures it.

    A negative amount takes off again what was counted with the same `earned_ms`; `taken_ms` is when
    it was, so that what came before there was a ladder is not taken off it. Whether the tier
    changes by it is seen when the record is done.
    """
    for ladder in book.programme.measured_in.get(measure, ()):
        rank = rank_on(book, account, ladder)
        if amount and taken_ms >= rank.begun_ms:
            _add(book, account, ladder, rank, amount, earned_ms)
    book.change(account)
    book.measured.append((account, cause))


def rank_on(book: Book, account: Account, ladder: CompiledLadder) -> Rank:
    """Return where a member stands on a ladder, from now on as a rank of its own."""
    rank = account.tiers.get(ladder.id)
    if rank is None:
        rank = account.tiers[ladder.id] = Rank(ladder.first, begun_ms=book.now_ms)
        book.change(account)
    return rank


def measured(book: Book, ladder: CompiledLadder, rank: Rank) -> int:
    """Return what a tier is given for: of a calendar window the better of two periods."""
    if ladder.window != "calendar":
        return rank.amount
    return _best(rank, ladder.period_at(book.now_ms) - 1)


def this_period(book: Book, ladder: CompiledLadder, rank: Rank) -> int:
    """Return what the next tier can be reached from: of a calendar window this period alone."""
    if ladder.window != "calendar":
        return rank.amount
    return _best(rank, ladder.period_at(book.now_ms))


def roll(book: Book, account: Account, ladder: CompiledLadder, rank: Rank) -> None:
    """Let go what has left the window by now."""
    if ladder.window == "calendar":
        today = ladder.period_at(book.now_ms)
        if rank.periods and rank.periods[0][0] < today - 1:
            rank.periods = [row for row in rank.periods if row[0] >= today - 1]
        if book.now_ms == ladder.period_starts_ms(today):
            book.change(account)  # the next tier has to be reached anew
        return
    now_ms = book.now_ms
    if rank.first_day < 0 or ladder.leaves_ms(rank.first_day) > now_ms:
        return
    book.change(account)
    prefix = days_prefix(account.member, ladder.id)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        day = int.from_bytes(key[len(prefix) :], "big")
        if ladder.leaves_ms(day) > now_ms:
            rank.first_day = day
            return
        rank.amount -= decode_list(value)[0]
        book.state.delete(key)
    rank.first_day = rank.last_day
    if ladder.leaves_ms(rank.last_day) <= now_ms:
        rank.amount -= rank.last_amount
        rank.first_day = rank.last_day = -1
        rank.last_amount = 0


def rolls_ms(book: Book, ladder: CompiledLadder, rank: Rank) -> int:
    """Return when something leaves the window next, `NEVER` if nothing will."""
    if ladder.window == "calendar":
        if not rank.periods:
            return NEVER
        return ladder.period_starts_ms(ladder.period_at(book.now_ms) + 1)
    return NEVER if rank.first_day < 0 else ladder.leaves_ms(rank.first_day)


def join(
    book: Book,
    account: Account,
    ladder: CompiledLadder,
    rank: Rank,
    other: Rank,
    days: list[tuple[int, int]],
) -> None:
    """Add what another member, who was merged into this one, has earned or paid.

    `days` are those of a rolling window that had keys of their own, with the amount of each.
    """
    if ladder.window == "lifetime":
        rank.amount = _bounded(rank.amount + other.amount)
    elif ladder.window == "calendar":
        for period, amount in other.periods:
            _add_to_period(book, ladder, rank, period, amount)
    else:
        for day, amount in (*days, (other.last_day, other.last_amount)):
            if amount and ladder.leaves_ms(day) > book.now_ms:
                _add_to_day(book, account, ladder, rank, day, amount)


def _add(
    book: Book, account: Account, ladder: CompiledLadder, rank: Rank, amount: int, earned_ms: int
) -> None:
    if ladder.window == "lifetime":
        rank.amount = _bounded(rank.amount + amount)
        return
    if ladder.window == "calendar":
        _add_to_period(book, ladder, rank, ladder.period_at(earned_ms), amount)
        return
    day = book.programme.calendar.local_day(earned_ms)
    if ladder.leaves_ms(day) > book.now_ms:
        _add_to_day(book, account, ladder, rank, day, amount)


def _add_to_period(
    book: Book, ladder: CompiledLadder, rank: Rank, period: int, amount: int
) -> None:
    if period < ladder.period_at(book.now_ms) - 1:
        return
    for row in rank.periods:
        if row[0] == period:
            row[1] = _bounded(row[1] + amount)
            return
    rank.periods.append([period, amount])
    rank.periods.sort()


def _add_to_day(
    book: Book, account: Account, ladder: CompiledLadder, rank: Rank, day: int, amount: int
) -> None:
    rank.amount = _bounded(rank.amount + amount)
    if day == rank.last_day:
        rank.last_amount = _bounded(rank.last_amount + amount)
        return
    if day > rank.last_day:
        if rank.last_amount:
            key = day_key(account.member, ladder.id, rank.last_day)
            book.state.put(key, encode_list([rank.last_amount]))
        rank.last_day, rank.last_amount = day, amount
    else:
        key = day_key(account.member, ladder.id, day)
        value = book.state.get(key)
        amount = _bounded(amount + (decode_list(value)[0] if value is not None else 0))
        if amount:
            book.state.put(key, encode_list([amount]))
        elif value is not None:
            book.state.delete(key)
    if rank.first_day < 0 or day < rank.first_day:
        rank.first_day = day


def _best(rank: Rank, since: int) -> int:
    """Return the most of the periods from one on; 0 if there is none."""
    best: int | None = None
    for period, amount in rank.periods:
        if period >= since and (best is None or amount > best):
            best = amount
    return best or 0


def _bounded(amount: int) -> int:
    return max(-_MOST, min(_MOST, amount))
