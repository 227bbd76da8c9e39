"""One partition's state, read whole from its changelog into a store of its own.

The changelog has every version of a key that is not compacted yet, and no order; the store has the
last one of each, in order, whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.engine.task import POSITIONS_KEY
from pointstream.operations.moving.archive import Frame
from pointstream.operations.reading import CommittedReader

__all__ = ["FIRST_KEY", "LAST_KEY", "POSITIONS_KEY", "read_state", "state_frames"]

FIRST_KEY: Final = b"\x02"
"""The engine's own keys lie before."""

LAST_KEY: Final = b"\xff\xff"


async def read_state(
    reader: CommittedReader,
    topic: str,
    partition: int,
    directory: Path,
    memory: RocksMemory,
    *,
    on_records: Callable[[int], None] = lambda count: None,
) -> RocksStore:
    """Return a store in `directory`, which is emptied first, with all that is committed."""
    RocksStore.discard(directory)
    store = RocksStore(directory, b"copy", memory)
    try:
        async for records in reader.read(topic, partition):
            writes = [(record.key, record.value) for record in records if record.key is not None]
            store.write(writes, records[-1].offset + 1)
            on_records(len(records))
    except BaseException:
        store.close()
        raise
    return store


def state_frames(store: RocksStore) -> Iterator[Frame]:
    """Yield the job's pairs in the order of their keys."""
    for key, value in store.scan(FIRST_KEY, LAST_KEY):
        yield Frame(bytes(key), bytes(value))
