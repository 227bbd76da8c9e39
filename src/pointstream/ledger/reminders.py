"""Reminders of points that are about to expire.

For each lead time of a wallet and each local day on which points expire there is one reminder: that
lead time before the first of them, with all that expires on that day as things are then. Points
spent by then are in none. At a moment `t` a lead time is about the local day of `t + lead` alone,
and that day never goes back: which one was the last is all that must be kept.

The account's one timer rings for them. Points that come later than a lead time before their end
have no reminder of that lead time.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from pointstream.contracts.vocabulary import ReminderType
from pointstream.ledger.codec import decode_list, split_lot_key
from pointstream.ledger.records import Account, Totals
from pointstream.ledger.sliding import ends_ms
from pointstream.ledger.state import NEVER, SLIDING_FROM, lots_prefix, time_bytes

if TYPE_CHECKING:
    from pointstream.ledger.book import Book

__all__ = ["arm", "rearm", "remind", "reminder_id"]


def arm(book: Book, account: Account, wallet: str, end_ms: int) -> None:
    """Make sure that the account's timer rings for the next reminder of an end of points."""
    known = book.programme.wallets.get(wallet)
    for lead_ms in known.leads_ms if known is not None else ():
        if end_ms - lead_ms > book.now_ms:
            book.ring(account, end_ms - lead_ms)
            return


def rearm(book: Book, account: Account) -> None:
    """The same for all ends that slide, which an activity has just moved."""
    for wallet, totals in account.wallets.items():
        if not totals.slides:
            continue
        for end_ms in _sliding(book, account, totals):
            arm(book, account, wallet, end_ms)


def remind(book: Book, account: Account, wallet: str, totals: Totals, due_ms: int) -> int:
    """Tell of what is due to be told of at a time; return when the next is, as things are."""
    known = book.programme.wallets.get(wallet)
    calendar = book.programme.calendar
    next_ms = NEVER
    for lead_ms in known.leads_ms if known is not None else ():
        name = f"{wallet} {lead_ms}"
        told_day = account.reminded.get(name, -1)
        day = calendar.local_day(due_ms + lead_ms)
        if told_day < day and _next_end(book, account, wallet, totals, due_ms + lead_ms) == (
            due_ms + lead_ms
        ):
            _tell(book, account, wallet, totals, due_ms, lead_ms, day)
            told_day = day
            kept = {f"{wallet} {lead}" for lead in known.leads_ms} if known is not None else ()
            account.reminded = {
                other: last
                for other, last in account.reminded.items()
                # A lead time that the programme has no more is forgotten.
                if other in kept or not other.startswith(f"{wallet} ")
            } | {name: day}
        from_ms = max(due_ms + lead_ms + 1, calendar.start_of_day_ms(told_day + 1))
        end_ms = _next_end(book, account, wallet, totals, from_ms)
        next_ms = min(next_ms, end_ms - lead_ms if end_ms != NEVER else NEVER)
    return next_ms


def reminder_id(account: Account, *what: str) -> str:
    """Return the id of a reminder: the same for the same member and matter on every run."""
    named = b"\0".join((account.member, *(part.encode() for part in what)))
    return blake2b(named, digest_size=12, person=b"reminder").hexdigest()


def _tell(
    book: Book,
    account: Account,
    wallet: str,
    totals: Totals,
    due_ms: int,
    lead_ms: int,
    day: int,
) -> None:
    """Send the reminder of all that expires on a local day. There is something."""
    calendar = book.programme.calendar
    start_ms, stop_ms = calendar.start_of_day_ms(day), calendar.start_of_day_ms(day + 1)
    prefix = lots_prefix(account.member, wallet)
    first_ms, points = NEVER, 0
    start = prefix + time_bytes(max(start_ms, due_ms + 1))
    for key, value in book.state.scan(start, prefix + time_bytes(stop_ms)):
        first_ms = min(first_ms, split_lot_key(key, len(prefix))[0])
        points += decode_list(value)[0]
    for end_ms, sliding_points in _sliding(book, account, totals).items():
        if start_ms <= end_ms < stop_ms:
            first_ms = min(first_ms, end_ms)
            points += sliding_points
    kind = ReminderType.POINTS_EXPIRING.value
    book.more().reminders.append(
        {
            "event_id": reminder_id(account, kind, wallet, str(lead_ms), str(day)),
            "type": kind,
            "member_id": account.member_id,
            "wallet": wallet,
            "points": points,
            "due_at": book.text(first_ms),
            "occurred_at": book.text(due_ms),
            "recorded_at": book.text(book.now_ms),
        }
    )


def _next_end(book: Book, account: Account, wallet: str, totals: Totals, from_ms: int) -> int:
    """Return the first time from one on at which available points end; `NEVER` for none."""
    prefix = lots_prefix(account.member, wallet)
    end_ms = NEVER
    for key, _ in book.state.scan(prefix + time_bytes(from_ms), prefix + time_bytes(SLIDING_FROM)):
        end_ms = split_lot_key(key, len(prefix))[0]
        break
    return min([end_ms, *(end for end in _sliding(book, account, totals) if end >= from_ms)])


def _sliding(book: Book, account: Account, totals: Totals) -> dict[int, int]:
    """Return the available points of lots that slide, by the time at which they end now."""
    ending: dict[int, int] = {}
    for expires_ms, points, _ in totals.slides:
        if points:
            end_ms = ends_ms(book.programme.calendar, account, totals, expires_ms)
            ending[end_ms] = ending.get(end_ms, 0) + points
    return ending
