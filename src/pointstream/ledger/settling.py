"""What refunds and cancellations take back of an order's awards, and what they give back.

Everything is computed from what is left of the order, and from what was settled before: it makes
no difference in how many refunds, or in which order, the money went back.
"""

from __future__ import annotations

from pointstream.contracts.programme import RefundPolicy
from pointstream.contracts.tiers import MONEY
from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.basket import Left
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.caps import make_room
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_lot
from pointstream.ledger.moves import look_ahead, reduce, take
from pointstream.ledger.paying import uncount_paid
from pointstream.ledger.payments import give_back
from pointstream.ledger.progress import count
from pointstream.ledger.records import Account, Award, Lot, Order, Totals
from pointstream.ledger.scoring import left_of
from pointstream.ledger.state import lot_key, pending_key
from pointstream.ledger.underway import note_refund
from pointstream.ledger.withheld import take_held
from pointstream.rules.model import OrderReward

__all__ = ["settle"]


def settle(
    book: Book, account: Account, order_id: str, order: Order, paid_minor: int, cause: Cause
) -> None:
    """Bring what was taken back in line with what is left of the order; `paid_minor` was before.

    What a budget has not granted yet is settled by its answer, in the name of the latest refund.
    """
    # First what comes back, then what goes: points that paid for the order are balance by then, or
    # whoever has spent the rest would keep what the returned order earned.
    book.active(account, cause.occurred_ms)
    give_back(book, account, order_id, order, cause)
    measured_in = book.programme.measured_in
    basket = Left(order)
    for award in order.awards:
        reward = book.rule_set(award.ruleset_hash).orders[award.rule_id]
        if reward.keep_on_refund and order.money_left_minor:
            continue
        if not award.points:
            note_refund(book, account.member, award.lot_id, cause)
            continue
        # What expired in the order's own lot is gone already: only the rest can be owed.
        left = left_of(
            book,
            order,
            basket,
            award.ruleset_hash,
            award.rule_id,
            award.multiplier,
            award.kept,
            award.points,
        )
        owed = award.points - left - award.settled - award.expired
        # The survivor of a merge may never have had the wallet: all was spent before.
        totals = book.totals(account, award.wallet)
        pending = totals.pending
        if owed > 0:
            award.settled += owed
            _claw_back(book, account, order_id, order, award, reward, owed, cause)
        if award.wallet in measured_in:
            pending -= totals.pending
            _uncount(book, account, order, award, award.points - left, pending, cause)
    if book.rules_at(order.earned_ms).asks_spend:
        uncount_paid(book, account.member, paid_minor - order.money_left_minor, order.earned_ms)
    if MONEY in measured_in and paid_minor != order.money_left_minor:
        lost_minor = paid_minor - order.money_left_minor
        count(book, account, MONEY, -lost_minor, order.earned_ms, cause, order.taken_ms)


def _uncount(
    book: Book,
    account: Account,
    order: Order,
    award: Award,
    asked: int,
    pending: int,
    cause: Cause,
) -> None:
    """Take off the progress towards a tier what refunds ask back, spent or expired since or not.

    `asked` is asked back by all refunds, of which `pending` points went just now before they
    counted.
    """
    lost = asked - award.uncounted - pending
    if asked > award.uncounted:
        award.uncounted = asked
        if lost > 0 and award.expires_ms > award.activates_ms:
            count(book, account, award.wallet, -lost, order.earned_ms, cause, order.taken_ms)


def _claw_back(
    book: Book,
    account: Account,
    order_id: str,
    order: Order,
    award: Award,
    reward: OrderReward,
    owed: int,
    cause: Cause,
) -> None:
    """Take back `owed` points: the order's own lots first, then what the policy says."""
    wallet = award.wallet
    totals = account.wallets[wallet]
    policy = book.programme.refund_policy
    moved: list[tuple[int, int, LotChange | None]] = []
    left = owed
    own = [award, *(other for other in order.awards if other is not award)]
    for other in own:
        if left and other.wallet == wallet:
            left -= _take_own(book, account, totals, order, other, left, policy, moved)
            if left and account.flags and policy is not RefundPolicy.ONLY_PENDING:
                left -= _take_held(book, account, totals, other, left, moved)
    if left and policy is not RefundPolicy.ONLY_PENDING and totals.available:
        part = min(left, totals.available)
        for lot in take(book, account, wallet, totals, part, 0):
            change = lot_change(lot.lot_id, -lot.points, lot.expires_ms, book)
            moved.append((lot.points, -lot.points, change))
        left -= part
    if left and policy is RefundPolicy.DEBT:
        totals.debt += left
        moved.append((left, 0, None))
        left = 0
    totals.written_off += left
    totals.reversed += owed - left
    make_room(book, account.member, reward.caps, owed - left, order.earned_ms)
    look_ahead(book, account, wallet, totals)
    _emit_reversed(book, account, order_id, order, wallet, totals, reward, left, moved, cause)


def _emit_reversed(
    book: Book,
    account: Account,
    order_id: str,
    order: Order,
    wallet: str,
    totals: Totals,
    reward: OrderReward,
    written_off: int,
    moved: list[tuple[int, int, LotChange | None]],
    cause: Cause,
) -> None:
    if written_off and not moved:
        # Nothing moved, but what could not be taken is told all the same.
        moved.append((0, 0, None))
    book.emit_split(
        account,
        wallet,
        totals,
        MovementType.REVERSED,
        moved,
        cause,
        written_off=written_off,
        reward=reward,
        order_id=order_id,
        store_id=order.store_id,
        brand_id=order.brand_id,
        channel=order.channel,
        campaign_id=book.programme.campaign_of(reward.budget),
    )


def _take_held(
    book: Book,
    account: Account,
    totals: Totals,
    award: Award,
    wanted: int,
    moved: list[tuple[int, int, LotChange | None]],
) -> int:
    """Take from what flags hold of the lot that an award made; return how many points it gave."""
    taken = take_held(book, account, award.wallet, award.lot_id, wanted)
    for lot in taken:
        totals.held -= lot.points
        # Held points have left their lot already.
        moved.append((lot.points, 0, lot_change(lot.lot_id, 0, lot.expires_ms, book)))
    return sum(lot.points for lot in taken)


def _take_own(
    book: Book,
    account: Account,
    totals: Totals,
    order: Order,
    award: Award,
    wanted: int,
    policy: RefundPolicy,
    moved: list[tuple[int, int, LotChange | None]],
) -> int:
    """Take from the lot that an award made, wherever it is; return how many points it gave."""
    member, wallet, state = account.member, award.wallet, book.state
    expires_ms, earned_ms, lot_id = award.expires_ms, order.earned_ms, award.lot_id
    key = pending_key(member, wallet, award.activates_ms, expires_ms, earned_ms, lot_id)
    # A frozen account keeps pending what would be active by now.
    pending = award.activates_ms > book.now_ms or (account.frozen and state.get(key) is not None)
    if not pending:
        if policy is RefundPolicy.ONLY_PENDING:
            return 0
        key = lot_key(member, wallet, expires_ms, earned_ms, lot_id)
    value = state.get(key)
    if value is None:
        return 0
    lot = Lot(wallet, lot_id, award.activates_ms, expires_ms, earned_ms, *decode_list(value))
    part = min(lot.points, wanted)
    if not pending:
        reduce(book, totals, key, lot, part)
    else:
        totals.pending -= part
        if part == lot.points:
            state.delete(key)
        else:
            lot.points -= part
            state.put(key, encode_lot(lot))
    moved.append((part, 0 if pending else -part, lot_change(lot_id, -part, expires_ms, book)))
    return part
