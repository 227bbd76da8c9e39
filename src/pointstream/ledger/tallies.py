"""What a shop awards, and what its staff do: sums by hour or day, kept by the owner of the shop.

A partition adds up what its members got through a shop, and tells it once per transaction. The
owner keeps the sums of the latest buckets, with the `EVIDENCE_MAX` largest events of the latest
`EVIDENCE_BUCKETS`, and holds a bucket against the detector when something comes into it. Of a
detector that is not in force any more it keeps nothing for longer than a day and the next tally.
"""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.detectors import Entity, SpikeDetector
from pointstream.contracts.inputs import CommandEnvelope, MemberEvent
from pointstream.contracts.vocabulary import EntityKind, Role
from pointstream.contracts.wire import dumps
from pointstream.fraud.baseline import threshold
from pointstream.fraud.compile import Watchers
from pointstream.fraud.elsewhere import Tallied
from pointstream.fraud.sighting import Sighting
from pointstream.fraud.watch import SUM_MAX, Watch, keep_latest
from pointstream.fraud.windows import busiest_run
from pointstream.fraud.words import amount, span
from pointstream.ledger.book import Book
from pointstream.ledger.codec import remembered, remembered_body, remembered_until_ms
from pointstream.ledger.notes import Note
from pointstream.ledger.state import entity_key
from pointstream.ledger.suspected import suspect
from pointstream.ledger.suspicion import Suspicion, owner_key

__all__ = [
    "EVIDENCE_BUCKETS",
    "EVIDENCE_MAX",
    "SHOPPER_RENAMED",
    "TALLY",
    "count",
    "rename_at_shops",
    "take_shopper_renamed",
    "take_tallies",
    "take_tally",
]

TALLY: Final = "tally"
SHOPPER_RENAMED: Final = "shopper.renamed"
EVIDENCE_MAX: Final = 50
EVIDENCE_BUCKETS: Final = 3

_DAY_MS: Final = 86_400_000
_SHOPS: Final = "shops"
"""The shops and staff that a member remembers, for they may have it in their evidence."""

Evidence = list[Any]
"""Amount, member_id, event_id."""


def count(book: Book, event: MemberEvent, seen: Sighting, watchers: Watchers, watch: Watch) -> bool:
    """Add what one event brought to what the owners will be told, where a detector counts it.

    Returns whether the member remembers more: who was told, for the case that it is renamed.
    """
    told = False
    elsewhere = watchers.elsewhere
    rows = elsewhere.stores_by_type.get(seen.type)
    if rows is not None and event.store_id is not None:
        told = _add(book, rows, EntityKind.STORE, event.store_id, seen, watchers, watch)
    rows = elsewhere.staff_by_type.get(seen.type)
    if rows is not None and isinstance(event, CommandEnvelope) and event.actor.role is Role.STORE:
        told |= _add(book, rows, EntityKind.STAFF, event.actor.id, seen, watchers, watch)
    return told


def take_tallies(book: Book) -> list[Note]:
    """Return what has been added up as notes, and begin anew."""
    notes = [
        [owner, TALLY, detector, bucket, total, at_ms, _largest(evidence), now_ms]
        for (owner, detector, bucket), (total, at_ms, evidence, now_ms) in book.tallies.items()
    ]
    book.tallies.clear()
    return notes


