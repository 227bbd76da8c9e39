"""What happens to every account of a partition at a date, in steps.

A walk is a timer that carries how far it has come: each ring looks at a bounded number of accounts
and sets the timer again, for the same moment, behind the last of them. So no transaction holds a
whole programme, a crash loses nothing, and no account comes twice; nothing else happens in between,
for partition time stands still.

A programme's walks are set when a ledger opens a partition with it for the first time. One whose
date is over by then does nothing: what is done to members' points must not be done to a date of
which nobody was told in time. A walk that is in the programme no more stops where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.records import Account
from pointstream.ledger.state import account_key, walk_key

__all__ = ["LOOKED_AT", "VISITED", "Walk", "begin", "schedule", "walk_on"]

LOOKED_AT: Final = 100
"""The most accounts that one ring looks at."""

VISITED: Final = 10
"""The most accounts that one ring does something to."""

_TOO_LATE: Final = "too-late"


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk of a programme."""

    name: str
    at_ms: int
    steps: dict[str, int]
    """When each of its steps is due, the last of them at `at_ms`."""
    visit: Callable[[Book, Account, str], bool]
    """Do a step to one account; whether it was concerned. Called with the step's name."""


def begin(book: Book, name: str, step: str, due_ms: int) -> None:
    """Let a step of a walk begin at a time."""
    book.timers.put(due_ms, _what(name, step, b""))


def schedule(book: Book, walks: list[Walk]) -> None:
    """Set the timers of walks that this partition does not know yet, or that have been moved."""
    for walk in walks:
        key = walk_key(walk.name)
        value = book.state.get(key)
        wanted = [walk.at_ms, sorted(walk.steps.items())]
        begun = False
        if value is not None:
            at_ms, steps, begun = decode_list(value)
            if [at_ms, [tuple(step) for step in steps]] == wanted:
                continue
            begun = begun or at_ms <= book.now_ms
            for step, due_ms in steps:
                if due_ms > book.now_ms and not begun:
                    book.timers.drop(due_ms, _what(walk.name, step, b""))
        book.state.put(key, encode_list([*wanted, begun]))
        if begun or walk.at_ms <= book.now_ms:
            begin(book, walk.name, _TOO_LATE, book.now_ms)
            continue
        for step, due_ms in walk.steps.items():
            if due_ms > book.now_ms:
                begin(book, walk.name, step, due_ms)


def walk_on(book: Book, walks: dict[str, Walk], what: bytes, due_ms: int) -> Decision:
    """Go one step on. The timer has rung; `what` is what it names."""
    name, step_name, cursor = what.split(b"\0", 2)
    walk, step = walks.get(name.decode()), step_name.decode()
    if step == _TOO_LATE:
        return Decision(Outcome.TOO_LATE_FOR_ALL_ACCOUNTS)
    if walk is None or step not in walk.steps:
        return Decision(Outcome.WITHDRAWN_FOR_ALL_ACCOUNTS)
    book.write_new()
    visited = 0
    # A key that continues the last one's member: no member's id holds a control character.
    start = account_key(cursor + b"\0") if cursor else account_key(b"")
    accounts = book.state.scan(start, account_key(b"\xff"))
    for looked_at, (key, value) in enumerate(accounts, start=1):
        member = key[1:]
        account = book.peek(member, value)
        if not account.closed and walk.visit(book, account, step):
            visited += 1
        if looked_at == LOOKED_AT or visited == VISITED:
            book.timers.put(due_ms, _what(walk.name, step, member))
            break
    return Decision(Outcome.ACCOUNTS_WALKED)


def _what(name: str, step: str, cursor: bytes) -> bytes:
    return b"j%b\0%b\0%b" % (name.encode(), step.encode(), cursor)
