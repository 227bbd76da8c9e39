"""What each event gave, for as long as the event's id is remembered: what a review takes back.

A flag can come when the points of its evidence have been spent or sent on. How many there were is
kept behind the event's remembered id, where detectors are in use. Of an order its award says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pointstream.contracts.wire import dumps, loads
from pointstream.ledger.book import Book
from pointstream.ledger.records import Account, Lot
from pointstream.rules.model import CompiledCap, Reward

__all__ = ["Given", "given_by", "given_rows", "keep_given", "keep_taken", "note_given"]

_ROW_OF_ORDER: Final = 4
"""So short is what is kept of a lot of an order; of others it is longer."""


@dataclass(slots=True)
class Given:
    """One lot that an event made."""

    lot_id: str
    wallet: str
    points: int
    """What it gave, less what reviews have taken back."""
    earned_ms: int = 0
    expires_ms: int = 0
    order_id: str | None = None
    """With an order, its award knows the rest, these two times as well."""
    ruleset_hash: str | None = None
    """Of a rule that has caps."""
    rule_id: str | None = None
    measured: bool = True
    """Whether it counts towards a tier, as what rules give does."""

    def caps(self, book: Book) -> tuple[CompiledCap, ...]:
        """Return the caps that have counted it, as far as the rule set is still known."""
        if self.ruleset_hash is None or self.rule_id is None:
            return ()
        rule_set = book.known_rule_set(self.ruleset_hash)
        reward = rule_set.rewards.get(self.rule_id) if rule_set is not None else None
        return () if reward is None else reward.caps


def note_given(
    book: Book, account: Account, event_id: str | None, lot: Lot, reward: Reward | None
) -> None:
    """Note a lot that an event has just made, by a rule or by hand. `keep_given` follows when the
    record is done."""
    if event_id is None:
        return
    row = _row(lot, lot.points)
    if lot.order_id is None:
        if reward is None:
            row += [None, None, None, False]
        elif reward.caps:
            row += [None, reward.ruleset_hash, reward.rule_id]
    book.given.setdefault((account.member, event_id), []).append(dumps(row))


def given_rows(book: Book, member: bytes, event_id: str) -> Sequence[bytes]:
    """Return what was noted of an event that is about to be remembered: it is written with it."""
    return book.given.pop((member, event_id), ())


def keep_given(book: Book) -> None:
    """Write what was noted besides, behind the ids of the events."""
    for (member, event_id), rows in book.given.items():
        for row in rows:
            book.memory.add_given(member, event_id, row)
    book.given.clear()


def given_by(book: Book, account: Account, event_id: str) -> list[Given]:
    """Return what is known of an event's lots."""
    return [_given(loads(row)) for row in book.memory.given(account.member, event_id)]


def keep_taken(book: Book, account: Account, event_id: str, given: list[Given]) -> None:
    """Note that all an event gave has been taken back. That it has stays known: a part of a lot
    can come back into it later."""
    rows = [dumps(_row(one, 0)) for one in given]
    book.memory.replace_given(account.member, event_id, rows)


def _row(lot: Lot | Given, points: int) -> list[Any]:
    if lot.order_id is not None:
        return [lot.lot_id, lot.wallet, points, lot.order_id]
    return [lot.lot_id, lot.wallet, points, lot.earned_ms, lot.expires_ms]


def _given(row: list[Any]) -> Given:
    if len(row) == _ROW_OF_ORDER:
        lot_id, wallet, points, order_id = row
        return Given(lot_id, wallet, points, order_id=order_id)
    return Given(*row)
