"""What a worker says in its log of its partitions and of the records it could not take."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from pointstream.contracts.fields import Id
from pointstream.contracts.wire import loads
from pointstream.engine import InputRecord
from pointstream.engine.observing import Commit, TaskObserver
from pointstream.engine.tracing import trace_id_of
from pointstream.ledger import DeadLetter, Source
from pointstream.operations.metrics import Counts

__all__ = ["WorkerLog", "address_of"]

logger = structlog.get_logger(__name__)

#: A flood of records that cannot be read must not become a flood of lines: so many per reason ...
_LETTERS_TOLD = 10
#: ... in so many seconds; how many more there were is told at their end.
_LETTERS_SECONDS = 60.0
_RESTORING_SECONDS = 2.0
_ID: TypeAdapter[str] = TypeAdapter(Id)


class WorkerLog(TaskObserver):
    """Says in the log what an operator wants to know."""

    def __init__(
        self,
        counts_of: Callable[[int], Counts | None] = lambda partition: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`counts_of` gives what a partition's batch that was just committed has brought about."""
        self._counts_of = counts_of
        self._clock = clock
        self._told: dict[int, float] = {}
        self._letters: Counter[str] = Counter()
        self._letters_since = 0.0

    def restoring(self, partition: int, done: int, remaining: int) -> None:
        now = self._clock()
        if not remaining:
            self._told.pop(partition, None)
            logger.info("restored", partition=partition, records=done)
        elif now - self._told.get(partition, 0.0) > _RESTORING_SECONDS:
            self._told[partition] = now
            logger.info("restoring", partition=partition, done=done, remaining=remaining)

    def dropped(self, partition: int, records: int) -> None:
        logger.info("records below the position dropped", partition=partition, records=records)

    def discarded(self, partition: int, reason: str) -> None:
        logger.warning("local state discarded", partition=partition, reason=reason)

    def committed(self, commit: Commit) -> None:
        self._close_letters()
        counts = self._counts_of(commit.partition)
        if counts is not None and counts.dead_letters:
            for letter in counts.dead_letters:
                self._tell_letter(letter)

    def _tell_letter(self, letter: DeadLetter) -> None:
        code = letter.code.value
        self._letters[code] += 1
        if self._letters[code] <= _LETTERS_TOLD:
            # Not its message: that may quote the record. It is in the dead letter's headers.
            logger.warning("dead letter", code=code, **address_of(letter.source))

    def _close_letters(self) -> None:
        now = self._clock()
        if now - self._letters_since < _LETTERS_SECONDS:
            return
        for code, count in self._letters.items():
            if count > _LETTERS_TOLD:
                logger.warning("more dead letters", code=code, count=count - _LETTERS_TOLD)
        self._letters.clear()
        self._letters_since = now


def address_of(record: InputRecord | Source) -> dict[str, Any]:
    """Return what names a record in a log: where it lies, and its event and trace if it has them.

    Reads the value: for the few records that are told of.
    """
    told: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    if (event_id := _event_id(record)) is not None:
        told["event_id"] = event_id
    if (trace_id := trace_id_of(record.headers)) is not None:
        told["trace_id"] = trace_id
    return told


def _event_id(record: InputRecord | Source) -> str | None:
    """The event's id as far as the record tells one; nothing that is none by the contract."""
    found: Any = next((value for name, value in record.headers if name == "ce_id"), None)
    try:
        if found is None:
            body = loads(record.value or b"")
            found = body.get("event_id", body.get("id"))
        else:
            found = found.decode()
        return _ID.validate_python(found, strict=True)
    except (ValueError, AttributeError, ValidationError):
        return None
