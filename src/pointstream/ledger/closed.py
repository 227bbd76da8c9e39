"""What becomes of events for accounts that are closed: merged into another one, or erased."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final, cast

from pointstream.contracts.inputs import (
    AccountErase,
    AccountMerge,
    AccountResync,
    CommandEnvelope,
    MemberEvent,
)
from pointstream.contracts.vocabulary import CommandOutcome, DeadLetterCode, Reason, Role
from pointstream.contracts.wire import dumps, loads
from pointstream.ledger.answers import MAIN_WALLET, rejected
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Answer, DeadLetter, Decision, Outcome, Source
from pointstream.ledger.messages import FORWARDED, Message
from pointstream.ledger.records import Account
from pointstream.ledger.resyncing import closed_resynced
from pointstream.ledger.state import erased_key

__all__ = [
    "closed",
    "decode_bytes",
    "encode_bytes",
    "forwarded_source",
    "keep_erasure",
    "readdressed",
]

_ONLY_BY_NAME: Final = (AccountMerge, AccountErase, AccountResync)
"""What is done to a survivor only if it is named itself."""


def closed(
    book: Book, account: Account, event: MemberEvent, digest: bytes, source: Source
) -> Decision:
    """Send the record on to the survivor of a merge, or refuse it for an erased member."""
    if account.merged_into is None:
        return _erased(book, account, event, digest, source)
    # The merge itself and later commands like it are answered here; all else has moved.
    known = book.memory.known_event(account.member, event.event_id)
    if known is not None and known[0] == digest:
        if known[1]:
            return Decision(Outcome.COMMAND_ALREADY_ANSWERED, result=loads(known[1]))
        return Decision(Outcome.EVENT_ALREADY_TAKEN)
    if isinstance(event, _ONLY_BY_NAME):
        if known is not None:
            letter = DeadLetter(
                DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT,
                "the event_id was used before, for an event with other content",
                source,
            )
            return Decision(Outcome.ID_REUSED_WITH_OTHER_CONTENT, dead_letters=[letter])
        at_ms = event.occurred_at_ms
        if at_ms <= book.now_ms - book.windows.of_command(at_ms):
            # Whether it was answered before, and how, is not known any more.
            words = "the command is older than commands are remembered"
            letter = DeadLetter(DeadLetterCode.TOO_OLD, words, source)
            return Decision(Outcome.TOO_OLD, dead_letters=[letter])
        if isinstance(event, AccountResync):
            decision = closed_resynced(book, account, event)
        else:
            decision = rejected(account, event, Reason.ACCOUNT_MERGED)
        book.memory.keep_event(
            account.member,
            event.event_id,
            digest,
            dumps(decision.result),
            occurred_ms=event.occurred_at_ms,
        )
        return decision
    book.tell(FORWARDED, account.merged_into, _record(source))
    return Decision(Outcome.PASSED_ON_TO_SURVIVOR)


def _erased(
    book: Book, account: Account, event: MemberEvent, digest: bytes, source: Source
) -> Decision:
    """Refuse a record for an erased member. Nothing of it is kept, not even its id."""
    if not isinstance(event, CommandEnvelope):
        letter = DeadLetter(DeadLetterCode.ACCOUNT_ERASED, "the member was erased", source)
        return Decision(Outcome.ACCOUNT_ERASED, dead_letters=[letter])
    if isinstance(event, AccountResync):
        return closed_resynced(book, account, event)
    value = book.state.get(erased_key(account.member))
    known = dict(decode_list(value)) if value is not None else {}
    if digest.hex() not in known:
        return rejected(account, event, Reason.ACCOUNT_ERASED, MAIN_WALLET)
    answer: Answer = {
        "command_id": event.event_id,
        "type": event.type,
        "member_id": event.member_id,
        "outcome": CommandOutcome.ACCEPTED.value,
        "seq": known[digest.hex()],
        "available_after": 0,
    }
    return Decision(Outcome.COMMAND_ALREADY_ANSWERED, result=answer)


def keep_erasure(book: Book, account: Account, digest: bytes | None = None, seq: int = 0) -> None:
    """Mark a member as erased; remember a command that was accepted for it, by its digest, and
    the `seq` that the answer told."""
    key = erased_key(account.member)
    value = book.state.get(key)
    known = decode_list(value) if value is not None else []
    if digest is not None:
        known.append([digest.hex(), seq])
    book.state.put(key, encode_list(known))


def _record(source: Source) -> dict[str, Any]:
    return {
        "topic": source.topic,
        "partition": source.partition,
        "offset": source.offset,
        "timestamp_ms": source.timestamp_ms,
        "key": encode_bytes(source.key),
        "value": encode_bytes(source.value),
        "headers": [[name, encode_bytes(value)] for name, value in source.headers],
    }


def forwarded_source(message: Message) -> Source:
    """Return the record that a `record.forwarded` message holds, with its own address."""
    body = message.body
    return Source(
        body["topic"],
        body["partition"],
        body["offset"],
        body["timestamp_ms"],
        decode_bytes(body["key"]),
        decode_bytes(body["value"]),
        # Kafka knows headers without a value, which a dead letter must show as such. The record's
        # own type has no word for them.
        [(name, cast(bytes, decode_bytes(value))) for name, value in body["headers"]],
    )


def readdressed(event: MemberEvent, member_id: str) -> MemberEvent:
    """Return an event of a merged member as one of the survivor.

    Who acted for the old id as the member does so for the survivor.
    """
    changed: dict[str, Any] = {"member_id": member_id}
    if isinstance(event, CommandEnvelope):
        actor = event.actor
        if actor.role is Role.MEMBER and actor.id == event.member_id:
            changed["actor"] = actor.model_copy(update={"id": member_id})
    return event.model_copy(update=changed)


def encode_bytes(data: bytes | None) -> str | None:
    """Return the bytes of a record as text that JSON holds."""
    return None if data is None else b64encode(data).decode()


def decode_bytes(text: str | None) -> bytes | None:
    """Return bytes that `encode_bytes` made text."""
    return None if text is None else b64decode(text)
