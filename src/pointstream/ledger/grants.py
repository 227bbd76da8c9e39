"""Ask and grant: a limit over all partitions is kept by the one owner of its key.

The stock of an item, or the budget of a campaign, is one number for members in all partitions. Two
partitions that each looked at a copy of it would give it away twice. So one partition decides: the
owner of the key (the item's id, the budget's id), which takes one question after the other.

    member's partition                            owner of the key
    ------------------                            ----------------
    ask(...)           -- grant.asked -->         grants all, a part, or nothing; counts it
    continuation       <-- grant.given --         tells what was granted, also if it is nothing
    give_back(...)     -- grant.returned -->      counts it back

Each message goes out in the transaction that made it necessary and is taken exactly once, so there
is nothing to repeat, to time out or to deduplicate: every question gets its answer, also after a
crash anywhere. Between question and answer the member's state must say what is under way (points
held, a count taken): the answer may come much later, and others want the same points meanwhile.

The owner keeps, per kind and key, how much has been given away. It never grants what would bring
that above the limit, however many ask at once. The limit comes with the question (a budget: from
the version of the rule), or is what the owner itself knows (a stock: from the catalogue). It may
change from question to question: lowered below what is given away, nothing is granted until enough
came back.

What was granted and cannot be used must be given back, or it is lost for all. For a member who
was erased meanwhile this is done here; for one who was merged, the answer is passed on to the
survivor, to whom what was under way has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.records import Account
from pointstream.ledger.state import grant_key

__all__ = [
    "GRANT_ASKED",
    "GRANT_GIVEN",
    "GRANT_RETURNED",
    "Continuation",
    "ForErased",
    "Grant",
    "GrantKind",
    "KnownLimit",
    "ask",
    "asked",
    "give_back",
    "given",
    "given_away",
    "returned",
]

GRANT_ASKED: Final = "grant.asked"
GRANT_GIVEN: Final = "grant.given"
GRANT_RETURNED: Final = "grant.returned"


class GrantKind(StrEnum):
    """What is limited over all partitions."""

    STOCK = "stock"
    """Pieces of a catalogue item; the key is its `item_id`."""
    BUDGET = "budget"
    """Points of a campaign; the key names the budget."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The owner's answer to one question."""

    kind: GrantKind
    key: str
    ask_id: str
    asked: int
    granted: int
    """0 to `asked`; without `partial`, one of the two."""
    note: dict[str, Any]
    """What the question said for its own use, unchanged."""


KnownLimit = Callable[[Book, str], int | None]
"""What the owner itself knows of a key's limit; None is no limit."""

Continuation = Callable[[Book, Account, Grant, Source], Decision]
"""Goes on with what waited for a grant; the account is open, neither merged nor erased."""

ForErased = Callable[[Book, Account, Grant], None]
"""Ends what waited for a grant of a member who was erased. What was granted has gone back."""


def ask(
    book: Book,
    kind: GrantKind,
    key: str,
    amount: int,
    *,
    member_id: str,
    ask_id: str,
    partial: bool,
    limit: int | None = None,
    note: dict[str, Any],
) -> None:
    """Ask the owner of `key` for `amount` (at least 1), in the unit of its kind.

    `partial`: a part is welcome where not all is left. `limit` is what may ever be given away, for
    kinds whose limit comes with the question. The answer goes to `member_id`, with `ask_id` and
    `note` (JSON) as they are: it goes on with the kind's continuation in `messaging.py`.
    """
    book.tell(
        GRANT_ASKED,
        key,
        {
            "kind": kind.value,
            "amount": amount,
            "partial": partial,
            "limit": limit,
            "member_id": member_id,
            "ask_id": ask_id,
            "note": note,
        },
    )


def give_back(book: Book, kind: GrantKind, key: str, amount: int) -> None:
    """Give back what was granted and is not used. Nothing is told for an amount of 0."""
    if amount:
        book.tell(GRANT_RETURNED, key, {"kind": kind.value, "amount": amount})


def given_away(book: Book, kind: GrantKind, key: str) -> int:
    """Return how much the owner of `key`, this partition, has granted and not got back."""
    value = book.state.get(grant_key(kind, key))
    return int(decode_list(value)[1]) if value is not None else 0


def asked(book: Book, message: Message, known_limit: KnownLimit | None) -> Decision:
    """Decide a question, as the owner of its key, and tell the member's partition."""
    body = message.body
    kind, key = GrantKind(body["kind"]), _key(message)
    amount: int = body["amount"]
    limit: int | None = body["limit"] if known_limit is None else known_limit(book, key)
    gone = given_away(book, kind, key)
    granted = amount
    if limit is not None and amount > limit - gone:
        granted = max(0, limit - gone) if body["partial"] else 0
    if granted:
        book.state.put(grant_key(kind, key), encode_list([limit, gone + granted]))
    book.tell(
        GRANT_GIVEN,
        body["member_id"],
        {
            "kind": kind.value,
            "key": key,
            "ask_id": body["ask_id"],
            "asked": amount,
            "granted": granted,
            "note": body["note"],
        },
    )
    return Decision(Outcome.GRANTED if granted else Outcome.NOT_GRANTED)


def given(
    book: Book,
    message: Message,
    source: Source,
    continuations: dict[GrantKind, Continuation],
    for_erased: dict[GrantKind, ForErased],
) -> Decision:
    """Go on with what waited for a grant, in the member's partition."""
    body = message.body
    member_id = _key(message)
    grant = Grant(
        GrantKind(body["kind"]),
        body["key"],
        body["ask_id"],
        body["asked"],
        body["granted"],
        body["note"],
    )
    account = book.account(member_id, member_id.encode())
    if account.erased:
        give_back(book, grant.kind, grant.key, grant.granted)
        if grant.kind in for_erased:
            for_erased[grant.kind](book, account, grant)
        return Decision(Outcome.GRANT_NOT_NEEDED)
    return continuations[grant.kind](book, account, grant, source)


def returned(book: Book, message: Message) -> Decision:
    """Count back what was granted and not used. Raises `StateCorrupt` if it never was granted."""
    kind, key = GrantKind(message.body["kind"]), _key(message)
    amount: int = message.body["amount"]
    value = book.state.get(grant_key(kind, key))
    limit, gone = decode_list(value) if value is not None else (None, 0)
    if amount > gone:
        raise StateCorrupt(f"{amount} of {kind} {key!r} came back, but {gone} were given away")
    book.state.put(grant_key(kind, key), encode_list([limit, gone - amount]))
    return Decision(Outcome.GRANT_TAKEN_BACK)


def _key(message: Message) -> str:
    if message.to is None:
        raise StateCorrupt(f"a message {message.type} must be for one key")
    return message.to
