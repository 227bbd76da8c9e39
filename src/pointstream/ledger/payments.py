"""Points that paid for an order, and their way back when it is returned."""

from __future__ import annotations

from typing import Final

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_payment, encode_payment, remembered_until_ms
from pointstream.ledger.moves import credit
from pointstream.ledger.records import Account, Lot, Order, Payment, Taken, Totals
from pointstream.ledger.sliding import ends_ms
from pointstream.ledger.state import payment_key, payments_prefix, prefix_stop

__all__ = ["LOTS_PER_PAYMENT", "give_back", "record_payment"]

LOTS_PER_PAYMENT: Final = 500
"""A payment with more lots is kept in parts, so that each fits into a record of the changelog."""


def record_payment(
    book: Book, account: Account, wallet: str, order_id: str, taken: list[Lot]
) -> None:
    """Remember which lots paid for an order. Follows the redemption's entry.

    A payment lives for the refund window by itself; an order that came in that time keeps it for
    as long as the order is remembered (`Memory.sweep` minds that).
    """
    until_ms = book.now_ms + book.programme.refund_window_ms
    for part, start in enumerate(range(0, len(taken), LOTS_PER_PAYMENT)):
        lots = taken[start : start + LOTS_PER_PAYMENT]
        payment = Payment(
            until_ms,
            wallet,
            sum(lot.points for lot in lots),
            [
                Taken(
                    lot.lot_id,
                    lot.expires_ms,
                    lot.earned_ms,
                    lot.points,
                    lot.order_id,
                    lot.rule_id,
                    lot.store_id,
                )
                for lot in lots
            ],
        )
        key = payment_key(account.member, order_id, account.seq, part)
        book.memory.put(key, encode_payment(payment))


def give_back(book: Book, account: Account, order_id: str, order: Order, cause: Cause) -> None:
    """Give back the points that paid for what has been returned of an order, each share once.

    In proportion to the money, rounded down, all of them once nothing of the order is left, for
    each wallet by itself. What was taken last comes back first.
    """
    prefix = payments_prefix(account.member, order_id)
    payments = [
        (key, decode_payment(value))
        for key, value in book.state.scan(prefix, prefix_stop(prefix))
        # What was over when the order came is over, whether swept or not.
        if remembered_until_ms(value) > order.taken_ms
    ]
    if not payments:
        return
    returned_minor = order.paid_minor - order.money_left_minor
    left: dict[str, int] = {}
    for wallet in {payment.wallet: None for _, payment in payments}:
        own = [payment for _, payment in payments if payment.wallet == wallet]
        paid = sum(payment.points for payment in own)
        if order.returned:
            target = paid
        else:
            target = paid * returned_minor // order.paid_minor if order.paid_minor else 0
        left[wallet] = target - sum(row.restored for payment in own for row in payment.taken)
    for key, payment in reversed(payments):
        wanted = left[payment.wallet]
        if wanted <= 0:
            continue
        left[payment.wallet] -= _give_back_payment(
            book, account, order_id, order, payment, wanted, cause
        )
        book.state.put(key, encode_payment(payment))


def _give_back_payment(
    book: Book,
    account: Account,
    order_id: str,
    order: Order,
    payment: Payment,
    wanted: int,
    cause: Cause,
) -> int:
    wallet = payment.wallet
    totals = book.totals(account, wallet)
    moved: list[tuple[int, int, LotChange | None]] = []
    left = wanted
    late = 0
    for row in reversed(payment.taken):
        part = min(left, row.points - row.restored)
        if not part:
            continue
        row.restored += part
        left -= part
        if ends_ms(book.programme.calendar, account, totals, row.expires_ms) > book.now_ms:
            delta = _into_own_lot(book, account, wallet, totals, row, part)
            change = lot_change(row.lot_id, delta, row.expires_ms, book) if delta else None
            moved.append((part, delta, change))
        else:
            late += part
    if late:
        lot = Lot(
            wallet,
            cause.entry_id(account.seq + 1),
            book.now_ms,
            book.now_ms + book.programme.restored_ms,
            book.now_ms,
            late,
            None,
            None,
            cause.store_id or order.store_id,
        )
        delta = credit(book, account, totals, lot)
        change = lot_change(lot.lot_id, delta, lot.expires_ms, book) if delta else None
        moved.append((late, delta, change))
    if moved:
        totals.restored += wanted - left
        book.emit_split(
            account,
            wallet,
            totals,
            MovementType.RESTORED,
            moved,
            cause,
            order_id=order_id,
            store_id=order.store_id,
            brand_id=order.brand_id,
            channel=order.channel,
        )
    return wanted - left


def _into_own_lot(
    book: Book, account: Account, wallet: str, totals: Totals, row: Taken, points: int
) -> int:
    """Put points back into the lot they came from; return how many became available."""
    lot = Lot(
        wallet,
        row.lot_id,
        row.earned_ms,
        row.expires_ms,
        row.earned_ms,
        points,
        row.order_id,
        row.rule_id,
        row.store_id,
    )
    return credit(book, account, totals, lot, again=True)
