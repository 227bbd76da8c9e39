"""What an activity does to the points of an order that wait for it."""

from __future__ import annotations

from pointstream.ledger.aging import activate
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_lot
from pointstream.ledger.judging import judged_by_ms
from pointstream.ledger.records import Account, Award, Lot, Order
from pointstream.ledger.state import pending_key
from pointstream.ledger.waiting import active_from_ms

__all__ = ["completed"]


def completed(book: Book, account: Account, activity: str, reference: str, cause: Cause) -> bool:
    """Activate the lots of an order that wait for an activity; whether there were any."""
    # Most members have nothing pending: their activities cost no look-up of an order.
    if not any(totals.pending for totals in account.wallets.values()):
        return False
    order = book.order(account.member, reference)
    if order is None:
        return False
    touched: dict[str, None] = {}
    for award in order.awards:
        if _reset(book, account, order, award, activity, cause):
            touched[award.wallet] = None
    if not touched:
        return False
    # Before anything moves: what expires at once is noted in the order.
    book.put_order(account.member, reference, order)
    if not account.frozen:
        for wallet in touched:
            totals = account.wallets[wallet]
            book.ring(account, activate(book, account, wallet, totals, book.now_ms, cause))
    return True


def _reset(
    book: Book, account: Account, order: Order, award: Award, activity: str, cause: Cause
) -> bool:
    """Move the lot of an award to the time at which it becomes active now; whether it waited."""

    def key() -> bytes:
        return pending_key(
            account.member,
            award.wallet,
            award.activates_ms,
            award.expires_ms,
            order.earned_ms,
            award.lot_id,
        )

    value = book.state.get(key())
    if value is None:
        return False
    lot = Lot(
        award.wallet,
        award.lot_id,
        award.activates_ms,
        award.expires_ms,
        order.earned_ms,
        *decode_list(value),
    )
    if lot.awaits != activity:
        return False
    book.state.delete(key())
    wallet = book.programme.wallets.get(award.wallet)
    active_ms = active_from_ms(book, wallet, cause.occurred_ms, lot.earned_ms)
    if wallet is not None and wallet.spendable:
        judged_ms = judged_by_ms(book, "order.paid", order)
        # What would be over by then does not wait, as at the beginning: it would be lost.
        if judged_ms < lot.expires_ms:
            active_ms = max(active_ms, judged_ms)
    lot.awaits = None
    if lot.review is not None:
        # It stays where it is until the review has ended, and becomes active by this then.
        lot.review[0] = min(lot.review[0], active_ms)
    else:
        # Refunds find the lot by the award: the two must name the same time.
        award.activates_ms = lot.activates_ms = min(lot.activates_ms, active_ms)
    book.state.put(key(), encode_lot(lot))
    if lot.activates_ms > book.now_ms:
        book.ring(account, lot.activates_ms)
    return True
