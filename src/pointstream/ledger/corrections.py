"""What operators do to a balance by hand: adjust it, or clear it out."""

from __future__ import annotations

from pointstream.contracts.inputs import PointsAdjust, PointsClear
from pointstream.contracts.vocabulary import MovementType, Reason
from pointstream.contracts.wire import epoch_ms
from pointstream.ledger.answers import MAIN_WALLET, accepted, rejected
from pointstream.ledger.book import MAX_POINTS, Book, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.given import note_given
from pointstream.ledger.judging import wait_for_others
from pointstream.ledger.moves import credit, lay_by, new_lot, spendable, take
from pointstream.ledger.progress import count
from pointstream.ledger.records import Account

__all__ = ["points_adjusted", "points_cleared"]


def points_adjusted(book: Book, account: Account, event: PointsAdjust, cause: Cause) -> Decision:
    """Give points into a lot of their own, or take some in the order of spending."""
    wallet = event.wallet or MAIN_WALLET
    if wallet not in book.programme.wallets:
        return rejected(account, event, Reason.WALLET_UNKNOWN, wallet)
    if event.points < 0:
        points = -event.points
        alive_ms = max(book.now_ms, cause.occurred_ms)
        if spendable(book, account, wallet, alive_ms) < points:
            return rejected(account, event, Reason.INSUFFICIENT_POINTS, wallet)
        account.wallets[wallet].adjusted_down += points
        _take(book, account, wallet, MovementType.ADJUSTED, points, alive_ms, cause)
    else:
        reason = _grant(book, account, event, wallet, cause)
        if reason is not None:
            return rejected(account, event, reason, wallet)
    if wallet in book.programme.measured_in and not book.programme.wallets[wallet].spendable:
        # A wallet that cannot be spent from is nothing but a measure: this is how it is put right.
        count(book, account, wallet, event.points, book.now_ms, cause)
    return accepted(account, event, Outcome.POINTS_ADJUSTED, wallet)


def points_cleared(book: Book, account: Account, event: PointsClear, cause: Cause) -> Decision:
    """Take all that is available. What is pending or held stays."""
    wallet = event.wallet or MAIN_WALLET
    if wallet not in book.programme.wallets:
        return rejected(account, event, Reason.WALLET_UNKNOWN, wallet)
    alive_ms = max(book.now_ms, cause.occurred_ms)
    points = spendable(book, account, wallet, alive_ms)
    if points:
        account.wallets[wallet].cleared += points
        _take(book, account, wallet, MovementType.CLEARED, points, alive_ms, cause)
    return accepted(account, event, Outcome.POINTS_CLEARED, wallet)


def _grant(
    book: Book, account: Account, event: PointsAdjust, wallet: str, cause: Cause
) -> Reason | None:
    """Give the points, or return why not; the account is not changed then."""
    known = account.wallets.get(wallet)
    if event.points + (known.granted if known is not None else 0) > MAX_POINTS:
        return Reason.LIMIT_REACHED
    lot = new_lot(
        book,
        account,
        book.programme.wallets[wallet],
        cause,
        cause.entry_id(account.seq + 1),
        event.points,
        cause.occurred_ms,
        None,
        None,
    )
    if event.expires_at is not None:
        lot.expires_ms = epoch_ms(event.expires_at)
    if lot.expires_ms <= max(book.now_ms, cause.occurred_ms):
        return Reason.EXPIRY_IN_THE_PAST
    totals = book.totals(account, wallet)
    totals.adjusted_up += event.points
    if book.traced:
        note_given(book, account, cause.event_id, lot, None)
    if wait_for_others(book, lot):
        lay_by(book, account, totals, lot)
        delta, lots = 0, [lot_change(lot.lot_id, event.points, lot.expires_ms, book)]
    else:
        delta = credit(book, account, totals, lot)
        lots = [lot_change(lot.lot_id, delta, lot.expires_ms, book)] if delta else []
    book.emit(account, wallet, totals, MovementType.ADJUSTED, event.points, delta, cause, lots)
    return None


def _take(
    book: Book,
    account: Account,
    wallet: str,
    kind: MovementType,
    points: int,
    alive_ms: int,
    cause: Cause,
) -> None:
    totals = account.wallets[wallet]
    moved = [
        (lot.points, -lot.points, lot_change(lot.lot_id, -lot.points, lot.expires_ms, book))
        for lot in take(book, account, wallet, totals, points, alive_ms)
    ]
    book.emit_split(account, wallet, totals, kind, moved, cause)
