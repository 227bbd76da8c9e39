"""A member's latest standing, as the CRM and the mall get it."""

from __future__ import annotations

from typing import Any, Final

from pointstream.ledger.book import Book
from pointstream.ledger.decision import Standing
from pointstream.ledger.records import Account, Totals
from pointstream.ledger.sliding import next_expiry
from pointstream.ledger.tiers import tier_fields

__all__ = ["standing_of"]

_MAIN_WALLET: Final = "points"
_EMPTY: Final = Totals()


def standing_of(book: Book, account: Account) -> Standing:
    """Return the standing of an account; flat, of the `points` wallet. Tombstones if erased."""
    if account.erased:
        return Standing(account.member_id, None, None)
    totals = account.wallets.get(_MAIN_WALLET, _EMPTY)
    next_expiry_at, next_expiry_points = None, 0
    if totals.horizon or totals.slides:
        expires_ms, next_expiry_points = next_expiry(book.programme.calendar, account, totals)
        if next_expiry_points:
            next_expiry_at = book.text(expires_ms)
    updated_at = book.text(account.updated_ms)
    crm_sync: dict[str, Any] = {
        "member_id": account.member_id,
        "seq": account.seq,
        "status": account.status,
        "tier": None,
        "tier_since": None,
        "tier_until": None,
        "available": totals.available,
        "pending": totals.pending,
        "held": totals.held,
        "debt": totals.debt,
        "lifetime_earned": totals.earned,
        "lifetime_redeemed": totals.redeemed,
        "lifetime_expired": totals.expired,
        "next_expiry_at": next_expiry_at,
        "next_expiry_points": next_expiry_points,
        "last_activity_at": (
            book.text(account.last_activity_ms) if account.last_activity_ms else None
        ),
        "segments": account.segments,
        "updated_at": updated_at,
    }
    for wallet in book.programme.wallets:
        if wallet != _MAIN_WALLET:
            other = account.wallets.get(wallet)
            crm_sync[f"{wallet}_available"] = other.available if other is not None else 0
    ladders = book.programme.ladders
    if ladders:
        crm_sync.update(tier_fields(book, account, ladders[0]))
        if len(ladders) > 1:
            crm_sync["tiers"] = [
                {"ladder": ladder.id, **tier_fields(book, account, ladder)}
                for ladder in ladders[1:]
            ]
    mall_sync = {
        "member_id": account.member_id,
        "seq": account.seq,
        "status": account.status,
        "tier": crm_sync["tier"],
        "available": totals.available,
        "held": totals.held,
        "next_expiry_at": next_expiry_at,
        "next_expiry_points": next_expiry_points,
        "updated_at": updated_at,
    }
    return Standing(account.member_id, crm_sync, mall_sync)
