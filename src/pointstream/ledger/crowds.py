"""Crowds: members at devices and addresses, counted by the owner of each.

    member's partition                         owner of the device, or of the network
    ------------------                         --------------------------------------
    sees a member there   -- seen -->          notes it, holds it against the detectors
    hands in all it has   <-- appearances.asked  too many may have been there
                          -- seen -->          notes them; from then on each is told at once
    was merged or erased  -- renamed -->       lets another name stand for the member

What is told when, and why that is enough, is in `fraud.presence` and `fraud.crowd`. An address
is kept by the owner of its network, which counts both. What a detector finds goes to the owner of
the flag (`told_suspicion`).
"""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.detectors import Entity, Measure, VelocityDetector
from pointstream.contracts.vocabulary import EntityKind
from pointstream.contracts.wire import dumps
from pointstream.fraud.crowd import (
    TOLD_EVERY_MS,
    Appearance,
    Crowd,
    distinct_around,
    sum_around,
)
from pointstream.fraud.elsewhere import Counted
from pointstream.fraud.presence import (
    ASKED_FOR_MS,
    CountedThere,
    Telling,
    asked_by,
    tell,
    wanted_by,
)
from pointstream.fraud.watch import Row, Watch
from pointstream.fraud.words import amount, span
from pointstream.ledger.book import Book
from pointstream.ledger.codec import remembered, remembered_body, remembered_until_ms
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.messages import Message
from pointstream.ledger.state import entity_key
from pointstream.ledger.suspected import allowed, name_of, suspect
from pointstream.ledger.suspicion import Suspicion, flag_id_of, owner_key

__all__ = [
    "APPEARANCES_ASKED",
    "SEEN",
    "Places",
    "asked_for_appearances",
    "rename_everywhere",
    "see",
    "take_seen",
]

SEEN: Final = "seen"
RENAMED: Final = "renamed"
APPEARANCES_ASKED: Final = "appearances.asked"

_KINDS: Final = {"d": EntityKind.DEVICE, "n": EntityKind.IP}


def see(
    book: Book,
    watch: Watch,
    member_id: str,
    row: Row,
    name: str,
    known: Row,
    counted: CountedThere,
) -> None:
    """Tell the owner of a place what it must know of an event there that was noted."""
    telling = tell(watch, member_id, row, name, known, counted)
    if telling is not None:
        _tell(book, member_id, wanted_by(watch, name), telling)


def asked_for_appearances(book: Book, watch: Watch, message: Message) -> Decision:
    """Hand in what a member has of one place; what comes is told at once."""
    member_id = message.to or ""
    by, at_ms = message.body["by"], message.body["at_ms"]
    elsewhere = book.detectors.at(at_ms).elsewhere
    counted = elsewhere.at_devices if by[0] == "d" else elsewhere.in_networks
    appearances = asked_by(watch, member_id, by, at_ms, counted.types)
    _tell(book, member_id, by, Telling(appearances, watch.rest.asked[by]))
    return Decision(Outcome.APPEARANCES_TOLD)


def rename_everywhere(book: Book, watch: Watch, member_id: str, name: str) -> None:
    """Let another name stand for a member wherever its appearances are kept.

    A member who is erased leaves a digest there, which counts on; one who is merged the survivor.
    """
    owners = dict.fromkeys(f"d{device}" for device in watch.devices)
    owners.update(dict.fromkeys(wanted_by(watch, f"i{ip}") for ip in watch.addresses))
    owners.update(dict.fromkeys(watch.rest.asked))
    for by in owners:
        book.notes.append([_owner(by), RENAMED, member_id, name])


def _tell(book: Book, member_id: str, by: str, telling: Telling) -> None:
    rows = [[appearance.at_ms, *appearance[2:]] for appearance in telling.appearances]
    note = [_owner(by), SEEN, member_id, telling.all_until_ms, book.now_ms, rows]
    book.notes.append(note)


def _owner(by: str) -> str:
    return owner_key(_KINDS[by[0]], by[1:])


