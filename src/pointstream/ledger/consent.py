"""Four eyes: a command above its actor's limit waits until a second actor has consented.

It waits as it came, under a key of its own, and a flag says that it does. `review.release` by
another actor, who may give that command and whose own limit covers it, lets it take effect as of
then: it is carried out, or rejected for the rule that it breaks by then. `review.reject` refuses
it. So does the end of the consent window: without a second actor nothing has taken effect.

How a flag ended is remembered for the refund window, so that a second review is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from pointstream.contracts.inputs import Command, PointsRedeem, ReviewReject, ReviewRelease
from pointstream.contracts.vocabulary import (
    CommandOutcome,
    EntityKind,
    FlagAction,
    FlagState,
    Reason,
)
from pointstream.contracts.wire import dumps
from pointstream.fraud.sighting import Detected
from pointstream.ledger.answers import accepted, rejected, rejection, wallet_of
from pointstream.ledger.book import MAX_POINTS, Book, CameToNothing
from pointstream.ledger.catalogue import price_of
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import (
    decode_list,
    encode_list,
    remembered,
    remembered_body,
    remembered_until_ms,
)
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.moves import spendable
from pointstream.ledger.records import Account
from pointstream.ledger.rights import limit_of, permitted
from pointstream.ledger.state import (
    flag_key,
    prefix_stop,
    waiting_key,
    waiting_prefix,
)

__all__ = [
    "Excess",
    "await_consent",
    "consent_needed",
    "consent_never_came",
    "deny_all",
    "points_of",
    "released",
    "review_rejected",
]

DETECTOR: Final = "four_eyes"
_VERSION: Final = 1
_REASON_SHOWN: Final = 200
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

CarryOut = Callable[[Book, Account, Command, Cause], Decision]

_COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(Annotated[Command, Field(discriminator="type")])


class _Ended(StrEnum):
    """How a flag ended."""

    RELEASED = "released"
    REJECTED = "rejected"


_ALREADY: Final = {
    _Ended.RELEASED: Reason.FLAG_ALREADY_RELEASED,
    _Ended.REJECTED: Reason.FLAG_ALREADY_REJECTED,
}


@dataclass(frozen=True, slots=True)
class Excess:
    """By how much a command is more than its actor may do alone."""

    points: int
    limit: int
    """0 where every command of its kind needs a second actor."""
    detector: str = DETECTOR
    version: int = _VERSION
    window_s: int = 0
    why: str | None = None
    """What a detector of fraud says about it, where that is why it waits."""

    @classmethod
    def of(cls, detected: Detected) -> Excess:
        """Return why a command waits that a detector of fraud has found."""
        return cls(
            detected.observed,
            detected.threshold,
            detected.detector,
            detected.version,
            detected.window_s,
            detected.explanation,
        )


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A command that waits for consent."""

    flag_id: str
    due_ms: int
    event: Command
    source: Source
    """The address alone: the event is kept decoded."""
    excess: Excess


def consent_needed(book: Book, account: Account, event: Command) -> Excess | None:
    """Return why a command may not take effect before a second actor has consented, if so."""
    programme = book.programme
    limit = limit_of(programme, event, event.actor.role)
    if limit is not None:
        points = points_of(book, account, event)
        if points > limit:
            return Excess(points, limit)
    if event.type in programme.consent_always:
        return Excess(points_of(book, account, event), 0)
    return None


def await_consent(
    book: Book, account: Account, event: Command, src: Source, excess: Excess
) -> Decision:
    """Let a command wait, and say so."""
    flag_id = _flag_id(account.member, event)
    due_ms = book.now_ms + book.programme.consent_ms
    book.state.put(
        waiting_key(account.member, flag_id),
        encode_list(
            [
                due_ms,
                event.model_dump_json(),
                src.topic,
                src.partition,
                src.offset,
                src.timestamp_ms,
                excess.points,
                excess.limit,
                *((excess.detector, excess.version, excess.window_s) if excess.why else ()),
            ]
        ),
    )
    book.timers.put(due_ms, _timer(account.member, flag_id))
    actor = event.actor
    what = event.type
    why = excess.why or (
        f"{what} of {excess.points} points by {actor.id} ({actor.role}) is above the limit of"
        f" {excess.limit}"
        if excess.limit
        else f"{what} by {actor.id} ({actor.role}) needs a second actor"
    )
    waiting = _Waiting(flag_id, due_ms, event, src, excess)
    _flag(
        book,
        account,
        waiting,
        FlagState.RAISED,
        f"{why}: another actor decides by review.release or review.reject, until"
        f" {book.text(due_ms)}",
    )
    return Decision(Outcome.AWAITING_CONSENT)


