"""The overlay reads like a dictionary of the store with the batch's writes in it."""

from hypothesis import given
from hypothesis import strategies as st

from pointstream.engine import State
from pointstream.engine.store import MemoryStore

KEYS = st.binary(min_size=1, max_size=2)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("scan"), KEYS, KEYS),
    ),
    max_size=30,
)


@given(stored=st.dictionaries(KEYS, st.binary(max_size=3)), operations=OPERATIONS)
def test_it_agrees_with_a_plain_dictionary(
    stored: dict[bytes, bytes], operations: list[tuple[object, ...]]
) -> None:
    """Whatever is put, deleted and scanned, in whatever order."""
    model = dict(stored)
    state = State(MemoryStore(dict(stored)))
    for operation in operations:
        match operation:
            case ("put", key, value):
                state.put(key, value)
                model[key] = value
            case ("delete", key):
                state.delete(key)
                model.pop(key, None)
            case ("scan", start, stop):
                expected = sorted((k, v) for k, v in model.items() if start <= k < stop)
                assert list(state.scan(start, stop)) == expected
    for key in {*stored, *model}:
        assert state.get(key) == model.get(key)


@given(stored=st.dictionaries(KEYS, st.binary(max_size=3)), operations=OPERATIONS)
def test_its_writes_turn_the_store_into_what_it_showed(
    stored: dict[bytes, bytes], operations: list[tuple[object, ...]]
) -> None:
    """The transaction carries `writes`; applied, they are all of the difference."""
    store = MemoryStore(dict(stored))
    state = State(store)
    for operation in operations:
        match operation:
            case ("put", key, value):
                state.put(key, value)
            case ("delete", key):
                state.delete(key)
    shown = dict(state.scan(b"", b"\xff\xff\xff"))
    store.write(state.writes.items(), position=1)
    assert store.data == shown


def test_a_scan_does_not_see_what_is_written_while_it_runs() -> None:
    """A timer that fires may write timers without being shown them in the same sweep."""
    state = State(MemoryStore({b"a": b"1", b"c": b"3"}))
    state.put(b"b", b"2")
    seen = []
    for key, _ in state.scan(b"a", b"z"):
        seen.append(key)
        state.put(b"d", b"4")
    assert seen == [b"a", b"b", b"c"]
