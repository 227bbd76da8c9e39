"""Merging two members into one: who asks whom, and what is answered.

    the old member's partition                      the survivor's partition
    --------------------------                      ------------------------
    merge.asked                         -->         may this account be taken?
                        <-- merge.refused           no: that is the answer to the command
                        <-- merge.welcome           yes: it waits for what arrives
    merge.moved, merge.moved, ...       -->         takes it over
                        <-- merge.arrived           with the last one: the command is accepted

Nothing moves before the survivor has agreed, for it may be about to be merged itself, even into
the one that asks. While it waits for the answer the old account lives on; only what would take it
elsewhere is refused (`account_merging`). With the welcome all that it has leaves in one step, and
from then on what is meant for the old member is passed on to the survivor: it arrives behind what
was moved, for messages from one partition to another keep their order.

A survivor that was itself merged passes the question on to its own survivor.
"""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.inputs import AccountMerge
from pointstream.contracts.vocabulary import CommandOutcome, Reason
from pointstream.ledger.answers import MAIN_WALLET, rejected
from pointstream.ledger.arriving import arrive
from pointstream.ledger.book import MAX_POINTS, Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.leaving import leave
from pointstream.ledger.messages import Message
from pointstream.ledger.records import Account

__all__ = [
    "MERGE_ARRIVED",
    "MERGE_ASKED",
    "MERGE_CALLED_OFF",
    "MERGE_MOVED",
    "MERGE_REFUSED",
    "MERGE_WELCOME",
    "merge_arrived",
    "merge_asked",
    "merge_called_off",
    "merge_moved",
    "merge_refused",
    "merge_welcome",
    "merged",
]

MERGE_ASKED: Final = "merge.asked"
MERGE_REFUSED: Final = "merge.refused"
MERGE_WELCOME: Final = "merge.welcome"
MERGE_CALLED_OFF: Final = "merge.called_off"
MERGE_MOVED: Final = "merge.moved"
MERGE_ARRIVED: Final = "merge.arrived"


def merged(book: Book, account: Account, event: AccountMerge, cause: Cause) -> Decision:
    """Ask the survivor whether it takes this account. The command is answered later."""
    if event.into_member_id == account.member_id:
        return rejected(account, event, Reason.MERGE_INTO_SELF)
    if account.frozen:
        # The survivor would spend what this account may not.
        return rejected(account, event, Reason.ACCOUNT_FROZEN)
    if account.merging_into is not None or account.arriving:
        return rejected(account, event, Reason.ACCOUNT_MERGING)
    if account.transfers:
        return rejected(account, event, Reason.TRANSFER_UNDER_WAY)
    account.merging_into = event.into_member_id
    book.change(account, shown=False)
    command = {
        "event_id": event.event_id,
        "type": event.type,
        "member_id": account.member_id,
        "occurred_ms": cause.occurred_ms,
        "actor_id": cause.actor_id,
        "confirmed_by": cause.confirmed_by,
        "reason": cause.reason,
    }
    granted = {wallet: totals.granted for wallet, totals in account.wallets.items()}
    book.tell(MERGE_ASKED, event.into_member_id, {"granted": granted, "command": command})
    return Decision(Outcome.MERGE_ASKED)


def merge_asked(book: Book, message: Message, source: Source) -> Decision:
    """Answer the question whether an account may be merged into this one."""
    account = _addressed(book, message)
    command = message.body["command"]
    if account.merged_into is not None:
        book.tell(MERGE_ASKED, account.merged_into, message.body)
        return Decision(Outcome.PASSED_ON_TO_SURVIVOR)
    reason = _objection(account, command["member_id"], message.body["granted"])
    if reason is not None:
        refusal = {"reason": reason.value, "command": command}
        book.tell(MERGE_REFUSED, command["member_id"], refusal)
        return Decision(Outcome.MERGE_REFUSED)
    account.arriving += 1
    book.change(account, shown=False)
    welcome = {"survivor": account.member_id, "command": command}
    book.tell(MERGE_WELCOME, command["member_id"], welcome)
    return Decision(Outcome.MERGE_WELCOME)


def merge_refused(book: Book, message: Message, source: Source) -> Decision:
    """Answer the command: the survivor does not take the account."""
    account = _addressed(book, message)
    account.merging_into = None
    book.change(account, shown=False)
    _answer(book, account, message.body["command"], message.body["reason"])
    return Decision(Outcome.MERGE_REFUSED)


