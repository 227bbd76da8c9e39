"""Redeeming: points are spent, so many as the command says or as an item of the catalogue costs.

An item without a stock is paid at once. Of one with a stock the last piece may be wanted in two
partitions at one moment, and the owner of the item decides (`grants.py`):

    member's partition                      owner of the item
    ------------------                      -----------------
    points held, pieces counted
                       -- stock asked -->   granted as long as there is stock
    captured, accepted <-- stock given --
    or freed, rejected

The points are reserved before the question goes out, so what is granted can be paid; whatever
falls between, they are held, spent or back. The command has no answer until then, and then one for
good. Nothing waits with it: the account goes on meanwhile.

A redemption that got its piece is undone if the account was frozen meanwhile: a frozen account
spends nothing. The piece goes back, as it does for a member who was erased. A merge takes hold and
count along to the survivor, where the answer is passed on to.
"""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.inputs import PointsRedeem
from pointstream.contracts.vocabulary import MovementType, Reason
from pointstream.ledger.answers import MAIN_WALLET, accepted, answer_of, rejected
from pointstream.ledger.book import MAX_POINTS, Book, CameToNothing, lot_change
from pointstream.ledger.catalogue import Item, item
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.grants import Grant, GrantKind, ask, give_back
from pointstream.ledger.holds import capture, free, own_hold_id, reserve
from pointstream.ledger.moves import spendable, take
from pointstream.ledger.payments import give_back as give_points_back
from pointstream.ledger.payments import record_payment
from pointstream.ledger.records import Account, Hold, HoldState, Lot
from pointstream.ledger.state import NEVER, redeemed_key
from pointstream.ledger.tiers import tier_at

__all__ = ["points_redeemed", "stock_for_erased", "stock_given"]

_OF_CAUSE: Final = ("store_id", "brand_id", "channel", "actor_id", "confirmed_by")
"""What a later step's entries take from the command, by way of the question's note."""


def points_redeemed(book: Book, account: Account, event: PointsRedeem, cause: Cause) -> Decision:
    """Spend points, if they are there, or hold them while the item's owner is asked for stock."""
    wallet = event.wallet or MAIN_WALLET
    known = book.programme.wallets.get(wallet)
    if known is None:
        return rejected(account, event, Reason.WALLET_UNKNOWN, wallet)
    if not known.spendable:
        return rejected(account, event, Reason.WALLET_NOT_SPENDABLE, wallet)
    if account.frozen:
        return rejected(account, event, Reason.ACCOUNT_FROZEN, wallet)
    if event.item_id is not None:
        return _item_redeemed(book, account, event, event.item_id, wallet, cause)
    points = event.points or 0  # the contract: there is a number, or an item
    if _lacks(book, account, wallet, points, cause):
        return rejected(account, event, Reason.INSUFFICIENT_POINTS, wallet)
    if _too_many(account, wallet, points):
        return rejected(account, event, Reason.LIMIT_REACHED, wallet)
    _spend(book, account, wallet, points, cause, event.order_id)
    return accepted(account, event, Outcome.POINTS_REDEEMED, wallet)


def stock_given(book: Book, account: Account, grant: Grant, source: Source) -> Decision:
    """End a redemption that waited for stock: paid or undone, and answered."""
    note = grant.note
    cause = Cause.message(account.member, grant.ask_id, note["type"], note["occurred_ms"], source)
    for name in _OF_CAUSE:
        setattr(cause, name, note[name])
    names = _names(note["order_id"], grant.key, grant.asked)
    reason = None
    if not grant.granted:
        # Withdrawn meanwhile, it is not sold out but gone; the owner told so before it answered.
        gone = item(book, grant.key) is None
        reason = Reason.ITEM_UNKNOWN if gone else Reason.OUT_OF_STOCK
    elif account.frozen:
        reason = Reason.ACCOUNT_FROZEN
        give_back(book, GrantKind.STOCK, grant.key, grant.granted)
    if reason is None:
        lots = capture(book, account, note["hold_id"], cause, **names)
        _paid(book, account, note["wallet"], note["order_id"], lots, cause)
    else:
        asked_ms = None if cause.confirmed_by else cause.occurred_ms
        book.undone.append(CameToNothing(account, note["type"], grant.ask_id, asked_ms, 0))
        cause.reason = reason.value
        free(book, account, note["hold_id"], cause, **names)
        if note["counted"]:
            _count(book, account, grant.key, -grant.asked)
    answer = answer_of(account, grant.ask_id, note["type"], note["wallet"], reason)
    book.answer(account.member, answer)
    return Decision(Outcome.POINTS_REDEEMED if reason is None else Outcome(reason.value))


def stock_for_erased(book: Book, account: Account, grant: Grant) -> None:
    """Answer the command of a member who was erased while it waited. The points are gone."""
    note = grant.note
    book.more().answers.append(
        answer_of(account, grant.ask_id, note["type"], note["wallet"], Reason.ACCOUNT_ERASED)
    )


