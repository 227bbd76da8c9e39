"""The group, the state and the topic agree on a position, or a person is asked."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import orjson
import pytest

from pointstream.engine import PositionMismatch, RecordsDeleted, StateLost
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.log import Change, PartitionLog
from pointstream.engine.positions import agree
from pointstream.engine.store import MemoryStore
from pointstream.engine.task import POSITIONS_KEY, PartitionTask

from .counting import Counting, numbers


@pytest.mark.parametrize(
    ("committed", "inside", "bounds", "position"),
    [
        pytest.param(None, None, (3, 9), 3, id="nothing yet: the beginning"),
        pytest.param(5, 5, (3, 9), 5, id="all agree"),
        pytest.param(9, 9, (9, 9), 9, id="all processed, all deleted"),
        pytest.param(None, 5, (0, 9), 5, id="the group was forgotten"),
        pytest.param(5, None, (0, 9), 5, id="a topic that the state has not seen"),
        pytest.param(7, 5, (7, 9), 7, id="an operator goes on after a loss"),
        pytest.param(0, 5, (0, 2), 0, id="an operator takes a topic made anew"),
    ],
)
def test_positions_that_fit(
    committed: int | None, inside: int | None, bounds: tuple[int, int], position: int
) -> None:
    """Where to go on."""
    assert agree("t[0]", committed, inside, bounds) == position


@pytest.mark.parametrize(
    ("committed", "inside", "bounds", "fault", "advice"),
    [
        (3, 5, (0, 9), PositionMismatch, "Set this one to 5 again"),
        (7, 5, (0, 9), PositionMismatch, "Set this one to 5 again"),
        (5, 5, (7, 9), RecordsDeleted, "Set the group's offset to 7"),
        (None, 5, (7, 9), RecordsDeleted, "2 offsets from position 5"),
        (None, 5, (0, 2), PositionMismatch, "Set the group's offset to 0"),
        (5, 5, (0, 2), PositionMismatch, "made anew"),
    ],
)
def test_positions_that_do_not_fit_stop_the_task_with_advice(
    committed: int | None,
    inside: int | None,
    bounds: tuple[int, int],
    fault: type[Exception],
    advice: str,
) -> None:
    """Nothing is counted twice or left out without a word."""
    with pytest.raises(fault, match=advice):
        agree("t[0]", committed, inside, bounds)


def driver_with_history() -> EngineTestDriver:
    driver = EngineTestDriver(lambda _: Counting(), inputs=("in",))
    for n in range(10):
        driver.send("in", b"k", b"%d" % n)
    driver.run()
    driver.crash()
    return driver


def test_a_changelog_made_anew_does_not_wipe_the_state() -> None:
    """The disk may be all that is left: the task stops and leaves it alone."""
    driver = driver_with_history()
    before = driver.state()
    driver.broker.topics[("changelog", 0)] = []
    driver.send("in", b"k", b"more")
    with pytest.raises(StateLost, match="made anew"):
        driver.run()
    assert driver.state() == before
    assert len(numbers(driver)[b"k"]) == 10


def test_positions_without_a_state_stop_the_task() -> None:
    """Changelog and disk are both gone: going on from zero would number everything again."""
    driver = driver_with_history()
    driver.broker.topics[("changelog", 0)] = []
    driver.lose_state()
    with pytest.raises(StateLost, match="neither the changelog nor the disk"):
        driver.run()


def test_a_topic_made_anew_stops_the_task_until_the_group_is_set() -> None:
    """Its records lie below the old position; the advice of the fault is accepted."""
    driver = driver_with_history()
    driver.broker.topics[("in", 0)] = []
    del driver.broker.group[("in", 0)]
    for n in range(3):
        driver.send("in", b"k", b"%d" % n)
    with pytest.raises(PositionMismatch, match="Set the group's offset to 0"):
        driver.run()
    driver.crash()
    driver.broker.group[("in", 0)] = 0
    driver.run()
    assert [number for number, _ in numbers(driver)[b"k"]] == list(range(1, 14))


def test_markers_behind_the_last_record_are_passed() -> None:
    """A publisher's transactions leave no lag, and no offsets for retention to take away."""
    driver = driver_with_history()
    driver.broker.topics[("in", 0)].append(None)
    driver.run()
    assert driver.lag() == 0
    assert driver.broker.group[("in", 0)] == 11


class Aged:
    """A partition whose topics have lost what came before an offset."""

    def __init__(
        self, committed: dict[str, int | None], inside: dict[str, int], begin: int
    ) -> None:
        self._committed, self._begin = committed, begin
        self._positions = orjson.dumps(inside)

    async def fence(self) -> None: ...

    async def committed(self) -> dict[str, int | None]:
        return self._committed

    async def bounds(self) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(self._committed, (self._begin, 9))

    async def origin(self) -> None: ...

    async def changelog(
        self, position: int | None
    ) -> AsyncGenerator[tuple[list[Change], int, int], None]:
        yield [(POSITIONS_KEY, self._positions)], 1, 1


def going_on(log: Aged) -> tuple[dict[str, int], dict[str, int]]:
    """From where on a task fetches, and from where on it processes."""
    task = PartitionTask(
        0,
        log=cast(PartitionLog, log),
        open_store=MemoryStore,
        processor=cast(Any, Counting),
        tick_topic="ticks",
    )

    async def scenario() -> tuple[dict[str, int], dict[str, int]]:
        fetched = await task.acquire()
        await task.restore()
        return fetched, task.positions

    return asyncio.run(scenario())


@pytest.mark.parametrize("committed", [5, None])
def test_ticks_that_are_gone_stop_nobody(committed: int | None) -> None:
    """Workers that were killed and away for longer than ticks are kept: the next one tells the
    time as well."""
    log = Aged({"ticks": committed}, {"ticks": 5}, begin=7)

    assert going_on(log) == ({"ticks": 7}, {"ticks": 7})


def test_events_that_are_gone_stop_the_task() -> None:
    """Of no other topic is anything passed over."""
    log = Aged({"in": 5, "ticks": 5}, {"in": 5, "ticks": 5}, begin=7)

    with pytest.raises(RecordsDeleted, match="2 offsets from position 5"):
        going_on(log)


def test_ticks_that_an_operator_has_passed_over_stop_nobody() -> None:
    """As with every topic, what a fault asks for is accepted."""
    log = Aged({"ticks": 7}, {"ticks": 5}, begin=7)

    assert going_on(log) == ({"ticks": 7}, {"ticks": 7})


def test_ticks_whose_positions_contradict_each_other_stop_the_task() -> None:
    """Somebody has reset the group: that is never about ticks alone."""
    log = Aged({"ticks": 8}, {"ticks": 5}, begin=4)

    with pytest.raises(PositionMismatch, match="Set this one to 5 again"):
        going_on(log)
