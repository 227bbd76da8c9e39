"""Where a partition's state lives: one RocksDB per partition, or memory in the test driver.

The store holds the values of the last committed transaction it knows of and, in the same
write batch, the changelog position that they stand for. So a store is never wrong, only
behind, and what it lacks is restored from the changelog.
"""

import shutil
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
)

from pointstream.engine.errors import CorruptStore, StoreUnavailable

__all__ = ["MemoryStore", "RocksMemory", "RocksStore", "Store"]

Write = tuple[bytes, bytes | None]

#: Local bookkeeping: kept beside the state, never sent to the changelog. User keys begin
#: with another byte.
_LOCAL = b"\x00"
_POSITION = _LOCAL + b"changelog-position"
_IDENTITY = _LOCAL + b"identity"
#: Written on a fault that may come from the disk; the next start throws the store away.
_SUSPECT = "SUSPECT"
#: Faults of opening that say nothing against the content. A store must never be thrown away
#: because its owner is alive or a disk is full.
_NOT_CORRUPT = (
    "lock file",
    "No space left",
    "Permission denied",
    "Too many open files",
    "Read-only file system",
)


class Store(Protocol):
    """One partition's committed state."""

    @property
    def position(self) -> int | None:
        """The changelog offset to restore from, None for an empty store."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]: ...

    def write(self, writes: Iterable[Write], position: int) -> None:
        """Apply writes (None removes) and the position they stand for, as one."""

    def stored_bytes(self) -> int:
        """How much of the disk it takes, give or take what is not written out yet."""

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None: ...


@dataclass
class MemoryStore:
    """A store without a disk, for the test driver."""

    data: dict[bytes, bytes] = field(default_factory=dict)
    position: int | None = None
    _keys: list[bytes] | None = None

    def get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._keys is None:
            self._keys = sorted(self.data)
        keys = self._keys
        for key in keys[bisect_left(keys, start) : bisect_left(keys, stop)]:
            yield key, self.data[key]

    def write(self, writes: Iterable[Write], position: int) -> None:
        for key, value in writes:
            if value is None:
                self.data.pop(key, None)
            else:
                self.data[key] = value
        self.position = position
        self._keys = None

    def stored_bytes(self) -> int:
        return 0

    def clear(self) -> None:
        self.data.clear()
        self.position = None
        self._keys = None

    def close(self) -> None:
        return None


class RocksMemory:
    """Memory shared by all stores of a process, so that its size does not grow with partitions.

    A cache per store (what Faust's own RocksDB store does, 2 GiB each) multiplies by the
    number of partitions a worker happens to own.
    """

    def __init__(self, *, cache_bytes: int = 48 << 20, write_buffer_bytes: int = 32 << 20) -> None:
        self.cache = Cache(cache_bytes)
        self.write_buffers = WriteBufferManager(write_buffer_bytes, False)

    def used_bytes(self) -> int:
        """What caches and write buffers hold just now."""
        return int(self.cache.get_usage()) + int(self.write_buffers.get_usage())

    def options(self) -> Options:
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self.cache)
        blocks.set_block_size(8 << 10)
        # Most look-ups are for ids never seen: the filter answers them without a read.
        blocks.set_bloom_filter(10, False)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self.write_buffers)
        options.set_write_buffer_size(16 << 20)
        options.set_max_write_buffer_number(3)
        # The same for what is not in the files yet: 160 KiB of each store's write buffer.
        options.set_memtable_whole_key_filtering(True)
        options.set_memtable_prefix_bloom_ratio(0.01)
        options.set_max_background_jobs(2)
        options.set_keep_log_file_num(2)
        options.set_max_open_files(256)
        options.set_bytes_per_sync(1 << 20)
        return options


class RocksStore:
    """A partition's state in RocksDB.

    The log is not synced: after a power cut the store may have lost its newest write batches,
    values and position alike, and restores them. Kafka holds the truth.
    """

    def __init__(self, path: Path, identity: bytes, memory: RocksMemory) -> None:
        """Open or create the store at `path`.

        `identity` names the cluster and changelog that the state belongs to. A directory left
        from another cluster is emptied: its positions mean nothing here.

        Raises:
            CorruptStore: the directory cannot be read. `RocksStore.discard` removes it.
            StoreUnavailable: another process has it open, or the disk is full or forbidden.
        """
        self._path = path
        self._identity = identity
        self._memory = memory
        if (path / _SUSPECT).exists():
            raise CorruptStore(f"{path} was in use when a read failed")
        path.mkdir(parents=True, exist_ok=True)
        self._db = self._open()
        if self.get(_IDENTITY) != identity:
            if self.get(_IDENTITY) is not None:
                self.clear()
            self._db[_IDENTITY] = identity

    def _open(self) -> Any:
        try:
            return Rdict(
                str(self._path), self._memory.options(), access_type=AccessType.read_write()
            )
        except Exception as error:  # rocksdict raises plain Exception for every fault
            if any(sign in str(error) for sign in _NOT_CORRUPT):
                raise StoreUnavailable(f"{self._path}: {error}") from error
            raise CorruptStore(f"{self._path}: {error}") from error

    @property
    def position(self) -> int | None:
        raw = self.get(_POSITION)
        return None if raw is None else int(raw)

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._suspect(error) from error
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        try:
            yield from self._db.items(from_key=start, read_opt=bounds)
        except Exception as error:
            raise self._suspect(error) from error

    def write(self, writes: Iterable[Write], position: int) -> None:
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in writes:
            if value is None:
                delete(key)
            else:
                put(key, value)
        put(_POSITION, b"%d" % position)
        self._db.write(batch)

    def stored_bytes(self) -> int:
        return int(self._db.property_int_value("rocksdb.total-sst-files-size") or 0)

    def clear(self) -> None:
        self._db.close()
        Rdict.destroy(str(self._path), Options(raw_mode=True))
        self._path.mkdir(parents=True, exist_ok=True)
        self._db = self._open()
        self._db[_IDENTITY] = self._identity

    def copy_to(self, path: Path) -> "RocksStore":
        """Open a copy of the store as it is now; its files are shared until they are rewritten."""
        Checkpoint(self._db).create_checkpoint(str(path))
        return RocksStore(path, self._identity, self._memory)

    def close(self) -> None:
        self._db.close()

    @staticmethod
    def discard(path: Path) -> None:
        """Remove a store that cannot be used."""
        shutil.rmtree(path, ignore_errors=True)

    def _suspect(self, error: Exception) -> CorruptStore:
        (self._path / _SUSPECT).touch()
        return CorruptStore(f"{self._path}: {error}")