def released(
    book: Book, account: Account, event: ReviewRelease, cause: Cause, carry_out: CarryOut
) -> Decision:
    """Carry out what waited, if this actor may consent to it."""
    waiting = _waiting(book, account, event.flag_id)
    if isinstance(waiting, Reason):
        return rejected(account, event, waiting)
    if not _may_consent(book, account, event, waiting):
        return rejected(account, event, Reason.NOT_PERMITTED)
    _end(book, account, waiting, _Ended.RELEASED)
    _flag(
        book,
        account,
        waiting,
        FlagState.RELEASED,
        f"{event.actor.id} ({event.actor.role}) consents: {event.reason[:_REASON_SHOWN]}",
        event.event_id,
    )
    # What it does happens now, not when it was asked for: points that it gives live from now on.
    now = _EPOCH + timedelta(milliseconds=book.now_ms)
    asked = waiting.event.model_copy(update={"occurred_at": now})
    first = Cause(account.member, asked, book.now_ms, waiting.source)
    first.confirmed_by = event.actor.id
    done = carry_out(book, account, asked, first)
    if done.result is not None:
        book.answer(account.member, done.result)
        if done.result["outcome"] == CommandOutcome.REJECTED:
            _count_no_more(book, account, waiting)
    told = accepted(account, event, Outcome.REVIEW_RELEASED, wallet_of(waiting.event))
    told.dead_letters = done.dead_letters
    return told


def review_rejected(book: Book, account: Account, event: ReviewReject, cause: Cause) -> Decision:
    """Refuse what waited. Whoever may give such a command may, the one who asked for it too."""
    waiting = _waiting(book, account, event.flag_id)
    if isinstance(waiting, Reason):
        return rejected(account, event, waiting)
    if not permitted(_as_given_by(event, waiting.event)):
        return rejected(account, event, Reason.NOT_PERMITTED)
    why = f"{event.actor.id} ({event.actor.role}) refuses: {event.reason[:_REASON_SHOWN]}"
    _deny(book, account, waiting, Reason.CONSENT_DENIED, why, event.event_id)
    return accepted(account, event, Outcome.REVIEW_REJECTED, wallet_of(waiting.event))


def consent_never_came(book: Book, what: bytes) -> Decision | None:
    """Refuse what has waited for too long. Its timer has rung; `what` is what the timer names."""
    member, _, name = what.partition(b"\0")
    account = book.account(member.decode(), member)
    waiting = _waiting(book, account, name.decode())
    if isinstance(waiting, Reason):
        return None
    _deny(book, account, waiting, Reason.REVIEW_REQUIRED, "nobody has consented in time")
    return Decision(Outcome.CONSENT_NEVER_CAME)


def deny_all(book: Book, account: Account, reason: Reason) -> None:
    """Answer all that waits with a rejection: the account is about to be merged or erased."""
    prefix = waiting_prefix(account.member)
    for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
        waiting = _decode(key[len(prefix) :].decode(), value)
        _deny(book, account, waiting, reason, f"it cannot be done any more: {reason}")


def points_of(book: Book, account: Account, event: Command) -> int:
    """Return how many points a command is about to move; 0 for one that moves none."""
    if isinstance(event, PointsRedeem) and event.item_id is not None:
        # Its price counts, whatever number is given beside it. A price and a quantity can be more
        # than any number in a record; nobody has more than a wallet can hold.
        return min(price_of(book, event.item_id, event.quantity or 1), MAX_POINTS)
    points: int | None = getattr(event, "points", None)
    if points is not None:
        return abs(points)
    if event.type != "points.clear":
        return 0
    alive_ms = max(book.now_ms, event.occurred_at_ms)
    return spendable(book, account, wallet_of(event), alive_ms)


