"""Reviews of flags: released or rejected, once, by the flag's owner.

    member's partition                    owner of the flag              other members' partitions
    ------------------                    -----------------              -------------------------
    review.release, review.reject
                      -- flag.review -->  open? then it ends
    lets go, or takes <-- flag.ended --                  -- flag.ended --> lets go, or takes back
    back; answered    <-- flag.reviewed --

A flag that is the member's own is ended at once. Whoever asks, and however many at a time: the
owner ends a flag once, and says to all others how it ended. The command can name any member of the
flag.
"""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.inputs import ReviewReject, ReviewRelease
from pointstream.contracts.vocabulary import FlagState, Reason, Role
from pointstream.contracts.wire import dumps
from pointstream.ledger.answers import MAIN_WALLET, accepted, answer_of, rejected
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import remembered, remembered_body, remembered_until_ms
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.messages import Message
from pointstream.ledger.records import Account
from pointstream.ledger.shares import share_of
from pointstream.ledger.state import flag_key
from pointstream.ledger.suspicion import close_flag, has_flag
from pointstream.ledger.taking_back import take_back
from pointstream.ledger.withholding import let_go

__all__ = [
    "FLAG_ENDED",
    "FLAG_REVIEW",
    "FLAG_REVIEWED",
    "flag_ended",
    "flag_review",
    "flag_reviewed",
    "reviewed",
    "time_limit_reached",
]

FLAG_REVIEW: Final = "flag.review"
FLAG_ENDED: Final = "flag.ended"
FLAG_REVIEWED: Final = "flag.reviewed"

_RELEASED: Final = "released"
_REJECTED: Final = "rejected"
_REASON_SHOWN: Final = 150
_TIME_LIMIT: Final = "time limit"
_NOBODY: Final = "nobody has decided"
"""Who releases a flag, and why, when its time is over."""
_ALREADY: Final = {
    _RELEASED: Reason.FLAG_ALREADY_RELEASED,
    _REJECTED: Reason.FLAG_ALREADY_REJECTED,
}


def reviewed(
    book: Book, account: Account, event: ReviewRelease | ReviewReject, cause: Cause
) -> Decision | None:
    """End a flag that a detector raised, or ask its owner to; None if there is no such flag here.

    Shops review what their own people asked for, not what detectors found.
    """
    share = share_of(book, account, event.flag_id)
    if share is not None:
        owner = share.owner
    elif has_flag(book, account.member_id, event.flag_id):
        owner = account.member_id
    else:
        return None
    if event.actor.role not in (Role.HEAD_OFFICE, Role.SYSTEM):
        return rejected(account, event, Reason.NOT_PERMITTED)
    review = {
        "event_id": event.event_id,
        "type": event.type,
        "occurred_ms": cause.occurred_ms,
        "actor_id": event.actor.id,
        "role": event.actor.role.value,
        "reason": event.reason,
        "member_id": account.member_id,
    }
    if owner == account.member_id:
        reason = _end(book, owner, event.flag_id, review, cause)
        if reason is not None:
            return rejected(account, event, reason)
        return accepted(account, event, _OUTCOMES[event.type])
    book.tell(FLAG_REVIEW, owner, {"flag_id": event.flag_id, "review": review})
    return Decision(Outcome.REVIEW_ASKED)


def flag_review(book: Book, message: Message, source: Source) -> Decision:
    """End a flag for a member of another partition, and answer."""
    owner, body = message.to or "", message.body
    review = body["review"]
    reason = _end(book, owner, body["flag_id"], review, None)
    answer = {"review": review, "reason": None if reason is None else reason.value}
    book.tell(FLAG_REVIEWED, review["member_id"], answer)
    return Decision(_OUTCOMES[review["type"]] if reason is None else Outcome(reason.value))


def flag_ended(book: Book, message: Message, source: Source) -> Decision:
    """Let points of a member go, or take them back: the owner of the flag says how it ended."""
    member_id, body = message.to or "", message.body
    account = book.account(member_id, member_id.encode())
    review = body["review"]
    cause = Cause.message(
        account.member,
        review["event_id"],
        review["type"],
        review["occurred_ms"],
        source,
        actor_id=review["actor_id"],
        reason=review["reason"],
    )
    how = _how(review)
    if account.erased or not _apply(book, account, body["flag_id"], how, cause):
        return Decision(Outcome.FLAG_WITHOUT_MEMBER)
    return Decision(Outcome.FLAG_RELEASED if how == _RELEASED else Outcome.FLAG_CONFIRMED)


