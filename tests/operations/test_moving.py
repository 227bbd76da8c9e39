"""Backups and restores, as far as they need no broker: silence, files, and whose state is whose."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from aiokafka import TopicPartition

from pointstream.contracts.topics import topic_specs
from pointstream.engine.access import Access
from pointstream.engine.formats import BARRED_KEY, ORIGIN_KEY
from pointstream.engine.kafka import KafkaPartitionLog
from pointstream.engine.log import Change, Transaction
from pointstream.engine.store import MemoryStore
from pointstream.operations.moving import backup, expand, quiet
from pointstream.operations.moving.archive import (
    Archive,
    ArchiveError,
    Content,
    File,
    FileWriter,
    Frame,
    Manifest,
)
from pointstream.operations.moving.quiet import Places, stand_still
from pointstream.operations.moving.repartition import NotDrained, repartition
from pointstream.operations.moving.restore import Inputs, NotEmpty, _Restore
from pointstream.operations.moving.states import POSITIONS_KEY
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings

ORDERS = "points.orders"
CHANGELOG = "points.internal.changelog"


def settings(tmp_path: Path) -> Settings:
    return Settings(topic_prefix="points.", partitions=1, data_dir=tmp_path)


def manifest() -> Manifest:
    return Manifest("2026-07-01T00:00:00+00:00", "1", "c", "club", "points.", 1, 1, "p", {}, {})


# --- silence ------------------------------------------------------------------------------------


@dataclass
class Growing:
    """A cluster on which each look at the ends of a topic finds one record more."""

    open_until: int = 0
    """So many looks at what is committed find a transaction open on the changelog."""
    looks: int = 0
    committed_looks: int = 0
    started: list[str] = field(default_factory=list)

    def consumer(self, **wanted: Any) -> Any:
        async def nothing() -> None:
            pass

        async def end_offsets(places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
            return {place: self._end(place.topic) for place in places}

        return SimpleNamespace(start=nothing, stop=nothing, end_offsets=end_offsets)

    def _end(self, topic: str) -> int:
        self.looks += topic == ORDERS
        return 10 + self.looks if topic == ORDERS else 5

    def reader(self, access: object) -> Any:
        async def ends(places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
            self.committed_looks += 1
            held_back = self.committed_looks <= self.open_until
            return {
                (topic, number): 3 if held_back and topic == CHANGELOG else self._end(topic)
                for topic, number in places
            }

        async def beginnings(places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
            return dict.fromkeys(places, 0)

        return _Opened(SimpleNamespace(ends=ends, beginnings=beginnings))


@dataclass
class _Opened:
    inside: Any

    async def __aenter__(self) -> Any:
        return self.inside

    async def __aexit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize("open_until", [0, 2])
def test_a_backup_waits_for_transactions_and_not_for_publishers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_until: int
) -> None:
    """Orders come in all the time; nobody waits for their topic to stand still, which it never
    does, but a transaction on the changelog is waited for."""
    cluster = Growing(open_until)

    async def no_offsets() -> Mapping[tuple[str, int], int]:
        return {}

    async def quiet_group(*given: object, **named: object) -> None:
        pass

    monkeypatch.setattr(quiet, "require_no_workers", quiet_group)
    monkeypatch.setattr(quiet, "CommittedReader", cluster.reader)
    monkeypatch.setattr(
        quiet, "GroupProgress", lambda *given: _Opened(SimpleNamespace(positions=no_offsets))
    )
    monkeypatch.setattr(quiet, "_LOOK_SECONDS", 0.001)

    async def scenario() -> Places:
        async with asyncio.timeout(5):
            return await stand_still(cast(Access, cluster), settings(tmp_path), [0])

    places = asyncio.run(scenario())

    assert cluster.committed_looks == open_until + 1
    assert places.ends[CHANGELOG, 0] == 5


# --- what is copied -----------------------------------------------------------------------------


def copying(tmp_path: Path, *, ends: int, begins: int, committed: int | None) -> backup._Copy:
    names = [spec.name for spec in topic_specs("points.")]
    places = Places(
        {(name, 0): begins if name == ORDERS else 0 for name in names},
        {(name, 0): ends if name == ORDERS else 0 for name in names},
        {} if committed is None else {(ORDERS, 0): committed},
    )
    reader = cast(CommittedReader, None)
    return backup._Copy(settings(tmp_path), tmp_path, tmp_path, reader, places, lambda *_: None)


@pytest.mark.parametrize(
    ("state", "committed", "begins", "ends", "words"),
    [
        ({}, 7, 0, 9, "is not in the changelog"),
        ({ORDERS: 7}, 7, 8, 9, "deleted by retention before they were processed"),
        ({ORDERS: 7}, None, 0, 3, "made anew"),
        ({ORDERS: 7}, 6, 0, 9, "Were the group's offsets reset"),
    ],
)
def test_what_no_worker_would_go_on_with_is_no_backup(
    tmp_path: Path,
    state: dict[str, int],
    committed: int | None,
    begins: int,
    ends: int,
    words: str,
) -> None:
    """A state that is lost, and inputs that are gone: who restored it would never learn of it."""
    copy = copying(tmp_path, ends=ends, begins=begins, committed=committed)
    store = MemoryStore()
    store.write([(POSITIONS_KEY, orjson.dumps(state))] if state else [], 1)

    with pytest.raises(ArchiveError, match=words):
        copy._checked(0, cast(Any, store))


def test_a_backup_goes_on_where_a_worker_would(tmp_path: Path) -> None:
    """A topic that was made anew and that the group was set to: from there on nothing is taken."""
    copy = copying(tmp_path, ends=3, begins=0, committed=0)
    store = MemoryStore()
    store.write([(POSITIONS_KEY, orjson.dumps({ORDERS: 7}))], 1)

    assert copy._checked(0, cast(Any, store)) == {ORDERS: 0}


def test_nobody_else_reads_a_backup(tmp_path: Path) -> None:
    """Directory and files are their owner's alone, whatever the process would give others."""
    directory = tmp_path / "backup"
    backup._make_room(directory)
    writer = FileWriter(directory, Content.STATE, "internal.changelog", 0)
    writer.add([Frame(b"am1", b"value")])
    writer.close()
    archive = Archive(directory, manifest())

    archive.seal()

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes.pop(".work") == 0o700
    assert set(modes.values()) == {0o600}
    assert len(modes) == 2


