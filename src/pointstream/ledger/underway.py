"""Awards that wait for their budget's answer: what is needed to go on with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.state import prefix_stop, under_way_key, under_way_prefix

__all__ = [
    "UnderWay",
    "decode_under_way",
    "keep_under_way",
    "note_refund",
    "refuse_under_way",
    "take_under_way",
    "without_order",
]


@dataclass(slots=True)
class UnderWay:
    """An award whose budget is being asked. No point of it is in the account."""

    ruleset_hash: str
    rule_id: str
    points: int
    """What the budget was asked for."""
    due: int
    """What the rule gave, before caps."""
    earned_ms: int
    order_id: str | None
    reason: str | None
    campaign_id: str
    cause: dict[str, Any]
    """The event that earned it, as `Cause.fields` gives it."""
    refund: dict[str, Any] | None = None
    """The latest refund or cancellation of its order since."""
    confirmed: bool = False
    """A flag about the event was confirmed since: nothing of it is given."""
    wait_until_ms: int = 0
    """So long the event's points are pending, because others judge it as well."""


def keep_under_way(book: Book, member: bytes, ask_id: str, under_way: UnderWay) -> None:
    """Keep an award until the answer to a question comes."""
    key = under_way_key(member, ask_id)
    if book.state.get(key) is not None:
        raise StateCorrupt(f"a member waits for {ask_id!r} already")
    book.state.put(key, _encode(under_way))


def decode_under_way(value: bytes) -> UnderWay:
    """Return what waits for an answer. Raises `StateCorrupt`."""
    return UnderWay(*decode_list(value))


def without_order(book: Book, member: bytes, ask_id: str) -> None:
    """Let an award be no order's any more: the order is another one now."""
    key = under_way_key(member, ask_id)
    value = book.state.get(key)
    if value is not None:
        under_way = decode_under_way(value)
        under_way.order_id = None
        book.state.put(key, _encode(under_way))


def take_under_way(book: Book, member: bytes, ask_id: str) -> UnderWay:
    """Return what waited for an answer; it waits no longer. Raises `StateCorrupt`."""
    under_way = _read(book, member, ask_id)
    book.state.delete(under_way_key(member, ask_id))
    return under_way


def note_refund(book: Book, member: bytes, ask_id: str, cause: Cause) -> None:
    """Note a refund that can be settled when it is known what the award gave."""
    under_way = _read(book, member, ask_id)
    under_way.refund = cause.fields()
    book.state.put(under_way_key(member, ask_id), _encode(under_way))


def refuse_under_way(book: Book, member: bytes, event_ids: Collection[str]) -> None:
    """Let awards of some events come to nothing when their answers are there."""
    prefix = under_way_prefix(member)
    for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
        under_way = decode_under_way(value)
        if under_way.cause.get("event_id") in event_ids:
            under_way.confirmed = True
            book.state.put(key, _encode(under_way))


def _read(book: Book, member: bytes, ask_id: str) -> UnderWay:
    value = book.state.get(under_way_key(member, ask_id))
    if value is None:
        raise StateCorrupt(f"nothing of a member waits for {ask_id!r}")
    return decode_under_way(value)


def _encode(under_way: UnderWay) -> bytes:
    row = [
        under_way.ruleset_hash,
        under_way.rule_id,
        under_way.points,
        under_way.due,
        under_way.earned_ms,
        under_way.order_id,
        under_way.reason,
        under_way.campaign_id,
        under_way.cause,
        under_way.refund,
    ]
    if under_way.wait_until_ms:
        row += [under_way.confirmed, under_way.wait_until_ms]
    elif under_way.confirmed:
        row.append(True)
    return encode_list(row)