def flag_reviewed(book: Book, message: Message, source: Source) -> Decision:
    """Answer the command: the owner of the flag has decided."""
    member_id, body = message.to or "", message.body
    account = book.account(member_id, member_id.encode())
    review, reason = body["review"], body["reason"]
    rejection = None if reason is None else Reason(reason)
    answer = answer_of(account, review["event_id"], review["type"], MAIN_WALLET, rejection)
    if account.erased:
        book.more().answers.append(answer)
    else:
        book.answer(account.member, answer)
    return Decision(_OUTCOMES[review["type"]] if reason is None else Outcome(reason))


def time_limit_reached(book: Book, what: bytes, due_ms: int) -> Decision | None:
    """Release a flag on which nobody has decided; None if it has ended. `what` names it."""
    owner, _, flag_id = what.decode().partition("\0")
    if not has_flag(book, owner, flag_id):
        return None
    review = {
        "event_id": f"{_TIME_LIMIT.replace(' ', '-')}-{flag_id}",
        "type": "review.release",
        "occurred_ms": due_ms,
        "actor_id": _TIME_LIMIT,
        "role": Role.SYSTEM.value,
        "reason": _NOBODY,
        "member_id": owner,
    }
    cause = Cause.timer(owner.encode(), "timer.review.release", due_ms)
    cause.actor_id, cause.reason = _TIME_LIMIT, _NOBODY
    _end(book, owner, flag_id, review, cause)
    return Decision(Outcome.FLAG_RELEASED)


_OUTCOMES: Final = {
    "review.release": Outcome.REVIEW_RELEASED,
    "review.reject": Outcome.REVIEW_REJECTED,
}


def _how(review: dict[str, Any]) -> str:
    return _RELEASED if review["type"] == "review.release" else _REJECTED


def _end(
    book: Book, owner: str, flag_id: str, review: dict[str, Any], cause: Cause | None
) -> Reason | None:
    """End a flag at its owner, and tell its members; return why not, if it is not open.

    With a cause, the owner is a member itself: its own points move now.
    """
    if not has_flag(book, owner, flag_id):
        value = book.state.get(flag_key(owner.encode(), flag_id))
        if value is None or remembered_until_ms(value) <= book.now_ms:
            return Reason.FLAG_UNKNOWN
        return _ALREADY[remembered_body(value)[0]]
    how = _how(review)
    verb = "releases" if how == _RELEASED else "rejects"
    words = f"{review['actor_id']} ({review['role']}) {verb}: {review['reason'][:_REASON_SHOWN]}"
    state = FlagState.RELEASED if how == _RELEASED else FlagState.CONFIRMED
    members = close_flag(book, owner, flag_id, state, words, review["event_id"])
    _remember(book, owner.encode(), flag_id, how)
    for member_id in members:
        if cause is not None and member_id == owner:
            account = book.account(member_id, member_id.encode())
            _apply(book, account, flag_id, how, cause)
        else:
            book.tell(FLAG_ENDED, member_id, {"flag_id": flag_id, "review": review})
    return None


def _apply(book: Book, account: Account, flag_id: str, how: str, cause: Cause) -> bool:
    """End a member's share in a flag; whether there was one."""
    share = share_of(book, account, flag_id)
    _remember(book, account.member, flag_id, how)
    if share is None:
        return False
    if how == _RELEASED:
        let_go(book, account, share, cause)
    else:
        take_back(book, account, share, cause)
    return True


def _remember(book: Book, key: bytes, flag_id: str, how: str) -> None:
    """Remember how a flag ended, so that a second review is told."""
    until_ms = book.now_ms + book.programme.refund_window_ms
    ended = flag_key(key, flag_id)
    if book.state.get(ended) is None:
        book.memory.put(ended, remembered(until_ms, dumps([how])))
    else:
        book.state.put(ended, remembered(until_ms, dumps([how])))
