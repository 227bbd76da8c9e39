"""One partition, taken again up to one record, with the production job on a throw-away state."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pointstream.contracts.inputs import InputEvent, Withdrawn
from pointstream.engine.records import InputRecord, Output, Processor
from pointstream.engine.state import State
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.ledger import Decision, Ledger, Source
from pointstream.ledger.scored import Trace
from pointstream.operations.reading import CommittedReader, Record
from pointstream.operations.simulation.recorded import Lane
from pointstream.rules.compile import CompiledProgramme
from pointstream.rules.tables import Version

__all__ = ["Heard", "MakeJob", "NotTaken", "replay_until"]

MakeJob = Callable[[Ledger, int], Processor]
"""Makes the production job of a ledger: with how many partitions there are."""

_PIECE: Final = 20_000
"""About so many records are in memory."""
_BATCH: Final = 1_000


class NotTaken(Exception):
    """The record is on its topic, and the journal does not tell that it was taken."""


@dataclass(slots=True)
class Heard:
    """What a ledger decided about one record, and how it came to that."""

    decision: Decision | None = None
    trace: Trace = field(default_factory=list)
    in_force: list[Version] = field(default_factory=list)
    """The rule sets in force at the event's own moment."""
    lost: Counter[str] = field(default_factory=Counter)
    """By topic, records that were taken before and are not kept any more."""
    begins_late: bool = False
    """The journal of the first transactions is not kept any more."""


class _Listening(Ledger):
    """A ledger that tells how it decides about one record."""

    heard: Heard | None = None

    def decide(
        self,
        event: InputEvent | Withdrawn,
        digest: bytes,
        source: Source,
        **options: Any,
    ) -> Decision:
        """See `Ledger`."""
        heard = self.heard
        if heard is None:
            return super().decide(event, digest, source, **options)
        at_ms = getattr(event, "occurred_at_ms", self.now_ms)
        heard.in_force = self.rules_in_force(at_ms)
        heard.decision = super().decide(event, digest, source, **options)
        return heard.decision


async def replay_until(
    reader: CommittedReader,
    prefix: str,
    programme: CompiledProgramme,
    partition: int,
    is_wanted: Callable[[Record], bool],
    make_job: MakeJob,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> Heard:
    """Take a partition's records again, up to and with the first that is wanted.

    Raises `NotTaken`, `NoTopicsError`, and `LedgerError` where what is lost cannot be done without.
    """
    journal = f"{prefix}internal.journal"
    numbers = await reader.existing(journal)
    place = (journal, partition)
    begin, end = (await reader.beginnings([place]))[place], (await reader.ends([place]))[place]
    unread = frozenset({f"{prefix}internal.ticks"})
    lane = Lane(reader, partition, journal, begin, end, _PIECE, unread)
    ledger = _Listening(programme)
    with tempfile.TemporaryDirectory(prefix="pointstream-why-") as directory:
        store = RocksStore(Path(directory) / "state", b"why", RocksMemory())
        try:
            taking = _Taking(store, partition, make_job(ledger, len(numbers)))
            while (taken := await lane.next()) is not None:
                for record in taken.records:
                    if not is_wanted(record):
                        taking.add(record)
                        continue
                    taking.flush()
                    heard = ledger.heard = Heard(lost=lane.lost, begins_late=begin > 0)
                    ledger.tell(heard.trace)
                    taking.add(record)
                    taking.flush()
                    on_step(1.0)
                    return heard
                on_step(lane.share)
                # The clients live in this loop: they must get a turn.
                await asyncio.sleep(0)
        finally:
            store.close()
    raise NotTaken(
        "The record is there, and no worker has taken it yet, or the journal of when it was taken"
        " is not kept any more."
    )


class _Taking:
    """Gives records to a job, batch by batch. Where a batch ends makes no difference."""

    def __init__(self, store: RocksStore, partition: int, job: Processor) -> None:
        self._store = store
        self._partition = partition
        self._job = job
        self._waiting: list[InputRecord] = []
        self._written = 0

    def add(self, record: InputRecord) -> None:
        """Take a record, at once or with those that follow."""
        self._waiting.append(record)
        if len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Take all that waits."""
        records: Sequence[InputRecord] = self._waiting
        while records:
            state = State(self._store)
            self._job.begin(state, Output(self._partition))
            done = self._job.process(records)
            self._job.finish()
            self._written += 1
            self._store.write(state.writes.items(), self._written)
            records = records[done:]
        self._waiting = []
