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
from dataclasses import dataclass, replace
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
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.messages import Message
from pointstream.ledger.shares import EVENTS_PER_MEMBER, stronger
from pointstream.ledger.state import (
    flag_key,
    flag_member_key,
    flag_members_prefix,
    open_flag_key,
    prefix_stop,
)
from pointstream.ledger.withholding import withhold

__all__ = [
    "FLAG_RAISED",
    "NAMED_PER_RECORD",
    "Suspicion",
    "close_flag",
    "flag_id_of",
    "flag_raised",
    "has_flag",
    "hold_back",
    "owner_key",
    "raise_flag",
    "time_limit_of",
    "time_limit_timer",
]

FLAG_RAISED: Final = "flag.raised"

NAMED_PER_RECORD: Final = 500
"""How many members, and how many events, one record of a flag names at most."""

_HOUR_S: Final = 3_600
_TEXT_MOST: Final = 500
_RELEASED: Final = "released"
_ACTION, _DUE = 2, 10
"""The places of a flag's action and time limit in its value; the latter is there if it has one,
before the numbers of its events and of those that were told."""


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
    known, told = 0, 0
    if value is None:
        due_ms = _limit_time(book, owner, flag_id, suspicion)
    else:
        *row, known, told = decode_list(value)
        due_ms = time_limit_of(row)
        action = stronger(FlagAction(row[_ACTION]), suspicion.action)
        suspicion = replace(suspicion, action=action)
    joined = False
    by_member: dict[str, list[str]] = {member: [] for member in suspicion.members}
    for member_id, event_id in suspicion.events:
        by_member.setdefault(member_id, []).append(event_id)
    for member_id, events in by_member.items():
        new_member, new = _join(book, owner, flag_id, member_id, events)
        joined = joined or new_member
        known += len(new)
        if new or new_member:
            _hold_of(book, owner, flag_id, suspicion.action, member_id, new)
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
        *((due_ms,) if due_ms else ()),
        known,
        told_now,
    ]
    book.state.put(key, encode_list(row))


def time_limit_of(row: list[Any]) -> int:
    """Return when an open flag is released if nobody has decided; 0 for never.

    `row` is its value, with or without what follows that moment.
    """
    return int(row[_DUE]) if len(row) in (_DUE + 1, _DUE + 3) else 0


def time_limit_timer(owner: str, flag_id: str) -> bytes:
    """Return what the timer of a flag's time limit names."""
    return b"f%b\0%b" % (owner.encode(), flag_id.encode())


def _limit_time(book: Book, owner: str, flag_id: str, suspicion: Suspicion) -> int:
    """Set the timer that releases a new flag; return when it rings, 0 for never."""
    release_ms = book.detectors.at(suspicion.occurred_ms).release_ms.get(suspicion.detector, 0)
    if not release_ms:
        return 0
    due_ms = book.now_ms + release_ms
    book.timers.put(due_ms, time_limit_timer(owner, flag_id))
    return due_ms


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


def _hold_of(
    book: Book, owner: str, flag_id: str, action: FlagAction, member_id: str, events: list[str]
) -> None:
    """Let a member's points be held back: at once if the flag is the member's own."""
    member = member_id.encode()
    if member_id == owner:
        account = book.account(member_id, member)
        if not account.closed:
            withhold(book, account, flag_id, owner, action, member, events)
            return
    body = {
        "flag_id": flag_id,
        "owner": owner,
        "action": action.value,
        "member": member_id,
        "events": events,
    }
    book.tell(FLAG_RAISED, member_id, body)


def flag_raised(book: Book, message: Message, source: Source) -> Decision:
    """Hold back points of a member, for a flag that is somebody else's."""
    body, member_id = message.body, message.to or ""
    account = book.account(member_id, member_id.encode())
    if account.erased:
        return Decision(Outcome.FLAG_WITHOUT_MEMBER)
    action, member = FlagAction(body["action"]), body["member"].encode()
    withhold(book, account, body["flag_id"], body["owner"], action, member, body["events"])
    return Decision(Outcome.POINTS_WITHHELD)


def has_flag(book: Book, owner: str, flag_id: str) -> bool:
    """Tell whether an owner has an open flag of this id."""
    return book.state.get(open_flag_key(owner.encode(), flag_id)) is not None


def close_flag(
    book: Book, owner: str, flag_id: str, state: FlagState, words: str, review_id: str
) -> list[str]:
    """End an open flag, and say so; return its members. The explanation stays, with the words of
    the review before it."""
    key = open_flag_key(owner.encode(), flag_id)
    detector, version, action, kind, entity_id, observed, threshold, window, why, *_ = decode_list(
        book.state.get(key) or b""
    )
    members, evidence = _named(book, owner, flag_id)
    book.state.delete(key)
    prefix = flag_members_prefix(owner.encode(), flag_id)
    for member_key, _ in list(book.state.scan(prefix, prefix_stop(prefix))):
        book.state.delete(member_key)
    book.more().flags.append(
        {
            "flag_id": flag_id,
            "state": state.value,
            "action": action,
            "detector": detector,
            "rule_version": version,
            "entity_kind": kind,
            "entity_id": entity_id,
            "member_ids": members[:NAMED_PER_RECORD],
            "observed": observed,
            "threshold": threshold,
            "window_seconds": window,
            "evidence": [*evidence[: NAMED_PER_RECORD - 1], review_id],
            "explanation": f"{words}. {why}"[:_TEXT_MOST],
            "occurred_at": book.text(book.now_ms),
        }
    )
    return members


def _named(book: Book, owner: str, flag_id: str) -> tuple[list[str], list[str]]:
    """Return the members of a flag, and its evidence."""
    members: list[str] = []
    evidence: dict[str, None] = {}
    prefix = flag_members_prefix(owner.encode(), flag_id)
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        members.append(key[len(prefix) :].decode())
        evidence.update(dict.fromkeys(decode_list(value)))
    return members, list(evidence)


def _record(book: Book, owner: str, flag_id: str, suspicion: Suspicion) -> dict[str, Any]:
    members, evidence = _named(book, owner, flag_id)
    return {
        "flag_id": flag_id,
        "state": FlagState.RAISED.value,
        "action": suspicion.action.value,
        "detector": suspicion.detector,
        "rule_version": suspicion.version,
        "entity_kind": suspicion.entity_kind.value,
        "entity_id": suspicion.entity_id,
        "member_ids": members[:NAMED_PER_RECORD],
        "observed": suspicion.observed,
        "threshold": suspicion.threshold,
        "window_seconds": suspicion.window_seconds,
        "evidence": evidence[:NAMED_PER_RECORD],
        "explanation": suspicion.explanation[:_TEXT_MOST],
        "occurred_at": book.text(suspicion.occurred_ms),
    }
