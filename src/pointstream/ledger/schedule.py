"""When what is due: the timers of one partition.

Timers are kept in due order. What is due by a time is read in one pass, however much it is: a
programme that lets points expire at the end of the month has all its members due at one instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from pointstream.ledger.state import NEVER, TIMER_START, TIMER_STOP, KeyValues, timer_key

__all__ = ["Schedule"]


class Schedule:
    """The timers of one partition. A timer is a due time and what is due then."""

    def __init__(self) -> None:
        self.state: KeyValues
        self.next_ms = 0
        """No timer is due before."""
        # No timer's key lies before. Where timers were deleted just now, a store steps over the
        # graves one by one: reading begins behind them.
        self._first = TIMER_START
        self._until_ms = -1
        self._added: list[bytes] = []
        self._dropped: set[bytes] = set()

    def put(self, due_ms: int, what: bytes) -> None:
        """Set a timer, perhaps for a time that is over already."""
        key = timer_key(due_ms, what)
        self.state.put(key, b"\x01")
        if due_ms <= self._until_ms:
            heappush(self._added, key)
            self._dropped.discard(key)
        else:
            self._note(key)

    def drop(self, due_ms: int, what: bytes) -> None:
        """Take a timer off."""
        key = timer_key(due_ms, what)
        self.state.delete(key)
        if due_ms <= self._until_ms:
            self._dropped.add(key)

    def due(self, until_ms: int, limit: int | None) -> Iterator[tuple[int, bytes]]:
        """Take off the timers that are due by a time, at most `limit`, and yield them in due order.

        Timers that are set or dropped meanwhile count. Must be read to its end; `next_ms` is
        right then.
        """
        state, added, dropped = self.state, self._added, self._dropped
        stored = (key for key, _ in state.scan(self._first, TIMER_STOP))
        self._first, self.next_ms, self._until_ms = TIMER_STOP, NEVER, until_ms
        head = next(stored, None)
        left = -1 if limit is None else limit
        while head is not None or added:
            key = head if head is not None and not (added and added[0] < head) else added[0]
            known = key not in dropped
            if known and (not left or int.from_bytes(key[1:9], "big") > until_ms):
                self._note(key)
                break
            if head == key:
                head = next(stored, None)
            while added and added[0] == key:
                heappop(added)
            if known:
                left -= 1
                state.delete(key)
                yield int.from_bytes(key[1:9], "big"), key[9:]
        self._until_ms = -1
        added.clear()
        dropped.clear()

    def _note(self, key: bytes) -> None:
        if key < self._first:
            self._first = key
            self.next_ms = int.from_bytes(key[1:9], "big")
