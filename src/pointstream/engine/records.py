"""What goes into a processor and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pointstream.engine.state import State

__all__ = ["Header", "InputRecord", "Outgoing", "Output", "Processor", "Record", "Target"]

Header = tuple[str, bytes]

# A named tuple's own way to make one costs several times as much, for each record that is sent.
_new = tuple.__new__


class InputRecord(Protocol):
    """One consumed record. `aiokafka.ConsumerRecord` fits as it is.

    `timestamp` is in milliseconds since the epoch: the broker's append time where the topic
    is configured so, else whatever the publisher set.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[Header]: ...


@dataclass(frozen=True, slots=True)
class Record:
    """An input record made without a broker; see `InputRecord` for the units."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class Outgoing(NamedTuple):
    """One record to be sent. `timestamp_ms` None lets the broker or client set it."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    timestamp_ms: int | None


class Target(NamedTuple):
    """Where a record goes."""

    topic: str
    partition: int


class Output:
    """Collects what a batch sends, in order per topic and partition, until its transaction."""

    __slots__ = ("_own", "partition", "records", "trace")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.records: dict[Target, list[Outgoing]] = {}
        # The same lists by topic, of the task's own partition: nearly all goes there.
        self._own: dict[str, list[Outgoing]] = {}
        #: Headers that follow those of every record, while what is sent belongs to a trace.
        self.trace: tuple[Header, ...] = ()

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Send a record within the batch's transaction.

        `partition` defaults to the task's own number, which is right for every topic that is
        keyed and partitioned like the input. A None `value` is a tombstone.
        """
        if self.trace:
            headers = (*headers, *self.trace)
        record = _new(Outgoing, (key, value, headers, timestamp_ms))
        pending = self._own.get(topic) if partition is None else None
        if pending is None:
            target = Target(topic, self.partition if partition is None else partition)
            pending = self.records.setdefault(target, [])
            if target.partition == self.partition:
                self._own[topic] = pending
        pending.append(record)

    def __len__(self) -> int:
        return sum(map(len, self.records.values()))


class Processor(Protocol):
    """The job. One instance serves one partition and lives as long as its task.

    Per batch: `begin`, then `process` with one slice of the batch after the other, then `finish`.
    How a batch is sliced must not show in what comes out.

    It may keep a cache of what it read and wrote, because after a commit the state is just
    what it left, and after any failure the process is gone. Anything raised ends the process, and
    nothing of the batch stays.
    """

    def begin(self, state: State, output: Output) -> None:
        """A batch begins; what it reads, writes and sends goes through these two."""

    def process(self, records: Sequence[InputRecord]) -> int:
        """Take some records, in order; returns how many.

        Fewer than given ends the batch there: what one record brings about can be too much for one
        transaction. The record that is not done comes again, first, in the next batch.
        """

    def finish(self) -> None:
        """The batch ends: write and send what was held back to be written and sent once."""
