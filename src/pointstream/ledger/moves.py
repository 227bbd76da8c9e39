"""How points get into lots and out of them again.

A wallet's totals, its lots and its horizon always move together, and only here. The caller writes
the ledger entry, for it knows why.
"""

from __future__ import annotations

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, decode_lot, encode_lot, split_lot_key
from pointstream.ledger.errors import ConservationBreach, StateCorrupt
from pointstream.ledger.given import note_given
from pointstream.ledger.judging import wait_for_others
from pointstream.ledger.progress import count
from pointstream.ledger.records import HORIZON, Account, Lot, Totals
from pointstream.ledger.reminders import arm
from pointstream.ledger.shares import holding
from pointstream.ledger.sliding import ends_ms, slide_in, sliding_over, sliding_time
from pointstream.ledger.state import (
    NEVER,
    SLIDING_FROM,
    lot_key,
    lots_prefix,
    pending_key,
    prefix_stop,
)
from pointstream.ledger.waiting import wait
from pointstream.rules.compile import CompiledWallet
from pointstream.rules.model import Reward

__all__ = [
    "credit",
    "expiring",
    "give",
    "lapse",
    "lay_by",
    "look_ahead",
    "new_lot",
    "overdue",
    "reduce",
    "spendable",
    "take",
]


def give(
    book: Book,
    account: Account,
    reward: Reward,
    points: int,
    cause: Cause,
    earned_ms: int,
    order_id: str | None = None,
    reason: str | None = None,
    due: int | None = None,
    campaign_id: str | None = None,
) -> Lot:
    """Give points by a rule: into a new lot, pending or spendable.

    `due` is what the rule gave, where a cap or a budget granted less.
    """
    wallet = book.programme.wallet_of(reward)
    totals = book.totals(account, wallet.id)
    lot_id = cause.entry_id(account.seq + 1)
    lot = new_lot(book, account, wallet, cause, lot_id, points, earned_ms, order_id, reward.rule_id)
    if wallet.on_activity is not None and order_id is not None:
        wait(book, account, wallet, lot)
    if book.wait_until_ms > lot.activates_ms:
        wait_for_others(book, lot)
    if (book.suspect or account.flags) and not lot.over_by(book.now_ms):
        _review(book, account, lot, cause)
    totals.earned += points
    if lot.over_by(book.now_ms):
        # Over before it came: it is no balance at any time, and pays no debt.
        lots = [lot_change(lot.lot_id, points, lot.expires_ms, book)]
        kind, delta = MovementType.EARNED, 0
    elif lot.activates_ms > book.now_ms or account.frozen:
        lay_by(book, account, totals, lot)
        lots = [lot_change(lot.lot_id, points, lot.expires_ms, book)]
        kind, delta = MovementType.PENDING, 0
    else:
        delta = credit(book, account, totals, lot)
        lots = [lot_change(lot.lot_id, delta, lot.expires_ms, book)] if delta else []
        kind = MovementType.EARNED
    book.emit(
        account,
        lot.wallet,
        totals,
        kind,
        points,
        delta,
        cause,
        lots,
        reward=reward,
        order_id=order_id,
        reason=reason,
        due=due,
        campaign_id=campaign_id,
        flag_id=None if lot.review is None else lot.review[1],
    )
    lot.points = points
    if book.traced:
        note_given(book, account, cause.event_id, lot, reward)
    if wallet.id in book.programme.measured_in:
        # Late, and over by now: it counts all the same, as it would have in time. What is pending
        # counts when it becomes active.
        counts = kind is MovementType.EARNED and lot.expires_ms > lot.activates_ms
        count(book, account, wallet.id, points if counts else 0, earned_ms, cause)
    if lot.over_by(book.now_ms):
        lapse(book, account, totals, lot)
    return lot


