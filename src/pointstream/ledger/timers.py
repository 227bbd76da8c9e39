"""What happens by itself when its time has come: activation, expiry, the end of holds and parking.

A timer rings at the time it is due, however late the tick that lets it ring: its entries carry that
time, and are the same as if the worker had been up. At one instant activations come first, then
changes of tiers, then expiries and reminders, then the ends of holds, then what the programme does
to everybody.
"""

from __future__ import annotations

from pointstream.ledger.aging import activate, expire
from pointstream.ledger.book import Book
from pointstream.ledger.consent import consent_never_came
from pointstream.ledger.dated import walks_of
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.detectorbook import DETECTOR_SETS
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.holds import hold_timed_out
from pointstream.ledger.parking import give_up
from pointstream.ledger.reminders import remind
from pointstream.ledger.resyncing import resync_on
from pointstream.ledger.reviewing import time_limit_reached
from pointstream.ledger.rulebook import drop_old_versions
from pointstream.ledger.state import NEVER
from pointstream.ledger.tiers import review
from pointstream.ledger.walks import walk_on

__all__ = ["ring"]


def ring(book: Book, what: bytes, due_ms: int) -> Decision | None:
    """Do what a timer was set for; None if nothing is to be done. It is taken off already."""
    if what[:1] == b"p":
        return give_up(book, what)
    if what[:1] == b"h":
        return hold_timed_out(book, what[1:], due_ms)
    if what[:1] == b"v":
        return consent_never_came(book, what[1:])
    if what[:1] == b"f":
        return time_limit_reached(book, what[1:], due_ms)
    if what[:1] == b"j":
        return walk_on(book, walks_of(book.programme), what[1:], due_ms)
    if what[:1] == b"k":
        return drop_old_versions(book, what[1:])
    if what[:1] == DETECTOR_SETS.kind:
        return DETECTOR_SETS.drop_old(book, what[1:])
    if what[:1] == b"1":
        return resync_on(book, what, due_ms)
    if what[:1] != b"a":
        raise StateCorrupt(f"a timer of the unknown kind {what[:1]!r}")
    member = what[1:]
    account = book.account(member.decode(), member)
    account.timer_ms = 0
    book.change(account, shown=False)
    next_ms = NEVER
    for wallet, totals in account.wallets.items():
        # What a frozen account keeps pending waits for the command that unfreezes it.
        if totals.pending and not account.frozen:
            next_ms = min(next_ms, activate(book, account, wallet, totals, due_ms))
    if book.programme.ladders:
        review(book, account, due_ms)
    for wallet, totals in account.wallets.items():
        if totals.available:
            next_ms = min(next_ms, expire(book, account, wallet, totals, due_ms))
    if book.programme.reminds:
        for wallet, totals in account.wallets.items():
            if totals.available:
                next_ms = min(next_ms, remind(book, account, wallet, totals, due_ms))
    book.ring(account, next_ms)
    return Decision(Outcome.POINTS_MOVED_BY_TIME) if book.entries or book.effects else None
