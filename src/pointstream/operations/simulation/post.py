"""Messages between partitions, in a replay: each is produced by it, and taken where it was taken.

The topic of the messages tells when each was appended and where its partition took it. What stands
on it is a consequence of the inputs, so the replay does not read it in: it waits until the sender
has produced the very same bytes, and takes them then.

A candidate may send other messages than were sent. What the same cause brought about by it, of the
same type for the same key, is the `twin` of the real one and is taken in its place. What has no
real counterpart is free: its partition takes it before its next record.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from pointstream.contracts.wire import loads
from pointstream.operations.simulation.replica import Posted

__all__ = ["Post"]

Sending = tuple[int, bytes | None, bytes]
"""To which partition, key and value."""


class Post:
    """What was produced and not taken yet."""

    def __init__(self, partitions: int) -> None:
        self._real: list[dict[bytes, deque[Posted]]] = [{} for _ in range(partitions)]
        self._early: list[Counter[bytes]] = [Counter() for _ in range(partitions)]
        self.free: list[deque[Posted]] = [deque() for _ in range(partitions)]
        """What only the candidate has sent."""
        self.as_recorded = 0
        """Messages that were taken as they are on the topic: what caused them is gone."""

    def put(self, real: Sequence[Sending], other: Sequence[Sending] | None, at_ms: int) -> set[int]:
        """Take in what one record brought about by the real rules, and by the candidate's.

        `other` is None while there is no candidate. Returns the partitions that something is for.
        """
        posted = [Posted(*each, at_ms) for each in real]
        if other is not None:
            self._pair(posted, [Posted(*each, at_ms) for each in other])
        for each in posted:
            early = self._early[each.to]
            if early.get(each.value):
                # It was taken as it was recorded, before the replay came to its cause.
                early[each.value] -= 1
                continue
            self._real[each.to].setdefault(each.value, deque()).append(each)
        return {each.to for each in posted}

    def take(self, partition: int, value: bytes) -> Posted | None:
        """Take the message that a partition took really; None if it was not produced yet."""
        same = self._real[partition].get(value)
        if same is None:
            return None
        posted = same.popleft()
        if not same:
            del self._real[partition][value]
        return posted

    def has(self, partition: int, value: bytes) -> bool:
        """Tell whether a message was produced and not taken."""
        return value in self._real[partition]

    def give_up(self, partition: int, value: bytes) -> None:
        """Note that a message is taken as it is on the topic."""
        self.as_recorded += 1
        self._early[partition][value] += 1

    def fork(self) -> None:
        """The candidate begins: what is under way is under way for it, too."""
        for real in self._real:
            for same in real.values():
                for posted in same:
                    posted.twin = posted

    def _pair(self, real: Sequence[Posted], other: Sequence[Posted]) -> None:
        if [(each.to, each.value) for each in real] == [(each.to, each.value) for each in other]:
            for each, twin in zip(real, other, strict=True):
                each.twin = twin
            return
        alike: dict[tuple[Any, ...], deque[Posted]] = {}
        for each in real:
            alike.setdefault(_likeness(each), deque()).append(each)
        for twin in other:
            waiting = alike.get(_likeness(twin))
            if waiting:
                waiting.popleft().twin = twin
            else:
                self.free[twin.to].append(twin)


def _likeness(posted: Posted) -> tuple[Any, ...]:
    return posted.to, posted.key, loads(posted.value)["type"]