def _review(book: Book, account: Account, lot: Lot, cause: Cause) -> None:
    """Put a new lot under review, if it comes of an event that a flag is about."""
    flags = dict.fromkeys((*book.suspect, *holding(book, account, cause.base, cause.event_id)))
    if flags:
        lot.review = [lot.activates_ms, *flags]
        lot.activates_ms = NEVER


def lay_by(book: Book, account: Account, totals: Totals, lot: Lot) -> None:
    """Put a new lot among the pending ones; it becomes active by a timer, if ever."""
    totals.pending += lot.points
    key = pending_key(
        account.member, lot.wallet, lot.activates_ms, lot.expires_ms, lot.earned_ms, lot.lot_id
    )
    if book.state.get(key) is not None:
        raise _there_already(account, lot)
    book.state.put(key, encode_lot(lot))
    if lot.activates_ms > book.now_ms:
        book.ring(account, lot.activates_ms)


def lapse(
    book: Book, account: Account, totals: Totals, lot: Lot, cause: Cause | None = None
) -> None:
    """End a lot that was over before its points could become available.

    Without a cause the entry is dated at the lot's own expiry, as if a timer had rung then.
    """
    totals.expired += lot.points
    if lot.order_id is not None:
        book.keep_expired(account.member, lot.order_id, lot)
    kind = MovementType.EXPIRED
    book.emit(
        account,
        lot.wallet,
        totals,
        kind,
        lot.points,
        0,
        cause or Cause.timer(account.member, f"timer.{kind.value}", lot.expires_ms),
        [lot_change(lot.lot_id, -lot.points, lot.expires_ms, book)],
        order_id=lot.order_id,
        store_id=lot.store_id,
    )


def new_lot(
    book: Book,
    account: Account,
    wallet: CompiledWallet,
    cause: Cause,
    lot_id: str,
    points: int,
    earned_ms: int,
    order_id: str | None,
    rule_id: str | None,
) -> Lot:
    """Return a lot with the life that the wallet's policies give it; it is nowhere yet."""
    expires_ms = wallet.expires_at_ms(earned_ms)
    activates_ms = wallet.activates_at_ms(earned_ms)
    if wallet.at_once:
        # A publisher's clock may run a little ahead; that alone makes nothing pending.
        activates_ms = min(activates_ms, book.now_ms)
    if wallet.sliding is not None:
        expires_ms = wallet.expires_at_ms(max(earned_ms, account.last_activity_ms))
        if expires_ms is None or expires_ms > book.now_ms:
            expires_ms = sliding_time(wallet.sliding)
        # Else it is over already, at a time that nothing moves any more.
    return Lot(
        wallet.id,
        lot_id,
        activates_ms,
        NEVER if expires_ms is None else expires_ms,
        earned_ms,
        points,
        order_id,
        rule_id,
        cause.store_id,
    )


def credit(book: Book, account: Account, totals: Totals, lot: Lot, *, again: bool = False) -> int:
    """Make the points of a lot available; debt is paid first. Return what became available.

    The lot must not exist yet; with `again`, the points are added to what may be left of it. Who
    credits a lot that is not alive lets it expire at once.
    """
    points = lot.points
    if again and account.flags:
        book.came_back.append(account)
    if totals.debt:
        paid = min(totals.debt, points)
        totals.debt -= paid
        points -= paid
        if not points:
            return 0
        lot.points = points
    totals.available += points
    expires_ms = lot.expires_ms
    if expires_ms < SLIDING_FROM:
        totals.expects(expires_ms, points)
    elif expires_ms != NEVER:
        slide_in(totals, expires_ms, points, lot.earned_ms)
        expires_ms = ends_ms(book.programme.calendar, account, totals, expires_ms)
    _put_lot(book, account, totals, lot, again)
    if book.programme.reminds:
        arm(book, account, lot.wallet, expires_ms)
    book.ring(account, expires_ms)
    return points


