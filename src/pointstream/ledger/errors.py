"""What can go wrong in the ledger that no input may cause.

    LedgerError
    ├── ConservationBreach    the books of a wallet do not balance
    ├── BooksDisagree         a balance is not what its lots hold, or not what entries told
    └── StateCorrupt          a stored value is not one that this code wrote
        └── MessageTooNew     a message between partitions is in a format of a newer release

Either ends the partition's work: going on would write wrong balances. What a publisher can get
wrong is no exception but an outcome or a dead letter. No message names a member: it is logged.
"""

from __future__ import annotations

__all__ = ["BooksDisagree", "ConservationBreach", "LedgerError", "MessageTooNew", "StateCorrupt"]


class LedgerError(Exception):
    """The ledger cannot go on."""


class ConservationBreach(LedgerError):
    """What came into a wallet is not what is in it plus what went out (all in points)."""

    def __init__(self, member_id: str, wallet: str, came_in: int, accounted_for: int) -> None:
        super().__init__(
            f"the books of a member's wallet {wallet!r} do not balance:"
            f" {came_in} points came in, {accounted_for} are accounted for"
        )
        self.member_id = member_id
        self.wallet = wallet
        self.came_in = came_in
        self.accounted_for = accounted_for


class BooksDisagree(LedgerError):
    """The available points of a wallet have drifted from its lots, or from what entries told."""

    def __init__(
        self, member_id: str, wallet: str, available: int, in_lots: int, told: int
    ) -> None:
        super().__init__(
            f"a member's wallet {wallet!r}: {available} points are available, the lots hold"
            f" {in_lots}, the entries told of {told}"
        )
        self.member_id = member_id


class StateCorrupt(LedgerError):
    """A stored value cannot be read, or contradicts another one."""


class MessageTooNew(StateCorrupt):
    """A message between partitions was written by a newer release than this one."""

    def __init__(self, found: int) -> None:
        super().__init__(f"a message between partitions is in format {found}")
        self.found = found