class Places:
    """The devices and networks that the notes of one message are about."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._open: dict[str, Crowd] = {}
        self._until_ms: dict[str, int] = {}
        self._new: set[str] = set()

    def at(self, owner: str) -> Crowd:
        """Return what is known of a place. What is over is over between two notes, too."""
        crowd = self._open.get(owner)
        if crowd is None:
            crowd = Crowd()
            value = self._book.state.get(entity_key(owner))
            self._until_ms[owner] = 0
            if value is None:
                self._new.add(owner)
            else:
                crowd = Crowd.of_row(remembered_body(value))
                self._until_ms[owner] = remembered_until_ms(value)
        if self._until_ms[owner] <= self._book.now_ms:
            crowd = Crowd()
            self._until_ms[owner] = 0
        self._open[owner] = crowd
        return crowd

    def kept_since(self, owner: str, at_ms: int) -> None:
        """Note when something was taken that is kept with a place.

        By the time of the member's partition: when the note itself came depends on where a batch
        ended.
        """
        keep_ms = self._book.detectors.at(at_ms).elsewhere.keep_ms
        until_ms = at_ms + max(keep_ms, TOLD_EVERY_MS) + TOLD_EVERY_MS
        self._until_ms[owner] = max(self._until_ms[owner], until_ms)

    def write(self) -> None:
        """Write what was looked at; nothing is left of a place where nobody was seen."""
        for owner, crowd in self._open.items():
            if crowd.seen:
                value = remembered(self._until_ms[owner], dumps(crowd.row()))
                put = self._book.memory.put if owner in self._new else self._book.state.put
                put(entity_key(owner), value)


def take_seen(book: Book, places: Places, note: list[Any]) -> None:
    """Take a note about a member at a place: it was seen there, or has another name now."""
    owner, what, member_id, told, *rest = note
    crowd = places.at(owner)
    if what == RENAMED:
        crowd.rename(member_id, told)
        return
    if told:
        crowd.note_asked(member_id, told)
    taken_ms, rows = rest
    places.kept_since(owner, taken_ms)
    for at_ms, *fields in rows:
        appearance = Appearance(at_ms, member_id, *fields)
        if crowd.add(appearance):
            _look(book, owner, crowd, appearance)


def _look(book: Book, owner: str, crowd: Crowd, new: Appearance) -> None:
    """Hold a appearance against the detectors of its time; ask those who may matter."""
    _, kind, place = owner.split("\x01", 2)
    elsewhere = book.detectors.at(new.at_ms).elsewhere
    at_device = kind == EntityKind.DEVICE
    asked: dict[str, None] = {}
    for counted in elsewhere.device if at_device else elsewhere.network:
        if counted.members and len(crowd.seen) <= counted.detector.limit and not crowd.asked:
            # So it is at nearly every device: too few to be counted at all.
            continue
        entity, entity_id = _entity(counted, place, new)
        if not entity_id or not counted.weight(new):
            continue
        if allowed(book, entity, entity_id, new.at_ms):
            continue
        address = new.address if entity is Entity.IP else ""
        _hold_against(book, owner, crowd, counted, entity_id, address, new)
        limit = counted.detector.limit if counted.members else None
        names = crowd.to_ask(new.at_ms, counted.within_ms, limit, address)
        asked.update(dict.fromkeys(names))
    by = ("d" if at_device else "n") + place
    for member_id in asked:
        if name_of(member_id) is None:
            continue
        crowd.note_asked(member_id, new.at_ms + ASKED_FOR_MS)
        book.tell(APPEARANCES_ASKED, member_id, {"by": by, "at_ms": new.at_ms, "now_ms": new.at_ms})


def _entity(counted: Counted, place: str, new: Appearance) -> tuple[Entity, str]:
    """Return what a detector looks at here; no id if it is not this place."""
    entity = counted.detector.entity
    if entity is Entity.IP:
        return entity, new.address
    if entity is Entity.IP24:
        return entity, "" if ":" in place else place
    if entity is Entity.IP64:
        return entity, place if ":" in place else ""
    return entity, place


def _hold_against(
    book: Book,
    owner: str,
    crowd: Crowd,
    counted: Counted,
    entity_id: str,
    address: str,
    new: Appearance,
) -> None:
    detector = counted.detector
    near = [
        appearance
        for appearance in crowd.around(new.at_ms, counted.within_ms)
        if (not address or appearance.address == address) and counted.weight(appearance)
    ]
    if counted.members:
        observed, window = distinct_around(near, new.at_ms, counted.within_ms)
    else:
        observed, window = sum_around(near, new.at_ms, counted.within_ms, counted.weight)
    if observed <= detector.limit:
        return
    kind = EntityKind.DEVICE if detector.entity is Entity.DEVICE else EntityKind.IP
    suspicion = Suspicion(
        detector.id,
        counted.version,
        detector.action,
        kind,
        entity_id,
        observed,
        detector.limit,
        counted.within_ms // 1_000,
        (),
        (),
        _explanation(book, counted, entity_id, observed, new),
        new.at_ms,
    )
    named = crowd.to_name(f"{detector.id} {entity_id}", flag_id_of(suspicion), window, new)
    events = [(each.member_id, each.event_id) for each in named]
    suspect(book, suspicion, events, here=owner)


_WHAT: Final = {
    Entity.DEVICE: "device",
    Entity.IP: "address",
    Entity.IP24: "network",
    Entity.IP64: "network",
}


def _explanation(
    book: Book, counted: Counted, entity_id: str, observed: int, new: Appearance
) -> str:
    detector = counted.detector
    place = f"{_WHAT[detector.entity]} {entity_id}"
    within = span(counted.within_ms // 1_000)
    member = name_of(new.member_id) or "a member who was erased"
    last = f"the last was {member} with {new.type} {new.event_id} at {book.text(new.at_ms)}"
    if counted.members:
        return (
            f"{observed} members were seen at {place} within {within}, {detector.limit} are"
            f" allowed; {last}. See whether one person is behind them."
        )
    measure = detector.measure if isinstance(detector, VelocityDetector) else Measure.EVENTS
    return (
        f"{amount(measure, observed)} came from {place} within {within},"
        f" {amount(measure, detector.limit)} are allowed; {last}. See whether a person can do that."
    )
