"""Freezing an account, and letting it go again.

A frozen account spends nothing. What it earns is kept pending, past its time of activation too,
until it is unfrozen. Neither command moves a point by itself, so a freeze has no ledger entry: it
shows in the member's standing.

A flag that blocks freezes too (`withholding`), and its release unfreezes, unless somebody has
unfrozen the account meanwhile.
"""

from __future__ import annotations

from pointstream.contracts.inputs import AccountFreeze, AccountUnfreeze
from pointstream.contracts.vocabulary import AccountStatus, Reason
from pointstream.ledger.aging import catch_up
from pointstream.ledger.answers import accepted, rejected
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.records import Account
from pointstream.ledger.withholding import forget_freezes

__all__ = ["frozen", "unfrozen"]


def frozen(book: Book, account: Account, event: AccountFreeze, cause: Cause) -> Decision:
    """Stop an account from spending."""
    if account.frozen:
        return rejected(account, event, Reason.ACCOUNT_FROZEN)
    account.status = AccountStatus.FROZEN.value
    book.change(account)
    return accepted(account, event, Outcome.FROZEN)


def unfrozen(book: Book, account: Account, event: AccountUnfreeze, cause: Cause) -> Decision:
    """Let an account spend again, and give it what was kept; what expired meanwhile goes."""
    if not account.frozen:
        return rejected(account, event, Reason.ACCOUNT_NOT_FROZEN)
    account.status = AccountStatus.ACTIVE.value
    book.change(account)
    forget_freezes(book, account)
    catch_up(book, account, cause)
    return accepted(account, event, Outcome.UNFROZEN)
