"""What all accounts of a partition have together: the points that the programme owes.

Kept as a sum, because nobody can add up millions of accounts whenever somebody asks. Every movement
ends in `Book.emit`, and every wallet that one touched is checked before the record is done: there
the sums take what has changed in the wallet since it was counted last. They are a value of the
state like any other, so they are written in the transaction of the entries that they count, and
after a crash they are what the entries say, without a scan.

A state from before there were sums is added up once, when it is loaded.
"""

from __future__ import annotations

from typing import Final

from pointstream.ledger.codec import decode_account, decode_list, encode_list
from pointstream.ledger.records import Totals
from pointstream.ledger.state import (
    ACCOUNTS_START,
    ACCOUNTS_STOP,
    OUTSTANDING_KEY,
    KeyValues,
)

__all__ = ["PLACES", "Outstanding", "decode_outstanding"]

PLACES: Final = ("available", "pending", "held", "debt")
"""Where points of a wallet are. What is owed is the first three less the debt."""


class Outstanding:
    """The sums of one partition, by wallet: points available, pending, held, and debt."""

    def __init__(self) -> None:
        self._wallets: dict[str, list[int]] = {}
        self._stored: bytes | None = None

    def load(self, state: KeyValues) -> None:
        """Take up the sums where they stand; add them up if they were never kept."""
        self._stored = state.get(OUTSTANDING_KEY)
        if self._stored is not None:
            found = decode_outstanding(self._stored)
            self._wallets = {wallet: list(sums) for wallet, sums in found.items()}
            return
        for key, value in state.scan(ACCOUNTS_START, ACCOUNTS_STOP):
            for wallet, totals in decode_account(key, value).wallets.items():
                # A wallet in which nothing ever was has no sum, whoever looks first.
                if totals.counted != _NOTHING:
                    self._add(wallet, totals.counted, _NOTHING)

    def take(self, wallet: str, totals: Totals) -> None:
        """Take in what has changed in a wallet since it was counted last."""
        now = (totals.available, totals.pending, totals.held, totals.debt)
        before = totals.counted
        if now != before:
            self._add(wallet, now, before)
            totals.counted = now

    def _add(self, wallet: str, now: tuple[int, ...], before: tuple[int, ...]) -> None:
        sums = self._wallets.get(wallet)
        if sums is None:
            sums = self._wallets[wallet] = [0, 0, 0, 0]
        sums[0] += now[0] - before[0]
        sums[1] += now[1] - before[1]
        sums[2] += now[2] - before[2]
        sums[3] += now[3] - before[3]

    def store(self, state: KeyValues) -> None:
        """Write the sums where they have changed."""
        if not self._wallets:
            return
        stored = encode_list([[wallet, *sums] for wallet, sums in sorted(self._wallets.items())])
        if stored != self._stored:
            state.put(OUTSTANDING_KEY, stored)
            self._stored = stored


def decode_outstanding(value: bytes | None) -> dict[str, tuple[int, ...]]:
    """Return points by wallet, in the order of `PLACES`. Raises `StateCorrupt`."""
    if value is None:
        return {}
    return {wallet: tuple(sums) for wallet, *sums in decode_list(value)}


_NOTHING: Final = (0, 0, 0, 0)
