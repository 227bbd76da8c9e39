"""What every member has at the end: by the real rules, and by the candidate's.

Both states are read side by side in the order of the members: only those who differ most are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Final

from pointstream.engine.state import StateReader
from pointstream.ledger import Account, decode_account

__all__ = ["Accounts", "MemberDifference", "Outstanding"]

#: Upper bounds of what a member has more or less, in points, for the histogram.
_STEPS: Final = (1, 10, 100, 1_000, 10_000)


@dataclass(slots=True)
class Outstanding:
    """What members have, in points of one wallet."""

    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0

    @property
    def total(self) -> int:
        """What the programme owes."""
        return self.available + self.pending + self.held - self.debt


@dataclass(frozen=True, slots=True, order=True)
class MemberDifference:
    """A member for whom something differs, in points over all wallets that count."""

    size: int
    """How much, without the sign: of what is there at the end or of what was given, the larger."""
    member_id: str
    real: int
    """What the member has at the end, by the real rules, ..."""
    other: int
    """... and with the candidate."""
    given: int
    """How much more was given with the candidate, less what refunds took back."""


@dataclass
class _Side:
    wallets: dict[str, Outstanding] = field(default_factory=dict)
    tiers: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """By ladder and tier: how many members, and what they have in wallets that can be spent."""


@dataclass
class Accounts:
    """What was found in both states."""

    spendable: frozenset[str]
    """The wallets whose points are owed."""
    ladders: Mapping[str, Sequence[str]]
    """By id of a ladder, its tiers in rising order."""
    top: int
    """So many members are kept."""
    members: int = 0
    more: int = 0
    """Members who have more with the candidate, ..."""
    less: int = 0
    """... and less."""
    given_more: int = 0
    """Members to whom more was given with the candidate, ..."""
    given_less: int = 0
    """... and less."""
    real: _Side = field(default_factory=_Side)
    other: _Side = field(default_factory=_Side)
    steps: Counter[int] = field(default_factory=Counter)
    """How many members have more (or less: below zero) by 1 to 9, 10 to 99, … points."""
    moved_tiers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By ladder, tier by the real rules and tier by the candidate's, how many members."""
    _top: list[MemberDifference] = field(default_factory=list)

    @property
    def differing(self) -> list[MemberDifference]:
        """The members who differ most, the largest difference first."""
        return sorted(self._top, key=lambda each: (-each.size, each.member_id))

    def compare(self, real: StateReader, other: StateReader) -> None:
        """Take in the states of one partition."""
        ours, theirs = _accounts(real), _accounts(other)
        one, two = next(ours, None), next(theirs, None)
        while one is not None or two is not None:
            if two is None or (one is not None and one[0] < two[0]):
                assert one is not None
                self._add(decode_account(*one), None)
                one = next(ours, None)
            elif one is None or two[0] < one[0]:
                self._add(None, decode_account(*two))
                two = next(theirs, None)
            else:
                account = decode_account(*one)
                self._add(account, account if one == two else decode_account(*two))
                one, two = next(ours, None), next(theirs, None)

    def _add(self, real: Account | None, other: Account | None) -> None:
        either = real or other
        assert either is not None
        self.members += not either.closed
        has = [self._count(side, who) for side, who in ((self.real, real), (self.other, other))]
        if real is other:
            return
        more = has[1] - has[0]
        for ladder in self.ladders:
            tiers = self._tier(real, ladder), self._tier(other, ladder)
            if tiers[0] != tiers[1]:
                self.moved_tiers[ladder, *tiers] += 1
        given = _given(other, self.spendable) - _given(real, self.spendable)
        self.given_more += given > 0
        self.given_less += given < 0
        if more:
            self.more += more > 0
            self.less += more < 0
            step = sum(abs(more) >= bound for bound in _STEPS)
            self.steps[step if more > 0 else -step] += 1
        if self.top and (more or given):
            size = max(abs(more), abs(given))
            difference = MemberDifference(size, either.member_id, has[0], has[1], given)
            if len(self._top) < self.top:
                heappush(self._top, difference)
            else:
                heappushpop(self._top, difference)

    def _count(self, side: _Side, account: Account | None) -> int:
        """Count an account; returns what is owed to it."""
        if account is None:
            return 0
        owed = 0
        for name, totals in account.wallets.items():
            wallet = side.wallets.setdefault(name, Outstanding())
            wallet.available += totals.available
            wallet.pending += totals.pending
            wallet.held += totals.held
            wallet.debt += totals.debt
            if name in self.spendable:
                owed += totals.available + totals.pending + totals.held - totals.debt
        if not account.closed:
            for ladder in self.ladders:
                tier = side.tiers.setdefault((ladder, self._tier(account, ladder)), [0, 0])
                tier[0] += 1
                tier[1] += owed
        return owed

    def _tier(self, account: Account | None, ladder: str) -> str:
        rank = None if account is None else account.tiers.get(ladder)
        return self.ladders[ladder][0] if rank is None else rank.tier


def _given(account: Account | None, wallets: frozenset[str]) -> int:
    """What rules have given a member in the whole life, less what refunds took back."""
    if account is None:
        return 0
    return sum(
        totals.earned - totals.reversed
        for name, totals in account.wallets.items()
        if name in wallets
    )


def _accounts(state: StateReader) -> Iterator[tuple[bytes, bytes]]:
    return state.scan(b"a", b"b")
