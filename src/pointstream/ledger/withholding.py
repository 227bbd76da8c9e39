"""What a flag does to one member's points, from its raising to its end.

    raised      points of the evidence come under review, or are held; `block` freezes the account
    released    they go on as if nothing had been, late
    rejected    they are reversed, wherever they are: under review, held, spent or sent on

What of the evidence has been spent is taken back as the programme's `refund_policy` says. Each
point is reversed once: what refunds, expiries and other reviews have taken of a lot is known.
"""

from __future__ import annotations

from pointstream.contracts.vocabulary import AccountStatus, FlagAction
from pointstream.ledger.aging import activate, catch_up, expire
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause, base_of
from pointstream.ledger.given import given_by
from pointstream.ledger.moves import overdue
from pointstream.ledger.records import Account
from pointstream.ledger.shares import (
    EVENTS_PER_MEMBER,
    Share,
    drop_share,
    put_share,
    share_of,
    shares,
    stronger,
)
from pointstream.ledger.state import NEVER
from pointstream.ledger.withheld import (
    base_of_lot,
    end_hold,
    free_lots,
    hold_lots,
    lots_of,
    put_pending,
    under_review,
)

__all__ = ["forget_freezes", "hold_again", "let_go", "withhold"]


def withhold(
    book: Book,
    account: Account,
    flag_id: str,
    owner: str,
    action: FlagAction,
    member: bytes,
    events: list[str],
) -> None:
    """Let a flag concern a member, and hold back what is there of the points of its evidence.

    `member` is the one that the events name: this one, or one who was merged into it.
    """
    share = share_of(book, account, flag_id) or Share(flag_id, owner, action)
    held_back = share.holds_back
    action = share.action = stronger(share.action, action)
    new: list[str] = []
    for event_id in events:
        if len(share.bases) >= EVENTS_PER_MEMBER:
            break
        # An event that was taken under the id of a merged member made lots by that name.
        made = (base_of_lot(given.lot_id) for given in given_by(book, account, event_id))
        for base in dict.fromkeys((base_of(member, event_id), *made)):
            if base not in share.bases:
                share.bases[base] = event_id
                new.append(base)
    if share.holds_back and not held_back:
        # It only said so until now.
        new = list(share.bases)
    if share.holds_back and new:
        _hold_back(book, account, share, new)
    if action is FlagAction.BLOCK and not account.frozen:
        account.status = AccountStatus.FROZEN.value
        share.froze = True
        book.change(account)
    put_share(book, account, share)


def hold_again(book: Book) -> None:
    """Hold points of evidence that came back into their lots: of a hold that was voided, of a
    transfer, of a returned order that they had paid for."""
    accounts, book.came_back = book.came_back, []
    for account in {account.member_id: account for account in accounts}.values():
        for share in shares(book, account):
            if share.holds_back and share.bases:
                _hold_back(book, account, share, list(share.bases))
                put_share(book, account, share)


def let_go(book: Book, account: Account, share: Share, cause: Cause) -> None:
    """End a share by a release: what no other flag is about becomes what it would have been."""
    drop_share(book, account, share)
    for wallet, totals in account.wallets.items():
        due = False
        for key, lot in under_review(book, account, wallet, share.flag_id):
            assert lot.review is not None
            lot.review.remove(share.flag_id)
            if len(lot.review) == 1:
                lot.activates_ms, lot.review = lot.review[0], None
                due = due or lot.activates_ms <= book.now_ms
            put_pending(book, account, key, lot)
        if due and not account.frozen:
            book.ring(account, activate(book, account, wallet, totals, book.now_ms, cause))
    for hold_id, wallet in share.holds.items():
        lots = end_hold(book, account, hold_id, wallet)
        free_lots(book, account, wallet, lots, share.flag_id, cause)
    for wallet, totals in account.wallets.items():
        if overdue(book, account, totals):
            book.ring(account, expire(book, account, wallet, totals, book.now_ms, cause))
    if share.froze and account.frozen:
        _unfreeze(book, account, cause)


def forget_freezes(book: Book, account: Account) -> None:
    """Note that someone has unfrozen the account: no flag does it any more."""
    for share in shares(book, account):
        if share.froze:
            share.froze = False
            put_share(book, account, share)


def _hold_back(book: Book, account: Account, share: Share, bases: list[str]) -> None:
    for wallet in list(account.wallets):
        pending, spendable = lots_of(book, account, wallet, bases)
        for key, lot in pending:
            if lot.review is None:
                lot.review = [lot.activates_ms, share.flag_id]
                lot.activates_ms = NEVER
            elif share.flag_id in lot.review:
                continue
            else:
                lot.review.append(share.flag_id)
            put_pending(book, account, key, lot)
        if spendable:
            hold_lots(book, account, share, wallet, spendable)


def _unfreeze(book: Book, account: Account, cause: Cause) -> None:
    """Unfreeze what the flag froze, unless another flag blocks the account as well."""
    for other in shares(book, account):
        if other.action is FlagAction.BLOCK:
            other.froze = True
            put_share(book, account, other)
            return
    account.status = AccountStatus.ACTIVE.value
    book.change(account)
    catch_up(book, account, cause)
