"""How lots grow old: pending ones become spendable, spendable ones expire.

Mostly a timer asks for it, at the time it was due. A command can ask as well: points that it sets
free may have been due for long.
"""

from __future__ import annotations

from collections.abc import Iterator

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_lot, split_lot_key, split_pending_key
from pointstream.ledger.moves import credit, lapse, look_ahead, overdue, reduce
from pointstream.ledger.progress import count
from pointstream.ledger.records import Account, Lot, Totals
from pointstream.ledger.sliding import ends_ms, sliding_over
from pointstream.ledger.state import (
    NEVER,
    SLIDING_FROM,
    lots_prefix,
    pending_prefix,
    prefix_stop,
    time_bytes,
)

__all__ = ["activate", "catch_up", "expire"]


def activate(
    book: Book,
    account: Account,
    wallet: str,
    totals: Totals,
    due_ms: int,
    cause: Cause | None = None,
) -> int:
    """Make due pending lots spendable; return when the next one is. No cause: it was time.

    What was kept pending past its activation may have expired since; it pays debt, and whoever
    kept it lets the rest expire. What was to expire before it became active is no balance ever.
    """
    prefix = pending_prefix(account.member, wallet)
    size = len(prefix)
    next_ms = NEVER
    moved: list[tuple[int, int, LotChange | None]] = []
    lots: list[Lot] = []
    over: list[Lot] = []
    earned: list[tuple[int, int]] = []
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        activates_ms, expires_ms, earned_ms, lot_id = split_pending_key(key, size)
        if activates_ms > due_ms:
            next_ms = activates_ms
            break
        lot = decode_lot(wallet, activates_ms, expires_ms, earned_ms, lot_id, value)
        lot.awaits = None
        points = lot.points
        totals.pending -= points
        book.state.delete(key)
        delta = paid = 0
        if expires_ms >= SLIDING_FROM:
            ends = ends_ms(book.programme.calendar, account, totals, expires_ms)
            if ends <= activates_ms:
                lot.expires_ms = expires_ms = ends
        if expires_ms > activates_ms:
            delta = credit(book, account, totals, lot)
            paid = points - delta
            if lot.rule_id is not None:
                # Points given by hand are no progress towards a tier.
                earned.append((points, earned_ms))
        else:
            over.append(lot)
        # The points were in the lot already: only what pays a debt leaves it.
        moved.append((points, delta, lot_change(lot_id, -paid, expires_ms, book)))
        lots.append(lot)
    _emit(book, account, wallet, totals, MovementType.ACTIVATED, moved, lots, due_ms, cause)
    if earned and wallet in book.programme.measured_in:
        counted = cause or Cause.timer(account.member, "timer.points.activated", due_ms)
        for points, earned_ms in earned:
            count(book, account, wallet, points, earned_ms, counted)
    for lot in over:
        lapse(book, account, totals, lot, cause)
    return next_ms


def expire(
    book: Book,
    account: Account,
    wallet: str,
    totals: Totals,
    due_ms: int,
    cause: Cause | None = None,
) -> int:
    """End due lots; return when the next one ends. No cause: it was time."""
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    next_ms = NEVER
    moved: list[tuple[int, int, LotChange | None]] = []
    lots: list[Lot] = []
    for key, value in _ending(book, account, prefix, totals, due_ms):
        expires_ms, earned_ms, lot_id = split_lot_key(key, size)
        if expires_ms > due_ms and expires_ms < SLIDING_FROM:
            next_ms = expires_ms
            continue
        lot = decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)
        reduce(book, totals, key, lot, lot.points)
        totals.expired += lot.points
        if lot.order_id is not None:
            book.keep_expired(account.member, lot.order_id, lot)
        change = lot_change(lot_id, -lot.points, expires_ms, book)
        moved.append((lot.points, -lot.points, change))
        lots.append(lot)
    look_ahead(book, account, wallet, totals)
    _emit(book, account, wallet, totals, MovementType.EXPIRED, moved, lots, due_ms, cause)
    for expires_ms, points, _ in totals.slides:
        if points:
            next_ms = min(next_ms, ends_ms(book.programme.calendar, account, totals, expires_ms))
    return next_ms


def catch_up(book: Book, account: Account, cause: Cause) -> None:
    """Give an account that is frozen no more what was kept; what expired meanwhile goes."""
    for wallet, totals in account.wallets.items():
        if totals.pending:
            book.ring(account, activate(book, account, wallet, totals, book.now_ms, cause))
    for wallet, totals in account.wallets.items():
        if overdue(book, account, totals):
            book.ring(account, expire(book, account, wallet, totals, book.now_ms, cause))


def _ending(
    book: Book, account: Account, prefix: bytes, totals: Totals, due_ms: int
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the lots that end by a time, and among those with a fixed end the first that does not.

    Those whose end slides come last, as in spending.
    """
    for key, value in book.state.scan(prefix, prefix + time_bytes(SLIDING_FROM)):
        yield key, value
        if split_lot_key(key, len(prefix))[0] > due_ms:
            break
    for expires_ms in sliding_over(book.programme.calendar, account, totals, due_ms):
        yield from book.state.scan(
            prefix + time_bytes(expires_ms), prefix + time_bytes(expires_ms + 1)
        )


def _emit(
    book: Book,
    account: Account,
    wallet: str,
    totals: Totals,
    kind: MovementType,
    moved: list[tuple[int, int, LotChange | None]],
    lots: list[Lot],
    due_ms: int,
    cause: Cause | None,
) -> None:
    if not moved:
        return
    if cause is None:
        cause = Cause.timer(account.member, f"timer.{kind.value}", due_ms)
    one = lots[0] if len(lots) == 1 else None
    book.emit_split(
        account,
        wallet,
        totals,
        kind,
        moved,
        cause,
        order_id=one.order_id if one else None,
        store_id=one.store_id if one else None,
    )
