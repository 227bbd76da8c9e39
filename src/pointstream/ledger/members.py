"""What member events tell about a member: segments can give a tier, birthdays multiply points."""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.inputs import MemberRegistered, MemberUpdated
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.state import profile_key, pseudonym

__all__ = ["PROFILE_FIELDS", "birthday_of", "member_recorded"]

PROFILE_FIELDS: Final = (
    "birthday",
    "joined_at",
    "segments",
    "tags",
    "home_store_id",
    "referrer_id",
)


def birthday_of(text: str) -> int:
    """Return month * 100 + day of `MM-DD` or a date."""
    return int(text[-5:].replace("-", ""))


def member_recorded(
    book: Book,
    member: bytes,
    event: MemberRegistered | MemberUpdated,
    cause: Cause,
    src: Source,
) -> Decision:
    """Take over the fields that are given, each unless a later event has told it already.

    Because every field keeps the time it is from, member events may arrive in any order.
    """
    key = profile_key(member)
    value = book.state.get(key)
    profile: dict[str, list[Any]] = decode_list(value)[0] if value is not None else {}
    told = {
        name: content
        for name, content in event.model_dump(
            mode="json", include=event.model_fields_set & set(PROFILE_FIELDS)
        ).items()
        if content is not None  # the same as leaving it out
    }
    if "referrer_id" in told:
        # The referrer can be erased, and must not live on here.
        told["referrer_id"] = pseudonym(told["referrer_id"])
    newer: dict[str, list[Any]] = {
        name: [told[name], cause.occurred_ms]
        for name in PROFILE_FIELDS
        if name in told and (name not in profile or profile[name][1] <= cause.occurred_ms)
    }
    if not newer and (told or value is not None):
        return Decision(Outcome.MEMBER_KNOWN_LATER)
    profile.update(newer)
    # Written in one order of fields, whichever came first: the same profile is the same bytes.
    book.state.put(key, encode_list([{n: profile[n] for n in PROFILE_FIELDS if n in profile}]))
    account = book.account(event.member_id, member)
    if "segments" in newer:
        account.segments = list(newer["segments"][0])
        if book.programme.ladders:
            book.measured.append((account, cause))
    if "birthday" in newer:
        account.birthday = birthday_of(newer["birthday"][0])
    book.change(account)
    return Decision(Outcome.MEMBER_RECORDED)
