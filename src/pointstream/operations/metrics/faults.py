"""How often this data directory's worker ended on a fault, and on which.

A fault ends the process, and with it everything that it counted. Whoever asks the next process is
told all the same: the counts lie in a file beside the state.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Final

__all__ = ["BREACHES", "FAULTS", "OTHER", "Faults"]

#: The faults that are told by name.
FAULTS: Final = (
    "BooksDisagree",
    "ConservationBreach",
    "CorruptStore",
    "Fenced",
    "KafkaTimeoutError",
    "PositionGap",
    "PositionMismatch",
    "RecordsDeleted",
    "StateBarred",
    "StateCorrupt",
    "StateLost",
    "StateTooNew",
    "StoreUnavailable",
)
OTHER: Final = "other"
#: The faults that mean that the books were wrong, and which books.
BREACHES: Final = {"ConservationBreach": "conservation", "BooksDisagree": "balances"}

_FILE = "faults.json"


class Faults:
    """The counts of one data directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE
        self.counts: Counter[str] = Counter()
        try:
            told = json.loads(self._path.read_text())
            self.counts.update({str(name): int(count) for name, count in told.items()})
        except (OSError, ValueError, AttributeError, TypeError):
            # None yet, or a file that a full disk cut short: the points do not hang on it.
            self.counts.clear()

    def add(self, error: BaseException) -> None:
        """Count a fault, and write it down. Raises `OSError` if the disk does not let it."""
        name = type(error).__name__
        self.counts[name if name in FAULTS else OTHER] += 1
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self.counts))
        os.replace(fresh, self._path)
