"""Points of an order that wait for an activity, such as its completion: when they become active.

The activity may come before the order: its business key keeps its time. A lot says itself what it
waits for, so a change of policy leaves it waiting for the same. What nothing has activated by its
own expiry is gone then.
"""

from __future__ import annotations

from pointstream.ledger.book import Book
from pointstream.ledger.codec import remembered_until_ms
from pointstream.ledger.records import Account, Lot
from pointstream.ledger.state import NEVER, SLIDING_FROM, business_key
from pointstream.rules.compile import CompiledWallet

__all__ = ["active_from_ms", "activity_key", "wait"]


def activity_key(member: bytes, activity: str, reference: str) -> bytes:
    """Return the business key of an activity; its value ends with the time of the activity."""
    return business_key(member, "activity", activity, reference)


def wait(book: Book, account: Account, wallet: CompiledWallet, lot: Lot) -> None:
    """Let a new lot of an order wait for the wallet's activity, unless that came already."""
    assert wallet.on_activity is not None
    assert lot.order_id is not None
    latest_ms = lot.expires_ms if lot.expires_ms < SLIDING_FROM else NEVER
    if wallet.at_latest_ms is not None:
        latest_ms = min(latest_ms, lot.earned_ms + wallet.at_latest_ms)
    key = activity_key(account.member, wallet.on_activity, lot.order_id)
    value = book.state.get(key)
    if value is None or remembered_until_ms(value) <= book.now_ms:
        lot.awaits, lot.activates_ms = wallet.on_activity, latest_ms
    else:
        came_ms = int.from_bytes(value[-8:], "big")
        lot.activates_ms = min(latest_ms, active_from_ms(book, wallet, came_ms, lot.earned_ms))


def active_from_ms(book: Book, wallet: CompiledWallet | None, came_ms: int, earned_ms: int) -> int:
    """Return when a lot becomes active whose activity came; None is a wallet that is no more."""
    came_ms = max(came_ms, earned_ms)
    if wallet is None or wallet.at_once:
        return min(came_ms, book.now_ms)
    return wallet.activates_at_ms(came_ms)
