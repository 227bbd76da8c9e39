"""Referrals as a graph: circles of referrers, and referrers who refer themselves.

    referrer's partition                       referee's partition
    --------------------                       -------------------
    refers a member    -- referral.chains -->  learns the chains that lead up from it, and hands on
                                               what is new to those whom it referred itself
    a new device       -- referral.devices --> holds it against its own devices
    merged or erased   -- referral.renamed --> lets another name stand for it, and hands that on

A circle is found by each member in it, when a chain comes back to it; each tells the owner of the
flag, the first of them by name, and one flag comes of it. A shared device is found by the referee,
who knows the referrer's devices and its own, whichever came last; the flag is the referrer's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from pointstream.contracts.detectors import Entity
from pointstream.contracts.inputs import ReferralFirstOrder, ReferralRegistered
from pointstream.contracts.vocabulary import EntityKind
from pointstream.contracts.wire import dumps
from pointstream.fraud.crowd import TOLD_EVERY_MS
from pointstream.fraud.graph import (
    Chain,
    Circle,
    Family,
    Referral,
    chain_of,
    chain_row,
    circle_of,
    handed_on,
)
from pointstream.fraud.watch import FIRST, LAST, REFERRERS_MAX, Watch, keep_latest
from pointstream.fraud.words import span
from pointstream.ledger.book import Book
from pointstream.ledger.codec import remembered, remembered_body, remembered_until_ms
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.state import family_key, merged_key
from pointstream.ledger.suspected import (
    allowed,
    name_of,
    suspect,
    suspicion_of_row,
    suspicion_row,
)
from pointstream.ledger.suspicion import Suspicion

__all__ = [
    "REFERRAL_CHAINS",
    "REFERRAL_DEVICES",
    "REFERRAL_RENAMED",
    "device_seen",
    "join_family",
    "refer",
    "rename_in_family",
    "suspected",
    "take_chains",
    "take_devices",
    "take_renamed",
]

REFERRAL_CHAINS: Final = "referral.chains"
REFERRAL_DEVICES: Final = "referral.devices"
REFERRAL_RENAMED: Final = "referral.renamed"

_KEPT_MS: Final = 97 * 86_400_000
"""How long a referral counts: the longest window of a detector, and a week for what is late."""

_MS: Final = timedelta(milliseconds=1)
_SUSPICIONS_MAX: Final = 4
_FOREVER_MS: Final = 1 << 62


# --- the referrer's side -------------------------------------------------------------------------


def refer(
    book: Book,
    member_id: str,
    watch: Watch,
    event: ReferralRegistered | ReferralFirstOrder,
    occurred_ms: int,
) -> None:
    """Take a referral into the graph. What is suspected of it already comes under that flag."""
    member = member_id.encode()
    family = _family(book, member)
    referral = family.referrals.get(event.referee_id)
    if referral is not None:
        referral.note(event.event_id, earned=bool(book.entries))
        for row in referral.suspicions:
            suspect(book, suspicion_of_row(row), [(member_id, event.event_id)], here=member_id)
    else:
        referral = Referral(event.referee_id, occurred_ms, [event.event_id])
        family.refer(referral)
        devices = _devices(watch)
        _tell_chains(book, member_id, referral, family.chains, devices, book.now_ms)
        told = watch.rest.told.setdefault("to", {})
        told.update((device, last_ms) for device, (_, last_ms) in devices.items())
    _put(book, member, family, book.now_ms)


def device_seen(book: Book, member_id: str, watch: Watch, device: str, at_ms: int) -> bool:
    """Mind a device of a referrer or referee; whether that changed what is remembered."""
    if watch.calm is not None and watch.calm[0] == device and at_ms < watch.calm[1]:
        return False
    told = watch.rest_as_is.told
    shares = any(device in row[3] and not row[4] for row in told.get("by", ()))
    to = told.get("to")
    until_ms = _FOREVER_MS if to is None else to.get(device, 0) + TOLD_EVERY_MS
    new = at_ms >= until_ms
    if not shares and not new:
        watch.calm = (device, until_ms)
        return False
    told = watch.rest.told
    for row in told.get("by", ()):
        if device in row[3]:
            _hold_against(book, member_id, row, {device: [at_ms, at_ms]})
    if new:
        _tell_device(book, member_id, told["to"], device, at_ms)
    return True


def _tell_device(book: Book, member_id: str, to: dict[str, int], device: str, at_ms: int) -> None:
    to.pop(device, None)
    to[device] = at_ms
    keep_latest(to)
    for referral in _family(book, member_id.encode()).referrals.values():
        if name_of(referral.referee) is not None:
            body = {
                **_about(member_id, referral, book.now_ms),
                "devices": {device: [at_ms, at_ms]},
            }
            book.tell(REFERRAL_DEVICES, referral.referee, body)


def _about(member_id: str, referral: Referral, now_ms: int) -> dict[str, Any]:
    return {
        "referrer": member_id,
        "event_id": referral.event_ids[0],
        "at_ms": referral.at_ms,
        "now_ms": now_ms,
    }


def _tell_chains(
    book: Book,
    member_id: str,
    referral: Referral,
    chains: list[Chain],
    devices: dict[str, list[int]],
    now_ms: int,
) -> None:
    if name_of(referral.referee) is None:
        return
    body = {
        **_about(member_id, referral, now_ms),
        "chains": [chain_row(chain) for chain in handed_on(member_id, referral, chains)],
        "devices": devices,
    }
    book.tell(REFERRAL_CHAINS, referral.referee, body)


# --- the referee's side --------------------------------------------------------------------------


def take_chains(book: Book, watch: Watch, message: Message) -> Decision:
    """Learn who referred a member, and who that one; hand on what is new."""
    member_id, body = _to(message), message.body
    member = member_id.encode()
    is_self = _is_self(book, member_id)
    family = _family(book, member)
    chains = [chain_of(links) for links in body["chains"]]
    for chain in chains:
        circle = circle_of(chain, is_self)
        if circle is not None:
            _found(book, member_id, family, circle, is_self)
    new = family.learn(chains, is_self)
    if new:
        for referral in family.referrals.values():
            _tell_chains(book, member_id, referral, new, {}, body["now_ms"])
    _put(book, member, family, body["now_ms"])
    _take_devices(book, member_id, watch, body)
    return Decision(Outcome.REFERRERS_TAKEN)


def take_devices(book: Book, watch: Watch, message: Message) -> Decision:
    """Hold a referrer's new device against those of its referee."""
    _take_devices(book, _to(message), watch, message.body)
    return Decision(Outcome.REFERRERS_TAKEN)


