"""What an event of a member means to detectors elsewhere: the hook of `watching`.

It is called for every event that was taken. Most events tell nobody anything.
"""

from __future__ import annotations

from pointstream.contracts.detectors import Entity
from pointstream.contracts.inputs import MemberEvent, ReferralFirstOrder, ReferralRegistered
from pointstream.fraud.compile import Plan, Watchers
from pointstream.fraud.sighting import Sighting
from pointstream.fraud.watch import Watch
from pointstream.ledger.book import Book
from pointstream.ledger.crowds import see
from pointstream.ledger.notes import Note
from pointstream.ledger.referring import device_seen, refer
from pointstream.ledger.tallies import count, take_tallies

__all__ = ["take_notes", "tell_elsewhere"]


def tell_elsewhere(
    book: Book, event: MemberEvent, seen: Sighting, watchers: Watchers, plan: Plan, watch: Watch
) -> bool:
    """Tell the owners of other keys what they must know of an event that was taken.

    Returns whether what is remembered of the member has changed.
    """
    changed = plan.tallied and count(book, event, seen, watchers, watch)
    device = event.device_id if plan.at_device else None
    ip = event.ip if plan.in_network else None
    if device is not None or ip is not None:
        if watchers.allows:
            allow = watchers.allow
            if allow.of(Entity.DEVICE, device, seen.at_ms) is not None:
                device = None
            if allow.of(Entity.IP, ip, seen.at_ms) is not None:
                ip = None
        if device is not None or ip is not None:
            see(book, watch.presence, seen, device or "", ip or "", watchers.elsewhere)
            changed = True
    if plan.refers:
        # One class and not the union of two: models answer `isinstance` in Python.
        if type(event) is ReferralRegistered or type(event) is ReferralFirstOrder:
            refer(book, seen.member_id, watch, event, seen.at_ms)
            changed = True
        if event.device_id is not None and ("to" in watch.told or "by" in watch.told):
            device_seen(book, seen.member_id, watch, event.device_id, seen.at_ms)
            changed = True
    return changed


def take_notes(book: Book) -> list[Note]:
    """Return what is to be told in few words, in order, and begin anew."""
    notes = [*book.notes, *take_tallies(book)]
    book.notes.clear()
    return notes
