"""The partition task counts every record once, whatever dies and whenever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointstream.engine import Fenced, PositionMismatch
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary, Guards

from .counting import Counting, counted_once, numbers

PLACES = [*Boundary, *CommitFate]


def new_driver(**settings: object) -> EngineTestDriver:
    settings.setdefault("batch_records", 3)
    return EngineTestDriver(lambda _: Counting(), inputs=("in",), **settings)


def publish(driver: EngineTestDriver, count: int, keys: int = 3) -> None:
    for i in range(count):
        driver.send("in", b"k%d" % (i % keys), b"%d" % i)


def test_every_record_is_counted_once_when_nothing_fails() -> None:
    """Batches, keys and partitions do not matter to the count."""
    driver = new_driver(partitions=4)
    publish(driver, 100, keys=10)
    driver.run()
    assert counted_once(driver)
    assert sum(map(len, numbers(driver).values())) == 100


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("after", [0, 2])
def test_a_crash_between_any_two_effects_changes_nothing(place: object, after: int) -> None:
    """The next owner finishes what was begun, no more and no less."""
    driver = new_driver()
    publish(driver, 10)
    driver.run(batches=1)
    driver.crash()
    driver.crash_at(place, after=after)
    while not driver.run():
        pass
    publish(driver, 5)
    driver.run()
    assert counted_once(driver)


def test_state_is_restored_from_the_changelog_when_it_is_lost() -> None:
    """An empty disk costs time, not records."""
    driver = new_driver(partitions=2)
    publish(driver, 50)
    driver.run()
    before = driver.state_hash()
    driver.lose_state()
    driver.run()
    assert driver.state_hash() == before
    publish(driver, 10)
    driver.run()
    assert counted_once(driver)


def test_a_former_owner_that_wakes_up_is_fenced_off() -> None:
    """What a stopped process resumes with never gets committed."""
    driver = new_driver()
    publish(driver, 10)
    driver.run(batches=1)
    zombie = driver.abandon()
    driver.run()
    with pytest.raises(Fenced):
        driver.step(zombie)
    assert counted_once(driver)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), partitions=st.integers(1, 3), batch=st.integers(1, 5))
def test_any_sequence_of_records_and_faults_counts_each_once(
    data: st.DataObject, partitions: int, batch: int
) -> None:
    """Publish, crash anywhere, lose disks, seek back: the count stays exact."""
    driver = new_driver(
        partitions=partitions, batch_records=batch, stale_seek=data.draw(st.integers(0, 3))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        publish(driver, data.draw(st.integers(0, 12)))
        if data.draw(st.booleans()):
            driver.tick(driver.broker.now_ms + 1000)
        fault = data.draw(st.sampled_from([None, "crash", "lose", *PLACES]))
        if fault == "crash":
            driver.crash()
        elif fault == "lose":
            driver.lose_state()
        elif fault is not None:
            driver.crash()
            driver.crash_at(fault, after=data.draw(st.integers(0, 2)))
        driver.run(batches=data.draw(st.none() | st.integers(0, 3)))
    while not driver.run():
        pass
    assert counted_once(driver)
    driver.close()


def crash_and_go_on(driver: EngineTestDriver, place: object) -> None:
    """Die at `place` in the second batch, then go on with new owners to the end."""
    publish(driver, 10)
    driver.run(batches=1)
    driver.crash_at(place)
    while not driver.run():
        pass


#: Per guard: how a driver without it is made, and where its owner dies.
GUARDS = {
    "fence_before_position": ({}, CommitFate.DECIDED),
    "check_position": ({"stale_seek": 2}, Boundary.COMMITTED),
    "store_after_commit": ({}, CommitFate.ABORTED),
}


class TestEachGuardIsNeeded:
    """What happens in the same run with a guard, without it, and without the net below it."""

    @pytest.mark.parametrize("guard", GUARDS)
    def test_with_all_guards_the_count_is_exact(self, guard: str) -> None:
        """The control: the faults alone do no harm."""
        options, place = GUARDS[guard]
        driver = new_driver(**options)
        crash_and_go_on(driver, place)
        assert counted_once(driver)

    @pytest.mark.parametrize("guard", GUARDS)
    def test_without_a_guard_the_run_fails(self, guard: str) -> None:
        """Alone, each is missed: the next owner stops loudly, or the count is wrong."""
        options, place = GUARDS[guard]
        driver = new_driver(guards=Guards(**{guard: False}), **options)
        try:
            crash_and_go_on(driver, place)
        except PositionMismatch:
            return
        assert not counted_once(driver)

    @pytest.mark.parametrize("guard", GUARDS)
    def test_without_the_net_as_well_records_count_twice(self, guard: str) -> None:
        """The agreement of group and state is what turns silent damage into a stop."""
        options, place = GUARDS[guard]
        driver = new_driver(guards=Guards(**{guard: False}, agree_on_positions=False), **options)
        crash_and_go_on(driver, place)
        assert not counted_once(driver)
