"""Makes of a backup one with another number of partitions, in which every key is at its owner's.

The owner of a key is found as producers and workers find it (`placement`), and what becomes of each
kind of key is the ledger's to say (`ledger/places.py`). Memory is bounded by what one partition's
entries add up to: pairs go through a store on the disk for each new partition.

Nothing may be under way: no input untaken, no message between partitions, no walk over accounts.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pointstream.contracts.topics import topic_specs
from pointstream.contracts.wire import loads
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.places import (
    Fate,
    erased_sums,
    fate_of,
    is_walking,
    outstanding_of,
    owner_of,
    partition_value,
    renumbered,
    windows_value,
)
from pointstream.ledger.records import ErasedSums, Totals
from pointstream.ledger.state import (
    ACCOUNTS_START,
    ACCOUNTS_STOP,
    ERASED_SUMS_KEY,
    PARTITION_KEY,
    WINDOWS_KEY,
    account_key,
)
from pointstream.operations.books import EntryBooks
from pointstream.operations.moving.archive import (
    PRIVATE,
    Archive,
    ArchiveError,
    Content,
    File,
    FileWriter,
)
from pointstream.operations.moving.backup import CHANGELOG
from pointstream.operations.moving.states import state_frames
from pointstream.operations.placement import partition_of

__all__ = ["Moved", "NotDrained", "repartition", "require_drained"]

_BATCH: Final = 1_000
_PARKED: Final = (b"p", b"q")
_LEDGER: Final = "balance-changes"


class NotDrained(Exception):
    """Something is under way; the message says what."""


@dataclass(slots=True)
class Moved:
    """What a new number of partitions comes to."""

    keys: Counter[str] = field(default_factory=Counter)
    """By kind of key, how many go to another partition."""
    stay: int = 0
    """How many keys stay in the partition of the same number."""
    members: int = 0
    """Accounts in all partitions."""
    members_moved: int = 0


def require_drained(archive: Archive) -> None:
    """Raise `NotDrained` when inputs or messages wait that no worker has taken."""
    left: Counter[str] = Counter()
    for file in archive.manifest.files:
        if file.content == Content.WAITING and file.records:
            left[file.topic] += file.records
    if left:
        listed = ", ".join(f"{count:,} on {topic}" for topic, count in sorted(left.items()))
        raise NotDrained(
            f"not everything was taken: {listed}. Keep the publishers away, start the workers until"
            " `/status` tells no lag, stop them, and begin anew."
        )


def repartition(
    archive: Archive,
    directory: Path,
    partitions: int,
    topic_prefix: str,
    *,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Archive, Moved]:
    """Write a backup with so many partitions into a directory, whatever is in it.

    `topic_prefix` is that of the topics that it is for.

    Raises:
        NotDrained: something is under way in the backup.
        ArchiveError: the backup is damaged, or what was made of it is not the same.
    """
    require_drained(archive)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(PRIVATE, parents=True)
    making = _Making(archive, directory, partitions, on_progress)
    try:
        making.place()
        making.compare()
        files = making.topics()
        making.remake()
        files += making.states()
    except StateCorrupt as error:
        raise NotDrained(f"{error}; start the workers for a minute, and begin anew") from error
    finally:
        making.close()
    manifest = replace(
        archive.manifest,
        topic_prefix=topic_prefix,
        partitions=partitions,
        positions={},
        ends={},
        files=files,
    )
    made = Archive(directory, manifest)
    made.seal()
    return made, making.moved


class _Making:
    def __init__(
        self,
        archive: Archive,
        directory: Path,
        partitions: int,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.moved = Moved()
        self._archive, self._directory, self._partitions = archive, directory, partitions
        self._work = directory / ".work"
        memory = RocksMemory(cache_bytes=16 << 20)
        self._stores = [
            RocksStore(self._work / str(number), b"made", memory) for number in range(partitions)
        ]
        self._before = archive.manifest.partitions
        #: Keys that every partition has, with the value and in how many it was found.
        self._copied: dict[bytes, tuple[bytes, int]] = {}
        self._remade: dict[bytes, list[bytes]] = {}
        self._shares = [ErasedSums() for _ in range(partitions)]
        self._done, self._on_progress = 0, on_progress
        self._of = sum(file.records for file in archive.manifest.files)

    def close(self) -> None:
        for store in self._stores:
            store.close()
        shutil.rmtree(self._work, ignore_errors=True)

    # -- pairs -----------------------------------------------------------------------------

    def place(self) -> None:
        """Put every pair where it belongs."""
        for number in range(self._before):
            writes: list[list[tuple[bytes, bytes | None]]] = [[] for _ in self._stores]
            for key, value in self._pairs(number):
                match fate_of(key):
                    case Fate.MOVES:
                        owner = partition_of(owner_of(key), self._partitions)
                        writes[owner].append((key, value))
                        self._count_moved(key, number, owner)
                        if len(writes[owner]) >= _BATCH:
                            self._stores[owner].write(writes[owner], 0)
                            writes[owner] = []
                    case Fate.COPIED:
                        self._copy(key, value, number)
                    case Fate.GATHERED:
                        self._gather(key, value)
                    case Fate.AWAITED:
                        raise NotDrained(
                            "a resync is on its way through the accounts: start the workers until"
                            " it has ended, and begin anew"
                        )
                    case Fate.REMADE:
                        self._remade.setdefault(key, []).append(value)
            for store, own in zip(self._stores, writes, strict=True):
                store.write(own, 0)
        everywhere: list[tuple[bytes, bytes | None]] = []
        for key, (value, found) in self._copied.items():
            if 0 < found < self._before:
                raise NotDrained(_unlike(key))
            everywhere.append((key, value))
        for store in self._stores:
            store.write(everywhere, 0)

    def _pairs(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        for frame in self._archive.read(Content.STATE, CHANGELOG, number):
            yield frame.key or b"", frame.value or b""
            self._done += 1
            if self._done % _BATCH == 0:
                self._on_progress(min(self._done, self._of), self._of)

    def _count_moved(self, key: bytes, number: int, owner: int) -> None:
        account = key[:1] == ACCOUNTS_START
        self.moved.members += account
        if number == owner:
            self.moved.stay += 1
        else:
            self.moved.keys[key[:1].decode()] += 1
            self.moved.members_moved += account

    def _copy(self, key: bytes, value: bytes, number: int) -> None:
        if is_walking(key):
            raise NotDrained(
                "a clear-out, a migration or the setting of reminders is on its way through the"
                " accounts: start the workers until it has ended, and begin anew"
            )
        known, found = self._copied.get(key, (value, 0))
        if known != value or found != number:
            raise NotDrained(_unlike(key))
        self._copied[key] = value, found + 1

    def _gather(self, key: bytes, value: bytes) -> None:
        # Of what only some partitions have, none can be missed.
        known, _ = self._copied.setdefault(key, (value, 0))
        if known != value and key[:1] != b"e":
            raise ArchiveError(f"two partitions have different values of the kind {key[:1]!r}")

    def compare(self) -> None:
        """See that every pair that moves is where it belongs, and that there are no others."""
        found = 0
        for number in range(self._before):
            for frame in self._archive.read(Content.STATE, CHANGELOG, number):
                key = frame.key or b""
                if fate_of(key) is Fate.MOVES:
                    found += 1
                    owner = partition_of(owner_of(key), self._partitions)
                    if self._stores[owner].get(key) != frame.value:
                        raise ArchiveError(f"a key of the kind {key[:1]!r} was not moved as it was")
        there = sum(
            1
            for store in self._stores
            for frame in state_frames(store)
            if fate_of(frame.key or b"") is Fate.MOVES
        )
        if there != found:
            raise ArchiveError(f"{found} keys were moved, {there} have come to be")

    # -- records ---------------------------------------------------------------------------

    def topics(self) -> list[File]:
        """Share the records of every topic out, each to the partition of its key, in order."""
        files: list[File] = []
        for spec in topic_specs(self._archive.manifest.topic_prefix):
            writers: dict[int, FileWriter] = {}
            books = [EntryBooks() for _ in self._stores] if spec.suffix == _LEDGER else None
            for number in range(self._before):
                for frame in self._archive.read(Content.TAKEN, spec.suffix, number):
                    owner = partition_of(frame.key, self._partitions) if frame.key else 0
                    writer = writers.get(owner)
                    if writer is None:
                        writer = writers[owner] = FileWriter(
                            self._directory, Content.TAKEN, spec.suffix, owner
                        )
                    writer.add([frame])
                    if books is not None and frame.value is not None:
                        books[owner].add(loads(frame.value))
                    self._done += 1
                    if self._done % _BATCH == 0:
                        self._on_progress(min(self._done, self._of), self._of)
            files += [writer.close() for writer in writers.values()]
            if books is not None:
                self._shares = [
                    self._erased(own, store) for own, store in zip(books, self._stores, strict=True)
                ]
        return files

    @staticmethod
    def _erased(books: EntryBooks, store: RocksStore) -> ErasedSums:
        """Return what the entries of members without an account add up to."""
        sums = ErasedSums()
        for member_id, member in books.members.items():
            if store.get(account_key(member_id.encode())) is not None:
                continue
            sums.accounts += 1
            for wallet, own in member.wallets.items():
                totals = sums.wallets.setdefault(wallet, Totals())
                for name, points in own.flows.items():
                    setattr(totals, name, getattr(totals, name) + points)
        return sums

    # -- partitions ------------------------------------------------------------------------

    def remake(self) -> None:
        """Give each new partition what is about it as such."""
        values = self._remade
        erased = erased_sums(values.get(ERASED_SUMS_KEY, ()), self._shares)
        windows = windows_value(values.get(WINDOWS_KEY, ()))
        now = partition_value(values.get(PARTITION_KEY, ()))
        for number, store in enumerate(self._stores):
            outstanding = outstanding_of(store.scan(ACCOUNTS_START, ACCOUNTS_STOP))
            parked = list(renumbered(store.scan(*_PARKED)))
            made = [pair for pair in (erased[number], windows, outstanding) if pair is not None]
            if PARTITION_KEY in values:
                made.append(now)
            store.write([*parked, *made], 0)

    def states(self) -> list[File]:
        """Write the states."""
        files = []
        for number, store in enumerate(self._stores):
            writer = FileWriter(self._directory, Content.STATE, CHANGELOG, number)
            writer.add(state_frames(store))
            files.append(writer.close())
        return files


def _unlike(key: bytes) -> str:
    return (
        f"what partitions were told is not the same in all of them (kind {key[:1]!r}): start the"
        " workers for a minute, and begin anew"
    )
