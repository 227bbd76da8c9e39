"""Commands: asked by someone, answered once and for good.

Built: `points.redeem` of a number of points. Every other command, and a redemption priced from the
catalogue, is answered with `not_supported`.
"""

from __future__ import annotations

from pointstream.contracts.inputs import CommandEnvelope, PointsRedeem
from pointstream.contracts.vocabulary import CommandOutcome, MovementType, Reason
from pointstream.ledger.book import Book, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.decision import Answer, Decision, Outcome, Source
from pointstream.ledger.moves import expiring, take
from pointstream.ledger.payments import give_back, record_payment
from pointstream.ledger.records import Account

__all__ = ["not_supported", "points_redeemed"]

_MAIN_WALLET = "points"


def points_redeemed(
    book: Book, member: bytes, event: PointsRedeem, cause: Cause, src: Source
) -> Decision:
    """Spend points, if they are there."""
    account = book.account(event.member_id, member)
    wallet = event.wallet or _MAIN_WALLET
    if event.item_id is not None or event.points is None:
        return _rejected(account, event, wallet, Reason.NOT_SUPPORTED)
    known = book.programme.wallets.get(wallet)
    if known is None:
        return _rejected(account, event, wallet, Reason.WALLET_UNKNOWN)
    if not known.spendable:
        return _rejected(account, event, wallet, Reason.WALLET_NOT_SPENDABLE)
    points = event.points
    # A command may be dated a little ahead of partition time: what is gone by then is no balance.
    alive_ms = max(book.now_ms, cause.occurred_ms)
    totals = account.wallets.get(wallet)
    if (
        totals is None
        or totals.available - expiring(book, account, wallet, totals, alive_ms) < points
    ):
        return _rejected(account, event, wallet, Reason.INSUFFICIENT_POINTS)

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
        order = book.order(member, event.order_id)
        if order is not None:
            # The order may have been returned before this command came: the same share goes back.
            give_back(book, account, event.order_id, order, cause)
    return Decision(
        Outcome.POINTS_REDEEMED,
        result=_answer(account, event, wallet, CommandOutcome.ACCEPTED, None),
    )


def not_supported(
    book: Book, member: bytes, event: CommandEnvelope, cause: Cause, src: Source
) -> Decision:
    """Reject a command that this version does not know how to carry out."""
    account = book.account(event.member_id, member)
    return _rejected(account, event, _MAIN_WALLET, Reason.NOT_SUPPORTED)


def _rejected(account: Account, event: CommandEnvelope, wallet: str, reason: Reason) -> Decision:
    return Decision(
        Outcome(reason.value),
        result=_answer(account, event, wallet, CommandOutcome.REJECTED, reason),
    )


def _answer(
    account: Account,
    event: CommandEnvelope,
    wallet: str,
    outcome: CommandOutcome,
    reason: Reason | None,
) -> Answer:
    totals = account.wallets.get(wallet)
    answer: Answer = {
        "command_id": event.event_id,
        "type": event.type,  # type: ignore[attr-defined]  # every command has its own literal
        "member_id": event.member_id,
        "outcome": outcome.value,
        "seq": account.seq,
        "available_after": totals.available if totals is not None else 0,
    }
    if reason is not None:
        answer["reason"] = reason.value
    return answer
