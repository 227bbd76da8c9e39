"""What happens by itself when its time has come: activation, expiry, the end of parking.

A timer rings at the time it is due, however late the tick that lets it ring: its entries carry that
time, and are the same as if the worker had been up. At one instant activations come first, then
expiries.
"""

from __future__ import annotations

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_lot, split_lot_key, split_pending_key
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.moves import credit, lapse, look_ahead, reduce
from pointstream.ledger.parking import give_up
from pointstream.ledger.records import Account, Lot, Totals
from pointstream.ledger.state import NEVER, lots_prefix, pending_prefix, prefix_stop

__all__ = ["ring"]


def ring(book: Book, what: bytes, due_ms: int) -> Decision | None:
    """Do what a timer was set for; None if nothing is to be done. It is taken off already."""
    if what[:1] == b"p":
        return give_up(book, what)
    if what[:1] != b"a":
        raise StateCorrupt(f"a timer of the unknown kind {what[:1]!r}")
    member = what[1:]
    account = book.account(member.decode(), member)
    account.timer_ms = 0
    book.change(account, shown=False)
    next_ms = NEVER
    for wallet, totals in account.wallets.items():
        if totals.pending:
            next_ms = min(next_ms, _activate(book, account, wallet, totals, due_ms))
    for wallet, totals in account.wallets.items():
        if totals.available:
            next_ms = min(next_ms, _expire(book, account, wallet, totals, due_ms))
    book.ring(account, next_ms)
    return Decision(Outcome.POINTS_MOVED_BY_TIME) if book.entries else None


def _activate(book: Book, account: Account, wallet: str, totals: Totals, due_ms: int) -> int:
    """Make due pending lots spendable; return when the next one is."""
    prefix = pending_prefix(account.member, wallet)
    size = len(prefix)
    next_ms = NEVER
    moved: list[tuple[int, int, LotChange | None]] = []
    lots: list[Lot] = []
    over: list[Lot] = []
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        activates_ms, expires_ms, earned_ms, lot_id = split_pending_key(key, size)
        if activates_ms > due_ms:
            next_ms = activates_ms
            break
        lot = decode_lot(wallet, activates_ms, expires_ms, earned_ms, lot_id, value)
        points = lot.points
        totals.pending -= points
        book.state.delete(key)
        delta = paid = 0
        if expires_ms > due_ms:
            delta = credit(book, account, totals, lot)
            paid = points - delta
        else:
            over.append(lot)
        # The points were in the lot already: only what pays a debt leaves it.
        moved.append((points, delta, lot_change(lot_id, -paid, expires_ms, book)))
        lots.append(lot)
    _emit(book, account, wallet, totals, MovementType.ACTIVATED, moved, lots, due_ms)
    for lot in over:
        lapse(book, account, totals, lot)
    return next_ms


def _expire(book: Book, account: Account, wallet: str, totals: Totals, due_ms: int) -> int:
    """End due lots; return when the next one ends."""
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    next_ms = NEVER
    moved: list[tuple[int, int, LotChange | None]] = []
    lots: list[Lot] = []
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        expires_ms, earned_ms, lot_id = split_lot_key(key, size)
        if expires_ms > due_ms:
            next_ms = expires_ms
            break
        lot = decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)
        reduce(book, totals, key, lot, lot.points)
        totals.expired += lot.points
        if lot.order_id is not None:
            book.keep_expired(account.member, lot.order_id, lot)
        change = lot_change(lot_id, -lot.points, expires_ms, book)
        moved.append((lot.points, -lot.points, change))
        lots.append(lot)
    look_ahead(book, account, wallet, totals)
    _emit(book, account, wallet, totals, MovementType.EXPIRED, moved, lots, due_ms)
    return next_ms


def _emit(
    book: Book,
    account: Account,
    wallet: str,
    totals: Totals,
    kind: MovementType,
    moved: list[tuple[int, int, LotChange | None]],
    lots: list[Lot],
    due_ms: int,
) -> None:
    if not moved:
        return
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