def _add(
    book: Book,
    rows: list[Tallied],
    kind: EntityKind,
    entity_id: str,
    seen: Sighting,
    watchers: Watchers,
    watch: Watch,
) -> bool:
    at_ms = seen.at_ms
    if watchers.allow.of(Entity(kind.value), entity_id, at_ms) is not None:
        return False
    owner = owner_key(kind, entity_id)
    added = False
    for tallied in rows:
        value = tallied.weight(seen)
        if value <= 0:
            continue
        key = (owner, tallied.detector.id, at_ms // tallied.bucket_ms)
        row = book.tallies.get(key)
        if row is None:
            row = book.tallies[key] = [0, 0, [], 0]
        row[0] += value
        if at_ms > row[1]:
            row[1] = at_ms
        row[3] = book.now_ms
        evidence: list[Evidence] = row[2]
        evidence.append([value, seen.member_id, seen.event_id])
        if len(evidence) > 8 * EVIDENCE_MAX:
            row[2] = _largest(evidence)
        added = True
    if not added or (watch.has_rest and owner in watch.rest_as_is.told.get(_SHOPS, ())):
        return False
    shops = watch.rest.told.setdefault(_SHOPS, {})
    shops[owner] = at_ms
    keep_latest(shops)
    return True


def rename_at_shops(book: Book, watch: Watch, member_id: str, name: str) -> None:
    """Let another name stand for a member in the evidence of shops and staff."""
    shops = watch.rest.told.get(_SHOPS, ())
    # What is not told yet follows the notes.
    for (owner, _, _), (_, _, evidence, _) in book.tallies.items():
        if owner in shops:
            _rename(evidence, member_id, name)
    for owner in shops:
        book.notes.append([owner, SHOPPER_RENAMED, member_id, name])


def take_shopper_renamed(book: Book, note: Note) -> None:
    """Let another name stand for a member in the evidence of a shop."""
    owner, _, member_id, name = note
    key = entity_key(owner)
    value = book.state.get(key)
    if value is None or remembered_until_ms(value) <= book.now_ms:
        return
    (known,) = remembered_body(value)
    for _, shown in known.values():
        for row in shown:
            _rename(row[1], member_id, name)
            row[1] = _largest(row[1])
    book.state.put(key, remembered(remembered_until_ms(value), dumps([known])))


def _rename(evidence: list[Evidence], member_id: str, name: str) -> None:
    for row in evidence:
        if row[1] == member_id:
            row[1] = name


def take_tally(book: Book, note: Note) -> None:
    """Add what came through a shop to its sums, and hold them against the detector."""
    owner, _, detector_id, bucket, total, at_ms, evidence, now_ms = note
    _, kind, entity_id = owner.split("\x01", 2)
    elsewhere = book.detectors.at(at_ms).elsewhere
    rows = elsewhere.store if kind == EntityKind.STORE else elsewhere.staff
    tallied = next((row for row in rows if row.detector.id == detector_id), None)
    if tallied is None:
        return
    key = entity_key(owner)
    value = book.state.get(key)
    known: dict[str, list[Any]] = {}
    until_ms = max(now_ms, at_ms) + (tallied.keep + 1) * tallied.bucket_ms + _DAY_MS
    if value is not None and remembered_until_ms(value) > book.now_ms:
        known = remembered_body(value)[0]
        until_ms = max(until_ms, remembered_until_ms(value))
    _forget(book, known, EntityKind(kind), max(now_ms, at_ms))
    sums, shown = known.pop(detector_id, [[], []])
    known[detector_id] = [sums, shown]
    if not _count(sums, bucket, total, tallied.keep):
        return
    seen = next((row for row in shown if row[0] == bucket), None)
    if seen is None:
        seen = [bucket, []]
        shown.append(seen)
        shown.sort()
        del shown[:-EVIDENCE_BUCKETS]
    seen[1] = _largest([*seen[1], *evidence])
    observed, limit = _held_against(tallied, sums, bucket)
    if observed > limit:
        _found(book, owner, EntityKind(kind), entity_id, tallied, observed, limit, at_ms, seen[1])
    stored = remembered(until_ms, dumps([known]))
    if value is None:
        book.memory.put(key, stored)
    else:
        book.state.put(key, stored)


def _forget(book: Book, known: dict[str, list[Any]], kind: EntityKind, at_ms: int) -> None:
    """Forget the sums of detectors that are not in force any more, and were not a day before.

    Neither by the time of the member's partition nor by that of this one: one may be behind.
    """
    there: set[str] = set()
    for each_ms in (at_ms - _DAY_MS, at_ms, book.now_ms):
        elsewhere = book.detectors.at(each_ms).elsewhere
        rows = elsewhere.store if kind is EntityKind.STORE else elsewhere.staff
        there.update(row.detector.id for row in rows)
    for detector_id in [name for name in known if name not in there]:
        del known[detector_id]


def _held_against(tallied: Tallied, sums: list[list[int]], bucket: int) -> tuple[int, int]:
    """Return what there was, and the most that there may be."""
    detector = tallied.detector
    observed = busiest_run(sums, bucket, tallied.buckets)
    if not isinstance(detector, SpikeDetector):
        return observed, detector.limit
    earlier = [value for number, value in sums if number < bucket][-detector.history :]
    return observed, threshold(
        earlier, factor=detector.factor, floor=detector.floor, min_history=detector.min_history
    )


def _found(
    book: Book,
    owner: str,
    kind: EntityKind,
    entity_id: str,
    tallied: Tallied,
    observed: int,
    limit: int,
    at_ms: int,
    evidence: list[Evidence],
) -> None:
    detector = tallied.detector
    window_s = tallied.buckets * tallied.bucket_ms // 1_000
    what = "shop" if kind is EntityKind.STORE else "staff member"
    usual = "usual for it" if isinstance(detector, SpikeDetector) else "allowed"
    names = ", ".join(event_id for _, _, event_id in evidence[:3])
    suspicion = Suspicion(
        detector.id,
        tallied.version,
        detector.action,
        kind,
        entity_id,
        observed,
        limit,
        window_s,
        (),
        (),
        f"{amount(detector.measure, observed)} went through the {what} {entity_id} within"
        f" {span(window_s)}, up to {amount(detector.measure, limit)} are {usual}; the largest were"
        f" {names}. Ask the {what} what they were for.",
        at_ms,
    )
    events = [(member_id, event_id) for _, member_id, event_id in evidence]
    suspect(book, suspicion, events, here=owner)


def _count(sums: list[list[int]], bucket: int, value: int, keep: int) -> bool:
    """Add to a bucket, and forget the oldest of more than `keep`; False for one forgotten."""
    for row in sums:
        if row[0] == bucket:
            row[1] = min(row[1] + value, SUM_MAX)
            return True
    if len(sums) >= keep:
        if bucket < sums[0][0]:
            return False
        del sums[0]
    sums.append([bucket, min(value, SUM_MAX)])
    sums.sort()
    return True


def _largest(evidence: list[Evidence]) -> list[Evidence]:
    """Return the largest events; of equal ones those named first."""
    return sorted(evidence, key=lambda row: (-row[0], row[1], row[2]))[:EVIDENCE_MAX]
