"""Commands: asked by someone who may, answered once and for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pointstream.contracts.inputs import (
    AccountErase,
    AccountFreeze,
    AccountMerge,
    AccountResync,
    AccountsResync,
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
from pointstream.contracts.vocabulary import Reason
from pointstream.ledger.answers import rejected
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.consent import (
    Excess,
    await_consent,
    consent_needed,
    released,
    review_rejected,
)
from pointstream.ledger.corrections import points_adjusted, points_cleared
from pointstream.ledger.decision import Decision, Source
from pointstream.ledger.erasing import erase
from pointstream.ledger.freezing import frozen, unfrozen
from pointstream.ledger.holds import points_captured, points_held, points_voided
from pointstream.ledger.merging import merged
from pointstream.ledger.records import Account
from pointstream.ledger.redeeming import points_redeemed
from pointstream.ledger.resyncing import account_resynced, accounts_resynced
from pointstream.ledger.reviewing import reviewed
from pointstream.ledger.rights import permitted
from pointstream.ledger.transfers import points_transferred

__all__ = ["command_given"]


def command_given(book: Book, member: bytes, event: Command, cause: Cause, src: Source) -> Decision:
    """Carry out a command, or say which rule it would have broken."""
    account = book.account(event.member_id, member)
    if not permitted(event):
        return rejected(account, event, Reason.NOT_PERMITTED)
    excess = consent_needed(book, account, event)
    if excess is None and book.step_up is not None:
        excess = Excess.of(book.step_up)
    if excess is not None:
        return await_consent(book, account, event, src, excess)
    return _carry_out(book, account, event, cause)


def _carry_out(book: Book, account: Account, event: Command, cause: Cause) -> Decision:
    return _HANDLERS[type(event)](book, account, event, cause)


def _review_released(book: Book, account: Account, event: ReviewRelease, cause: Cause) -> Decision:
    return reviewed(book, account, event, cause) or released(
        book, account, event, cause, _carry_out
    )


def _review_rejected(book: Book, account: Account, event: ReviewReject, cause: Cause) -> Decision:
    return reviewed(book, account, event, cause) or review_rejected(book, account, event, cause)


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
    ReviewReject: _review_rejected,
    AccountMerge: merged,
    AccountResync: account_resynced,
    AccountsResync: accounts_resynced,
    AccountErase: erase,
}
