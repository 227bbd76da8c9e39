"""Taking back what a confirmed flag is about: under review, held, or gone already.

What is there for the flag is reversed. What of its evidence was spent is taken as the programme's
`refund_policy` says: not at all, out of what else is there, or as a debt; what cannot be taken is
written off. What was sent to other members is followed there (`lineage`).

A lot's award or, without an order, what is kept behind the event's id says how much of it is left
to take: nothing that refunds, expiry or another review had is taken again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pointstream.contracts.programme import RefundPolicy
from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.caps import make_room
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import encode_order
from pointstream.ledger.given import Given, given_by, rewrite_given
from pointstream.ledger.moves import look_ahead, take
from pointstream.ledger.progress import count
from pointstream.ledger.records import Account, Award, Order
from pointstream.ledger.shares import Share, drop_share
from pointstream.ledger.sliding import ends_ms
from pointstream.ledger.state import order_key
from pointstream.ledger.withheld import end_hold, under_review

__all__ = ["take_back"]


@dataclass(slots=True)
class _Lot:
    """One lot that a flag is about."""

    lot_id: str
    order_id: str | None
    pending: int = 0
    """Points that were under review."""
    held: int = 0
    given: Given | None = None


@dataclass(slots=True)
class _Wallet:
    """What is reversed in one wallet."""

    lots: dict[str, _Lot] = field(default_factory=dict)
    moved: list[tuple[int, int, LotChange | None]] = field(default_factory=list)
    written_off: int = 0

    def lot(self, lot_id: str, order_id: str | None) -> _Lot:
        return self.lots.setdefault(lot_id, _Lot(lot_id, order_id))


def take_back(book: Book, account: Account, share: Share, cause: Cause) -> None:
    """End a share by a rejection: reverse the points of its evidence."""
    drop_share(book, account, share)
    wallets: dict[str, _Wallet] = {}
    for wallet in account.wallets:
        _out_of_review(book, account, share, wallet, wallets.setdefault(wallet, _Wallet()))
    for hold_id, wallet in share.holds.items():
        _out_of_hold(book, account, hold_id, wallet, wallets[wallet])
    if share.holds_back:
        _note_given(book, account, share, wallets)
    for wallet, part in wallets.items():
        for lot in part.lots.values():
            if lot.order_id is not None:
                _of_order(book, account, wallet, part, lot, lot.order_id, cause)
            else:
                _of_event(book, account, wallet, part, lot, cause)
        _emit(book, account, wallet, part, share.flag_id, cause)


def _out_of_review(book: Book, account: Account, share: Share, wallet: str, part: _Wallet) -> None:
    totals = account.wallets[wallet]
    for key, lot in under_review(book, account, wallet, share.flag_id):
        # Whatever other flags it is under: it is reversed once.
        book.state.delete(key)
        totals.pending -= lot.points
        totals.reversed += lot.points
        part.lot(lot.lot_id, lot.order_id).pending += lot.points
        change = lot_change(lot.lot_id, -lot.points, lot.expires_ms, book)
        part.moved.append((lot.points, 0, change))


def _out_of_hold(book: Book, account: Account, hold_id: str, wallet: str, part: _Wallet) -> None:
    totals = account.wallets[wallet]
    for lot in end_hold(book, account, hold_id, wallet):
        totals.held -= lot.points
        totals.reversed += lot.points
        part.lot(lot.lot_id, lot.order_id).held += lot.points
        # The points left their lot when they were held.
        part.moved.append((lot.points, 0, lot_change(lot.lot_id, 0, lot.expires_ms, book)))


def _note_given(book: Book, account: Account, share: Share, wallets: dict[str, _Wallet]) -> None:
    """Note what the evidence gave; what a review takes back now, none takes again."""
    for event_id in share.bases.values():
        given = given_by(book, account, event_id)
        for one in given:
            part = wallets.setdefault(one.wallet, _Wallet())
            part.lot(one.lot_id, one.order_id).given = one
        if given:
            rewrite_given(book, account, event_id, [])


def _of_order(
    book: Book,
    account: Account,
    wallet: str,
    part: _Wallet,
    lot: _Lot,
    order_id: str,
    cause: Cause,
) -> None:
    """Settle what an order's award gave: refunds ask back no more of it."""
    order = book.order(account.member, order_id)
    if order is None:
        return
    award = next((award for award in order.awards if award.lot_id == lot.lot_id), None)
    if award is None:
        return
    taken = lot.pending + lot.held
    left = max(0, award.points - award.settled - award.expired - taken)
    award.settled += taken + left
    taken += _claw_back(book, account, wallet, part, left)
    reward = book.rule_set(award.ruleset_hash).orders[award.rule_id]
    make_room(book, account.member, reward.caps, taken, order.earned_ms)
    _uncount(book, account, order, award, lot, cause)
    book.state.put(order_key(account.member, order_id), encode_order(order))


def _uncount(
    book: Book, account: Account, order: Order, award: Award, lot: _Lot, cause: Cause
) -> None:
    """Take off the progress towards a tier what the award has counted there and still does."""
    lost = award.points - award.uncounted - lot.pending
    award.uncounted = award.points
    counted = lost > 0 and award.expires_ms > award.activates_ms
    if counted and award.wallet in book.programme.measured_in:
        count(book, account, award.wallet, -lost, order.earned_ms, cause, order.taken_ms)


def _of_event(
    book: Book, account: Account, wallet: str, part: _Wallet, lot: _Lot, cause: Cause
) -> None:
    """Take what is missing of what an event without an order gave."""
    given, taken = lot.given, lot.pending + lot.held
    if given is None:
        return
    left = max(0, given.points - taken)
    ends = ends_ms(book.programme.calendar, account, book.totals(account, wallet), given.expires_ms)
    if ends <= book.now_ms:
        # What has expired is gone; how much of it was spent before is not known any more.
        left = 0
    taken += _claw_back(book, account, wallet, part, left)
    make_room(book, account.member, given.caps(book), taken, given.earned_ms)
    if wallet in book.programme.measured_in and not lot.pending:
        count(book, account, wallet, -given.points, given.earned_ms, cause)


def _claw_back(book: Book, account: Account, wallet: str, part: _Wallet, left: int) -> int:
    """Take points that are not in their lots any more; return how many were taken."""
    if not left:
        return 0
    totals = book.totals(account, wallet)
    policy = book.programme.refund_policy
    owed = left
    if policy is not RefundPolicy.ONLY_PENDING and totals.available:
        points = min(left, totals.available)
        for lot in take(book, account, wallet, totals, points, 0):
            change = lot_change(lot.lot_id, -lot.points, lot.expires_ms, book)
            part.moved.append((lot.points, -lot.points, change))
        left -= points
    if left and policy is RefundPolicy.DEBT:
        totals.debt += left
        part.moved.append((left, 0, None))
        left = 0
    totals.written_off += left
    part.written_off += left
    totals.reversed += owed - left
    look_ahead(book, account, wallet, totals)
    return owed - left


def _emit(
    book: Book, account: Account, wallet: str, part: _Wallet, flag_id: str, cause: Cause
) -> None:
    if part.written_off and not part.moved:
        # Nothing moved, but what could not be taken is told all the same.
        part.moved.append((0, 0, None))
    if not part.moved:
        return
    orders = {lot.order_id for lot in part.lots.values()}
    book.emit_split(
        account,
        wallet,
        account.wallets[wallet],
        MovementType.REVERSED,
        part.moved,
        cause,
        written_off=part.written_off,
        order_id=orders.pop() if len(orders) == 1 else None,
        flag_id=flag_id,
    )
