"""Commands: asked by someone who may, answered once and for good.

A command that is not in the table here, and a redemption priced from the catalogue, is answered
with `not_supported`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pointstream.contracts.inputs import (
    AccountFreeze,
    AccountUnfreeze,
    Command,
    PointsAdjust,
    PointsCapture,
    PointsClear,
    PointsHold,
    PointsRedeem,
    PointsTransfer,
    PointsVoid,
    ReviewReject,
    ReviewRelease,
)
from pointstream.contracts.vocabulary import MovementType, Reason
from pointstream.ledger.answers import MAIN_WALLET, accepted, rejected
from pointstream.ledger.book import Book, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.consent import (
    await_consent,
    consent_needed,
    released,
    review_rejected,
)
from pointstream.ledger.corrections import points_adjusted, points_cleared
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.freezing import frozen, unfrozen
from pointstream.ledger.holds import points_captured, points_held, points_voided
from pointstream.ledger.moves import spendable, take
from pointstream.ledger.payments import give_back, record_payment
from pointstream.ledger.records import Account
from pointstream.ledger.rights import permitted
from pointstream.ledger.transfers import points_transferred

__all__ = ["command_given"]


def command_given(book: Book, member: bytes, event: Command, cause: Cause, src: Source) -> Decision:
    """Carry out a command, or say which rule it would have broken."""
    account = book.account(event.member_id, member)
    if not permitted(event):
        return rejected(account, event, Reason.NOT_PERMITTED)
    handler = _HANDLERS.get(type(event))
    if handler is None:
        return rejected(account, event, Reason.NOT_SUPPORTED)
    excess = consent_needed(book, account, event)
    if excess is not None:
        return await_consent(book, account, event, src, excess)
    return handler(book, account, event, cause)


def _carry_out(book: Book, account: Account, event: Command, cause: Cause) -> Decision:
    return _HANDLERS[type(event)](book, account, event, cause)


def _review_released(book: Book, account: Account, event: ReviewRelease, cause: Cause) -> Decision:
    return released(book, account, event, cause, _carry_out)


def points_redeemed(book: Book, account: Account, event: PointsRedeem, cause: Cause) -> Decision:
    """Spend points, if they are there."""
    wallet = event.wallet or MAIN_WALLET
    if event.item_id is not None or event.points is None:
        return rejected(account, event, Reason.NOT_SUPPORTED, wallet)
    known = book.programme.wallets.get(wallet)
    if known is None:
        return rejected(account, event, Reason.WALLET_UNKNOWN, wallet)
    if not known.spendable:
        return rejected(account, event, Reason.WALLET_NOT_SPENDABLE, wallet)
    if account.frozen:
        return rejected(account, event, Reason.ACCOUNT_FROZEN, wallet)
    points = event.points
    # A command may be dated a little ahead of partition time: what is gone by then is no balance.
    alive_ms = max(book.now_ms, cause.occurred_ms)
    if spendable(book, account, wallet, alive_ms) < points:
        return rejected(account, event, Reason.INSUFFICIENT_POINTS, wallet)

    totals = account.wallets[wallet]
    taken = take(book, account, wallet, totals, points, alive_ms)
    totals.redeemed += points
    book.emit_split(
        account,
        wallet,
        totals,
        MovementType.REDEEMED,
        [
            (lot.points, -lot.points, lot_change(lot.lot_id, -lot.points, lot.expires_ms, book))
            for lot in taken
        ],
        cause,
        order_id=event.order_id,
    )
    book.active(account, cause.occurred_ms)
    if event.order_id is not None:
        record_payment(book, account, wallet, event.order_id, taken)
        order = book.order(account.member, event.order_id)
        if order is not None:
            # The order may have been returned before this command came: the same share goes back.
            give_back(book, account, event.order_id, order, cause)
    return accepted(account, event, Outcome.POINTS_REDEEMED, wallet)


_HANDLERS: Final[dict[type, Callable[[Book, Account, Any, Cause], Decision]]] = {
    PointsRedeem: points_redeemed,
    PointsHold: points_held,
    PointsCapture: points_captured,
    PointsVoid: points_voided,
    PointsTransfer: points_transferred,
    PointsAdjust: points_adjusted,
    PointsClear: points_cleared,
    AccountFreeze: frozen,
    AccountUnfreeze: unfrozen,
    ReviewRelease: _review_released,
    ReviewReject: review_rejected,
}