def _take_devices(book: Book, member_id: str, watch: Watch, body: dict[str, Any]) -> None:
    if not book.detectors.at(body["at_ms"]).elsewhere.shared:
        return
    referrer, devices = body["referrer"], body["devices"]
    rows: list[list[Any]] = watch.rest.told.setdefault("by", [])
    row = next((row for row in rows if row[0] == referrer), None)
    if row is None:
        row = [referrer, body["event_id"], body["at_ms"], {}, False]
        rows.append(row)
        del rows[:-REFERRERS_MAX]
    known = row[3]
    for device, (first_ms, last_ms) in devices.items():
        there = known.pop(device, [first_ms, last_ms])
        known[device] = [min(there[0], first_ms), max(there[1], last_ms)]
        keep_latest(known)
    _hold_against(book, member_id, row, _devices(watch))


def _hold_against(
    book: Book, member_id: str, row: list[Any], devices: dict[str, list[int]]
) -> None:
    """Look for a device that referrer and referee share. One that was found is found once."""
    referrer, event_id, at_ms, theirs, suspected = row
    if suspected or name_of(referrer) is None:
        return
    for detector, version in book.detectors.at(at_ms).elsewhere.shared:
        within_ms = detector.within // _MS
        for device, (first_ms, last_ms) in devices.items():
            if device not in theirs or allowed(book, Entity.DEVICE, device, at_ms):
                continue
            their_first_ms, their_last_ms = theirs[device]
            apart_ms = max(0, first_ms - their_last_ms, their_first_ms - last_ms)
            if apart_ms > within_ms or allowed(book, Entity.REFERRER, referrer, at_ms):
                continue
            row[4] = True
            latest_ms = max(at_ms, first_ms, their_first_ms)
            suspicion = Suspicion(
                detector.id,
                version,
                detector.action,
                EntityKind.REFERRER,
                referrer,
                2,
                1,
                within_ms // 1_000,
                (),
                (),
                f"{referrer} referred {member_id} by {event_id}, and both were seen on the device"
                f" {device}, the second of them at {book.text(latest_ms)}. See whether one person"
                " is behind both.",
                latest_ms,
            )
            suspect(book, suspicion, [(referrer, event_id)], [referrer, member_id])
            break


