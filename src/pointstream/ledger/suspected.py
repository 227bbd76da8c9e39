"""Suspicions that were found elsewhere than where their flag is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from pointstream.contracts.detectors import Entity
from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.ledger.book import Book
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.state import pseudonym
from pointstream.ledger.suspicion import Suspicion, owner_key, raise_flag

__all__ = [
    "SUSPECTED",
    "allowed",
    "name_of",
    "stand_in",
    "suspect",
    "suspicion_of_row",
    "suspicion_row",
    "told_suspicion",
]

SUSPECTED: Final = "fraud.suspected"

_ERASED: Final = "\x01"
"""Begins what stands for a member who was erased: no id has a control character."""


def stand_in(member_id: str) -> str:
    """Return what stands for a member who was erased where it was counted."""
    return _ERASED + pseudonym(member_id)


def name_of(member_id: str) -> str | None:
    """Return a member's id; None for what stands for one who was erased."""
    return None if member_id.startswith(_ERASED) else member_id


def allowed(book: Book, entity: Entity, entity_id: str, at_ms: int) -> bool:
    """Tell whether an entity is on an allow list at a moment: it trips nothing then."""
    return book.detectors.at(at_ms).allow.of(entity, entity_id, at_ms) is not None


def suspect(
    book: Book,
    suspicion: Suspicion,
    events: Iterable[tuple[str, str]],
    members: Iterable[str] = (),
    *,
    here: str | None = None,
) -> None:
    """Raise a suspicion with the owner of its flag: `here`, or wherever that is.

    `events` are (member_id, event_id), oldest first. Of members who were erased nothing can be held
    or asked any more: they are left out.
    """
    there = tuple(row for row in events if name_of(row[0]) is not None)
    whom = dict.fromkeys(member_id for member_id, _ in there)
    whom.update(dict.fromkeys(name for name in members if name_of(name) is not None))
    if not whom:
        return
    whole = replace(suspicion, events=there, members=tuple(whom))
    owner = owner_key(suspicion.entity_kind, suspicion.entity_id)
    if owner == here:
        raise_flag(book, whole)
    else:
        book.tell(SUSPECTED, owner, {"suspicion": suspicion_row(whole)})


def told_suspicion(book: Book, message: Message) -> Suspicion | Decision:
    """Return a suspicion that was found elsewhere, for its owner to raise; a decision where this is
    not the owner any more."""
    suspicion = suspicion_of_row(message.body["suspicion"])
    if message.to is None:
        raise StateCorrupt("a suspicion must be for one key")
    if suspicion.entity_kind in (EntityKind.MEMBER, EntityKind.REFERRER):
        account = book.account(message.to, message.to.encode())
        if account.merged_into is not None:
            book.tell(SUSPECTED, account.merged_into, message.body)
            return Decision(Outcome.PASSED_ON_TO_SURVIVOR)
        if account.erased:
            return Decision(Outcome.MEMBER_GONE)
        suspicion = replace(suspicion, entity_id=message.to)
    return suspicion


def suspicion_row(suspicion: Suspicion) -> list[Any]:
    """Return a suspicion as plain lists, the same as when they were stored."""
    return [
        suspicion.detector,
        suspicion.version,
        suspicion.action.value,
        suspicion.entity_kind.value,
        suspicion.entity_id,
        suspicion.observed,
        suspicion.threshold,
        suspicion.window_seconds,
        [list(row) for row in suspicion.events],
        list(suspicion.members),
        suspicion.explanation,
        suspicion.occurred_ms,
    ]


def suspicion_of_row(row: list[Any]) -> Suspicion:
    """Return the suspicion that `suspicion_row` made a list of."""
    fields = list(row)
    fields[2], fields[3] = FlagAction(fields[2]), EntityKind(fields[3])
    fields[8] = tuple((member_id, event_id) for member_id, event_id in fields[8])
    fields[9] = tuple(fields[9])
    return Suspicion(*fields)
