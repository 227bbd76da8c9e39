"""Clearing out the balances of a whole programme, at a date and on conditions, with reminders.

Everything available in a wallet goes, of every member of whom the condition is true at that moment,
frozen accounts included; what is pending or held stays. A reminder looks at the same condition as
things are then: it tells whom the clear-out would meet, and of how many points.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

from pointstream.contracts.dated import ClearOut, Condition
from pointstream.contracts.vocabulary import MovementType, ReminderType
from pointstream.contracts.wire import epoch_ms
from pointstream.ledger.book import Book, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.moves import spendable, take
from pointstream.ledger.records import Account
from pointstream.ledger.reminders import reminder_id
from pointstream.ledger.tiers import tier_at
from pointstream.ledger.walks import Walk

__all__ = ["CAUSE", "clear_out_walks"]

CAUSE: Final = "programme.clear_out"
"""The `cause_type` of the entries of a clear-out; their reason is its id."""

_CLEAR: Final = "clear"
_MS: Final = timedelta(milliseconds=1)


def clear_out_walks(clear_outs: tuple[ClearOut, ...]) -> list[Walk]:
    """Return the walks that carry out a programme's clear-outs."""
    return [_walk(clear_out, epoch_ms(clear_out.at)) for clear_out in clear_outs]


def _walk(clear_out: ClearOut, at_ms: int) -> Walk:
    leads_ms = {lead // _MS for lead in clear_out.remind_before}
    steps = {f"remind {lead_ms}": at_ms - lead_ms for lead_ms in leads_ms}
    steps[_CLEAR] = at_ms
    return Walk(f"clear-out {clear_out.id}", at_ms, steps, partial(_visit, clear_out, at_ms))


def _visit(clear_out: ClearOut, at_ms: int, book: Book, account: Account, step: str) -> bool:
    wallet = clear_out.wallet
    totals = account.wallets.get(wallet)
    if totals is None or not totals.available:
        return False
    # What expires before its date, or at it, is not cleared.
    points = spendable(book, account, wallet, at_ms)
    if not points or not _concerned(book, account, clear_out.condition, points, at_ms):
        return False
    if step == _CLEAR:
        _clear(book, book.account(account.member_id, account.member), clear_out, points, at_ms)
    else:
        _remind(book, account, clear_out, points, at_ms, step)
    return True


def _concerned(book: Book, account: Account, condition: Condition, points: int, at_ms: int) -> bool:
    inactive_for, tiers = condition.inactive_for, condition.tiers
    if inactive_for is not None and account.last_activity_ms > at_ms - inactive_for // _MS:
        return False
    if condition.segments is not None and not set(account.segments) & set(condition.segments):
        return False
    if tiers is not None and tier_at(book, account, book.now_ms) not in tiers:
        return False
    return condition.max_balance is None or points <= condition.max_balance


def _clear(book: Book, account: Account, clear_out: ClearOut, points: int, at_ms: int) -> None:
    wallet = clear_out.wallet
    totals = account.wallets[wallet]
    totals.cleared += points
    moved = [
        (lot.points, -lot.points, lot_change(lot.lot_id, -lot.points, lot.expires_ms, book))
        for lot in take(book, account, wallet, totals, points, at_ms)
    ]
    cause = Cause.timer(account.member, CAUSE, at_ms)
    book.emit_split(
        account, wallet, totals, MovementType.CLEARED, moved, cause, reason=clear_out.id
    )


def _remind(
    book: Book, account: Account, clear_out: ClearOut, points: int, at_ms: int, step: str
) -> None:
    kind = ReminderType.BALANCE_CLEARING.value
    book.more().reminders.append(
        {
            "event_id": reminder_id(account, kind, clear_out.id, str(at_ms), step),
            "type": kind,
            "member_id": account.member_id,
            "wallet": clear_out.wallet,
            "points": points,
            "due_at": book.text(at_ms),
            "occurred_at": book.text(book.now_ms),
            "recorded_at": book.text(book.now_ms),
        }
    )