def test_nobody_else_reads_what_is_shared_out_to_more_partitions(tmp_path: Path) -> None:
    """It is a copy of everything, too, and it is kept."""
    out = tmp_path / "after"

    repartition(Archive(tmp_path, manifest()), out, 2, "more.")

    assert stat.S_IMODE(out.stat().st_mode) == 0o700


@pytest.mark.parametrize("late", [False, True])
def test_nothing_is_moved_past_what_was_published_meanwhile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, late: bool
) -> None:
    """Workers of the new place would never see it. The old place stays barred: they may run by now,
    and only the way back looks whether they do."""
    bars: list[bool] = []

    async def unchanged(*given: object) -> bool:
        return True

    async def write(settings: Settings, partitions: int, change: Change) -> None:
        bars.append(change[1] is not None)

    async def ends(places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {place: 8 if place[0] == ORDERS else 3 for place in places}

    async def read(topic: str, number: int, *, start: int, end: int) -> AsyncIterator[list[int]]:
        assert (topic, number, start, end) == (ORDERS, 0, 7, 8)
        # Else it is a marker.
        if late:
            yield [7]

    monkeypatch.setattr(expand, "_unchanged", unchanged)
    monkeypatch.setattr(expand, "_write", write)
    reader = _Opened(SimpleNamespace(read=read, ends=ends))
    monkeypatch.setattr(expand, "CommittedReader", lambda access: reader)
    archive = Archive(tmp_path, replace(manifest(), positions={"0": {"rules": 3, "orders": 7}}))

    def bar() -> None:
        asyncio.run(expand._bar(settings(tmp_path), archive, "moved"))

    if late:
        with pytest.raises(NotDrained, match=r"published on points\.orders meanwhile"):
            bar()
    else:
        bar()
    assert bars == [True]


# --- what is put back ---------------------------------------------------------------------------


class Written:
    """The log of a partition: keeps what is committed."""

    def __init__(self) -> None:
        self.changes: list[tuple[bytes, bytes | None]] = []

    async def commit(self, transaction: Transaction) -> int:
        self.changes += transaction.changes
        return len(self.changes)


def restoring(tmp_path: Path, written: Written, *, ticks: int = 0) -> _Restore:
    names = [spec.name for spec in topic_specs("points.")]
    ends = dict.fromkeys([(name, 0) for name in names], 0)
    ends[CHANGELOG, 0] = len(written.changes)
    ends["points.internal.ticks", 0] = ticks
    places = Places(dict.fromkeys(ends, 0), ends, {})

    async def read(topic: str, number: int) -> Any:
        yield [SimpleNamespace(key=key, value=value) for key, value in written.changes]

    return _Restore(
        settings(tmp_path),
        Archive(tmp_path, manifest()),
        Inputs.NEW,
        cast(CommittedReader, SimpleNamespace(read=read)),
        cast(Any, None),
        places,
        tmp_path,
        lambda *_: None,
    )


def begin(tmp_path: Path) -> Written:
    """Bar a partition, as a restore does first."""
    written = Written()

    async def scenario() -> None:
        task = restoring(tmp_path, written)
        await task.find(0)
        await task.bar(0, cast(KafkaPartitionLog, written))

    asyncio.run(scenario())
    return written


def test_what_was_published_before_a_restore_had_ended_is_taken(tmp_path: Path) -> None:
    """Of an input to which the restore wrote nothing, nothing is passed over."""
    written = Written()
    task = restoring(tmp_path, written)
    rules = File("rules.gz", Content.TAKEN, "rules", 0, 2, "")
    task._archive.manifest.files.append(rules)

    async def end_offsets(places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 3)

    task._raw = cast(Any, SimpleNamespace(end_offsets=end_offsets))

    positions = asyncio.run(task._positions(0))

    assert (positions[ORDERS], positions["points.internal.messages"]) == (0, 0)
    assert positions["points.rules"] == 3


def test_the_same_backup_put_back_twice_has_two_origins(tmp_path: Path) -> None:
    """A local state that went on after the first time must not pass for one of the second."""
    first, second = begin(tmp_path), begin(tmp_path)

    assert first.changes[0][0] == second.changes[0][0] == ORIGIN_KEY
    assert first.changes[0] != second.changes[0]


def test_an_interrupted_restore_finds_its_own_origin_again(tmp_path: Path) -> None:
    """It goes on, and writes no second origin behind the first."""
    written = begin(tmp_path)

    async def scenario() -> None:
        task = restoring(tmp_path, written)
        await task.find(0)
        task.require_work()
        await task.bar(0, cast(KafkaPartitionLog, written))

    asyncio.run(scenario())

    assert [key for key, _ in written.changes].count(ORIGIN_KEY) == 1


@pytest.mark.parametrize("ticks", [0, 4])
def test_a_restore_does_not_pretend_to_have_gone_back(tmp_path: Path, ticks: int) -> None:
    """Where workers went on since, nothing is as it was in the backup, and it says so."""
    written = begin(tmp_path)
    written.changes.append((BARRED_KEY, None))

    async def scenario() -> None:
        task = restoring(tmp_path, written, ticks=ticks)
        await task.find(0)
        task.require_work()

    if ticks:
        with pytest.raises(NotEmpty, match="workers have gone on since"):
            asyncio.run(scenario())
    else:
        asyncio.run(scenario())
