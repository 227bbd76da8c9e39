"""Commands that came to nothing in the end: what they were counted in forgets them.

A command that waits (for a second actor, for stock, for the other member's side) counts from when
it was taken, so that a script that gives a hundred at once is found out. One that is refused or
comes back is as if it had never been, in the windows of the member. What it told others stays: it
was tried at that device, and by that clerk.
"""

from __future__ import annotations

from pointstream.fraud.sighting import KIND_OF
from pointstream.fraud.watch import AT, EVENT_ID, KIND, POINTS
from pointstream.ledger.book import Book, CameToNothing
from pointstream.ledger.watching import watch_of, write_watch

__all__ = ["uncount"]


def uncount(book: Book) -> None:
    """Let what was refused since count no more."""
    for undone in book.undone:
        if not undone.account.closed:
            _forget(book, undone)
    book.undone.clear()


def _forget(book: Book, undone: CameToNothing) -> None:
    account, type_, event_id, at_ms, points = undone
    kind = KIND_OF.get(type_)
    watch = watch_of(book, account.member)
    if kind is None or not watch.until_ms:
        return
    changed = False
    for place, row in enumerate(watch.rows):
        if row[EVENT_ID] == event_id and row[KIND] == kind:
            at_ms, points, changed = row[AT], row[POINTS], True
            del watch.rows[place]
            break
    plan = None if at_ms is None else book.detectors.at(at_ms).plans.get(type_)
    for name, bucket_ms, keep, column in plan.counters if plan is not None else ():
        assert at_ms is not None
        bucket, value = at_ms // bucket_ms, 1 if column is None else points
        # A command names points, and no money.
        if column in (None, POINTS) and 0 < value <= dict(watch.counted(name)).get(bucket, 0):
            watch.count(name, bucket, -value, keep)
            changed = True
    if changed:
        # It prolongs nothing: when an answer came depends on where a batch ended.
        write_watch(book, account.member, watch, watch.until_ms)
