"""Moves a programme to topics with another number of partitions.

The old topics stay as they are, but for a bar in each partition of the state: the way back. The new
ones have another prefix. Adding partitions to the topics that are there would leave a member's
standing in a partition where nobody writes it any more, on a compacted topic for ever: who reads
that topic from its beginning would find the old one after the new one, or not, as it happens.

    copy to files -> share out in files -> bar the old place -> write the new one, compare, open it

Each step can be repeated: the files of a step count when their manifest is there, the bar is one
transaction for each partition, and writing goes on where it was (`restore`). Until the end no
worker can take a partition of the new place, from the bar on none of the old one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer

from pointstream.contracts.topics import topic_specs
from pointstream.engine.formats import BARRED_KEY
from pointstream.engine.kafka import Cluster, KafkaPartitionLog
from pointstream.engine.log import Change, Transaction
from pointstream.operations.access import access_of
from pointstream.operations.moving.archive import MANIFEST, Archive, ArchiveError
from pointstream.operations.moving.backup import CHANGELOG, back_up, cluster_id_of
from pointstream.operations.moving.quiet import NotQuiet, require_no_workers, stand_still
from pointstream.operations.moving.repartition import Moved, NotDrained, repartition
from pointstream.operations.moving.restore import restore
from pointstream.operations.moving.verify import Findings, verify
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings

__all__ = ["Expansion", "expand", "take_back"]

_BEFORE: Final = "before"
_AFTER: Final = "after"
_JOURNAL: Final = "internal.journal"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Expansion:
    """What was moved, or would be."""

    moved: Moved
    books: Findings
    """Of the new place."""
    done: bool
    """False for a dry run."""


async def expand(
    settings: Settings,
    partitions: int,
    to_prefix: str,
    work: Path,
    *,
    dry_run: bool = False,
    on_progress: Progress = lambda what, done, of: None,
    on_waiting: Callable[[str], None] = lambda words: None,
) -> Expansion:
    """Move everything to topics with `to_prefix` and so many partitions; no worker may run.

    `work` is a directory for the files, about as large as a backup and a half; it is kept. May be
    run again after it was interrupted, with the same directory. `on_progress` is told which step
    has done how many of how many records.

    Raises:
        NotQuiet: workers run, or have run since an interrupted run.
        NotDrained: something is under way.
        NotEmpty: something else is in the new topics.
        ArchiveError: the books do not balance, or something is damaged.
    """
    new = settings.model_copy(update={"topic_prefix": to_prefix, "partitions": partitions})
    archive = await _copied(settings, work / _BEFORE, on_progress, on_waiting)
    before = verify(archive)
    if not before.holds:
        breach = before.breaches[0]
        raise ArchiveError(
            f"the books do not balance before anything is moved ({breach.check}: {breach.words});"
            " nothing was changed"
        )
    made, moved = repartition(
        archive,
        work / _AFTER,
        partitions,
        to_prefix,
        on_progress=lambda done, of: on_progress("sharing out", done, of),
    )
    after = verify(made)
    if not after.holds or _sums(after) != _sums(before):
        raise ArchiveError(
            "what was made is not what was there, by its books; nothing was changed. Keep"
            f" {work} and report it."
        )
    if not dry_run:
        await _bar(settings, archive, _moved_to(new))
        await restore(
            new,
            made,
            on_progress=lambda done, of: on_progress("writing", done, of),
            on_waiting=on_waiting,
        )
    return Expansion(moved, after, not dry_run)


def _sums(found: Findings) -> tuple[int, ...]:
    return (
        found.members,
        found.entries,
        found.available,
        found.pending,
        found.held,
        found.debt,
    )


def _moved_to(new: Settings) -> str:
    return (
        f"the programme moved to topics that begin with {new.topic_prefix!r}, with"
        f" {new.partitions} partitions: set POINTSTREAM_TOPIC_PREFIX and POINTSTREAM_PARTITIONS."
        " `pointstream state expand --take-back` is the way back, as long as no worker ran there."
    )


async def _copied(
    settings: Settings,
    directory: Path,
    on_progress: Progress,
    on_waiting: Callable[[str], None],
) -> Archive:
    """Return a copy of how things stand: an earlier run's, if nothing has happened since."""
    if (directory / MANIFEST).exists():
        archive = Archive.open(directory)
        if await _unchanged(settings, archive, on_waiting):
            return archive
        raise NotQuiet(
            f"{directory} is a copy of another state than that of now: workers have run since, or"
            " it is of another place. Name another directory with --work."
        )
    shutil.rmtree(directory, ignore_errors=True)
    return await back_up(
        settings,
        directory,
        on_progress=lambda done, of: on_progress("copying", done, of),
        on_waiting=on_waiting,
    )


