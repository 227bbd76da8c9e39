"""What an event of a member means to detectors elsewhere: the hook of `watching`.

It is called for every event that was taken. Most events tell nobody anything.
"""

from __future__ import annotations

from pointstream.contracts.detectors import Entity
from pointstream.contracts.inputs import MemberEvent, ReferralFirstOrder, ReferralRegistered
from pointstream.fraud.compile import Watchers
from pointstream.fraud.sighting import Sighting
from pointstream.fraud.watch import Watch
from pointstream.ledger.book import Book
from pointstream.ledger.crowds import see
from pointstream.ledger.notes import Note
from pointstream.ledger.referring import device_seen, refer
from pointstream.ledger.tallies import count, take_tallies

__all__ = ["take_notes", "tell_elsewhere"]


def tell_elsewhere(
    book: Book, event: MemberEvent, seen: Sighting, watchers: Watchers, watch: Watch
) -> bool:
    """Tell the owners of other keys what they must know of an event that was taken.

    Returns whether what is remembered of the member has changed.
    """
    elsewhere = watchers.elsewhere
    if elsewhere.tallies:
        count(book, event, seen, watchers)
    changed = False
    device, ip = event.device_id, event.ip
    if elsewhere.sees and (device is not None or ip is not None):
        if seen.type not in elsewhere.device_types:
            device = None
        if seen.type not in elsewhere.network_types:
            ip = None
        allow = watchers.allow
        if not allow.empty:
            if allow.of(Entity.DEVICE, device, seen.at_ms) is not None:
                device = None
            if allow.of(Entity.IP, ip, seen.at_ms) is not None:
                ip = None
        if device is not None or ip is not None:
            see(book, watch.presence, seen, device or "", ip or "", elsewhere)
            changed = True
    if elsewhere.refers:
        if isinstance(event, ReferralRegistered | ReferralFirstOrder):
            refer(book, seen.member_id, watch, event, seen.at_ms)
            changed = True
        if event.device_id is not None and watch.told:
            device_seen(book, seen.member_id, watch, event.device_id, seen.at_ms)
            changed = True
    return changed


def take_notes(book: Book) -> list[Note]:
    """Return what is to be told in few words, in order, and begin anew."""
    notes = [*book.notes, *take_tallies(book)]
    book.notes.clear()
    return notes
