"""The ledger: accounts, lots, orders, refunds, commands and their timers, as a pure core.

What lives here turns one input event into ledger entries over a key/value state that the caller
brings. It may not know Kafka, topics beyond a record's own address, files, logs, clocks or
randomness: partition time is an argument, and the same input gives the same bytes.
"""

from __future__ import annotations

from pointstream.ledger.codec import conservation, decode_account
from pointstream.ledger.decision import Answer, DeadLetter, Decision, Outcome, Source, Standing
from pointstream.ledger.errors import ConservationBreach, LedgerError, StateCorrupt
from pointstream.ledger.ledger import Ledger
from pointstream.ledger.records import Account, Totals
from pointstream.ledger.state import KeyValues, is_account_key
from pointstream.ledger.withheld import flagged_lots

__all__ = [
    "Account",
    "Answer",
    "ConservationBreach",
    "DeadLetter",
    "Decision",
    "KeyValues",
    "Ledger",
    "LedgerError",
    "Outcome",
    "Source",
    "Standing",
    "StateCorrupt",
    "Totals",
    "conservation",
    "decode_account",
    "flagged_lots",
    "is_account_key",
]