def merge_welcome(book: Book, message: Message, source: Source) -> Decision:
    """Send all that the account has to the survivor."""
    account = _addressed(book, message)
    survivor, command = message.body["survivor"], message.body["command"]
    if account.frozen:
        # It was frozen while it asked.
        account.merging_into = None
        book.change(account, shown=False)
        book.tell(MERGE_CALLED_OFF, survivor, {"command": command})
        _answer(book, account, command, Reason.ACCOUNT_FROZEN.value)
        return Decision(Outcome.MERGE_CALLED_OFF)
    # Until all has arrived: who checks the books must know what is under way.
    account.merging_into = survivor
    cause = _cause(account, command, source)
    for body in leave(book, account, survivor, command, cause):
        book.tell(MERGE_MOVED, survivor, body)
    return Decision(Outcome.MERGE_SENT)


def merge_called_off(book: Book, message: Message, source: Source) -> Decision:
    """Wait no longer for an account that does not come."""
    account = _awaiting(book, message)
    account.arriving -= 1
    book.change(account, shown=False)
    return Decision(Outcome.MERGE_CALLED_OFF)


def merge_moved(book: Book, message: Message, source: Source) -> Decision:
    """Take over a part of what the merged account had; with the last part, say so."""
    account = _awaiting(book, message)
    body = message.body
    command = body["command"]
    letters = arrive(book, account, body, _cause(account, command, source))
    if "account" not in body:
        return Decision(Outcome.MERGE_TAKEN, dead_letters=letters)
    account.arriving -= 1
    book.tell(MERGE_ARRIVED, body["from"], {"command": command})
    return Decision(Outcome.MERGED, dead_letters=letters)


def merge_arrived(book: Book, message: Message, source: Source) -> Decision:
    """Answer the command: all has arrived at the survivor."""
    account = _addressed(book, message)
    account.merging_into = None
    book.change(account, shown=False)
    _answer(book, account, message.body["command"], None)
    return Decision(Outcome.MERGED)


def _objection(account: Account, asker: str, granted: dict[str, int]) -> Reason | None:
    """Return why an account does not take another one, or None if it does."""
    if account.member_id == asker:
        # Asked of one that was merged into the asker itself.
        return Reason.MERGE_INTO_SELF
    if account.erased:
        return Reason.RECIPIENT_ERASED
    if not account.updated_ms:
        # Nothing was ever told about this member: most likely the id was mistyped.
        return Reason.RECIPIENT_UNKNOWN
    if account.merging_into is not None:
        return Reason.ACCOUNT_MERGING
    if account.frozen:
        return Reason.RECIPIENT_FROZEN
    for wallet, points in granted.items():
        totals = account.wallets.get(wallet)
        if totals is not None and totals.granted + points > MAX_POINTS:
            return Reason.LIMIT_REACHED
    return None


def _addressed(book: Book, message: Message) -> Account:
    if message.to is None:
        raise StateCorrupt(f"a message {message.type} must be for one member")
    return book.account(message.to, message.to.encode())


def _awaiting(book: Book, message: Message) -> Account:
    account = _addressed(book, message)
    if account.closed or not account.arriving:
        # The survivor agreed, and can neither be merged nor erased until all is there.
        raise StateCorrupt("a member waits for no account, but one arrives")
    return account


def _cause(account: Account, command: dict[str, Any], source: Source) -> Cause:
    cause = Cause.message(
        account.member,
        command["event_id"],
        command["type"],
        command["occurred_ms"],
        source,
        actor_id=command["actor_id"],
        reason=command["reason"],
    )
    cause.confirmed_by = command["confirmed_by"]
    return cause


def _answer(book: Book, account: Account, command: dict[str, Any], reason: str | None) -> None:
    """Give the final answer to the command: accepted, or rejected for a reason."""
    outcome = CommandOutcome.ACCEPTED if reason is None else CommandOutcome.REJECTED
    totals = account.wallets.get(MAIN_WALLET)
    answer = {
        "command_id": command["event_id"],
        "type": command["type"],
        "member_id": account.member_id,
        "outcome": outcome.value,
        "seq": account.seq,
        "available_after": totals.available if totals is not None else 0,
    }
    if reason is not None:
        answer["reason"] = reason
    book.answer(account.member, answer)
