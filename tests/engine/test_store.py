"""The RocksDB store is never wrong, only behind."""

from pathlib import Path

import pytest

from pointstream.engine import CorruptStore
from pointstream.engine.store import RocksMemory, RocksStore


@pytest.fixture(scope="module")
def memory() -> RocksMemory:
    return RocksMemory(cache_bytes=1 << 20, write_buffer_bytes=4 << 20)


def test_values_and_position_survive_a_reopen(tmp_path: Path, memory: RocksMemory) -> None:
    """What one write batch brought is there together."""
    store = RocksStore(tmp_path / "p", b"cluster", memory)
    assert store.position is None
    store.write([(b"a", b"1"), (b"b", b"2")], position=7)
    store.write([(b"a", None), (b"c", b"3")], position=9)
    store.close()
    store = RocksStore(tmp_path / "p", b"cluster", memory)
    assert store.position == 9
    assert list(store.scan(b"a", b"z")) == [(b"b", b"2"), (b"c", b"3")]
    assert store.get(b"a") is None
    store.close()


def test_a_scan_keeps_to_its_bounds(tmp_path: Path, memory: RocksMemory) -> None:
    """The start belongs to it, the stop does not."""
    store = RocksStore(tmp_path / "p", b"cluster", memory)
    store.write([(bytes([n]), b"v") for n in range(97, 107)], position=1)
    assert [key for key, _ in store.scan(b"c", b"f")] == [b"c", b"d", b"e"]
    store.close()


def test_state_of_another_cluster_is_not_taken_over(tmp_path: Path, memory: RocksMemory) -> None:
    """Positions of a cluster that was made anew mean nothing, and its values are not true."""
    store = RocksStore(tmp_path / "p", b"one", memory)
    store.write([(b"a", b"1")], position=7)
    store.close()
    store = RocksStore(tmp_path / "p", b"other", memory)
    assert store.position is None
    assert store.get(b"a") is None
    store.close()


def test_a_damaged_directory_is_reported_and_can_be_discarded(
    tmp_path: Path, memory: RocksMemory
) -> None:
    """Opening says so; a fresh store takes its place."""
    store = RocksStore(tmp_path / "p", b"cluster", memory)
    store.write([(b"a", b"1")], position=7)
    store.close()
    for name in (tmp_path / "p").glob("MANIFEST-*"):
        name.write_bytes(b"rubbish")
    with pytest.raises(CorruptStore):
        RocksStore(tmp_path / "p", b"cluster", memory)
    RocksStore.discard(tmp_path / "p")
    store = RocksStore(tmp_path / "p", b"cluster", memory)
    assert store.position is None
    store.close()


def test_a_store_that_failed_to_read_is_not_opened_again(
    tmp_path: Path, memory: RocksMemory
) -> None:
    """The suspicion outlives the process, so that the next one restores from the changelog."""
    store = RocksStore(tmp_path / "p", b"cluster", memory)
    store.close()
    with pytest.raises(CorruptStore):
        store.get(b"a")
    with pytest.raises(CorruptStore, match="in use when a read failed"):
        RocksStore(tmp_path / "p", b"cluster", memory)
