"""The job of all partitions in one process, on throw-away states: inputs in, outputs out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pointstream.contracts.topics import DEFAULT_PREFIX
from pointstream.contracts.wire import loads
from pointstream.engine import Output, Processor, Record, State
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.operations.placement import partition_of

__all__ = ["Laboratory"]

_MESSAGES: Final = DEFAULT_PREFIX + "internal.messages"
_TICKS: Final = DEFAULT_PREFIX + "internal.ticks"


class Laboratory:
    """Partitions that send each other messages as they do on a broker.

    A message is taken after the records that are given together with the one that brought it about:
    so much later than on a broker as `give` is called with many records.
    """

    def __init__(
        self, make_job: Callable[[int], Processor], partitions: int, directory: Path
    ) -> None:
        """`make_job` makes the production job of a partition, under the default prefix; the states
        are written to `directory`, which must be empty."""
        memory = RocksMemory()
        self._jobs: Final = [make_job(partition) for partition in range(partitions)]
        self._stores: Final = [
            RocksStore(directory / str(partition), b"laboratory", memory)
            for partition in range(partitions)
        ]
        self._offsets: Counter[tuple[str, int]] = Counter()
        self._position = 0

    def close(self) -> None:
        """Let go of the states."""
        for store in self._stores:
            store.close()

    def give(
        self, records: Iterable[tuple[str, bytes, bytes]], at_ms: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Let the partitions take records: topic suffix, key and value; arrived by `at_ms`.

        Yields what comes out, by topic suffix, decoded; tombstones and internal topics are left
        out, and what is not JSON (a dead letter can be anything) raises `ValueError`.
        """
        taken: dict[int, list[Record]] = {}
        for suffix, key, value in records:
            self._append(taken, DEFAULT_PREFIX + suffix, key, value, at_ms)
        yield from self._take_all(taken, at_ms)

    def tick(self, at_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Let time pass everywhere, and ring what is due. Yields what comes out, as `give` does."""
        ticks: dict[int, list[Record]] = {}
        for partition in range(len(self._jobs)):
            self._append(ticks, _TICKS, None, b"", at_ms, partition=partition)
        yield from self._take_all(ticks, at_ms)

    def _take_all(
        self, taken: dict[int, list[Record]], at_ms: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Let partitions take records, and all that they send each other because of it."""
        waiting = deque(sorted(taken.items()))
        while waiting:
            partition, batch = waiting.popleft()
            sent: dict[int, list[Record]] = {}
            for output in self._take(partition, batch):
                for target, outgoing in output.records.items():
                    suffix = target.topic.removeprefix(DEFAULT_PREFIX)
                    for key, value, _, _ in outgoing:
                        if target.topic == _MESSAGES:
                            to = target.partition
                            self._append(sent, _MESSAGES, key, value, at_ms, partition=to)
                        elif value is not None and not suffix.startswith("internal."):
                            yield suffix, loads(value)
            waiting.extend(sorted(sent.items()))

    def _append(
        self,
        to: dict[int, list[Record]],
        topic: str,
        key: bytes | None,
        value: bytes | None,
        at_ms: int,
        *,
        partition: int | None = None,
    ) -> None:
        if partition is None:
            assert key is not None
            partition = partition_of(key, len(self._jobs))
        offset = self._offsets[topic, partition]
        self._offsets[topic, partition] = offset + 1
        record = Record(topic, partition, offset, at_ms, key, value, ())
        to.setdefault(partition, []).append(record)

    def _take(self, partition: int, records: list[Record]) -> Iterator[Output]:
        job, store = self._jobs[partition], self._stores[partition]
        while records:
            state, output = State(store), Output(partition)
            job.begin(state, output)
            done = job.process(records)
            job.finish()
            self._position += 1
            store.write(state.writes.items(), self._position)
            yield output
            # Too much was due for one transaction: the rest comes with the next.
            records = records[done:]
