"""One reversal in one wallet, by a confirmed flag: what it takes, and the entry that says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from pointstream.contracts.programme import RefundPolicy
from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book, LotChange, lot_change
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_lot,
    encode_lot,
    split_lot_key,
    split_pending_key,
)
from pointstream.ledger.moves import look_ahead, reduce, take
from pointstream.ledger.records import Account, Lot
from pointstream.ledger.state import lots_prefix, pending_prefix, prefix_stop
from pointstream.ledger.withheld import take_held

__all__ = ["Reversal"]


@dataclass(slots=True)
class Reversal:
    """What is reversed in one wallet of a member."""

    book: Book
    account: Account
    wallet: str
    moved: list[tuple[int, int, LotChange | None]] = field(default_factory=list)
    written_off: int = 0

    def pending(self, key: bytes, lot: Lot, points: int) -> None:
        """Reverse points of a pending lot."""
        totals = self.book.totals(self.account, self.wallet)
        totals.pending -= points
        totals.reversed += points
        lot.points -= points
        if lot.points:
            self.book.state.put(key, encode_lot(lot))
        else:
            self.book.state.delete(key)
        self.moved.append((points, 0, lot_change(lot.lot_id, -points, lot.expires_ms, self.book)))

    def held(self, lot: Lot, points: int) -> None:
        """Reverse held points of a lot, which have been taken out of their hold."""
        totals = self.book.totals(self.account, self.wallet)
        totals.held -= points
        totals.reversed += points
        # They left their lot when they were held.
        self.moved.append((points, 0, lot_change(lot.lot_id, 0, lot.expires_ms, self.book)))

    def lot(self, lot_id: str, wanted: int) -> tuple[int, int]:
        """Reverse points of one lot as far as they are there: spendable, held by flags, pending.

        Returns how many were there, and how many of them were pending.
        """
        book, account, wallet = self.book, self.account, self.wallet
        totals = book.totals(account, wallet)
        left = wanted
        prefix = lots_prefix(account.member, wallet)
        for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
            expires_ms, earned_ms, id_ = split_lot_key(key, len(prefix))
            if left and id_ == lot_id:
                lot = decode_lot(wallet, 0, expires_ms, earned_ms, id_, value)
                part = min(lot.points, left)
                reduce(book, totals, key, lot, part)
                totals.reversed += part
                left -= part
                self.moved.append((part, -part, lot_change(lot_id, -part, expires_ms, book)))
        look_ahead(book, account, wallet, totals)
        for lot in take_held(book, account, wallet, lot_id, left):
            left -= lot.points
            self.held(lot, lot.points)
        pending = 0
        prefix = pending_prefix(account.member, wallet)
        for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
            times = split_pending_key(key, len(prefix))
            if left and times[3] == lot_id:
                lot = decode_lot(wallet, *times, value)
                part = min(lot.points, left)
                self.pending(key, lot, part)
                pending += part
                left -= part
        return wanted - left, pending

    def claw_back(self, left: int) -> int:
        """Take points that are in their lots no more, as the programme's `refund_policy` says.

        Returns how many were taken, or became debt.
        """
        if not left:
            return 0
        book, account, wallet = self.book, self.account, self.wallet
        totals = book.totals(account, wallet)
        policy = book.programme.refund_policy
        owed = left
        if policy is not RefundPolicy.ONLY_PENDING and totals.available:
            points = min(left, totals.available)
            for lot in take(book, account, wallet, totals, points, 0):
                change = lot_change(lot.lot_id, -lot.points, lot.expires_ms, book)
                self.moved.append((lot.points, -lot.points, change))
            left -= points
        if left and policy is RefundPolicy.DEBT:
            totals.debt += left
            self.moved.append((left, 0, None))
            left = 0
        totals.written_off += left
        self.written_off += left
        totals.reversed += owed - left
        return owed - left

    def tell(self, flag_id: str, cause: Cause, order_id: str | None = None) -> None:
        """Write the entry, if there is anything to tell."""
        if self.written_off and not self.moved:
            # Nothing moved, but what could not be taken is told all the same.
            self.moved.append((0, 0, None))
        if self.moved:
            self.book.emit_split(
                self.account,
                self.wallet,
                self.book.totals(self.account, self.wallet),
                MovementType.REVERSED,
                self.moved,
                cause,
                written_off=self.written_off,
                order_id=order_id,
                flag_id=flag_id,
            )
