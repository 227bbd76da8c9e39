"""What members may send to each other, and what it costs: the terms of the programme.

What a member sent on a local day is kept where a day has a limit, until no command of that day can
be taken any more.
"""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.inputs import PointsTransfer
from pointstream.contracts.programme import TransferFee
from pointstream.contracts.vocabulary import Reason
from pointstream.contracts.wire import dumps
from pointstream.ledger.answers import MAIN_WALLET
from pointstream.ledger.book import MAX_POINTS, Book
from pointstream.ledger.codec import decode_list, remembered, remembered_until_ms
from pointstream.ledger.moves import spendable
from pointstream.ledger.records import Account
from pointstream.ledger.state import lots_prefix, prefix_stop, sent_key

__all__ = ["LOTS_PER_TRANSFER", "count_sent", "fee_of", "refused"]

LOTS_PER_TRANSFER: Final = 500
"""The most lots that one transfer takes, its fee included: the message that names them, and the
record of what is under way, must fit into a record of a topic."""


def fee_of(fee: TransferFee, points: int) -> int:
    """Return what sending so many points costs, in points."""
    due = max(fee.min, fee.points + points * fee.permille // 1_000)
    return due if fee.max is None else min(fee.max, due)


def refused(
    book: Book, account: Account, event: PointsTransfer, fee: int, alive_ms: int
) -> Reason | None:
    """Return why points may not leave, or None. Nothing is changed."""
    terms = book.programme.transfers
    points = event.points
    if not terms.enabled:
        return Reason.NOT_SUPPORTED
    if not book.programme.wallets[MAIN_WALLET].spendable:
        return Reason.WALLET_NOT_SPENDABLE
    if account.frozen:
        return Reason.ACCOUNT_FROZEN
    if account.merging_into is not None:
        # What is under way could come back to an account that has moved.
        return Reason.ACCOUNT_MERGING
    if event.to_member_id == account.member_id:
        return Reason.TRANSFER_TO_SELF
    if spendable(book, account, MAIN_WALLET, alive_ms) < points + fee:
        return Reason.INSUFFICIENT_POINTS
    if points < terms.min_points or (terms.max_points is not None and points > terms.max_points):
        return Reason.LIMIT_REACHED
    if terms.daily_points is not None:
        day = book.programme.calendar.local_day(event.occurred_at_ms)
        if _sent(book, account, day) + points > terms.daily_points:
            return Reason.LIMIT_REACHED
    # On the way back they count as having come in once more.
    if account.wallets[MAIN_WALLET].granted + points > MAX_POINTS:
        return Reason.LIMIT_REACHED
    if _lots_needed(book, account, points + fee, alive_ms) > LOTS_PER_TRANSFER:
        return Reason.LIMIT_REACHED
    return None


def count_sent(book: Book, account: Account, occurred_ms: int, points: int) -> None:
    """Note points sent or, below zero, come back, where a day has a limit."""
    if book.programme.transfers.daily_points is None:
        return
    day = book.programme.calendar.local_day(occurred_ms)
    key = sent_key(account.member, day)
    value = book.state.get(key)
    # By then every command of that day is too old to be taken.
    until_ms = book.programme.calendar.start_of_day_ms(day + 1) + book.programme.dedup_window_ms
    if value is None and points < 0:
        return  # forgotten, or sent when no day had a limit
    body: list[Any] = [max(0, _sent(book, account, day) + points)]
    stored = remembered(until_ms, dumps(body))
    if value is None:
        book.memory.put(key, stored)
    else:
        book.state.put(key, stored)


def _lots_needed(book: Book, account: Account, points: int, alive_ms: int) -> int:
    """Return from how many lots so many points would be taken: one more than may be is enough."""
    prefix = lots_prefix(account.member, MAIN_WALLET)
    lots, left = 0, points
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        if left <= 0 or lots > LOTS_PER_TRANSFER:
            break
        if int.from_bytes(key[len(prefix) : len(prefix) + 8], "big") > alive_ms:
            lots += 1
            left -= decode_list(value)[0]
    return lots


def _sent(book: Book, account: Account, day: int) -> int:
    """Return the points that a member has sent on a local day."""
    value = book.state.get(sent_key(account.member, day))
    if value is None or remembered_until_ms(value) <= book.now_ms:
        return 0
    points: int = decode_list(value, 9)[0]
    return points
