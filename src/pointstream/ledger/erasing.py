"""Forgetting a member.

What is left of the balance is cleared out, with entries that say so. Then every key of the member
goes, the CRM and the mall get tombstones, and what came and went is added to one sum of all erased
accounts of the partition, so that the programme's sums stay right. A digest of the id stays behind:
without it a late event would bring the member back.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.inputs import AccountErase
from pointstream.contracts.vocabulary import AccountStatus, MovementType, Reason
from pointstream.ledger.answers import accepted, rejected
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.closed import keep_erasure
from pointstream.ledger.codec import decode_sums, encode_sums
from pointstream.ledger.consent import deny_all
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.leaving import emit_lots, strip
from pointstream.ledger.lineage import forget
from pointstream.ledger.messages import Message
from pointstream.ledger.parking import never_taken
from pointstream.ledger.records import Account, ErasedSums
from pointstream.ledger.shares import owns_flags
from pointstream.ledger.state import ERASED_SUMS_KEY, account_key
from pointstream.ledger.suspected import stand_in
from pointstream.ledger.told import renamed

__all__ = ["SURVIVOR_ERASED", "erase", "survivor_erased"]

SURVIVOR_ERASED: Final = "account.survivor_erased"


def erase(book: Book, account: Account, event: AccountErase, cause: Cause) -> Decision:
    """Forget a member, and all who were merged into this one."""
    if account.merging_into is not None or account.arriving:
        return rejected(account, event, Reason.ACCOUNT_MERGING)
    if account.transfers:
        return rejected(account, event, Reason.TRANSFER_UNDER_WAY)
    if account.flags or owns_flags(book, account.member):
        # Who is under suspicion is not forgotten before somebody has looked at it: what a reviewer
        # needs would be gone, and owners of flags in other partitions name the member.
        return rejected(account, event, Reason.REVIEW_REQUIRED)
    known = book.memory.known_event(account.member, event.event_id)
    deny_all(book, account, Reason.ACCOUNT_ERASED)
    renamed(book, account, stand_in(account.member_id))
    debts = {wallet: totals.debt for wallet, totals in account.wallets.items() if totals.debt}
    stripped = strip(book, account)
    for wallet, totals in account.wallets.items():
        moved = stripped.lots.get(wallet)
        if moved:
            totals.cleared += sum(lot.points for lot in moved)
            emit_lots(book, account, wallet, totals, MovementType.CLEARED, moved, cause)
        debt = debts.get(wallet, 0)
        if debt:
            # Nobody can ask for it any more: it is given.
            totals.debt = 0
            totals.adjusted_up += debt
            book.emit(account, wallet, totals, MovementType.ADJUSTED, debt, 0, cause, [])
    for thing in stripped.keys:
        if thing.kind == b"s":
            book.tell(SURVIVOR_ERASED, thing.rest.decode(), {})
        elif thing.kind == b"L":
            forget(book, account.member_id, thing.rest, thing.value)
    decision = accepted(account, event, Outcome.ERASED)
    # What waited was no more than parked: it must not vanish without a word.
    decision.dead_letters.extend(
        never_taken(thing.key, thing.value) for thing in stripped.keys if thing.kind == b"p"
    )
    if known is not None:
        # It was waiting for a second actor's consent; that one's command is what is given now.
        keep_erasure(book, account, known[0], account.seq)
    _forget(book, account)
    return decision


def survivor_erased(book: Book, message: Message, source: Source) -> Decision:
    """Forget a member who was merged into one that has been erased."""
    member_id = message.to or ""
    account = book.account(member_id, member_id.encode())
    if account.merged_into is None:
        raise StateCorrupt("a member's survivor was erased, but the member was never merged")
    strip(book, account)
    _forget(book, account)
    keep_erasure(book, account)
    return Decision(Outcome.ERASED)


def _forget(book: Book, account: Account) -> None:
    """Add the account to the sums, and leave an empty one that must never come to be."""
    value = book.state.get(ERASED_SUMS_KEY)
    sums = decode_sums(value) if value is not None else ErasedSums()
    sums.add(account)
    book.state.put(ERASED_SUMS_KEY, encode_sums(sums))
    account.erased = True
    account.merged_into = account.merging_into = None
    account.status = AccountStatus.ACTIVE.value
    account.seq = account.last_activity_ms = account.updated_ms = 0
    account.wallets = {}
    # At once: what walks over all accounts must not find it, wherever the batch ends.
    book.state.delete(account_key(account.member))
    book.change(account)