async def _unchanged(
    settings: Settings, archive: Archive, on_waiting: Callable[[str], None]
) -> bool:
    access, manifest = access_of(settings), archive.manifest
    where = (await cluster_id_of(access), settings.topic_prefix)
    if where != (manifest.cluster_id, manifest.topic_prefix):
        return False
    await stand_still(access, settings, range(manifest.partitions), on_waiting=on_waiting)
    topic = settings.topic_prefix + CHANGELOG
    async with CommittedReader(access) as reader:
        for number, end in manifest.ends.items():
            async for records in reader.read(topic, int(number), start=end):
                if any(record.key != BARRED_KEY for record in records):
                    return False
    return True


def _cluster(settings: Settings) -> Cluster:
    access = access_of(settings)
    return Cluster(
        access.bootstrap_servers,
        settings.app_id,
        tuple(spec.name for spec in topic_specs(settings.topic_prefix) if spec.direction == "in"),
        settings.topic_prefix + CHANGELOG,
        access.security,
    )


async def _bar(settings: Settings, archive: Archive, why: str) -> None:
    """Keep workers off the old place, whose state is that of the copy and stays so."""
    partitions = archive.manifest.partitions
    bar: Change = (BARRED_KEY, orjson.dumps({"why": why}))
    await _write(settings, partitions, bar)
    if not await _unchanged(settings, archive, lambda words: None):
        await _write(settings, partitions, (BARRED_KEY, None))
        raise NotQuiet("a worker has run meanwhile: stop all of them, and begin anew")
    if late := await _published_since(settings, archive):
        # Nobody would ever take it: the workers of the new place know only the new topics. The bar
        # stays, for they may run there by now: `take_back` knows.
        raise NotDrained(
            f"something was published on {late} meanwhile: keep the publishers away, open the old"
            " topics with --take-back, start the workers until they have taken it, stop them, and"
            " begin anew with another --work"
        )


async def _published_since(settings: Settings, archive: Archive) -> str | None:
    """Return an input of the old place in which something came after the copy, if there is one."""
    places = {
        (settings.topic_prefix + suffix, int(number)): position
        for number, positions in archive.manifest.positions.items()
        for suffix, position in positions.items()
    }
    async with CommittedReader(access_of(settings)) as reader:
        ends = await reader.ends(places)
        for (topic, number), position in places.items():
            # The end may lie behind the markers of a transaction, where there is nothing to take.
            end = ends[topic, number]
            if end > position:
                async for _ in reader.read(topic, number, start=position, end=end):
                    return topic
    return None


async def _write(settings: Settings, partitions: int, change: Change) -> None:
    """Write one change into every partition's state, each in a transaction of its owner's id."""
    access = access_of(settings)
    await require_no_workers(access, settings)
    raw: AIOKafkaConsumer = access.consumer()
    cluster = _cluster(settings)
    for number in range(partitions):
        log = KafkaPartitionLog(cluster, number, raw)
        try:
            await log.fence()
            await log.commit(Transaction({}, [change], {}))
        finally:
            await log.close()


async def take_back(settings: Settings, to_prefix: str) -> None:
    """Open the old place again, because the new one is not wanted after all.

    Raises `NotQuiet` when a worker ran in the new place: what it did would be lost.
    """
    access = access_of(settings)
    async with CommittedReader(access) as reader:
        partitions = await reader.existing(settings.topic_prefix + CHANGELOG)
        journal = to_prefix + _JOURNAL
        places = [(journal, number) for number in await reader.partitions(journal)]
        begins, ends = await reader.beginnings(places), await reader.ends(places)
        if any(ends[place] > begins[place] for place in places):
            raise NotQuiet(
                f"workers ran on the topics that begin with {to_prefix!r}: what they did would be"
                " lost. There is no way back any more."
            )
    # Nobody must go on there either, once this is open again.
    others = settings.model_copy(update={"topic_prefix": to_prefix, "partitions": len(places)})
    why = f"the move to here was taken back; delete the topics that begin with {to_prefix!r}"
    await _write(others, len(places), (BARRED_KEY, orjson.dumps({"why": why})))
    await _write(settings, len(partitions), (BARRED_KEY, None))
