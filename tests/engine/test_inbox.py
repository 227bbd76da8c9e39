"""The inbox merges topics by time, keeps each topic's order, and proves that nothing is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointstream.engine import PositionGap, Record
from pointstream.engine.inbox import Batch, Inbox


def record(topic: str, offset: int, time: int) -> Record:
    return Record(topic, 0, offset, time, b"k", b"v")


def take(inbox: Inbox, limit: int) -> Batch | None:
    """All that `look` shows."""
    return inbox.remove(inbox.look(limit)) if inbox.pending else None


def test_older_records_come_first_over_all_topics() -> None:
    """An order from before the stop is taken before the tick from after it."""
    inbox = Inbox({"orders": 0, "ticks": 0})
    inbox.offer("ticks", 0, 1, [record("ticks", 0, 500)])
    inbox.offer("orders", 0, 2, [record("orders", 0, 100), record("orders", 1, 900)])
    batch = take(inbox, 10)
    assert [(r.topic, r.offset) for r in batch.records] == [
        ("orders", 0),
        ("ticks", 0),
        ("orders", 1),
    ]
    assert batch.order() == [("orders", 1), ("ticks", 1), ("orders", 1)]
    assert batch.taken == {"orders": (0, 2), "ticks": (0, 1)}


def test_a_clock_that_steps_back_does_not_reorder_a_topic() -> None:
    """Within a topic the offset rules."""
    inbox = Inbox({"a": 0, "b": 0})
    inbox.offer("a", 0, 3, [record("a", 0, 10), record("a", 1, 50), record("a", 2, 20)])
    inbox.offer("b", 0, 1, [record("b", 0, 30)])
    assert [(r.topic, r.offset) for r in take(inbox, 10).records] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("a", 2),
    ]


def test_what_was_received_before_is_dropped() -> None:
    """A consumer that seeks too low hands records in twice; they are taken once."""
    inbox = Inbox({"a": 5})
    inbox.offer("a", 3, 7, [record("a", n, n) for n in range(3, 7)])
    assert [r.offset for r in take(inbox, 10).records] == [5, 6]
    assert inbox.dropped == 2
    inbox.offer("a", 5, 7, [record("a", n, n) for n in range(5, 7)])
    assert take(inbox, 10) is None


def test_a_batch_that_begins_too_high_stops_the_task() -> None:
    """Going on would lose what lies between."""
    inbox = Inbox({"a": 5})
    with pytest.raises(PositionGap, match=r"expected position 5.*begins at 6"):
        inbox.offer("a", 6, 7, [record("a", 6, 6)])


def test_offsets_of_transaction_markers_are_no_gap() -> None:
    """Positions must join, record offsets need not; the last position lies behind the marker."""
    inbox = Inbox({"a": 0})
    inbox.offer("a", 0, 3, [record("a", 0, 0), record("a", 1, 1)])
    inbox.offer("a", 3, 5, [record("a", 3, 3)])
    batch = take(inbox, 10)
    assert [r.offset for r in batch.records] == [0, 1, 3]
    assert batch.taken == {"a": (0, 5)}


@given(
    times=st.lists(st.lists(st.integers(0, 20), max_size=12), min_size=1, max_size=4),
    limits=st.lists(st.integers(1, 6), min_size=1, max_size=40),
)
def test_every_record_is_taken_once_and_positions_follow(
    times: list[list[int]], limits: list[int]
) -> None:
    """Whatever the batch sizes: each topic in order, positions without a jump, all in the end."""
    topics = [f"t{n}" for n in range(len(times))]
    inbox = Inbox(dict.fromkeys(topics, 0))
    for topic, of_topic in zip(topics, times, strict=True):
        inbox.offer(topic, 0, len(of_topic), [record(topic, n, t) for n, t in enumerate(of_topic)])
    taken: dict[str, list[int]] = {topic: [] for topic in topics}
    position = dict.fromkeys(topics, 0)
    turn = 0
    while (batch := take(inbox, limits[turn % len(limits)])) is not None:
        turn += 1
        for each in batch.records:
            taken[each.topic].append(each.offset)
        for topic, (first, after) in batch.taken.items():
            assert first == position[topic]
            position[topic] = after
    assert taken == {t: list(range(len(of))) for t, of in zip(topics, times, strict=True)}
    assert inbox.size == 0


def test_what_is_not_done_comes_again_first() -> None:
    """Taking part of what was shown leaves the rest in its place."""
    inbox = Inbox({"a": 0, "b": 0})
    inbox.offer("a", 0, 2, [record("a", 0, 1), record("a", 1, 3)])
    inbox.offer("b", 0, 1, [record("b", 0, 2)])
    shown = inbox.look(10)
    assert inbox.remove(shown[:1]).taken == {"a": (0, 1)}
    assert inbox.remove([]).taken == {}
    assert inbox.look(10) == shown[1:]
    assert inbox.size == 2


def test_a_batch_is_bounded_in_bytes_but_takes_one_record_at_least() -> None:
    """A few large records weigh as much as many small ones."""
    inbox = Inbox({"a": 0})
    large = [Record("a", 0, n, n, b"k", b"x" * 100) for n in range(5)]
    inbox.offer("a", 0, 5, large)
    assert len(inbox.look(10, 250)) == 2
    assert len(inbox.look(10, 1)) == 1
    inbox.remove(inbox.look(10))
    assert inbox.bytes == 0
