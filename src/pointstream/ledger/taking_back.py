"""Taking back what a confirmed flag is about: under review, held, or gone already.

What is there for the flag is reversed. What of its evidence was sent to other members is followed
there (`lineage`). What was spent is taken as the programme's `refund_policy` says: not at all, out
of what else is there, or as a debt; what cannot be taken is written off.

A lot's award or, without an order, what is kept behind the event's id says how much of it is left
to take: nothing that refunds, expiry or another review had is taken again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pointstream.contracts.programme import RefundPolicy
from pointstream.ledger.book import Book
from pointstream.ledger.caps import make_room
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import encode_order
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.given import Given, given_by, keep_taken
from pointstream.ledger.lineage import follow, unearn
from pointstream.ledger.messages import Message
from pointstream.ledger.progress import count
from pointstream.ledger.records import Account, Award, Lot, Order
from pointstream.ledger.reversing import Reversal
from pointstream.ledger.shares import Share, drop_share
from pointstream.ledger.sliding import ends_ms
from pointstream.ledger.state import order_key
from pointstream.ledger.underway import refuse_under_way
from pointstream.ledger.withheld import end_hold, free_lots, under_review

__all__ = ["line_unearned", "take_back"]

_SENT_FROM = "points"


@dataclass(slots=True)
class _Lot:
    """One lot that is taken back."""

    lot_id: str
    order_id: str | None
    pending: int = 0
    """Points of it that were pending and are reversed."""
    other: int = 0
    """Points of it that were active, and are reversed."""
    held: list[Lot] = field(default_factory=list)
    """What the flag held of it, until it is known how much of that is to be taken."""
    given: Given | None = None


@dataclass(slots=True)
class _Wallet:
    """What is taken back in one wallet."""

    reversal: Reversal
    lots: dict[str, _Lot] = field(default_factory=dict)
    free: list[Lot] = field(default_factory=list)
    """Held points that are not to be taken."""

    def lot(self, lot_id: str, order_id: str | None) -> _Lot:
        return self.lots.setdefault(lot_id, _Lot(lot_id, order_id))


class _TakingBack:
    """What one member has to give back by one flag."""

    def __init__(self, book: Book, account: Account, flag_id: str, cause: Cause) -> None:
        self.book = book
        self.account = account
        self.flag_id = flag_id
        self.cause = cause
        self.wallets: dict[str, _Wallet] = {}

    def wallet(self, wallet: str) -> _Wallet:
        part = self.wallets.get(wallet)
        if part is None:
            reversal = Reversal(self.book, self.account, wallet)
            part = self.wallets[wallet] = _Wallet(reversal)
        return part

    def out_of_review(self) -> None:
        """Reverse what is under review for the flag, whatever other flags it is under."""
        for wallet in list(self.account.wallets):
            lots = under_review(self.book, self.account, wallet, self.flag_id)
            for key, lot in lots:
                part = self.wallet(wallet)
                points = lot.points
                part.lot(lot.lot_id, lot.order_id).pending += points
                part.reversal.pending(key, lot, points)

    def out_of_hold(self, hold_id: str, wallet: str) -> None:
        """End a hold of the flag."""
        part = self.wallet(wallet)
        for lot in end_hold(self.book, self.account, hold_id, wallet):
            part.lot(lot.lot_id, lot.order_id).held.append(lot)

    def given(self, event_id: str, *, from_lots: bool = False) -> None:
        """Note what an event gave, and reverse what of it is in its lots if that is asked."""
        rows = given_by(self.book, self.account, event_id)
        for row in rows:
            part = self.wallet(row.wallet)
            lot = part.lot(row.lot_id, row.order_id)
            lot.given = row
            if from_lots:
                there, pending = part.reversal.lot(row.lot_id, row.points)
                lot.pending += pending
                lot.other += there - pending
        if rows:
            # What is taken back now, none takes again.
            keep_taken(self.book, self.account, event_id, rows)

    def finish(self) -> None:
        """Take what is missing, and tell."""
        for wallet, part in self.wallets.items():
            for lot in part.lots.values():
                if lot.order_id is not None:
                    self._of_order(wallet, part, lot, lot.order_id)
                else:
                    self._of_event(wallet, part, lot)
            orders = {lot.order_id for lot in part.lots.values()}
            order_id = orders.pop() if len(orders) == 1 else None
            part.reversal.tell(self.flag_id, self.cause, order_id)
            free_lots(self.book, self.account, wallet, part.free, self.flag_id, self.cause)

    def _out_of_held(self, part: _Wallet, lot: _Lot, most: int | None) -> None:
        """Reverse what was held of a lot, but no more than is to be taken of it; free the rest.

        More can be there: a refund may have taken other points while a till had these reserved.
        """
        for held in lot.held:
            points = held.points if most is None else min(held.points, most - lot.other)
            if points:
                lot.other += points
                part.reversal.held(held, points)
            if held.points > points:
                part.free.append(replace(held, points=held.points - points))

    def _of_order(self, wallet: str, part: _Wallet, lot: _Lot, order_id: str) -> None:
        """Settle what an order's award gave: refunds ask back no more of it."""
        book, account = self.book, self.account
        order = book.order(account.member, order_id)
        awards = order.awards if order is not None else ()
        award = next((award for award in awards if award.lot_id == lot.lot_id), None)
        if order is None or award is None:
            self._out_of_held(part, lot, None)
            return
        left = award.points - award.settled - award.expired - lot.pending
        # With `only_pending` no refund has taken what was active, wherever it was.
        leaves = book.programme.refund_policy is RefundPolicy.ONLY_PENDING
        self._out_of_held(part, lot, None if leaves else max(0, left))
        taken = lot.pending + lot.other
        left = max(0, award.points - award.settled - award.expired - taken)
        award.settled += taken + left
        taken += self._missing(wallet, part, lot, left)
        reward = book.rule_set(award.ruleset_hash).orders[award.rule_id]
        make_room(book, account.member, reward.caps, taken, order.earned_ms)
        self._uncount(order, award, lot)
        book.state.put(order_key(account.member, order_id), encode_order(order))

    def _uncount(self, order: Order, award: Award, lot: _Lot) -> None:
        """Take off the progress towards a tier what the award has counted and still does."""
        lost = award.points - award.uncounted - lot.pending
        award.uncounted = award.points
        counted = lost > 0 and award.expires_ms > award.activates_ms
        if counted and award.wallet in self.book.programme.measured_in:
            count(
                self.book,
                self.account,
                award.wallet,
                -lost,
                order.earned_ms,
                self.cause,
                order.taken_ms,
            )

    def _of_event(self, wallet: str, part: _Wallet, lot: _Lot) -> None:
        """Take what is missing of what an event without an order gave."""
        book, account, given = self.book, self.account, lot.given
        self._out_of_held(part, lot, None if given is None else max(0, given.points - lot.pending))
        if given is None or not given.points:
            return
        taken = lot.pending + lot.other
        left = max(0, given.points - taken)
        totals = book.totals(account, wallet)
        if ends_ms(book.programme.calendar, account, totals, given.expires_ms) <= book.now_ms:
            # What has expired is gone; how much of it was spent before is not known any more.
            left = 0
        taken += self._missing(wallet, part, lot, left)
        make_room(book, account.member, given.caps(book), taken, given.earned_ms)
        if wallet in book.programme.measured_in and given.measured and not lot.pending:
            count(book, account, wallet, -given.points, given.earned_ms, self.cause)

    def _missing(self, wallet: str, part: _Wallet, lot: _Lot, left: int) -> int:
        """Follow what was sent on, and take the rest here; return how much was taken here."""
        if left and wallet == _SENT_FROM:
            root = self.account.member_id
            left -= follow(
                self.book, self.account, lot.lot_id, left, self.flag_id, self.cause, root
            )
        return part.reversal.claw_back(left)


def take_back(book: Book, account: Account, share: Share, cause: Cause) -> None:
    """End a share by a rejection: reverse the points of its evidence, and what descended."""
    drop_share(book, account, share)
    if not share.holds_back:
        return
    taking = _TakingBack(book, account, share.flag_id, cause)
    taking.out_of_review()
    for hold_id, wallet in share.holds.items():
        taking.out_of_hold(hold_id, wallet)
    events = dict.fromkeys(share.bases.values())
    for event_id in events:
        taking.given(event_id)
    refuse_under_way(book, account.member, events)
    taking.finish()
    unearn(book, account, share.flag_id, cause)


def line_unearned(book: Book, message: Message, source: Source) -> Decision:
    """Take back what was earned by referring a member of a confirmed flag."""
    member_id, body = message.to or "", message.body
    account = book.account(member_id, member_id.encode())
    if account.erased:
        return Decision(Outcome.NOTHING_DESCENDED)
    cause = Cause.of_fields(account.member, body["cause"])
    taking = _TakingBack(book, account, body["flag_id"], cause)
    taking.given(body["event_id"], from_lots=True)
    taking.finish()
    return Decision(Outcome.DESCENT_REVERSED)
