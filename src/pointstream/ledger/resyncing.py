"""Sending standings again, as they are: of one member, of a shop's members, or of all.

A downstream system that has lost rows asks for them. No point moves and nothing is written to an
account, so there is no entry, and `seq` and `updated_at` are those of the standing sent before.

Of many members each owner sends its own. The owner of the request's name tells all partitions;
each walks over its accounts a bounded step at a time, `PACE_MS` of partition time apart, so that
events go on between the steps; when all have told how many they sent, the command is answered.
Where a walk stands is in the state, so a crash loses nothing.

Members of a shop are those whose profile names it as `home_store_id`. Members who were erased are
no accounts any more: a walk does not find them, only who names one gets its tombstone again.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.inputs import AccountResync, AccountsResync
from pointstream.contracts.vocabulary import Reason, Role
from pointstream.contracts.wire import dumps
from pointstream.ledger.answers import accepted, rejected
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.records import Account
from pointstream.ledger.rights import permitted
from pointstream.ledger.state import account_key, asked_resync_key, profile_key, resync_key

__all__ = [
    "LOOKED_AT",
    "PACE_MS",
    "RESYNCED",
    "RESYNC_ASKED",
    "SENT",
    "account_resynced",
    "accounts_resynced",
    "closed_resynced",
    "resync_asked",
    "resync_on",
    "resynced",
]

RESYNC_ASKED: Final = "accounts.resync_asked"
RESYNCED: Final = "accounts.resynced"

LOOKED_AT: Final = 100
"""The most accounts that one step looks at."""

SENT: Final = 20
"""The most standings that one step sends."""

PACE_MS: Final = 100
"""From one step to the next, in partition time. After a standstill the steps that were due follow
each other at once, as all timers do, as many as one transaction may hold."""


def account_resynced(book: Book, account: Account, event: AccountResync, cause: Cause) -> Decision:
    """Send one member's standing again; none of a member of whom nothing was ever sent."""
    decision = accepted(account, event, Outcome.STANDING_SENT)
    assert decision.result is not None
    decision.result["resent"] = int(_resend(book, account))
    return decision


def closed_resynced(book: Book, account: Account, event: AccountResync) -> Decision:
    """Do the same for one who was merged, or erased: tombstones then."""
    if not permitted(event):
        return rejected(account, event, Reason.NOT_PERMITTED)
    book.show_again(account)
    decision = accepted(account, event, Outcome.STANDING_SENT)
    assert decision.result is not None
    decision.result["resent"] = 1
    return decision


def accounts_resynced(
    book: Book, account: Account, event: AccountsResync, cause: Cause
) -> Decision:
    """Let all partitions send their standings again."""
    actor = event.actor
    if actor.role is Role.STORE and event.home_store_id != actor.store_id:
        return rejected(account, event, Reason.NOT_PERMITTED)
    if account.updated_ms:
        # The name of a request is nobody's: its answer would be lost if the member went.
        return rejected(account, event, Reason.NOT_PERMITTED)
    key = asked_resync_key(event.member_id, event.event_id)
    book.state.put(key, encode_list([book.partitions, 0, 0]))
    body = {"command_id": event.event_id, "from": event.member_id, "store": event.home_store_id}
    book.tell(RESYNC_ASKED, None, body)
    return Decision(Outcome.RESYNC_ASKED)


def resync_asked(book: Book, message: Message, source: Source) -> Decision:
    """Begin to walk over the accounts of this partition."""
    body = message.body
    key = resync_key(body["from"], body["command_id"])
    book.state.put(key, encode_list([body["from"], body["command_id"], body["store"], 0, ""]))
    book.timers.put(book.now_ms, key)
    return Decision(Outcome.RESYNC_TOLD)


def resync_on(book: Book, key: bytes, due_ms: int) -> Decision:
    """Go one step on. The timer has rung; `key` is what it names."""
    value = book.state.get(key)
    if value is None:
        raise StateCorrupt("the timer of a resync has rung, and nobody knows of the resync")
    asker, command_id, store, sent, after = decode_list(value)
    book.write_new()
    # A key that continues the last one's member: no member's id holds a control character.
    start = account_key(after.encode() + b"\0" if after else b"")
    now_sent = 0
    accounts = book.state.scan(start, account_key(b"\xff"))
    for looked_at, (account_at, stored) in enumerate(accounts, start=1):
        member = account_at[1:]
        if store is None or _home_of(book, member) == store:
            now_sent += _resend(book, book.peek(member, stored))
        if looked_at == LOOKED_AT or now_sent == SENT:
            row = [asker, command_id, store, sent + now_sent, member.decode()]
            book.state.put(key, encode_list(row))
            book.timers.put(due_ms + PACE_MS, key)
            return Decision(Outcome.STANDINGS_SENT)
    book.state.delete(key)
    book.tell(RESYNCED, asker, {"command_id": command_id, "sent": sent + now_sent})
    return Decision(Outcome.STANDINGS_SENT)


def resynced(book: Book, message: Message, source: Source) -> Decision:
    """Count what a partition has sent; answer the command when it was the last one."""
    asker, body = message.to or "", message.body
    command_id = body["command_id"]
    key = asked_resync_key(asker, command_id)
    value = book.state.get(key)
    if value is None:
        # No points are at stake, and a replay may begin after the question: nobody waits for it.
        return Decision(Outcome.RESYNC_TOLD)
    partitions, done, sent = decode_list(value)
    done, sent = done + 1, sent + body["sent"]
    if done < partitions:
        book.state.put(key, encode_list([partitions, done, sent]))
        return Decision(Outcome.RESYNC_TOLD)
    book.state.delete(key)
    answer = {
        "command_id": command_id,
        "type": "accounts.resync",
        "member_id": asker,
        "outcome": "accepted",
        "seq": 0,
        "available_after": 0,
        "resent": sent,
    }
    book.memory.keep_answer(asker.encode(), command_id, dumps(answer))
    book.more().answers.append(answer)
    return Decision(Outcome.RESYNC_DONE)


def _resend(book: Book, account: Account) -> bool:
    # What was never shown has no standing outside that could be lost.
    if not account.updated_ms:
        return False
    book.show_again(account)
    return True


def _home_of(book: Book, member: bytes) -> str | None:
    """Return the shop that the member's profile names, as the latest member event told it."""
    value = book.state.get(profile_key(member))
    if value is None:
        return None
    told = decode_list(value)[0].get("home_store_id")
    return None if told is None else str(told[0])
