"""For how long it is known that an event was taken, under this programme and those before it.

An event is remembered for the window of the programme that took it. When a later programme has a
longer window, what was taken before is forgotten sooner than the new window says: taken again then,
it would count twice. So events of that time are too old as early as they were to be.
"""

from __future__ import annotations

from typing import Final

from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.state import WINDOWS_KEY, KeyValues
from pointstream.rules.compile import CompiledProgramme

__all__ = ["Windows"]


class Windows:
    """The windows of one partition, in ms: of event ids (commands), and of business keys."""

    def __init__(self, programme: CompiledProgramme) -> None:
        self._programme: Final = programme
        self._now = [programme.dedup_window_ms, programme.refund_window_ms]
        self._before: list[list[int]] = []
        """Up to which date of an event, and the two windows of the programmes until then."""
        self.shortest_ms = min(self._now)
        """No event of a later date is too old."""

    def load(self, state: KeyValues, now_ms: int) -> None:
        """Mind what earlier programmes of this partition said, and note what this one says."""
        value = state.get(WINDOWS_KEY)
        windows, before = decode_list(value) if value is not None else (self._now, [])
        # Of what is older than all windows nothing has to be known.
        longest_ms = max(self._now)
        before = [row for row in before if row[0] > now_ms - longest_ms]
        if any(new > old for new, old in zip(self._now, windows, strict=True)):
            # What was taken so far may be dated ahead by so much.
            until_ms = now_ms + self._programme.future_tolerance_ms
            before.append([until_ms, *windows])
        self._before = before
        self.shortest_ms = min(self._now + [window for row in before for window in row[1:]])
        stored = encode_list([self._now, before])
        if stored != value:
            state.put(WINDOWS_KEY, stored)

    def of_command(self, occurred_ms: int) -> int:
        """Return for how long it is known that a command was taken."""
        return self._of(0, occurred_ms)

    def of_event(self, occurred_ms: int) -> int:
        """Return for how long it is known by its business key that an event was taken."""
        return self._of(1, occurred_ms)

    def _of(self, which: int, occurred_ms: int) -> int:
        if not self._before:
            return self._now[which]
        before = (row[1 + which] for row in self._before if occurred_ms <= row[0])
        return min((self._now[which], *before))
