"""What an event of a member means to detectors elsewhere: the hook of `watching`.

It is called for every event that was taken. Most events tell nobody anything.
"""

from __future__ import annotations

from pointstream.contracts.inputs import MemberEvent, ReferralFirstOrder, ReferralRegistered
from pointstream.fraud.compile import Plan, Watchers
from pointstream.fraud.sighting import Sighting
from pointstream.fraud.watch import DEVICE, IP, Row, Watch
from pointstream.ledger.book import Book
from pointstream.ledger.crowds import see
from pointstream.ledger.notes import Note
from pointstream.ledger.referring import device_seen, refer
from pointstream.ledger.tallies import count, take_tallies

__all__ = ["take_notes", "tell_elsewhere"]


def tell_elsewhere(
    book: Book,
    event: MemberEvent,
    seen: Sighting,
    row: Row | None,
    watchers: Watchers,
    plan: Plan,
    watch: Watch,
) -> bool:
    """Tell the owners of other keys what they must know of an event that was taken.

    `row` is what the member remembers of it. Returns whether it remembers anything more.
    """
    changed = plan.tallied and count(book, event, seen, watchers, watch)
    if row is not None:
        elsewhere = watchers.elsewhere
        device, ip = row[DEVICE], row[IP]
        if plan.at_device and device is not None:
            known = watch.devices[device]
            see(book, watch, seen.member_id, row, "d" + device, known, elsewhere.at_devices)
        if plan.in_network and ip is not None:
            known = watch.addresses[ip]
            see(book, watch, seen.member_id, row, "i" + ip, known, elsewhere.in_networks)
    # One class and not the union of two: models answer `isinstance` in Python.
    if plan.refers and (type(event) is ReferralRegistered or type(event) is ReferralFirstOrder):
        refer(book, seen.member_id, watch, event, seen.at_ms)
        changed = True
    device = event.device_id
    if device is not None and watchers.elsewhere.refers and watch.has_rest:
        changed |= device_seen(book, seen.member_id, watch, device, seen.at_ms)
    return changed


def take_notes(book: Book) -> list[Note]:
    """Return what is to be told in few words, in order, and begin anew."""
    notes = [*book.notes, *take_tallies(book)]
    book.notes.clear()
    return notes