def _item_redeemed(
    book: Book, account: Account, event: PointsRedeem, item_id: str, wallet: str, cause: Cause
) -> Decision:
    wanted = item(book, item_id)
    if wanted is None:
        return rejected(account, event, Reason.ITEM_UNKNOWN, wallet)
    quantity = event.quantity or 1
    points = wanted.price_points * quantity
    reason = _refused(book, account, event, wanted, item_id, quantity, cause.occurred_ms)
    if reason is None and _lacks(book, account, wallet, points, cause):
        reason = Reason.INSUFFICIENT_POINTS
    if reason is None and _too_many(account, wallet, points):
        reason = Reason.LIMIT_REACHED
    if reason is not None:
        return rejected(account, event, reason, wallet)
    if wanted.limited:
        _count(book, account, item_id, quantity)
    if wanted.stock is None:
        _spend(book, account, wallet, points, cause, event.order_id, item_id, quantity)
        return accepted(account, event, Outcome.POINTS_REDEEMED, wallet)
    hold_id = own_hold_id(account.member_id, event.event_id)
    hold = Hold(NEVER, HoldState.OPEN, wallet, points, NEVER, event.store_id)
    book.active(account, cause.occurred_ms)
    reserve(book, account, hold_id, hold, cause, **_names(event.order_id, item_id, quantity))
    note = {
        "type": event.type,
        "occurred_ms": cause.occurred_ms,
        "hold_id": hold_id,
        "wallet": wallet,
        "order_id": event.order_id,
        "counted": wanted.limited,
        **{name: getattr(cause, name) for name in _OF_CAUSE},
    }
    ask(
        book,
        GrantKind.STOCK,
        item_id,
        quantity,
        member_id=account.member_id,
        ask_id=event.event_id,
        partial=False,
        note=note,
    )
    return Decision(Outcome.STOCK_ASKED)


def _refused(
    book: Book,
    account: Account,
    event: PointsRedeem,
    wanted: Item,
    item_id: str,
    quantity: int,
    at_ms: int,
) -> Reason | None:
    """Return which of its own rules the item would break; None if it may be redeemed."""
    if not wanted.offered_at(at_ms):
        return Reason.ITEM_NOT_AVAILABLE
    if event.points is not None and event.points != wanted.price_points * quantity:
        return Reason.PRICE_CHANGED
    tier = None
    if wanted.limit_per_tier:
        tier = tier_at(book, account, at_ms)
        if tier not in wanted.limit_per_tier:
            return Reason.TIER_TOO_LOW
    limit = wanted.limit(tier)
    if limit is not None and _redeemed(book, account, item_id) + quantity > limit:
        return Reason.LIMIT_REACHED
    return None


def _lacks(book: Book, account: Account, wallet: str, points: int, cause: Cause) -> bool:
    # A command may be dated a little ahead of partition time: what is gone by then is no balance.
    alive_ms = max(book.now_ms, cause.occurred_ms)
    return spendable(book, account, wallet, alive_ms) < points


def _too_many(account: Account, wallet: str, points: int) -> bool:
    """Tell whether more would have been redeemed by then than a number of a record can say.

    What is spent on orders that are returned can be spent again and again.
    """
    return account.wallets[wallet].redeemed + points > MAX_POINTS


def _spend(
    book: Book,
    account: Account,
    wallet: str,
    points: int,
    cause: Cause,
    order_id: str | None,
    item_id: str | None = None,
    quantity: int | None = None,
) -> None:
    totals = account.wallets[wallet]
    taken = take(book, account, wallet, totals, points, max(book.now_ms, cause.occurred_ms))
    totals.redeemed += points
    book.active(account, cause.occurred_ms)
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
        **_names(order_id, item_id, quantity),
    )
    _paid(book, account, wallet, order_id, taken, cause)


def _paid(
    book: Book,
    account: Account,
    wallet: str,
    order_id: str | None,
    lots: list[Lot],
    cause: Cause,
) -> None:
    """Remember what paid for an order. Follows the entry of the movement."""
    if order_id is None:
        return
    record_payment(book, account, wallet, order_id, lots)
    order = book.order(account.member, order_id)
    if order is not None:
        # The order may have been returned before this came: the same share goes back.
        give_points_back(book, account, order_id, order, cause)


def _redeemed(book: Book, account: Account, item_id: str) -> int:
    """Return how many of a limited item the member has redeemed, or is about to."""
    value = book.state.get(redeemed_key(account.member, item_id))
    return int(decode_list(value)[0]) if value is not None else 0


def _count(book: Book, account: Account, item_id: str, pieces: int) -> None:
    key = redeemed_key(account.member, item_id)
    count = _redeemed(book, account, item_id) + pieces
    if count:
        book.state.put(key, encode_list([count]))
    else:
        book.state.delete(key)


def _names(order_id: str | None, item_id: str | None, quantity: int | None) -> dict[str, Any]:
    return {"order_id": order_id, "item_id": item_id, "quantity": quantity}