def take(
    book: Book, account: Account, wallet: str, totals: Totals, points: int, alive_ms: int
) -> list[Lot]:
    """Take available points in the order of spending, from lots alive after `alive_ms`.

    Returns the lots, each with the points taken from it. The caller has made sure that there
    are enough; if the lots then do not have them, the books are wrong.
    """
    taken: list[Lot] = []
    left = points
    over = sliding_over(book.programme.calendar, account, totals, alive_ms)
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        if not left:
            break
        expires_ms, earned_ms, lot_id = split_lot_key(key, size)
        if expires_ms <= alive_ms or expires_ms in over:
            continue
        lot = decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)
        part = min(lot.points, left)
        reduce(book, totals, key, lot, part)
        left -= part
        lot.points = part
        taken.append(lot)
    if left:
        raise ConservationBreach(account.member_id, wallet, points, points - left)
    look_ahead(book, account, wallet, totals)
    return taken


def reduce(book: Book, totals: Totals, key: bytes, lot: Lot, points: int) -> None:
    """Take points out of one spendable lot; an empty lot is gone."""
    if points == lot.points:
        book.state.delete(key)
    else:
        rest = lot.points
        lot.points = rest - points
        book.state.put(key, encode_lot(lot))
        lot.points = rest
    totals.available -= points
    totals.in_lots -= points
    totals.expects_less(lot.expires_ms, points)


def expiring(book: Book, account: Account, wallet: str, totals: Totals, alive_ms: int) -> int:
    """Return how many available points belong to lots that are not alive after a time."""
    points = 0
    if totals.slides:
        points = sum(sliding_over(book.programme.calendar, account, totals, alive_ms).values())
    if not totals.horizon or totals.horizon[0][0] > alive_ms:
        return points
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        if split_lot_key(key, size)[0] > alive_ms:
            break
        points += decode_list(value)[0]
    return points


def spendable(book: Book, account: Account, wallet: str, alive_ms: int) -> int:
    """Return how many available points of a wallet are alive after a time."""
    totals = account.wallets.get(wallet)
    if totals is None:
        return 0
    return totals.available - expiring(book, account, wallet, totals, alive_ms)


def overdue(book: Book, account: Account, totals: Totals) -> bool:
    """Tell whether a wallet has available points that are over by partition time."""
    if totals.horizon and totals.horizon[0][0] <= book.now_ms:
        return True
    return bool(sliding_over(book.programme.calendar, account, totals, book.now_ms))


def look_ahead(book: Book, account: Account, wallet: str, totals: Totals) -> None:
    """Sum the next expiry times anew where the known ones are used up.

    Must follow every debit at once: done later, what is stored would depend on where a batch
    ends.
    """
    if totals.horizon or not totals.beyond:
        return
    totals.beyond = False
    prefix = lots_prefix(account.member, wallet)
    size = len(prefix)
    horizon = totals.horizon
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        expires_ms, earned_ms, lot_id = split_lot_key(key, size)
        if expires_ms >= SLIDING_FROM:
            break
        lot = decode_lot(wallet, 0, expires_ms, earned_ms, lot_id, value)
        if horizon and horizon[-1][0] == expires_ms:
            horizon[-1][1] += lot.points
        elif len(horizon) == HORIZON:
            totals.beyond = True
            break
        else:
            horizon.append([expires_ms, lot.points])


def _put_lot(book: Book, account: Account, totals: Totals, lot: Lot, again: bool) -> None:
    """Write a spendable lot with the points that come into it."""
    key = lot_key(account.member, lot.wallet, lot.expires_ms, lot.earned_ms, lot.lot_id)
    totals.in_lots += lot.points
    value = book.state.get(key)
    if value is not None:
        if not again:
            raise _there_already(account, lot)
        lot.points += decode_list(value)[0]
    book.state.put(key, encode_lot(lot))


def _there_already(account: Account, lot: Lot) -> StateCorrupt:
    return StateCorrupt(f"a member has a lot {lot.lot_id!r} already")
