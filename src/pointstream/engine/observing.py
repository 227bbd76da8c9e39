"""What a partition task tells of what it does: for metrics, logs and traces."""

from collections.abc import Sequence
from dataclasses import dataclass

from pointstream.engine.records import InputRecord

__all__ = ["Commit", "Observers", "TaskObserver"]


@dataclass(frozen=True, slots=True)
class Commit:
    """One batch that is committed and stored, as an observer is told of it; times in seconds."""

    partition: int
    #: What it took, in the order taken.
    records: Sequence[InputRecord]
    #: How many records it sent, without those of changelog and journal.
    sent: int
    #: How many keys of the state it wrote.
    changes: int
    #: From when the batch was taken until the job was done with it.
    processing: float
    #: The Kafka transaction alone.
    commit: float
    #: From when the batch was taken until it was in the store.
    whole: float


class TaskObserver:
    """Told what tasks do, and what becomes of the worker. The base ignores everything.

    Nothing that it is told has any other effect, and what it raises is a fault like any other.
    """

    def assigned(self, partitions: Sequence[int]) -> None: ...

    def restored(self, partition: int, seconds: float) -> None: ...

    def restoring(self, partition: int, done: int, remaining: int) -> None: ...

    def dropped(self, partition: int, records: int) -> None: ...

    def discarded(self, partition: int, reason: str) -> None: ...

    def committed(self, commit: Commit) -> None: ...

    def failed(self, error: BaseException) -> None:
        """The process ends with this error."""


class Observers(TaskObserver):
    """Tells several observers, in their order."""

    def __init__(self, *observers: TaskObserver) -> None:
        self._observers = observers

    def assigned(self, partitions: Sequence[int]) -> None:
        for observer in self._observers:
            observer.assigned(partitions)

    def restoring(self, partition: int, done: int, remaining: int) -> None:
        for observer in self._observers:
            observer.restoring(partition, done, remaining)

    def restored(self, partition: int, seconds: float) -> None:
        for observer in self._observers:
            observer.restored(partition, seconds)

    def dropped(self, partition: int, records: int) -> None:
        for observer in self._observers:
            observer.dropped(partition, records)

    def discarded(self, partition: int, reason: str) -> None:
        for observer in self._observers:
            observer.discarded(partition, reason)

    def committed(self, commit: Commit) -> None:
        for observer in self._observers:
            observer.committed(commit)

    def failed(self, error: BaseException) -> None:
        for observer in self._observers:
            observer.failed(error)
