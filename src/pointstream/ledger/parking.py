"""Refunds and cancellations that came before their order.

They wait under the order's id, with the raw record: if the order never comes, that record must go
to the dead letters byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from pointstream.contracts.inputs import OrderCancelled, OrderRefunded
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.ledger.book import Book
from pointstream.ledger.closed import decode_bytes, encode_bytes, readdressed
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import DeadLetter, Decision, Outcome, Source
from pointstream.ledger.records import Account
from pointstream.ledger.state import parked_key, parked_prefix, prefix_stop

__all__ = ["Parked", "adopt", "give_up", "never_taken", "park", "parked_for", "unpark"]

_MODELS: Final[dict[str, type[OrderRefunded] | type[OrderCancelled]]] = {
    "order.refunded": OrderRefunded,
    "order.cancelled": OrderCancelled,
}


@dataclass(frozen=True, slots=True)
class Parked:
    """One waiting record, and when waiting ends."""

    key: bytes
    due_ms: int
    event: OrderRefunded | OrderCancelled
    source: Source


def park(
    book: Book, account: Account, event: OrderRefunded | OrderCancelled, source: Source
) -> None:
    """Keep a record until its order comes, or until the park window ends."""
    key = _free_key(book, account, event.order_id, source.offset)
    due_ms = book.now_ms + book.programme.park_window_ms
    book.state.put(
        key,
        encode_list(
            [
                due_ms,
                event.type,
                event.model_dump_json(),
                source.topic,
                source.partition,
                source.offset,
                source.timestamp_ms,
                encode_bytes(source.key),
                encode_bytes(source.value),
                [[name, encode_bytes(value)] for name, value in source.headers],
            ]
        ),
    )
    book.timers.put(due_ms, b"p" + key[1:])
    account.parked += 1
    book.change(account, shown=False)


def adopt(book: Book, account: Account, order_id: str, value: bytes) -> None:
    """Keep a record that was waiting with a member who was merged into this one."""
    fields = decode_list(value)
    due_ms, type_, event, _, _, offset, *_ = fields
    own = readdressed(_MODELS[type_].model_validate_json(event), account.member_id)
    fields[2] = own.model_dump_json()
    key = _free_key(book, account, order_id, offset)
    book.state.put(key, encode_list(fields))
    book.timers.put(due_ms, b"p" + key[1:])
    account.parked += 1
    book.change(account, shown=False)


def _free_key(book: Book, account: Account, order_id: str, offset: int) -> bytes:
    """Return the key for a record, behind those that wait for the same order.

    Records of a merged member come from another partition and can have the same offset.
    """
    key = parked_key(account.member, order_id, offset)
    while book.state.get(key) is not None:
        offset += 1
        key = parked_key(account.member, order_id, offset)
    return key


def parked_for(book: Book, account: Account, order_id: str) -> list[Parked]:
    """Return what waits for an order, as it arrived."""
    prefix = parked_prefix(account.member, order_id)
    return [_decode(key, value) for key, value in book.state.scan(prefix, prefix_stop(prefix))]


def unpark(book: Book, account: Account, parked: Parked) -> None:
    """Let a record wait no longer."""
    book.state.delete(parked.key)
    book.timers.drop(parked.due_ms, b"p" + parked.key[1:])
    account.parked -= 1
    book.change(account, shown=False)


def give_up(book: Book, key: bytes) -> Decision | None:
    """Return the dead letter of a record whose order never came. Its timer has rung."""
    value = book.state.get(key)
    if value is None:
        return None
    parked = _decode(key, value)
    event = parked.event
    account = book.account(event.member_id, event.member_id.encode())
    unpark(book, account, parked)
    # Someone may find the order and give both again: then this event must count.
    book.memory.forget_event(account.member, event.event_id)
    letter = DeadLetter(
        DeadLetterCode.REFUND_WITHOUT_ORDER,
        f"the order {event.order_id!r} has not come within the park window",
        parked.source,
    )
    return Decision(Outcome.ORDER_NEVER_CAME, dead_letters=[letter])


def never_taken(key: bytes, value: bytes) -> DeadLetter:
    """Return the dead letter of a record that waited for an order of a member who is erased."""
    parked = _decode(key, value)
    return DeadLetter(
        DeadLetterCode.ACCOUNT_ERASED,
        f"the member was erased before the order {parked.event.order_id!r} came",
        parked.source,
    )


def _decode(key: bytes, value: bytes) -> Parked:
    (due_ms, type_, event, topic, partition, offset, timestamp_ms, raw_key, raw, headers) = (
        decode_list(value)
    )
    return Parked(
        key,
        due_ms,
        _MODELS[type_].model_validate_json(event),
        Source(
            topic,
            partition,
            offset,
            timestamp_ms,
            decode_bytes(raw_key),
            decode_bytes(raw),
            # Kafka knows headers without a value, which a dead letter must show as such. The
            # record's own type has no word for them.
            [(name, cast(bytes, decode_bytes(header))) for name, header in headers],
        ),
    )
