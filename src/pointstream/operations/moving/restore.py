"""Writes a backup into empty topics, and makes them a place where workers go on.

Crash-safe: the state of each partition is barred by its first record, every chunk is a transaction
that also says how far the restore has come, and a second run goes on from there. When all
partitions are written and read back equal, the bars come off, each in the transaction that sets the
positions in state and group alike.

Where inputs begin anew (`Inputs.NEW`), what no worker had taken is written to them, and positions
stand before it; rules, detectors and the catalogue come along as published, and positions stand
behind them. Where inputs were mirrored with their offsets (`Inputs.MIRRORED`), positions are those
of the backup. Either way, what was published again is known by its ids.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from pointstream.contracts.topics import TopicSpec, topic_specs
from pointstream.engine.formats import BARRED_KEY, FORMAT_KEY, ORIGIN_KEY, Formats
from pointstream.engine.kafka import Cluster, KafkaPartitionLog
from pointstream.engine.log import Change, Transaction
from pointstream.engine.records import Outgoing, Target
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.engine.topics import ensure_topics
from pointstream.ledger.codec import READS
from pointstream.operations.access import access_of
from pointstream.operations.moving.archive import Archive, ArchiveError, Content, Frame
from pointstream.operations.moving.backup import CHANGELOG, KEPT_OUTPUTS, MESSAGES, TICKS
from pointstream.operations.moving.quiet import Places, require_no_workers, stand_still
from pointstream.operations.moving.states import POSITIONS_KEY, read_state, state_frames
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics

__all__ = ["Inputs", "NotEmpty", "restore"]

_CHUNK_RECORDS: Final = 2_000
_CHUNK_BYTES: Final = 4 << 20


class Inputs(StrEnum):
    """What the input topics of the new place are."""

    NEW = "new"
    MIRRORED = "mirrored"


class NotEmpty(Exception):
    """The place of a restore is taken; the message says by what."""


async def restore(
    settings: Settings,
    archive: Archive,
    *,
    inputs: Inputs = Inputs.NEW,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
    on_waiting: Callable[[str], None] = lambda words: None,
) -> None:
    """Write a backup into the topics of `settings`, which are made where they are missing.

    May be run again after it was interrupted, with the same backup. `on_progress` is told how many
    of how many records are written.

    Raises:
        ArchiveError: the backup is damaged, or does not fit these settings.
        NotEmpty: something else is in the topics.
        NotQuiet: workers run, or a transaction is open.
        TopicsError: topics cannot be made, or are not as they must be.
    """
    manifest = archive.manifest
    _fits(settings, archive, inputs)
    access = access_of(settings)
    await ensure_topics(
        access, wanted_topics(settings), replication_factor=settings.replication_factor
    )
    numbers = range(manifest.partitions)
    cluster = Cluster(
        access.bootstrap_servers,
        settings.app_id,
        tuple(_inputs(settings)),
        settings.topic_prefix + CHANGELOG,
        access.security,
    )
    # Not beside the backup, which may lie where nothing can be written.
    work = settings.data_dir / ".restore"
    raw: AIOKafkaConsumer = access.consumer(
        isolation_level="read_uncommitted",
        # For each of the topics it waits so long once, until it knows who leads it.
        retry_backoff_ms=20,
    )
    try:
        async with CommittedReader(access, fetch_bytes=4 << 20) as reader:
            await raw.start()
            logs = [KafkaPartitionLog(cluster, number, raw) for number in numbers]
            try:
                await require_no_workers(access, settings, on_waiting=on_waiting)
                # Whoever had the partitions before, here, is shut out; what was open is decided.
                for log in logs:
                    await log.fence()
                places = await stand_still(access, settings, numbers, on_waiting=on_waiting)
                task = _Restore(settings, archive, inputs, reader, raw, places, work, on_progress)
                for number in numbers:
                    await task.find(number)
                task.require_work()
                for number, log in enumerate(logs):
                    await task.bar(number, log)
                for number, log in enumerate(logs):
                    await task.write(number, log)
                # A commit returns before its markers are written.
                await stand_still(access, settings, numbers, on_waiting=on_waiting)
                for number in numbers:
                    await task.compare(number)
                for number, log in enumerate(logs):
                    await task.open(number, log)
            finally:
                for log in logs:
                    await log.close()
    finally:
        await raw.stop()
        shutil.rmtree(work, ignore_errors=True)


def _inputs(settings: Settings) -> Iterator[str]:
    for spec in topic_specs(settings.topic_prefix):
        if _is_input(spec):
            yield spec.name


def _is_input(spec: TopicSpec) -> bool:
    return spec.direction == "in" or spec.suffix in (MESSAGES, TICKS)


def _fits(settings: Settings, archive: Archive, inputs: Inputs) -> None:
    manifest = archive.manifest
    if manifest.partitions != settings.partitions:
        raise ArchiveError(
            f"the backup has {manifest.partitions} partitions, POINTSTREAM_PARTITIONS says"
            f" {settings.partitions}; set it to {manifest.partitions}"
        )
    if manifest.state_format not in READS:
        raise ArchiveError(
            f"the backup is in format {manifest.state_format}, written by {manifest.release}; this"
            f" release reads up to {max(READS)}: use that one"
        )
    if manifest.topic_prefix != settings.topic_prefix:
        waiting = [f for f in manifest.files if (f.content, f.topic) == (Content.WAITING, MESSAGES)]
        if any(file.records for file in waiting) or inputs is Inputs.MIRRORED:
            raise ArchiveError(
                f"the backup is of topics that begin with {manifest.topic_prefix!r}, and messages"
                f" under way in it name them; POINTSTREAM_TOPIC_PREFIX says"
                f" {settings.topic_prefix!r}: set it to {manifest.topic_prefix!r}"
            )


class _Restore:
    """Writes partition by partition."""

    def __init__(
        self,
        settings: Settings,
        archive: Archive,
        inputs: Inputs,
        reader: CommittedReader,
        raw: AIOKafkaConsumer,
        places: Places,
        work: Path,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._settings, self._archive, self._inputs = settings, archive, inputs
        self._prefix = settings.topic_prefix
        self._specs = topic_specs(self._prefix)
        self._reader, self._raw, self._places = reader, raw, places
        self._work, self._memory = work, RocksMemory(cache_bytes=16 << 20)
        self._done, self._on_progress = 0, on_progress
        self._of = sum(file.records for file in archive.manifest.files)
        self._bars: dict[int, dict[str, Any]] = {}
        self._lived_in = False

    # -- writing ---------------------------------------------------------------------------

    async def find(self, number: int) -> None:
        """See how far an earlier run has come. Raises `NotEmpty`."""
        found = await self._found(number)
        if found is not None:
            self._bars[number] = found

    def require_work(self) -> None:
        """Raise `NotEmpty` if the backup was put back for long, and workers have gone on."""
        if not self._bars and self._lived_in:
            raise NotEmpty(
                "this backup was restored here before, and workers have gone on since: nothing was"
                " changed. To go back to the backup, delete the topics first"
            )

    async def bar(self, number: int, log: KafkaPartitionLog) -> None:
        """Keep workers off, before anything else is written anywhere."""
        bar = self._bars.get(number)
        if bar is not None:
            await self._commit(number, log, {}, [], bar)

    async def write(self, number: int, log: KafkaPartitionLog) -> None:
        """Write all of a partition, from where an interrupted run has come to; it stays barred."""
        bar = self._bars.get(number)
        if bar is None:
            return
        taken = list(self._taken(number))
        count = sum(records for _, _, records in taken)
        frames = islice(chain.from_iterable(map(self._sent, taken)), bar["done"], None)
        await self._send(number, log, frames, bar)
        if bar["positions"] is None:
            bar["positions"] = await self._positions(number)
            await self._commit(number, log, {}, [], bar)
        later = islice(
            chain.from_iterable(map(self._sent, self._waiting(number))), bar["done"] - count, None
        )
        await self._send(number, log, later, bar)

    async def _found(self, number: int) -> dict[str, Any] | None:
        """Return how far this partition has come; None when it is whole and open already."""
        topic = self._prefix + CHANGELOG
        identity = self._archive.manifest.identity
        if self._places.ends[topic, number] > self._places.begins[topic, number]:
            origin = bar = None
            async for records in self._reader.read(topic, number):
                for record in records:
                    if record.key == ORIGIN_KEY:
                        origin = record.value
                    elif record.key == BARRED_KEY:
                        bar = record.value
            if (origin or b"").partition(b"/")[0] != identity.encode():
                raise NotEmpty(
                    f"{topic}[{number}] has a state already, and not one of this backup that was"
                    " begun before: restore into topics that are new (POINTSTREAM_TOPIC_PREFIX),"
                    " or delete these"
                )
            if bar is None:
                self._lived_in |= self._places.ends[self._prefix + TICKS, number] > 0
                return None
            begun = cast("dict[str, Any]", orjson.loads(bar))
            if "inputs" not in begun:
                raise NotEmpty(f"{topic}[{number}]: {begun['why']}")
            if begun["inputs"] != self._inputs:
                raise NotEmpty(
                    f"{topic}[{number}]: this restore was begun with --inputs {begun['inputs']};"
                    " go on with that, or delete the topics and begin anew"
                )
            return begun
        for spec in self._specs:
            place = (spec.name, number)
            if self._mirrored(spec):
                self._mirrored_position(spec, number)
            elif self._places.ends[place] > self._places.begins[place]:
                raise NotEmpty(
                    f"{spec.name}[{number}] has records already; a restore needs empty topics,"
                    " and publishers that wait until it has ended"
                )
        return {"done": 0, "positions": None, "inputs": self._inputs}

    def _mirrored(self, spec: TopicSpec) -> bool:
        return self._inputs is Inputs.MIRRORED and spec.direction == "in"

    def _mirrored_position(self, spec: TopicSpec, number: int) -> int:
        before: Mapping[str, int] = self._archive.manifest.positions.get(str(number), {})
        begin, end = self._places.begins[spec.name, number], self._places.ends[spec.name, number]
        position = before.get(spec.suffix, begin)
        if not begin <= position <= end:
            raise ArchiveError(
                f"{spec.name}[{number}]: processed up to {position}, but the topic has {begin} to"
                f" {end}: it was not mirrored with its offsets; restore with --inputs new into"
                " empty topics"
            )
        return position

    def _taken(self, number: int) -> Iterator[tuple[str, str, int]]:
        """Yield what comes before the positions: content, topic and how many records."""
        for spec in self._specs:
            if spec.suffix in KEPT_OUTPUTS or (spec.direction == "in" and not self._mirrored(spec)):
                yield from self._file(Content.TAKEN, spec.suffix, number)

    def _waiting(self, number: int) -> Iterator[tuple[str, str, int]]:
        """Yield what comes behind the positions, and the state."""
        for spec in self._specs:
            if _is_input(spec) and not self._mirrored(spec):
                yield from self._file(Content.WAITING, spec.suffix, number)
        yield from self._file(Content.STATE, CHANGELOG, number)

    def _file(self, content: str, topic: str, number: int) -> Iterator[tuple[str, str, int]]:
        file = self._archive.manifest.file(content, topic, number)
        if file is not None:
            self._archive.check(file)
            yield content, f"{topic}\0{number}", file.records

    def _sent(self, what: tuple[str, str, int]) -> Iterator[tuple[str, Frame]]:
        content, about, _ = what
        topic, number = about.split("\0")
        for frame in self._archive.read(content, topic, int(number)):
            yield topic, frame

    async def _send(
        self,
        number: int,
        log: KafkaPartitionLog,
        frames: Iterator[tuple[str, Frame]],
        bar: dict[str, Any],
    ) -> None:
        records: dict[Target, list[Outgoing]] = {}
        changes: list[Change] = []
        count = size = 0
        for topic, frame in frames:
            if topic == CHANGELOG:
                changes.append((frame.key or b"", frame.value))
            else:
                target = Target(self._prefix + topic, number)
                records.setdefault(target, []).append(
                    Outgoing(frame.key, frame.value, frame.headers, frame.timestamp_ms)
                )
            count += 1
            size += len(frame.key or b"") + len(frame.value or b"")
            if count == _CHUNK_RECORDS or size >= _CHUNK_BYTES:
                bar["done"] += count
                await self._commit(number, log, records, changes, bar)
                records, changes, count, size = {}, [], 0, 0
        if count:
            bar["done"] += count
            await self._commit(number, log, records, changes, bar)

    async def _commit(
        self,
        number: int,
        log: KafkaPartitionLog,
        records: dict[Target, list[Outgoing]],
        changes: list[Change],
        bar: dict[str, Any],
    ) -> None:
        identity = self._archive.manifest.identity
        bar["why"] = (
            "its state is being restored from a backup, and that has not ended. Run `pointstream"
            " state restore` again with the same backup: it goes on where it was."
        )
        # The first record of all: so a local state of another origin is told apart.
        # And one of this very restore: the same backup may be put back twice, and what workers did
        # after the first time is none of the second.
        origin = f"{identity}/{uuid4().hex}".encode()
        first: list[Change] = [] if bar.get("begun") else [(ORIGIN_KEY, origin)]
        bar["begun"] = True
        own = [*first, (BARRED_KEY, orjson.dumps(bar)), *changes]
        await log.commit(Transaction(records, own, {}))
        self._done = min(self._of, self._done + len(changes) + sum(map(len, records.values())))
        self._on_progress(self._done, self._of)

    async def _positions(self, number: int) -> dict[str, int]:
        """Return, by topic, from where on a worker goes on in the new place."""
        positions: dict[str, int] = {}
        for spec in self._specs:
            if self._mirrored(spec):
                positions[spec.name] = self._mirrored_position(spec, number)
            elif not _is_input(spec):
                continue
            elif self._archive.manifest.file(Content.TAKEN, spec.suffix, number) is None:
                # Nothing was written: what is there was published too early, and is to be taken.
                positions[spec.name] = self._places.begins[spec.name, number]
            else:
                # Its true end: the marker of the last transaction may not be written yet, and a
                # position before a marker is as good as one behind it.
                place = TopicPartition(spec.name, number)
                positions[spec.name] = (await self._raw.end_offsets([place]))[place]
        return positions

    # -- the end ---------------------------------------------------------------------------

    async def compare(self, number: int) -> None:
        """Read a partition's state back and hold it against the backup, pair by pair."""
        if number not in self._bars:
            return
        topic = self._prefix + CHANGELOG
        directory = self._work / str(number)
        store = await read_state(self._reader, topic, number, directory, self._memory)
        try:
            wanted = (
                (frame.key, frame.value)
                for frame in self._archive.read(Content.STATE, CHANGELOG, number)
                if frame.key != FORMAT_KEY
            )
            found = ((frame.key, frame.value) for frame in state_frames(store))
            if any(one != other for one, other in zip_longest(wanted, found)):
                raise ArchiveError(
                    f"{topic}[{number}]: what was written is not what is in the backup. Delete the"
                    " topics and restore again; no worker takes them as they are."
                )
        finally:
            store.close()
            RocksStore.discard(directory)

    async def open(self, number: int, log: KafkaPartitionLog) -> None:
        """Take the bar off, and set the positions in state and group, in one transaction."""
        bar = self._bars.get(number)
        if bar is None:
            return
        positions: dict[str, int] = bar["positions"]
        manifest = self._archive.manifest
        mark = Formats(frozenset({manifest.state_format}), manifest.state_format, manifest.release)
        changes: Sequence[Change] = [
            (POSITIONS_KEY, orjson.dumps(positions)),
            (FORMAT_KEY, mark.mark()),
            (BARRED_KEY, None),
        ]
        await log.commit(Transaction({}, list(changes), positions))
