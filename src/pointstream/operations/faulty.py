"""Inputs that must not be taken: each with the code that its dead letter has to carry.

For runs that show what happens to bad records. Some need a good record before them (an id that is
then reused, an order that is then refunded twice over); those come along, in order, on the same
partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pointstream.contracts.decoding import DEFAULT_MAX_BYTES
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.operations.chain import CURRENCY, DAY_MS
from pointstream.operations.publish import Headers, OutgoingRecord

__all__ = ["FaultyInput", "faulty_inputs"]


@dataclass(frozen=True, slots=True)
class FaultyInput:
    """The last of the records is the bad one; those before it are good and make it so."""

    code: DeadLetterCode
    records: tuple[OutgoingRecord, ...]

    @property
    def bad(self) -> OutgoingRecord:
        """The record that has to come back as a dead letter."""
        return self.records[-1]


def faulty_inputs(
    prefix: str, mark: str, member_id: str, now_ms: int, then_ms: int
) -> Iterator[FaultyInput]:
    """Yield one bad input of each kind, all of one member.

    `mark` goes into the ids, so that different calls don't meet; `now_ms` is the present (one
    record lies a day behind it), `then_ms` when the others occurred; both are ms since the epoch.
    """
    orders = f"{prefix}orders"

    def order(name: str, **changes: Any) -> dict[str, Any]:
        return {
            "event_id": f"{mark}-{name}",
            "type": "order.paid",
            "member_id": member_id,
            "occurred_at": rfc3339(then_ms),
            "order_id": f"O-{mark}-{name}",
            "currency": CURRENCY,
            "paid_minor": 1_000,
            **changes,
        }

    def record(
        body: dict[str, Any] | bytes,
        key: bytes | None = member_id.encode(),
        headers: Headers = (),
    ) -> OutgoingRecord:
        value = body if isinstance(body, bytes) else dumps(body)
        return OutgoingRecord(orders, key, value, headers)

    def faulty(code: DeadLetterCode, *records: OutgoingRecord) -> FaultyInput:
        return FaultyInput(code, records)

    code = DeadLetterCode
    yield faulty(code.NOT_JSON, record(dumps(order("cut"))[:-20]))
    yield faulty(code.SCHEMA_INVALID, record(order("text", paid_minor="10.00")))
    yield faulty(code.UNKNOWN_TYPE, record(order("type", type="order.dreamt-of")))
    yield faulty(code.KEY_MISSING, record(order("keyless"), key=None))
    yield faulty(code.KEY_MISMATCH, record(order("other", member_id=f"{member_id}-twin")))
    conflict = (("ce_specversion", b"1.0"), ("ce_id", b"another-id"), ("ce_type", b"order.paid"))
    yield faulty(code.ENVELOPE_CONFLICT, record(order("twice-told"), headers=conflict))
    line = {"line_id": "1", "quantity": 1, "paid_minor": 999}
    yield faulty(code.LINES_DO_NOT_ADD_UP, record(order("lines", lines=[line])))
    yield faulty(code.TOO_LARGE, record(order("large", note="x" * DEFAULT_MAX_BYTES)))
    tomorrow = rfc3339(now_ms + DAY_MS)
    yield faulty(code.TOO_FAR_IN_FUTURE, record(order("tomorrow", occurred_at=tomorrow)))
    yield faulty(
        code.ID_REUSED_WITH_OTHER_CONTENT,
        record(order("reused")),
        record(order("reused", paid_minor=2_000)),
    )
    refund = {
        "event_id": f"{mark}-back",
        "type": "order.refunded",
        "member_id": member_id,
        "occurred_at": rfc3339(then_ms + 1),
        "order_id": f"O-{mark}-sold",
        "refund_id": f"R-{mark}-sold",
        "refunded_minor": 1_001,
    }
    yield faulty(code.REFUND_EXCEEDS_ORDER, record(order("sold")), record(refund))
