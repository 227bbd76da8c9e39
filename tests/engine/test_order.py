"""The topics of a task are taken in the order of the broker's time, however they are fetched."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointstream.engine import InputRecord, Output, Record, State
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.inbox import Inbox

TOPICS = ("in", "other", "third")
LARGE = 1 << 30


class Listing:
    """Sends on which record came when."""

    def begin(self, state: State, output: Output) -> None:
        self.output = output

    def process(self, records: list[InputRecord]) -> int:
        for record in records:
            self.output.send("taken", b"", b"%d" % record.timestamp)
        return len(records)

    def finish(self) -> None:
        pass


class Clock:
    """Seconds that go by when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def driver(clock: Clock) -> Iterator[EngineTestDriver]:
    driver = EngineTestDriver(
        lambda _: Listing(), inputs=TOPICS, batch_records=4, fetch_records=2, clock=clock
    )
    yield driver
    driver.close()


def record(topic: str, offset: int, time: int) -> Record:
    return Record(topic, 0, offset, time, b"k", b"v")


def taken(driver: EngineTestDriver) -> list[int]:
    """The times of the records, in the order in which they were taken."""
    return [int(each.value or b"") for each in driver.outputs("taken")]


def test_nothing_later_is_taken_while_a_topic_has_more_to_come() -> None:
    """The next fetch may bring something older than what is there of others."""
    inbox = Inbox({"in": 0, "other": 0}, ends={"in": 2, "other": 4})
    # given all of one topic, and a part of the other
    inbox.offer("in", 0, 2, [record("in", 0, 10), record("in", 1, 40)])
    inbox.offer("other", 0, 2, [record("other", 0, 20), record("other", 1, 30)])
    # then what is later than that part waits
    assert [each.timestamp for each in inbox.look(10)] == [10, 20, 30]
    assert inbox.awaited() == {"other": 2}
    # when the rest comes, it is taken where it belongs
    inbox.offer("other", 2, 4, [record("other", 2, 35), record("other", 3, 50)])
    assert [each.timestamp for each in inbox.look(10)] == [10, 20, 30, 35, 40, 50]
    assert inbox.awaited() == {}


def test_a_fetch_can_tell_that_there_is_more() -> None:
    """Records come while others are on their way: an empty fetch says so, too."""
    inbox = Inbox({"in": 0, "other": 0})
    inbox.offer("in", 0, 1, [record("in", 0, 10)])
    assert len(inbox.look(10)) == 1
    inbox.offer("other", 0, 0, [], reaches=3)
    assert inbox.look(10) == []
    assert inbox.scarce("other", 10, LARGE)
    assert not inbox.scarce("in", 10, LARGE)


def test_a_whole_batch_need_not_wait() -> None:
    """Waiting is for what may be older; a batch that is all older is taken at once."""
    inbox = Inbox({"in": 0, "other": 0}, ends={"in": 3, "other": 9})
    inbox.offer("in", 0, 3, [record("in", n, n) for n in range(3)])
    assert not inbox.has_batch(3, LARGE)
    inbox.offer("other", 0, 1, [record("other", 0, 1)])
    assert inbox.has_batch(3, LARGE)
    assert not inbox.has_batch(4, LARGE)
    assert inbox.has_batch(4, 3)


def test_what_is_waited_for_and_large_is_not_fetched_without_end() -> None:
    """Scarce is what is few and small: memory is bounded by bytes as well."""
    inbox = Inbox({"in": 0}, ends={"in": 9})
    inbox.offer("in", 0, 1, [Record("in", 0, 0, 1, b"k", b"x" * 100)])
    assert inbox.scarce("in", 10, 101)
    assert not inbox.scarce("in", 10, 100)
    inbox.remove(inbox.look(1))
    assert inbox.scarce("in", 10, 100)


@given(
    sizes=st.lists(st.integers(0, 30), min_size=3, max_size=3),
    order=st.randoms(use_true_random=False),
    batch=st.integers(1, 8),
    fetch=st.integers(1, 9),
)
def test_a_backlog_is_taken_in_the_order_of_time_however_it_is_fetched(
    sizes: list[int], order: object, batch: int, fetch: int
) -> None:
    """A worker that was away takes what it missed as it would have, had it been up."""
    driver = EngineTestDriver(
        lambda _: Listing(), inputs=TOPICS, batch_records=batch, fetch_records=fetch
    )
    # given a backlog, record by record in any topic
    stream = [topic for topic, size in zip(TOPICS, sizes, strict=True) for _ in range(size)]
    order.shuffle(stream)
    for number, topic in enumerate(stream):
        driver.send(topic, b"k", b"v", timestamp_ms=number)
    # when it is fetched in pieces, then it is taken in the order in which it was published
    driver.run()
    assert taken(driver) == list(range(len(stream)))
    driver.close()


def test_a_topic_that_does_not_come_is_passed_over_after_a_while(
    driver: EngineTestDriver, clock: Clock
) -> None:
    """The broker that has it may be away for long. What is late counts where it belongs."""
    driver.run()
    task = driver.tasks[0]
    # given a topic that is known to have more, which cannot be fetched
    task.offer("in", 0, 2, [record("in", 0, 10), record("in", 1, 20)], 2)
    task.offer("other", 0, 0, [], 2)
    assert not driver.step(task)
    # when it has not come for some seconds, then the others go on
    clock.seconds += task.limits.order_seconds
    assert driver.step(task)
    assert taken(driver) == [10, 20]
    # and it is not waited for again before it moves
    task.offer("in", 2, 3, [record("in", 2, 30)], 3)
    assert driver.step(task)
    task.offer("other", 0, 1, [record("other", 0, 5)], 2)
    task.offer("in", 3, 4, [record("in", 3, 40)], 4)
    assert not driver.step(task)
    assert taken(driver) == [10, 20, 30]
