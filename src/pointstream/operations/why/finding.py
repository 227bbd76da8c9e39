"""Where an event stands on the input topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pointstream.contracts.decoding import Decoded, Refusal, decode
from pointstream.contracts.inputs import MemberEvent, OrderPaid
from pointstream.contracts.wire import loads
from pointstream.operations.placement import partition_of
from pointstream.operations.reading import CommittedReader, Record

__all__ = ["EventNotFound", "Found", "Wanted", "find_event"]

_EARNING: Final = ("orders", "check-ins", "referrals", "activities", "members")
"""The inputs that rules are asked about, by suffix."""


class EventNotFound(Exception):
    """The event is on none of the topics, or cannot be explained; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which event: by its id, or the payment of an order."""

    event_id: str | None = None
    order_id: str | None = None
    member_id: str | None = None
    """If given, only the partition of this member is searched."""

    @property
    def needle(self) -> bytes | None:
        """What stands in every record of it; None if that cannot be told."""
        text = self.event_id if self.event_id is not None else self.order_id or ""
        # JSON may write other characters in several ways.
        plain = text.isascii() and not set('"\\/') & set(text) and text.isprintable()
        return text.encode() if plain else None

    def __str__(self) -> str:
        if self.event_id is not None:
            return f"event {self.event_id}"
        return f"payment of the order {self.order_id}"


@dataclass(slots=True)
class Found:
    """The record of an event: the first, which is the one that counts."""

    record: Record
    suffix: str
    event: MemberEvent
    again: list[int] = field(default_factory=list)
    """The offsets at which it came again."""


async def find_event(
    reader: CommittedReader,
    prefix: str,
    wanted: Wanted,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> Found:
    """Look for an event on the topics of what earns.

    `on_step` is told which share is searched, 0 to 1. Raises `EventNotFound`, `NoTopicsError`.
    """
    topics = _EARNING if wanted.event_id is not None else ("orders",)
    places: list[tuple[str, int]] = []
    for suffix in topics:
        numbers = await reader.existing(prefix + suffix)
        if wanted.member_id is not None:
            numbers = [partition_of(wanted.member_id.encode(), len(numbers))]
        places += [(suffix, number) for number in numbers]
    refused: Refusal | None = None
    for done, (suffix, number) in enumerate(places):
        found: Found | None = None
        async for records in reader.read(prefix + suffix, number):
            for record in _with(records, wanted.needle):
                event = _event(suffix, record, wanted)
                if isinstance(event, Refusal):
                    refused = refused or event
                elif event is None:
                    continue
                elif found is None:
                    found = Found(record, suffix, event)
                else:
                    found.again.append(record.offset)
        on_step((done + 1) / len(places))
        if found is not None:
            return found
    if refused is not None:
        raise EventNotFound(
            f"The {wanted} was refused as it stands: {refused.code}: {refused.message}. It is on"
            " the topic of the dead letters; no rule was asked."
        )
    where = "its partition of " if wanted.member_id is not None else ""
    raise EventNotFound(
        f"There is no {wanted} on {where}{', '.join(topics)}: the id is another one, or the topics"
        " do not keep it any more, or what was sent is no JSON: see the dead letters. Commands ask"
        " no rules and are not searched."
    )


def _names(record: Record, wanted: Wanted) -> bool:
    """Tell whether a record that was refused says that it is what is looked for."""
    try:
        body = loads(record.value or b"")
    except ValueError:
        return False
    if not isinstance(body, dict):
        return False
    if wanted.event_id is None:
        return (body.get("type"), body.get("order_id")) == ("order.paid", wanted.order_id)
    id_ = dict(record.headers).get("ce_id") or b""
    return wanted.event_id in (body.get("event_id"), body.get("id"), id_.decode(errors="replace"))


def _with(records: Sequence[Record], needle: bytes | None) -> Sequence[Record]:
    if needle is None:
        return records
    return [
        record
        for record in records
        if needle in (record.value or b"") or any(needle in (v or b"") for _, v in record.headers)
    ]


def _event(suffix: str, record: Record, wanted: Wanted) -> MemberEvent | Refusal | None:
    """Return the event of a record if it is the one; what keeps it from being taken, if so."""
    decoded = decode(suffix, record.key, record.value, record.headers)
    if not isinstance(decoded, Decoded):
        return decoded if _names(record, wanted) else None
    event = decoded.event
    if wanted.event_id is not None:
        same = getattr(event, "event_id", None) == wanted.event_id
    else:
        same = isinstance(event, OrderPaid) and event.order_id == wanted.order_id
    if not same or (wanted.member_id or "") not in ("", getattr(event, "member_id", "")):
        return None
    return event  # type: ignore[return-value]
