"""One partition's job on a throw-away state, record by record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from pointstream.engine.records import Header, InputRecord, Outgoing, Output, Processor
from pointstream.engine.state import State
from pointstream.engine.store import RocksStore

__all__ = ["Job", "Posted", "Replica"]

_COLLECTED: Final = 1_000
"""After so many records, what they sent is to be collected."""


class Job(Processor, Protocol):
    """The production job of one partition."""

    @property
    def by_events(self) -> bool:
        """Whether time is that of the events, and not the broker's."""

    def time_of(self, record: InputRecord) -> int:
        """Return the time that a record brings, in ms UTC; 0 if none."""


@dataclass(slots=True, eq=False)
class Posted:
    """A message from one partition to another, or to itself."""

    to: int
    key: bytes | None
    value: bytes
    at_ms: int
    """The sender's time."""
    twin: Posted | None = None
    """Of a message by the real rules: the one that the same cause brought about by the candidate's,
    if any."""


class _Watched(Output):
    """Collects what is sent, and messages between partitions apart."""

    __slots__ = ("messages", "posted", "wanted")

    def __init__(self, partition: int, messages: str, wanted: frozenset[str]) -> None:
        super().__init__(partition)
        self.messages = messages
        self.wanted = wanted
        self.posted: list[tuple[int, bytes | None, bytes]] = []

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: object = (),
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        if topic in self.wanted:
            super().send(topic, key, value, _NO_HEADERS, partition=partition)
        elif topic == self.messages:
            assert partition is not None
            assert value is not None
            self.posted.append((partition, key, value))


_NO_HEADERS: Final[tuple[Header, ...]] = ()

Sent = dict[str, list[Outgoing]]
"""By topic, what was sent."""


class Replica:
    """One partition, as a worker would have it."""

    def __init__(
        self,
        partition: int,
        job: Job,
        store: RocksStore,
        *,
        messages: str,
        wanted: frozenset[str],
    ) -> None:
        """`messages` is the topic between partitions; of the others only `wanted` are collected."""
        self.partition: Final = partition
        self.job: Final = job
        self.store: Final = store
        self._messages = messages
        self._wanted = wanted
        self._written = 0
        self._taken = 0
        self._state: State | None = None
        self._output = _Watched(partition, messages, wanted)
        self._sent: Sent = {}

    def like(self, job: Job, store: RocksStore) -> Replica:
        """Return another of the same partition."""
        return Replica(self.partition, job, store, messages=self._messages, wanted=self._wanted)

    @property
    def full(self) -> bool:
        """Whether what was sent should be collected."""
        return self._taken >= _COLLECTED

    def take(self, record: InputRecord) -> list[tuple[int, bytes | None, bytes]]:
        """Take one record; returns the messages to other partitions: to which, key and value."""
        if self._state is None:
            self._begin()
        self._taken += 1
        while not self.job.process((record,)):
            # More is due than one transaction holds: the record comes again after it.
            self._write()
            self._begin()
        return self._posted()

    def finish(self) -> list[tuple[int, bytes | None, bytes]]:
        """End a transaction and write what was taken; returns messages, as `take` does.

        Some messages are gathered over a transaction: it must end where it ended really.
        """
        if self._state is not None:
            self._write()
        return self._posted()

    def collect(self) -> Sent:
        """Return what was sent by finished transactions since the last time."""
        self._taken = 0
        sent, self._sent = self._sent, {}
        return sent

    def _posted(self) -> list[tuple[int, bytes | None, bytes]]:
        posted = self._output.posted
        if posted:
            self._output.posted = []
        return posted

    def _begin(self) -> None:
        posted = self._output.posted
        self._output = _Watched(self.partition, self._messages, self._wanted)
        self._output.posted = posted
        self._state = State(self.store)
        self.job.begin(self._state, self._output)

    def _write(self) -> None:
        assert self._state is not None
        self.job.finish()
        self._written += 1
        self.store.write(self._state.writes.items(), self._written)
        self._state = None
        for target, records in self._output.records.items():
            self._sent.setdefault(target.topic, []).extend(records)