def _found(
    book: Book, member_id: str, family: Family, circle: Circle, is_self: Callable[[str], bool]
) -> None:
    """Tell of a circle, and note it with the own referral: what it earns later is part of it."""
    links = circle.links
    latest_ms = max(link.at_ms for link in links)
    owner = next((link.referrer for link in links if name_of(link.referrer) is not None), None)
    if owner is None or any(
        allowed(book, Entity.REFERRER, link.referrer, latest_ms) for link in links
    ):
        return
    for detector, version in book.detectors.at(latest_ms).elsewhere.cycles:
        within_ms = detector.within // _MS
        if len(links) > detector.length or circle.span_ms >= within_ms:
            continue
        names = ", ".join(name_of(link.referrer) or "someone erased" for link in links)
        suspicion = Suspicion(
            detector.id,
            version,
            detector.action,
            EntityKind.REFERRER,
            owner,
            len(links),
            0,
            within_ms // 1_000,
            (),
            (),
            f"{len(links)} members referred each other in a circle within"
            f" {span(max(1, circle.span_ms // 1_000))}, the last at {book.text(latest_ms)}:"
            f" {names}, and from there the first again. See whether one person is behind them.",
            latest_ms,
        )
        events = [(link.referrer, link.event_id) for link in links]
        for place, link in enumerate(links):
            if is_self(link.referrer):
                referee = links[(place + 1) % len(links)].referrer
                _suspected(family, referee, suspicion_row(suspicion))
                referral = family.referrals.get(referee)
                if referral is not None:
                    events += [(member_id, event_id) for event_id in referral.event_ids[1:]]
        suspect(book, suspicion, events, here=member_id)


def suspected(book: Book, suspicion: Suspicion) -> None:
    """Let what a suspicious referral earned before, or earns later, come under the same flag."""
    member_id = suspicion.entity_id
    member = member_id.encode()
    family = _family(book, member)
    named = {event_id for name, event_id in suspicion.events if name == member_id}
    for referral in family.referrals.values():
        if named.intersection(referral.event_ids):
            row = suspicion_row(replace(suspicion, events=(), members=()))
            _suspected(family, referral.referee, row)
            _put(book, member, family)
            more = [name for name in referral.event_ids if name not in named]
            if more:
                events = [(member_id, event_id) for event_id in more]
                suspect(book, suspicion, events, here=member_id)


def _suspected(family: Family, referee: str, row: list[Any]) -> None:
    referral = family.referrals.get(referee)
    if referral is not None and row not in referral.suspicions:
        referral.suspicions.append(row)
        del referral.suspicions[:-_SUSPICIONS_MAX]


# --- members who are merged or erased ------------------------------------------------------------