def _may_consent(book: Book, account: Account, event: ReviewRelease, waiting: _Waiting) -> bool:
    """Tell whether this is a second actor, who could have given the command alone."""
    asked = waiting.event
    if event.actor.id == asked.actor.id:
        return False
    if not permitted(_as_given_by(event, asked)):
        return False
    limit = limit_of(book.programme, asked, event.actor.role)
    return limit is None or points_of(book, account, asked) <= limit


def _as_given_by(review: ReviewRelease | ReviewReject, event: Command) -> Command:
    return event.model_copy(update={"actor": review.actor})


def _deny(
    book: Book,
    account: Account,
    waiting: _Waiting,
    reason: Reason,
    why: str,
    *evidence: str,
) -> None:
    _end(book, account, waiting, _Ended.REJECTED)
    # What it held back is not let go: to the reader of flags that is a confirmed one.
    _flag(book, account, waiting, FlagState.CONFIRMED, why, *evidence)
    answer = rejection(account, waiting.event, reason, wallet_of(waiting.event))
    book.answer(account.member, answer)
    _count_no_more(book, account, waiting)


def _count_no_more(book: Book, account: Account, waiting: _Waiting) -> None:
    asked, points = waiting.event, waiting.excess.points
    undone = CameToNothing(account, asked.type, asked.event_id, asked.occurred_at_ms, points)
    book.undone.append(undone)


def _end(book: Book, account: Account, waiting: _Waiting, how: _Ended) -> None:
    """Let a command wait no longer, and remember how its flag ended."""
    member, flag_id = account.member, waiting.flag_id
    book.state.delete(waiting_key(member, flag_id))
    book.timers.drop(waiting.due_ms, _timer(member, flag_id))
    until_ms = book.now_ms + book.programme.refund_window_ms
    book.memory.put(flag_key(member, flag_id), remembered(until_ms, dumps([how.value])))


def _waiting(book: Book, account: Account, flag_id: str) -> _Waiting | Reason:
    """Return what waits under a flag, or why nothing does."""
    value = book.state.get(waiting_key(account.member, flag_id))
    if value is not None:
        return _decode(flag_id, value)
    value = book.state.get(flag_key(account.member, flag_id))
    if value is None or remembered_until_ms(value) <= book.now_ms:
        return Reason.FLAG_UNKNOWN
    return _ALREADY[_Ended(remembered_body(value)[0])]


def _decode(flag_id: str, value: bytes) -> _Waiting:
    due_ms, event, topic, partition, offset, timestamp_ms, *excess = decode_list(value)
    source = Source(topic, partition, offset, timestamp_ms, None, None)
    return _Waiting(flag_id, due_ms, _COMMAND.validate_json(event), source, Excess(*excess))


def _flag_id(member: bytes, event: Command) -> str:
    """Name the flag of a command. An id that was forgotten may come again, with another date."""
    name = b"%b\0%b\0%d" % (member, event.event_id.encode(), event.occurred_at_ms)
    return f"consent-{blake2b(name, digest_size=12).hexdigest()}"


def _flag(
    book: Book,
    account: Account,
    waiting: _Waiting,
    state: FlagState,
    explanation: str,
    *evidence: str,
) -> None:
    book.more().flags.append(
        {
            "flag_id": waiting.flag_id,
            "state": state.value,
            "action": FlagAction.HOLD.value,
            "detector": waiting.excess.detector,
            "rule_version": waiting.excess.version,
            "entity_kind": EntityKind.MEMBER.value,
            "entity_id": account.member_id,
            "member_ids": [account.member_id],
            "observed": waiting.excess.points,
            "threshold": waiting.excess.limit,
            "window_seconds": waiting.excess.window_s,
            "evidence": [waiting.event.event_id, *evidence],
            "explanation": explanation,
            "occurred_at": book.text(book.now_ms),
        }
    )


def _timer(member: bytes, flag_id: str) -> bytes:
    return b"v%b\0%b" % (member, flag_id.encode())
