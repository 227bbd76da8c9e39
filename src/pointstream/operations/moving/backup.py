"""Copies the state, and what belongs to it, from a cluster into files.

What a new place needs, by partition: the state; the ledger and the latest standings, which are kept
for ever; open flags; rules, detectors and the catalogue as they were published; and of the inputs
what no worker has taken yet, the messages between partitions first of all: points that are on their
way are nowhere else. Ticks, the journal, answers, reminders and dead letters are not copied.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from pointstream.contracts.topics import topic_specs
from pointstream.engine.access import Access
from pointstream.engine.errors import EngineError
from pointstream.engine.formats import BARRED_KEY, FORMAT_KEY, bar_of, marked_format
from pointstream.engine.positions import agree
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.operations.access import access_of
from pointstream.operations.build import program_version
from pointstream.operations.moving.archive import (
    MANIFEST,
    PRIVATE,
    Archive,
    ArchiveError,
    Content,
    File,
    FileWriter,
    Frame,
    Manifest,
)
from pointstream.operations.moving.quiet import NotQuiet, Places, require_no_workers, stand_still
from pointstream.operations.moving.states import POSITIONS_KEY, read_state, state_frames
from pointstream.operations.programme import load_programme
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings

__all__ = ["CHANGELOG", "KEPT_OUTPUTS", "MESSAGES", "TICKS", "back_up", "cluster_id_of"]

CHANGELOG: Final = "internal.changelog"
MESSAGES: Final = "internal.messages"
TICKS: Final = "internal.ticks"
KEPT_OUTPUTS: Final = ("balance-changes", "crm-sync", "mall-sync", "fraud-flags")
"""What a state cannot be checked, reviewed or carried on without."""

_WORK: Final = ".work"


async def back_up(
    settings: Settings,
    directory: Path,
    *,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
    on_waiting: Callable[[str], None] = lambda words: None,
) -> Archive:
    """Copy everything into a directory, which is made; no worker may run meanwhile.

    `on_progress` is told how many of how many records are copied.

    Raises:
        NotQuiet: workers run, or have run meanwhile.
        ArchiveError: the directory cannot take a backup, or the state is not whole.
        NoTopicsError: there is nothing with this prefix.
    """
    _make_room(directory)
    access, prefix = access_of(settings), settings.topic_prefix
    work = directory / _WORK
    try:
        async with CommittedReader(access, fetch_bytes=4 << 20) as reader:
            partitions = await reader.existing(prefix + CHANGELOG)
            places = await stand_still(access, settings, partitions, on_waiting=on_waiting)
            copy = _Copy(settings, directory, work, reader, places, on_progress)
            for partition in partitions:
                await copy.partition(partition)
            archive = Archive(
                directory,
                Manifest(
                    created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                    release=program_version(),
                    cluster_id=await cluster_id_of(access),
                    app_id=settings.app_id,
                    topic_prefix=prefix,
                    partitions=len(partitions),
                    state_format=copy.state_format,
                    programme=_programme_of(settings),
                    positions=copy.positions,
                    ends={
                        str(number): places.ends[prefix + CHANGELOG, number]
                        for number in partitions
                    },
                    files=copy.files,
                ),
            )
            await _still_quiet(access, settings, partitions, places)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    archive.seal()
    return archive


def _make_room(directory: Path) -> None:
    if (directory / MANIFEST).exists():
        raise ArchiveError(f"{directory} holds a backup already; name another directory")
    try:
        directory.mkdir(PRIVATE, parents=True, exist_ok=True)
        (directory / _WORK).mkdir(PRIVATE, exist_ok=True)
    except OSError as error:
        raise ArchiveError(f"{directory} cannot be written to: {error.strerror}") from error
    if strange := [f.name for f in directory.iterdir() if f.name != _WORK and f.suffix != ".gz"]:
        raise ArchiveError(f"{directory} holds other things, {strange[0]} for one; name another")


async def cluster_id_of(access: Access) -> str:
    """Return the id of a cluster."""
    admin = access.admin()
    await admin.start()
    try:
        described = await admin.describe_cluster()
    finally:
        await admin.close()
    return str(described.get("cluster_id"))


def _programme_of(settings: Settings) -> str:
    programme = load_programme(settings.programme_file)
    return hashlib.sha256(programme.model_dump_json().encode()).hexdigest()[:32]


async def _still_quiet(
    access: Access, settings: Settings, partitions: Sequence[int], before: Places
) -> None:
    """Look again: a worker that ran meanwhile has made the copies of different moments."""
    await require_no_workers(access, settings)
    after = await stand_still(access, settings, partitions)
    topic = settings.topic_prefix + CHANGELOG
    if any(after.ends[topic, number] != before.ends[topic, number] for number in partitions):
        raise NotQuiet("a worker has run meanwhile: stop all of them, and begin anew")


class _Copy:
    """Copies partition by partition."""

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        work: Path,
        reader: CommittedReader,
        places: Places,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.files: list[File] = []
        self.positions: dict[str, dict[str, int]] = {}
        self.state_format = 1
        self._prefix = settings.topic_prefix
        self._specs = topic_specs(self._prefix)
        self._directory, self._work = directory, work
        self._reader, self._places = reader, places
        self._memory = RocksMemory(cache_bytes=16 << 20)
        self._done, self._on_progress = 0, on_progress
        wanted = {self._prefix + CHANGELOG, *(self._prefix + name for name in KEPT_OUTPUTS)}
        self._of = sum(
            end - places.begins[place] for place, end in places.ends.items() if place[0] in wanted
        )

    async def partition(self, number: int) -> None:
        """Copy all of one partition."""
        store = await read_state(
            self._reader,
            self._prefix + CHANGELOG,
            number,
            self._work / str(number),
            self._memory,
            on_records=self._count,
        )
        try:
            positions = self._checked(number, store)
            writer = FileWriter(self._directory, Content.STATE, CHANGELOG, number)
            writer.add(state_frames(store))
            self.files.append(writer.close())
        finally:
            store.close()
            RocksStore.discard(self._work / str(number))
        self.positions[str(number)] = {
            topic.removeprefix(self._prefix): position for topic, position in positions.items()
        }
        for spec in self._specs:
            begin, end = self._bounds(spec.name, number)
            if spec.suffix in KEPT_OUTPUTS:
                await self._copy(Content.TAKEN, spec.suffix, number, begin, end)
            elif spec.direction == "in" or spec.suffix == MESSAGES:
                position = positions.get(spec.name, begin)
                if spec.cleanup == "compact":
                    await self._copy(Content.TAKEN, spec.suffix, number, begin, position)
                await self._copy(Content.WAITING, spec.suffix, number, position, end)

    def _checked(self, number: int, store: RocksStore) -> Mapping[str, int]:
        """Return the positions of a state that a worker would go on with."""
        bar = store.get(BARRED_KEY)
        if bar is not None:
            raise ArchiveError(f"partition {number} is no whole state: {bar_of(bar)}")
        self.state_format = max(self.state_format, marked_format(store.get(FORMAT_KEY)))
        raw = store.get(POSITIONS_KEY)
        positions: dict[str, int] = {} if raw is None else orjson.loads(raw)
        wrong = f"no worker would go on with partition {number}; put that right first: "
        agreed: dict[str, int] = {}
        for spec in self._specs:
            topic, bounds = spec.name, self._bounds(spec.name, number)
            committed = self._places.committed.get((topic, number))
            if committed is not None and not positions:
                raise ArchiveError(
                    f"{wrong}{topic} was processed up to {committed}, and the state that belongs to"
                    " it is not in the changelog"
                )
            if topic in positions and (spec.direction == "in" or spec.suffix == MESSAGES):
                try:
                    agreed[topic] = agree(f"{topic}[{number}]", committed, positions[topic], bounds)
                except EngineError as error:
                    raise ArchiveError(f"{wrong}{error}") from error
        return agreed

    def _bounds(self, topic: str, number: int) -> tuple[int, int]:
        return self._places.begins[topic, number], self._places.ends[topic, number]

    async def _copy(self, content: str, suffix: str, number: int, begin: int, end: int) -> None:
        if end <= begin:
            return
        writer = FileWriter(self._directory, content, suffix, number)
        topic = self._prefix + suffix
        async for records in self._reader.read(topic, number, start=begin, end=end):
            writer.add(
                Frame(r.key, r.value, r.timestamp, tuple((name, v) for name, v in r.headers))
                for r in records
            )
            self._count(len(records))
        self.files.append(writer.close())

    def _count(self, records: int) -> None:
        self._done = min(self._of, self._done + records)
        self._on_progress(self._done, self._of)
