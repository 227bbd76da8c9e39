"""What each event gave, for as long as the event's id is remembered: what a review takes back.

A flag can come when the points of its evidence have been spent or sent on. How many there were is
kept behind the event's remembered id, where detectors are in use. Of an order its award says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pointstream.contracts.wire import dumps, loads
from pointstream.ledger.book import Book
from pointstream.ledger.records import Account, Lot
from pointstream.rules.model import CompiledCap, Reward

__all__ = ["Given", "given_by", "given_rows", "keep_given", "keep_taken", "note_given"]


@dataclass(slots=True)
class Given:
    """One lot that an event made."""

    lot_id: str
    wallet: str
    points: int
    """What it gave, less what reviews have taken back."""
    earned_ms: int
    expires_ms: int
    order_id: str | None = None
    """With an order, its award knows the rest."""
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
    row: list[Any] = [lot.lot_id, lot.wallet, lot.points, lot.earned_ms, lot.expires_ms]
    if lot.order_id is not None:
        row.append(lot.order_id)
    elif reward is None:
        row += [None, None, None, False]
    elif reward.caps:
        row += [None, reward.ruleset_hash, reward.rule_id]
    book.given.append((account.member, event_id, row))


def given_rows(book: Book, member: bytes, event_id: str) -> list[bytes]:
    """Return what was noted of an event that is about to be remembered: it is written with it."""
    rows: list[bytes] = []
    others: list[tuple[bytes, str, list[Any]]] = []
    for each in book.given:
        if each[1] == event_id and each[0] == member:
            rows.append(dumps(each[2]))
        else:
            others.append(each)
    book.given = others
    return rows


def keep_given(book: Book) -> None:
    """Write what was noted besides, behind the ids of the events."""
    for member, event_id, row in book.given:
        book.memory.add_given(member, event_id, dumps(row))
    book.given = []


def given_by(book: Book, account: Account, event_id: str) -> list[Given]:
    """Return what is known of an event's lots."""
    return [Given(*loads(row)) for row in book.memory.given(account.member, event_id)]


def keep_taken(book: Book, account: Account, event_id: str, given: list[Given]) -> None:
    """Note that all an event gave has been taken back. That it has stays known: a part of a lot
    can come back into it later."""
    rows = [
        dumps([one.lot_id, one.wallet, 0, one.earned_ms, one.expires_ms, one.order_id])
        for one in given
    ]
    book.memory.replace_given(account.member, event_id, rows)
