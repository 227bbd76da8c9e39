"""One account on its way into another: what has come, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import remembered_until_ms
from pointstream.ledger.decision import DeadLetter
from pointstream.ledger.leaving import MovedLot, emit_lots
from pointstream.ledger.records import Account, Lot

__all__ = ["Arrival"]


@dataclass(slots=True)
class Arrival:
    """What one message brings to a survivor."""

    book: Book
    account: Account
    cause: Cause
    old_id: str
    """The member who was merged."""
    lots: dict[str, list[MovedLot]] = field(default_factory=dict)
    """Lots that are there already, and that no entry tells of yet."""
    letters: list[DeadLetter] = field(default_factory=list)

    def came(self, lot: Lot, points: int, delta: int, in_lot: int | None) -> None:
        """Note that a lot has come: its points, what became available, what went into the lot."""
        self.book.totals(self.account, lot.wallet).transferred_in += points
        moved = MovedLot(lot.lot_id, lot.expires_ms, points, delta, in_lot)
        self.lots.setdefault(lot.wallet, []).append(moved)

    def tell(self) -> None:
        """Write the entries about the lots that have come, before anything else has entries."""
        for wallet, moved in self.lots.items():
            totals = self.book.totals(self.account, wallet)
            kind = MovementType.MERGED_IN
            emit_lots(
                self.book,
                self.account,
                wallet,
                totals,
                kind,
                moved,
                self.cause,
                counterparty_id=self.old_id,
            )
        self.lots.clear()

    def counts(self, key: bytes, value: bytes) -> bool:
        """Tell whether something remembered still counts, and the survivor has nothing there."""
        there = self.book.state.get(key)
        now_ms = self.book.now_ms
        return remembered_until_ms(value) > now_ms and (
            there is None or remembered_until_ms(there) <= now_ms
        )
