"""Suspicions: what a detector found, and the flag that is raised for it.

A suspicion is found in one partition: that of the member, or that of the device, address, shop or
whatever else it is about. The flag lives there, with its **owner**, until somebody has decided.

Before an event is handled, `hold_back` says which flags its points come under, so that they are
pending from the first moment. After it, `raise_flag` raises the flag, or lets what is new join it.

One suspicion that goes on is one flag: a detector has one flag for an entity and *episode*. An
episode is as long as the detector's window, but at least an hour, counted from 1970. A flag that
was released clears its detector for that entity until the episode ends; after one that was
confirmed the next suspicion is a flag of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from pointstream.contracts.vocabulary import EntityKind, FlagAction, FlagState
from pointstream.ledger.book import Book
from pointstream.ledger.codec import (
    decode_list,
    encode_list,
    remembered_body,
    remembered_until_ms,
)
from pointstream.ledger.state import (
    flag_key,
    flag_member_key,
    flag_members_prefix,
    open_flag_key,
    prefix_stop,
)

__all__ = [
    "EVENTS_PER_MEMBER",
    "NAMED_PER_RECORD",
    "Suspicion",
    "flag_id_of",
    "hold_back",
    "owner_key",
    "raise_flag",
]

EVENTS_PER_MEMBER: Final = 100
"""How many events of one member a flag keeps as its evidence. Points of later ones come under it
all the same."""

NAMED_PER_RECORD: Final = 500
"""How many members, and how many events, one record of a flag names at most."""

_HOUR_S: Final = 3_600
_RELEASED: Final = "released"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What a detector found."""

    detector: str
    """The detector's id."""
    version: int
    """Of the detector set."""
    action: FlagAction
    entity_kind: EntityKind
    entity_id: str
    observed: int
    threshold: int
    window_seconds: int
    events: tuple[tuple[str, str], ...]
    """(member_id, event_id) of what is suspicious, oldest first; at most `EVENTS_PER_MEMBER` of
    one member are kept. The event that is being decided is among them."""
    members: tuple[str, ...]
    """Whom it concerns. Those of `events` are concerned in any case."""
    explanation: str
    """One sentence that a reviewer can act on, with the numbers of that moment: it must be
    readable when the rule has changed."""
    occurred_ms: int
    """Of the event that tripped the detector."""


def owner_key(kind: EntityKind, entity_id: str) -> str:
    """Return the key whose owner keeps what is known of an entity: `Book.tell` goes there.

    A member or referrer is the member. All else has a control character, which no id has.
    """
    if kind in (EntityKind.MEMBER, EntityKind.REFERRER):
        return entity_id
    return f"\x01{kind}\x01{entity_id}"


def flag_id_of(suspicion: Suspicion) -> str:
    """Return the id of the first flag of a suspicion's episode."""
    episode = suspicion.occurred_ms // (max(suspicion.window_seconds, _HOUR_S) * 1_000)
    name = "\0".join((suspicion.detector, suspicion.entity_kind, suspicion.entity_id, str(episode)))
    return f"fraud-{blake2b(name.encode(), digest_size=12).hexdigest()}"


def hold_back(book: Book, suspicions: Iterable[Suspicion]) -> None:
    """Let the points of the event that is about to be handled come under the flags of these.

    To be called by the owner of the member, before the handler, with the suspicions that
    `raise_flag` is called with after it. What only flags holds nothing back.
    """
    flags = (
        _flag_of(book, suspicion)
        for suspicion in suspicions
        if suspicion.action is not FlagAction.FLAG
    )
    book.suspect = tuple(dict.fromkeys(flag for flag in flags if flag is not None))


def raise_flag(book: Book, suspicion: Suspicion) -> None:
    """Raise a flag, or let what is new join the open one. To be called by the flag's owner.

    A record says so when the flag is raised, when a member joins, and when the number of its events
    has doubled: whoever reads keeps the latest of a flag.
    """
    flag_id = _flag_of(book, suspicion)
    if flag_id is None:
        return
    owner = owner_key(suspicion.entity_kind, suspicion.entity_id)
    key = open_flag_key(owner.encode(), flag_id)
    value = book.state.get(key)
    known, told = decode_list(value)[-2:] if value is not None else (0, 0)
    joined = False
    by_member: dict[str, list[str]] = {member: [] for member in suspicion.members}
    for member_id, event_id in suspicion.events:
        by_member.setdefault(member_id, []).append(event_id)
    for member_id, events in by_member.items():
        new_member, new = _join(book, owner, flag_id, member_id, events)
        joined = joined or new_member
        known += len(new)
    if value is not None and not joined and known < 2 * told:
        told_now = told
    else:
        told_now = known
        book.more().flags.append(_record(book, owner, flag_id, suspicion))
    row = [
        suspicion.detector,
        suspicion.version,
        suspicion.action.value,
        suspicion.entity_kind.value,
        suspicion.entity_id,
        suspicion.observed,
        suspicion.threshold,
        suspicion.window_seconds,
        suspicion.explanation,
        suspicion.occurred_ms,
        known,
        told_now,
    ]
    book.state.put(key, encode_list(row))


def _flag_of(book: Book, suspicion: Suspicion) -> str | None:
    """Return the flag that a suspicion belongs to, open or not raised yet; None if its detector is
    cleared until the episode ends."""
    owner = owner_key(suspicion.entity_kind, suspicion.entity_id).encode()
    first = flag_id_of(suspicion)
    flag_id, number = first, 1
    while True:
        value = book.state.get(flag_key(owner, flag_id))
        if value is None or remembered_until_ms(value) <= book.now_ms:
            return flag_id
        if remembered_body(value)[0] == _RELEASED:
            return None
        number += 1
        flag_id = f"{first}-{number}"


def _join(
    book: Book, owner: str, flag_id: str, member_id: str, events: list[str]
) -> tuple[bool, list[str]]:
    """Note a member and events with a flag; return whether the member is new, and what events."""
    key = flag_member_key(owner.encode(), flag_id, member_id.encode())
    value = book.state.get(key)
    known: list[str] = decode_list(value) if value is not None else []
    there = set(known)
    new = [event_id for event_id in dict.fromkeys(events) if event_id not in there]
    new = new[: EVENTS_PER_MEMBER - len(known)]
    if new or value is None:
        book.state.put(key, encode_list([*known, *new]))
    return value is None, new


def _record(book: Book, owner: str, flag_id: str, suspicion: Suspicion) -> dict[str, Any]:
    members: list[str] = []
    evidence: dict[str, None] = {}
    prefix = flag_members_prefix(owner.encode(), flag_id)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        members.append(key[len(prefix) :].decode())
        evidence.update(dict.fromkeys(decode_list(value)))
        if len(members) == NAMED_PER_RECORD:
            break
    return {
        "flag_id": flag_id,
        "state": FlagState.RAISED.value,
        "action": suspicion.action.value,
        "detector": suspicion.detector,
        "rule_version": suspicion.version,
        "entity_kind": suspicion.entity_kind.value,
        "entity_id": suspicion.entity_id,
        "member_ids": members,
        "observed": suspicion.observed,
        "threshold": suspicion.threshold,
        "window_seconds": suspicion.window_seconds,
        "evidence": list(evidence)[:NAMED_PER_RECORD],
        "explanation": suspicion.explanation,
        "occurred_at": book.text(suspicion.occurred_ms),
    }
