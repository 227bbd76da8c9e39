"""What member events tell about a member: segments can give a tier, birthdays multiply points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pointstream.contracts.inputs import MemberRegistered, MemberUpdated
from pointstream.ledger.awards import Awarding
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.comparing import compare_shadows
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.facts import Facts
from pointstream.ledger.orders import grant_fits, too_many
from pointstream.ledger.records import Account
from pointstream.ledger.scored import Due
from pointstream.ledger.scoring import score_registered
from pointstream.ledger.state import profile_key, pseudonym
from pointstream.rules.model import Reward

__all__ = ["PROFILE_FIELDS", "birthday_of", "member_recorded"]

_GIFT_MAX: Final = 1_000_000_000
"""No rule gives more for a registration."""

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
    account = book.account(event.member_id, member)
    gifts = _gifts(book, account, event, cause)
    if gifts and not grant_fits(account, [Due(gift, _GIFT_MAX) for gift in gifts]):
        return too_many(src)
    if not newer and (told or value is not None):
        return Decision(_welcome(book, account, event, cause) or Outcome.MEMBER_KNOWN_LATER)
    profile.update(newer)
    # Written in one order of fields, whichever came first: the same profile is the same bytes.
    book.state.put(key, encode_list([{n: profile[n] for n in PROFILE_FIELDS if n in profile}]))
    if "segments" in newer:
        account.segments = list(newer["segments"][0])
        if book.programme.ladders:
            book.measured.append((account, cause))
    if "birthday" in newer:
        account.birthday = birthday_of(newer["birthday"][0])
    book.change(account)
    return Decision(_welcome(book, account, event, cause) or Outcome.MEMBER_RECORDED)


def _gifts(
    book: Book, account: Account, event: MemberRegistered | MemberUpdated, cause: Cause
) -> Sequence[Reward]:
    """Return the rules that may pay for a registration, which they do once per member."""
    # For good: the event may come again at any age, and every key is forgotten one day.
    if account.welcomed or not isinstance(event, MemberRegistered):
        return ()
    return book.rules_at(cause.occurred_ms).registered


def _welcome(
    book: Book, account: Account, event: MemberRegistered | MemberUpdated, cause: Cause
) -> Outcome | None:
    """Give what rules give for a registration; None if they give nothing."""
    if not isinstance(event, MemberRegistered) or account.welcomed:
        return None
    table = book.rules_at(cause.occurred_ms)
    if not table.registered and not book.shadows:
        return None
    registered, facts = event, Facts(book, account, cause.occurred_ms)
    dues = score_registered(table, registered, facts, book.trace)
    if book.shadows:
        compare_shadows(
            book,
            account,
            cause,
            dues,
            lambda other: score_registered(other, registered, facts),
        )
    if not dues:
        return None
    account.welcomed = True
    book.active(account, cause.occurred_ms)
    awarding = Awarding(book, account, cause, cause.occurred_ms)
    for due in dues:
        awarding.give(due.reward, due.points)
    return awarding.outcome