def rename_in_family(book: Book, member_id: str, name: str) -> None:
    """Tell those around a member that another name stands for it from now on."""
    family = _family(book, member_id.encode())
    around = dict.fromkeys(chain[0].referrer for chain in family.chains)
    around.update(dict.fromkeys(family.referrals))
    for other in around:
        if name_of(other) is not None:
            book.tell(
                REFERRAL_RENAMED, other, {"old": member_id, "new": name, "now_ms": book.now_ms}
            )


def take_renamed(book: Book, watch: Watch, message: Message) -> Decision:
    """Let another name stand for a member, here and further down."""
    member_id, old, new = _to(message), message.body["old"], message.body["new"]
    member = member_id.encode()
    family = _family(book, member)
    before = list(family.chains)
    there = family.rename(old, new)
    if _rename_suspicions(family, old, new) or there:
        _put(book, member, family)
    if family.chains != before:
        for referee in family.referrals:
            if name_of(referee) is not None:
                book.tell(REFERRAL_RENAMED, referee, message.body)
    for row in watch.rest.told.get("by", ()):
        if row[0] == old:
            row[0] = new
    return Decision(Outcome.REFERRERS_TAKEN)


def _rename_suspicions(family: Family, old: str, new: str) -> bool:
    """Let another name stand for a member in what referrals are suspected of; whether it did.

    A flag of a member who was erased is raised no more.
    """
    changed = False
    for referral in family.referrals.values():
        rows = []
        for row in referral.suspicions:
            suspicion = suspicion_of_row(row)
            words = _in_words(suspicion.explanation, old, name_of(new) or "someone erased")
            owner = new if suspicion.entity_id == old else suspicion.entity_id
            if name_of(owner) is not None:
                rows.append(suspicion_row(replace(suspicion, entity_id=owner, explanation=words)))
        changed = changed or rows != referral.suspicions
        referral.suspicions = rows
    return changed


def _in_words(words: str, old: str, new: str) -> str:
    return re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w-])", lambda _: new, words)


def join_family(book: Book, member_id: str, value: bytes) -> None:
    """Take over the referrals of a member who was merged into this one."""
    member = member_id.encode()
    if remembered_until_ms(value) <= book.now_ms:
        return
    family, theirs = _family(book, member), Family.of_row(remembered_body(value))
    for referral in theirs.referrals.values():
        if referral.referee not in family.referrals:
            family.refer(referral)
    family.learn(theirs.chains, _is_self(book, member_id))
    for referral in family.referrals.values():
        _tell_chains(book, member_id, referral, family.chains, {}, book.now_ms)
    _put(book, member, family, book.now_ms)


# --- what is kept --------------------------------------------------------------------------------


def _family(book: Book, member: bytes) -> Family:
    value = book.state.get(family_key(member))
    if value is None or remembered_until_ms(value) <= book.now_ms:
        return Family()
    return Family.of_row(remembered_body(value))


def _put(book: Book, member: bytes, family: Family, now_ms: int = 0) -> None:
    """Write the referrals around a member, as of the time at which they were told of."""
    key = family_key(member)
    value = book.state.get(key)
    until_ms = 0
    if value is not None and remembered_until_ms(value) > book.now_ms:
        until_ms = remembered_until_ms(value)
    until_ms = max(until_ms, max(now_ms, family.latest_ms) + _KEPT_MS)
    put = book.memory.put if value is None else book.state.put
    put(key, remembered(until_ms, dumps(family.row())))


def _devices(watch: Watch) -> dict[str, list[int]]:
    return {device: [known[FIRST], known[LAST]] for device, known in watch.devices.items()}


def _is_self(book: Book, member_id: str) -> Callable[[str], bool]:
    """Return what tells whether a name is a member's, or that of one who was merged into it."""
    member = member_id.encode()

    def is_self(name: str) -> bool:
        return name == member_id or (book.state.get(merged_key(member, name.encode())) is not None)

    return is_self


def _to(message: Message) -> str:
    if message.to is None:
        raise StateCorrupt(f"a message {message.type} must be for one key")
    return message.to
