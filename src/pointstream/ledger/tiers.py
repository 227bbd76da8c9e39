"""Tiers: what a member's tier was at a moment."""

from __future__ import annotations

from pointstream.ledger.book import Book
from pointstream.ledger.records import Account
from pointstream.rules.ladders import CompiledLadder

__all__ = ["tier_at"]


def tier_at(
    book: Book, account: Account, at_ms: int, ladder: CompiledLadder | None = None
) -> str | None:
    """Return the member's tier at a moment, of the first ladder unless one is given.

    None if the programme has no ladder. `CompiledLadder.level_of` tells which tier is the higher.
    Of the past, as many changes are known as a rank keeps; before them, the earliest known counts.
    """
    if ladder is None:
        if not book.programme.ladders:
            return None
        ladder = book.programme.ladders[0]
    rank = account.tiers.get(ladder.id)
    if rank is None:
        return ladder.first
    if rank.since_ms <= at_ms:
        return rank.tier
    for since_ms, tier in reversed(rank.earlier):
        if since_ms <= at_ms:
            return str(tier)
    return str(rank.earlier[0][1])
