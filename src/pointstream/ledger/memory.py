"""What is remembered for a while: event ids, business keys, orders.

A remembered value carries the time until which it counts, and every look-up minds it. Deleting is
left to a sweep that goes round and round, a bounded step for every so many new values: its cost
follows the load, what is dead never outgrows what is alive for long, and when it comes by changes
no decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from pointstream.ledger.codec import decode_order, remembered, remembered_until_ms
from pointstream.ledger.state import (
    MEMORY_START,
    MEMORY_STOP,
    KeyValues,
    event_key,
    is_payment_key,
    order_of_payment,
    prefix_stop,
)

__all__ = ["SWEEP_EVERY", "SWEEP_STEP", "Late", "Memory"]

SWEEP_EVERY: Final = 2_048
"""New values between two steps of the sweep."""

SWEEP_STEP: Final = 4_096
"""Values that one step looks at: twice as many as came, so that a round ends."""

_DIGEST: Final = slice(9, 25)
_ANSWER: Final = slice(25, None)
_GIVEN: Final = b"\n"
"""Comes before each thing that the event gave. No JSON that is written has one."""


class Late(Protocol):
    """A value that is encoded when the batch ends, however often it changes before."""

    until_ms: int
    """Until when it counts."""

    def body(self) -> bytes:
        """Return what is stored of it."""


class Memory:
    """The remembered values of one partition."""

    def __init__(self, window_ms: int, *, dedupe: bool) -> None:
        self.state: KeyValues
        self.now_ms = 0
        self.cursor = MEMORY_START
        self.new = 0
        self.dedupe: Final = dedupe
        self._window_ms = window_ms
        self._late: Final[dict[bytes, Late]] = {}

    def known_event(self, member: bytes, event_id: str) -> tuple[bytes, bytes] | None:
        """Return the digest and the recorded answer (or nothing) of an event taken before."""
        if not self.dedupe:
            return None
        value = self.state.get(event_key(member, event_id))
        if value is None or remembered_until_ms(value) <= self.now_ms:
            return None
        return value[_DIGEST], value[_ANSWER].partition(_GIVEN)[0]

    def keep_event(
        self,
        member: bytes,
        event_id: str,
        digest: bytes,
        answer: bytes = b"",
        given: Sequence[bytes] = (),
        *,
        occurred_ms: int = 0,
    ) -> None:
        """Remember an event, the answer if it was a command, and what it gave, each thing apart.

        One dated ahead is remembered from its own date: a command that is forgotten must have
        become too old to be taken again.
        """
        since_ms = max(self.now_ms, occurred_ms)
        self.put(
            event_key(member, event_id),
            remembered(since_ms + self._window_ms, digest + _GIVEN.join((answer, *given))),
        )

    def keep_answer(self, member: bytes, event_id: str, answer: bytes) -> None:
        """Remember the answer to a command that was taken before and had none yet.

        One that has an answer keeps it: it is another command of the same id, of a member who was
        merged into this one.
        """
        key = event_key(member, event_id)
        value = self.state.get(key)
        if value is None:
            return
        known, mark, given = value[_ANSWER].partition(_GIVEN)
        if not known:
            self.state.put(key, value[: _ANSWER.start] + answer + mark + given)

    def answers(self, member: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the key and the recorded answer of each command of a member that has one."""
        prefix = event_key(member, "")
        for key, value in self.state.scan(prefix, prefix_stop(prefix)):
            answer = value[_ANSWER].partition(_GIVEN)[0]
            if answer:
                yield key, answer

    def add_given(self, member: bytes, event_id: str, given: bytes) -> None:
        """Keep one more thing that an event gave behind its id, for as long as that is known."""
        key = event_key(member, event_id)
        value = self.state.get(key)
        if value is not None:
            self.state.put(key, value + _GIVEN + given)

    def given(self, member: bytes, event_id: str) -> list[bytes]:
        """Return what was kept of what an event gave, if its id is remembered."""
        value = self.state.get(event_key(member, event_id))
        if value is None or remembered_until_ms(value) <= self.now_ms:
            return []
        return value[_ANSWER].split(_GIVEN)[1:]

    def replace_given(self, member: bytes, event_id: str, given: list[bytes]) -> None:
        """Keep something else of what an event gave."""
        key = event_key(member, event_id)
        value = self.state.get(key)
        if value is not None:
            answer = value[_ANSWER].partition(_GIVEN)[0]
            self.state.put(key, value[: _ANSWER.start] + _GIVEN.join((answer, *given)))

    def forget_event(self, member: bytes, event_id: str) -> None:
        """Forget an event, so that it can be given again."""
        self.state.delete(event_key(member, event_id))

    def knows(self, key: bytes) -> bool:
        """Tell whether a business key has been used."""
        if not self.dedupe:
            return False
        value = self.state.get(key)
        return value is not None and remembered_until_ms(value) > self.now_ms

    def put(self, key: bytes, value: bytes) -> None:
        """Write a new remembered value."""
        self.state.put(key, value)
        self.new += 1

    def put_late(self, key: bytes, value: Late, *, new: bool) -> None:
        """Write a value when the batch ends, as it is then."""
        if new:
            # Its place is taken at once: how much a step of the sweep looks at, and so where it
            # ends, must not depend on where batches do.
            self.put(key, remembered(value.until_ms, b""))
        self._late[key] = value

    def write_late(self, key: bytes) -> None:
        """Write a value now, if it was to be written late."""
        value = self._late.pop(key, None)
        if value is not None:
            self.state.put(key, remembered(value.until_ms, value.body()))

    def close(self) -> None:
        """End the batch: write what is late."""
        for key in list(self._late):
            self.write_late(key)

    def count(self) -> None:
        """Count a new remembered value that was written elsewhere."""
        self.new += 1

    def sweep(self) -> None:
        """Go one step on, when enough new values have come."""
        if self.new < SWEEP_EVERY:
            return
        self.new -= SWEEP_EVERY
        for looked_at, (key, value) in enumerate(self.state.scan(self.cursor, MEMORY_STOP)):
            if looked_at == SWEEP_STEP:
                self.cursor = key
                return
            late = self._late.get(key)
            until_ms = remembered_until_ms(value) if late is None else late.until_ms
            if until_ms <= self.now_ms and not (
                is_payment_key(key) and self._order_needs(key, until_ms)
            ):
                self.state.delete(key)
                self._late.pop(key, None)
        self.cursor = MEMORY_START

    def _order_needs(self, key: bytes, until_ms: int) -> bool:
        """Tell whether a payment that is over by itself counts on with its order."""
        value = self.state.get(order_of_payment(key))
        return (
            value is not None
            and remembered_until_ms(value) > self.now_ms
            and decode_order(value).taken_ms < until_ms
        )
