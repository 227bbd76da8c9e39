"""Points that wait until others than the member's own partition have judged their event.

Detectors of devices, networks, shops and referrers find something a moment after the event was
taken (`telling`). Until the set's `pending_window` is over, counted in partition time from when the
event was taken and not from its date, its points are pending: a flag that comes by then finds all
of them. A wallet's later activation stands. What would be over by the end of the window does not
wait: it would never be anybody's.
"""

from __future__ import annotations

from pointstream.contracts.detectors import Entity
from pointstream.contracts.inputs import CommandEnvelope, MemberEvent
from pointstream.contracts.vocabulary import Role
from pointstream.fraud.waits import Waits
from pointstream.ledger.book import Book
from pointstream.ledger.records import Lot, Order

__all__ = ["judged_by_ms", "let_wait", "wait_for_others"]


def let_wait(book: Book, event: MemberEvent, occurred_ms: int, waits: Waits) -> None:
    """Let the points of the event that is about to be handled wait, if others may judge it."""
    allow = book.detectors.at(occurred_ms).allow
    wait_ms = waits.always_ms
    for entity, entity_id, entity_ms in (
        (Entity.DEVICE, event.device_id, waits.device_ms),
        (Entity.IP, event.ip, waits.ip_ms),
        (Entity.STORE, event.store_id, waits.store_ms),
    ):
        longer = entity_id is not None and entity_ms > wait_ms
        if longer and allow.of(entity, entity_id, occurred_ms) is None:
            wait_ms = entity_ms
    if waits.staff_ms > wait_ms and isinstance(event, CommandEnvelope):
        actor = event.actor
        if actor.role is Role.STORE and allow.of(Entity.STAFF, actor.id, occurred_ms) is None:
            wait_ms = waits.staff_ms
    if wait_ms:
        book.wait_until_ms = book.now_ms + wait_ms


def wait_for_others(book: Book, lot: Lot) -> bool:
    """Let a new lot of the event being handled wait, if it is to; tell whether it does."""
    until_ms = book.wait_until_ms
    if until_ms <= lot.activates_ms or lot.expires_ms <= until_ms:
        return False
    if not book.programme.wallets[lot.wallet].spendable:
        return False
    lot.activates_ms = until_ms
    return True


def judged_by_ms(book: Book, name: str, order: Order) -> int:
    """Return by when everybody has judged the event that made an order, whatever it named."""
    waits = book.detectors.at(order.earned_ms).waits.get(name)
    return 0 if waits is None else order.taken_ms + waits.most_ms
