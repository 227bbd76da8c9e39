"""Watching members: what detectors find about an event, before and after it is handled.

Two phases around the handler of every event of a member:

    look    what the event trips, given what is remembered; nothing is written. Points of an event
            that trips something with `hold` or `block` come under its flag from the first moment.
            A redemption or transfer that needs a second confirmation is made to wait
    keep    if the event was taken: what it earned or gave back is looked at, the flags are raised,
            and it is remembered

A dead letter or a rejected command leaves nothing behind, a known event gets to neither phase; what
waits is counted, until it is refused (`uncounting`). What is remembered of a member is one value
(`fraud/watch.py`), written at the end of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from pointstream.contracts.detectors import Denied, Entity
from pointstream.contracts.inputs import CommandEnvelope, MemberEvent
from pointstream.contracts.vocabulary import EntityKind, FlagAction, MovementType, Role
from pointstream.fraud.compile import Plan, Watchers
from pointstream.fraud.sighting import Detected, Sighting
from pointstream.fraud.watch import Row, Watch
from pointstream.ledger.answers import wallet_of
from pointstream.ledger.book import Book
from pointstream.ledger.codec import remembered_bytes, remembered_until_ms
from pointstream.ledger.consent import points_of
from pointstream.ledger.judging import let_wait
from pointstream.ledger.moves import spendable
from pointstream.ledger.records import Account
from pointstream.ledger.state import watch_key
from pointstream.ledger.suspicion import Suspicion, hold_back, raise_flag
from pointstream.ledger.telling import tell_elsewhere

__all__ = [
    "DENIED",
    "KEPT_MS",
    "Looked",
    "join_watch",
    "keep",
    "look",
    "watch_of",
    "write_watch",
]

DENIED: Final = "deny_list"
"""The detector of flags about an entity that is on the deny list."""

KEPT_MS: Final = 92 * 86_400_000
"""What is remembered of a member ends so long after the latest event; no window is longer."""

_DAY_S: Final = 86_400
_EARNED: Final = frozenset((MovementType.EARNED.value, MovementType.PENDING.value))
_SPENDING: Final = frozenset(("points.redeem", "points.hold", "points.transfer"))


@dataclass(slots=True)
class Looked:
    """What was seen before an event was handled."""

    watchers: Watchers
    plan: Plan
    watch: Watch
    seen: Sighting
    parked: int
    """How many refunds and cancellations were waiting for their order."""
    trips: bool
    """Whether the member is on no allow list."""
    found: list[Suspicion] = field(default_factory=list)


def look(book: Book, account: Account, event: MemberEvent, occurred_ms: int) -> Looked | None:
    """Return what an event trips, before it is handled; None if nobody watches such events."""
    watchers = book.detectors.at(occurred_ms)
    plan = watchers.plans.get(event.type)
    if plan is None:
        return None
    if plan.waits is not None:
        let_wait(book, event, occurred_ms, plan.waits)
    place = _place(watchers, event) if plan.places else None
    device, ip = event.device_id, event.ip
    if not plan.always and place is None and device is None and ip is None:
        return None
    if not plan.devices:
        device = None
    if not plan.in_network:
        ip = None
    if watchers.allows:
        if device is not None and _allowed(watchers, Entity.DEVICE, device, event):
            device = None
        if ip is not None and _allowed(watchers, Entity.IP, ip, event):
            ip = None
    member_id = event.member_id
    seen = Sighting(
        event.type,
        plan.kind,
        event.event_id,
        member_id,
        occurred_ms,
        book.now_ms,
        device,
        ip,
        place,
    )
    if plan.money is not None:
        seen.money_minor = getattr(event, plan.money) or 0
    watch = watch_of(book, account.member)
    trips = not watchers.allows or not _allowed(watchers, Entity.MEMBER, member_id, event)
    looked = Looked(watchers, plan, watch, seen, account.parked, trips)
    if plan.commanded and isinstance(event, CommandEnvelope):
        if plan.steps or plan.points:
            seen.points = points_of(book, account, event)
        if plan.steps and trips:
            _step_up(book, account, event, looked)
    if not trips:
        return looked
    if not watchers.deny.empty and book.step_up is None:
        denied = _denied(watchers, event, occurred_ms)
        if denied is not None:
            _refuse(book, looked, denied)
    for detector in plan.before[place is not None][device is not None]:
        detected = detector.look(seen, watch)
        if detected is not None and _counts(watchers, detected, event):
            looked.found.append(_suspicion(detected, seen))
    if looked.found:
        hold_back(book, looked.found)
    return looked


def keep(book: Book, account: Account, event: MemberEvent, looked: Looked) -> None:
    """Raise what was found about an event that was taken, and remember the event."""
    plan, watch, seen = looked.plan, looked.watch, looked.seen
    if plan.points and not plan.commanded:
        seen.points = _earned(book)
    if plan.returns and (looked.parked or event.type != "order.paid"):
        _returned(book, account, event, seen)
    if looked.trips:
        for detector in plan.after:
            detected = detector.look(seen, watch)
            if detected is not None and _counts(looked.watchers, detected, event):
                looked.found.append(_suspicion(detected, seen))
    row = _remember(looked.watchers, plan, watch, seen)
    told = False
    if plan.tells or watch.has_rest:
        told = tell_elsewhere(book, event, seen, row, looked.watchers, plan, watch)
    if row is not None or told:
        write_watch(book, account.member, watch)
    for suspicion in looked.found:
        raise_flag(book, suspicion)


def join_watch(book: Book, member: bytes, value: bytes) -> None:
    """Take over what was remembered of a member who is merged into this one."""
    if remembered_until_ms(value) <= book.now_ms:
        return
    watch = watch_of(book, member)
    watch.join(_decoded(value))
    write_watch(book, member, watch)


# --- what is remembered -------------------------------------------------------------------------


def _remember(watchers: Watchers, plan: Plan, watch: Watch, seen: Sighting) -> Row | None:
    """Add an event to what is remembered; return what is remembered of it, if anything is."""
    at_ms, now_ms, device, place = seen.at_ms, seen.now_ms, seen.device, seen.place
    ip = seen.ip
    if ip is not None and not watch.see_address(ip, at_ms):
        ip = None
    if device is not None:
        watch.see_device(device, at_ms)
    late_ms = now_ms if now_ms > at_ms else 0
    row: Row = [
        at_ms,
        seen.kind,
        seen.money_minor,
        seen.points,
        seen.event_id,
        device,
        late_ms,
        ip,
        place,
    ]
    changed = plan.rows or device is not None or ip is not None or place is not None
    if changed:
        watch.add_row(row, now_ms, watchers.rows_ms)
    if seen.returned is not None:
        percent, after_ms = seen.refunded_percent, at_ms - seen.paid_ms
        back = [at_ms, seen.returned, seen.event_id, percent, after_ms, late_ms]
        watch.add_return(back, now_ms, watchers.returns_ms)
        changed = True
    for name, bucket_ms, keep_most, column in plan.counters:
        value = 1 if column is None else row[column]
        if value:
            watch.count(name, at_ms // bucket_ms, value, keep_most)
            changed = True
    if changed and len(watch.counts) > len(watchers.counted):
        watch.forget_counts(watchers.counted)
    return row if changed else None


def watch_of(book: Book, member: bytes) -> Watch:
    """Return what is remembered of a member. Who changes it writes it."""
    watch = book.watches.get(member)
    if watch is None:
        value = book.state.get(watch_key(member))
        watch = Watch() if value is None else _decoded(value)
        book.watches[member] = watch
    if watch.until_ms and watch.until_ms <= book.now_ms:
        # The sweep may have been by or not: it is over in any case.
        watch = book.watches[member] = Watch()
    return watch.open()


def _decoded(value: bytes) -> Watch:
    return Watch.of_body(remembered_bytes(value), remembered_until_ms(value))


def write_watch(book: Book, member: bytes, watch: Watch, until_ms: int = 0) -> None:
    """Have what is remembered of a member written; after an event, from now on for `KEPT_MS`."""
    new = not watch.until_ms
    watch.until_ms = until_ms or book.now_ms + KEPT_MS
    book.memory.put_late(watch_key(member), watch, new=new)


# --- what is seen of an event -------------------------------------------------------------------


def _place(watchers: Watchers, event: MemberEvent) -> tuple[float, float] | None:
    if event.geo is not None:
        return event.geo.lat, event.geo.lon
    if event.store_id is not None and event.channel in watchers.store_channels:
        return watchers.places.get(event.store_id)
    return None


def _allowed(watchers: Watchers, entity: Entity, id: str, event: MemberEvent) -> bool:
    return watchers.allow.of(entity, id, event.occurred_at_ms) is not None


def _earned(book: Book) -> int:
    """Return what the event has earned that can be spent, now or later."""
    wallets, points = book.programme.wallets, 0
    for entry in book.entries:
        if entry["type"] in _EARNED and wallets[entry["wallet"]].spendable:
            points += entry["amount"]
    return points


def _returned(book: Book, account: Account, event: Any, seen: Sighting) -> None:
    """Note which order was given back, and how much of it by now."""
    order_id: str = event.order_id
    order = book.order(account.member, order_id)
    if order is None or not (order.cancelled or order.refunded_minor or order.returned):
        return
    seen.returned = blake2b(order_id.encode(), digest_size=6).hexdigest()
    seen.paid_ms = order.earned_ms
    whole = order.cancelled or not order.paid_minor
    seen.refunded_percent = 100 if whole else order.refunded_minor * 100 // order.paid_minor


# --- what is suspicious -------------------------------------------------------------------------


def _step_up(book: Book, account: Account, event: CommandEnvelope, looked: Looked) -> None:
    """Let a command wait that a detector says needs a second confirmation."""
    seen, watch = looked.seen, looked.watch
    available = spendable(book, account, wallet_of(event), max(book.now_ms, seen.at_ms))
    if seen.points > available or account.frozen:
        return  # It is rejected anyhow: nobody needs to be asked.
    for detector in looked.plan.steps:
        detected = detector.look(seen, watch, available)
        if detected is None:
            continue
        if not detector.waits:
            looked.found.append(_suspicion(detected, seen))
        elif book.step_up is None:
            book.step_up = detected


def _denied(watchers: Watchers, event: MemberEvent, at_ms: int) -> Denied | None:
    entities: list[tuple[Entity, str | None]] = [
        (Entity.MEMBER, event.member_id),
        (Entity.DEVICE, event.device_id),
        (Entity.IP, event.ip),
        (Entity.STORE, event.store_id),
    ]
    if isinstance(event, CommandEnvelope) and event.actor.role is Role.STORE:
        entities.append((Entity.STAFF, event.actor.id))
    for entity, id_ in entities:
        denied = watchers.deny.of(entity, id_, at_ms)
        if denied is not None:
            return denied
    return None


def _refuse(book: Book, looked: Looked, denied: Denied) -> None:
    """Deal with an event of an entity that is on the deny list."""
    seen = looked.seen
    why = f" ({denied.reason})" if denied.reason else ""
    detected = Detected(
        DENIED,
        looked.watchers.denying,
        denied.action,
        1,
        0,
        _DAY_S,
        (seen.event_id,),
        f"member {seen.member_id} sent {seen.type} with the {denied.entity} {denied.id}, which is"
        f" on the deny list{why}: release if the member is known to you, else reject",
    )
    if seen.type in _SPENDING and denied.action is not FlagAction.FLAG:
        book.step_up = detected
    else:
        looked.found.append(_suspicion(detected, seen))


def _counts(watchers: Watchers, detected: Detected, event: MemberEvent) -> bool:
    """Tell whether something found about a referrer counts: one on the allow list trips nothing."""
    return detected.entity is not EntityKind.REFERRER or not _allowed(
        watchers, Entity.REFERRER, event.member_id, event
    )


def _suspicion(detected: Detected, seen: Sighting) -> Suspicion:
    return Suspicion(
        detected.detector,
        detected.version,
        detected.action,
        detected.entity,
        seen.member_id,
        detected.observed,
        detected.threshold,
        detected.window_s,
        tuple((seen.member_id, event_id) for event_id in detected.events),
        (seen.member_id,),
        detected.explanation,
        seen.at_ms,
    )
