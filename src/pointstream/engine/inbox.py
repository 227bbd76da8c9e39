"""What a task has received and not yet processed.

Several topics meet in one task. The inbox merges them by record time, so that after a
stop an old order is taken before the tick that was written after it, as it would have been
had the worker been up. Where a topic is known to have more than was received, nothing is taken that
is later than what was received of it: the next fetch may bring something older.

It also proves that nothing is skipped: every batch says where it begins, and it must begin where
the one before it ended.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from pointstream.engine.errors import PositionGap
from pointstream.engine.records import InputRecord

__all__ = ["Batch", "Inbox"]


@dataclass(slots=True)
class Batch:
    """Records to process together, in the order to process them."""

    records: list[InputRecord]
    #: Per topic: offset of the first record taken, and the next position to read.
    taken: dict[str, tuple[int, int]]

    def order(self) -> list[tuple[str, int]]:
        """Run-length form of the order in which the topics were taken, for the journal."""
        runs: list[tuple[str, int]] = []
        for record in self.records:
            if runs and runs[-1][0] == record.topic:
                runs[-1] = (record.topic, runs[-1][1] + 1)
            else:
                runs.append((record.topic, 1))
        return runs


@dataclass(slots=True)
class _Queue:
    #: Next position that this queue accepts: the end of what it has received.
    received: int
    records: list[InputRecord] = field(default_factory=list)
    #: Running maximum of the record times, so that a broker clock that steps back
    #: cannot reorder one topic's records.
    times: list[int] = field(default_factory=list)
    #: First record not yet taken.
    head: int = 0
    #: Bytes of the values not yet taken.
    bytes: int = 0
    #: Up to which position it is known to have records.
    reaches: int = 0
    #: It is not waited for while it stands here.
    passed_over: int | None = None

    @property
    def awaited(self) -> bool:
        """Whether more is on its way, and worth waiting for."""
        return self.received < self.reaches and self.received != self.passed_over

    def until(self, time_ms: int | None) -> int:
        """Return the place behind the last record that is no later than a time; None for all."""
        if time_ms is None:
            return len(self.records)
        return bisect_right(self.times, time_ms, lo=self.head)

    def compact(self) -> None:
        if self.head:
            del self.records[: self.head]
            del self.times[: self.head]
            self.head = 0


class Inbox:
    """Records by topic, bounded by the caller (see `size`), handed out as merged batches."""

    def __init__(
        self,
        positions: dict[str, int],
        *,
        ends: Mapping[str, int] | None = None,
        check_position: bool = True,
    ) -> None:
        """Start at `positions`: per topic the offset of the next record to process.

        `ends` has per topic the position up to which it is known to have records.
        """
        self._queues = {topic: _Queue(offset) for topic, offset in positions.items()}
        for topic, end in (ends or {}).items():
            self._queues[topic].reaches = end
        self._check_position = check_position
        self.size = 0
        #: Topics whose position has moved without a record: past transaction markers.
        self._moved: set[str] = set()
        #: Records received again and dropped.
        self.dropped = 0

    def offer(
        self,
        topic: str,
        begin: int,
        end: int,
        records: Sequence[InputRecord],
        reaches: int = 0,
    ) -> None:
        """Take what was fetched from position `begin` up to position `end` of `topic`.

        Positions, not record offsets, must join: a topic written in transactions has
        offsets that never arrive. `reaches` is up to where the topic is known to have records.

        Raises:
            PositionGap: `begin` lies above the end of what was received before.
        """
        queue = self._queues[topic]
        queue.reaches = max(queue.reaches, reaches)
        if self._check_position:
            if begin > queue.received:
                raise PositionGap(
                    f"{topic}: expected position {queue.received}, the next batch begins at {begin}"
                )
            if begin < queue.received:
                # Faust seeks to offsets that it may have read before a commit that was just
                # finishing. Taking these records again would count them twice.
                fresh = [record for record in records if record.offset >= queue.received]
                self.dropped += len(records) - len(fresh)
                records = fresh
                if end <= queue.received:
                    return
        if not records:
            if end != queue.received:
                queue.received = end
                self._moved.add(topic)
            return
        queue.received = end
        last = queue.times[-1] if queue.times else 0
        times = accumulate((r.timestamp for r in records), max, initial=last)
        next(times)
        queue.records.extend(records)
        queue.times.extend(times)
        self.size += len(records)
        queue.bytes += sum(map(_weight, records))

    def awaited(self) -> dict[str, int]:
        """By topic of which more is on its way, the position that was received so far."""
        return {topic: queue.received for topic, queue in self._queues.items() if queue.awaited}

    def pass_over(self, awaited: Mapping[str, int]) -> None:
        """Wait no more for topics until they move."""
        for topic, position in awaited.items():
            self._queues[topic].passed_over = position

    def has_batch(self, limit: int, limit_bytes: int) -> bool:
        """Whether a whole batch can be taken without waiting for what is on its way."""
        horizon = self._horizon()
        shares = [(queue, queue.until(horizon)) for queue in self._queues.values()]
        if sum(stop - queue.head for queue, stop in shares) >= limit:
            return True
        # Fewer than that: they are soon weighed.
        some = (record for queue, stop in shares for record in queue.records[queue.head : stop])
        return sum(map(_weight, some)) >= limit_bytes

    def scarce(self, topic: str, limit: int, limit_bytes: int) -> bool:
        """Whether a batch may have to wait for more of a topic."""
        queue = self._queues[topic]
        count = len(queue.records) - queue.head
        return queue.awaited and count < limit and queue.bytes < limit_bytes

    @property
    def bytes(self) -> int:
        """Bytes of the values that wait."""
        return sum(queue.bytes for queue in self._queues.values())

    @property
    def pending(self) -> bool:
        """Whether there is something to take."""
        return bool(self.size or self._moved)

    def oldest(self) -> dict[str, int]:
        """By topic that has records waiting, the time (ms) of the first of them."""
        return {
            topic: queue.times[queue.head]
            for topic, queue in self._queues.items()
            if queue.head < len(queue.times)
        }

    def look(self, limit: int, limit_bytes: int = 1 << 62) -> list[InputRecord]:
        """The next records to process, oldest first over all topics; they stay here.

        Up to `limit` records or `limit_bytes` of values, but one at least, however large; none that
        is later than what was received of a topic that is waited for.
        """
        if self.bytes > limit_bytes:
            limit = self._fitting(limit, limit_bytes)
        horizon = self._horizon()
        waiting = [
            (queue, stop)
            for queue in self._queues.values()
            if (stop := min(queue.until(horizon), queue.head + limit)) > queue.head
        ]
        if len(waiting) == 1:
            ((queue, stop),) = waiting
            return queue.records[queue.head : stop]
        return self._merge(waiting, limit)

    def _horizon(self) -> int | None:
        """The time (ms) after which nothing is to be taken yet; None where nothing is awaited."""
        return min(
            (
                queue.times[-1] if queue.head < len(queue.times) else -1
                for queue in self._queues.values()
                if queue.awaited
            ),
            default=None,
        )

    def remove(self, records: list[InputRecord]) -> Batch:
        """Take the first of what `look` returned, and what has only moved a position."""
        counts = Counter(record.topic for record in records)
        taken = {topic: self._advance(topic, count) for topic, count in counts.items()}
        self.size -= len(records)
        return Batch(records, self._pass_markers() | taken)

    def _fitting(self, limit: int, limit_bytes: int) -> int:
        """How many records fit, whichever they are: the largest ones are counted first."""
        weights = sorted(
            (_weight(r) for q in self._queues.values() for r in q.records[q.head :]), reverse=True
        )
        total, count = 0, 0
        for weight in weights[:limit]:
            total += weight
            if total > limit_bytes:
                break
            count += 1
        return max(1, count)

    def _pass_markers(self) -> dict[str, tuple[int, int]]:
        """The positions of topics that moved and have nothing waiting in front of the markers."""
        passed = {}
        for topic in tuple(self._moved):
            queue = self._queues[topic]
            if queue.head == len(queue.records):
                passed[topic] = (queue.received, queue.received)
                self._moved.discard(topic)
        return passed

    @staticmethod
    def _merge(waiting: list[tuple[_Queue, int]], limit: int) -> list[InputRecord]:
        # (time, rank of the topic, index) is unique, so the sort never compares records and
        # equal times fall in the fixed order of the topics.
        heads: list[tuple[int, int, int]] = []
        for rank, (queue, stop) in enumerate(waiting):
            heads.extend((queue.times[i], rank, i) for i in range(queue.head, stop))
        heads.sort()
        return [waiting[rank][0].records[index] for _, rank, index in heads[:limit]]

    def _advance(self, topic: str, count: int) -> tuple[int, int]:
        queue = self._queues[topic]
        first = queue.records[queue.head].offset
        queue.bytes -= sum(map(_weight, queue.records[queue.head : queue.head + count]))
        queue.head += count
        if queue.head == len(queue.records):
            # All taken: the position is the end of the fetch, past any marker behind it.
            position = queue.received
            self._moved.discard(topic)
        else:
            position = queue.records[queue.head].offset
        if queue.head * 2 >= len(queue.records):
            queue.compact()
        return first, position


def _weight(record: InputRecord) -> int:
    return len(record.value or b"")
