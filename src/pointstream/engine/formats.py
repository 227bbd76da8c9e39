"""Which form of the state this program reads, and which one it writes.

One number stands for all that a worker keeps and tells others: keys and values of the state, the
messages between partitions, the engine's own keys. The state carries the highest number that was
ever written to it (the mark), in the transaction that wrote it first, so store and changelog say it
alike. It never goes down: after a worker that wrote a newer form, values of it may be anywhere.

A program reads the forms before its own and writes the one it is told to (`writes`), the former one
by default. So a rolling upgrade has two steps: every worker gets the new program, which writes what
the old one reads, and only then is the form raised. Until that the way back is open.

A worker whose program does not know the form of a partition stops before it has taken a record,
and so does one that finds its partition barred, by an operation on the whole state that has not
ended. Standbys copy bytes and read none, so they follow any form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from pointstream.engine.errors import StateBarred, StateTooNew

__all__ = ["BARRED_KEY", "FORMAT_KEY", "ORIGIN_KEY", "Formats", "bar_of", "marked_format"]

FORMAT_KEY: Final = b"\x01format"
"""The mark: the highest form ever written here, and the release that brought it."""

BARRED_KEY: Final = b"\x01barred"
"""There while no worker may take the partition, with a sentence that says why and what to do."""

ORIGIN_KEY: Final = b"\x01origin"
"""The first record of a changelog that was written from a backup: which one it was. Positions in a
local state that came another way mean nothing there."""

_BEFORE_MARKS: Final = 1
"""The form of a state without a mark."""


@dataclass(frozen=True, slots=True)
class Formats:
    """The forms that a program reads, and the one that it writes."""

    reads: frozenset[int] = frozenset({1})
    writes: int = 1
    #: Who writes, for people.
    release: str = ""

    def __post_init__(self) -> None:
        if self.writes not in self.reads:
            raise ValueError(f"format {self.writes} would be written and could not be read")

    def check(self, place: str, mark: bytes | None, bar: bytes | None) -> int:
        """Return the form that a state is marked with, or stop.

        `mark` and `bar` are what is under `FORMAT_KEY` and `BARRED_KEY`.

        Raises:
            StateTooNew: this program cannot read it.
            StateBarred: an operation on the whole state has not ended.
        """
        found = marked_format(mark)
        if found not in self.reads:
            by = orjson.loads(mark or b"{}").get("release") or "another release"
            raise StateTooNew(
                f"{place}: its state is in format {found}, written by {by}; this release"
                f" ({self.release or 'this one'}) reads up to {max(self.reads)}. Nothing was"
                f" changed. Run {by} or a newer one here; to go back to this release, restore a"
                " backup from before the format was raised."
            )
        if bar is not None:
            raise StateBarred(f"{place}: {bar_of(bar)}")
        return found

    def mark(self) -> bytes:
        """Return what stands under `FORMAT_KEY` once this program has written."""
        return orjson.dumps({"format": self.writes, "release": self.release})


def marked_format(mark: bytes | None) -> int:
    """Return the form that a mark tells."""
    return _BEFORE_MARKS if mark is None else int(orjson.loads(mark)["format"])


def bar_of(bar: bytes) -> str:
    """Return why a partition is barred, as a sentence."""
    return str(orjson.loads(bar)["why"])
