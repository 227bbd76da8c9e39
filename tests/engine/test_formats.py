"""A state in a form that a worker does not know, or that is barred, is left alone."""

import orjson
import pytest

from pointstream.engine import StateBarred, StateTooNew
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.formats import (
    BARRED_KEY,
    FORMAT_KEY,
    ORIGIN_KEY,
    Formats,
    marked_format,
)
from pointstream.engine.log import Transaction
from pointstream.engine.records import Target

from .counting import Counting, counted_once

OLD = Formats(frozenset({1}), 1, "1.0")
NEW = Formats(frozenset({1, 2}), 1, "2.0")
RAISED = Formats(frozenset({1, 2}), 2, "2.0")


class Deployment:
    """One group of partitions that workers of different releases own one after the other."""

    def __init__(self) -> None:
        self.driver = EngineTestDriver(lambda _: Counting(), inputs=("in",), partitions=2)
        self.sent = 0

    def live(self, formats: Formats) -> None:
        """New owners of a release take over and process some records."""
        self.driver.crash()
        self.driver._formats = formats
        for _ in range(10):
            self.sent += 1
            self.driver.send("in", b"k%d" % (self.sent % 10), b"%d" % self.sent)
        self.driver.run()

    def marks(self) -> list[bytes | None]:
        return [store.get(FORMAT_KEY) for store in self.driver._stores]

    def lose_disks(self) -> None:
        self.driver.lose_state()


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def test_store_and_changelog_say_which_form_they_have(deployment: Deployment) -> None:
    """The mark is there with the first transaction, also after a restore."""
    deployment.live(OLD)
    deployment.lose_disks()
    deployment.live(OLD)
    assert [orjson.loads(mark or b"") for mark in deployment.marks()] == 2 * [
        {"format": 1, "release": "1.0"}
    ]
    changelog = deployment.driver.broker.records(Target("changelog", 0))
    assert [record.key for record in changelog].count(FORMAT_KEY) == 1


def test_until_the_form_is_raised_both_releases_take_turns(deployment: Deployment) -> None:
    """Rolling forward, back and forward again counts everything once."""
    for formats in (OLD, NEW, OLD, NEW, RAISED, NEW, RAISED):
        deployment.live(formats)
    assert counted_once(deployment.driver)


@pytest.mark.parametrize("disks", ["kept", "lost"])
def test_an_old_worker_leaves_a_newer_state_alone(deployment: Deployment, disks: str) -> None:
    """It stops before it took a record; the newer release goes on as if nothing had been."""
    deployment.live(OLD)
    deployment.live(RAISED)
    # A worker of the new release that still writes the former form does not lower the mark.
    deployment.live(NEW)
    assert [marked_format(mark) for mark in deployment.marks()] == [2, 2]
    if disks == "lost":
        deployment.lose_disks()
    broker = deployment.driver.broker
    before = {target: len(log) for target, log in broker.topics.items()}
    group = dict(broker.group)

    with pytest.raises(StateTooNew, match=r"partition 0: .*format 2, written by 2\.0.*up to 1"):
        deployment.live(OLD)

    after = {target: len(log) for target, log in broker.topics.items() if target.topic != "in"}
    assert after == {target: size for target, size in before.items() if target.topic != "in"}
    assert broker.group == group
    deployment.live(NEW)
    assert counted_once(deployment.driver)


def test_a_barred_partition_is_left_alone_until_the_bar_is_gone(deployment: Deployment) -> None:
    """The worker says what the bar says."""
    deployment.live(OLD)
    deployment.driver.crash()

    def write(value: bytes | None) -> None:
        broker = deployment.driver.broker
        transaction = Transaction({}, [(BARRED_KEY, value)], {})
        broker.commit(0, broker.fence(0), transaction, Target("changelog", 0))

    write(orjson.dumps({"why": "its restore has not ended; run it again"}))
    with pytest.raises(StateBarred, match="partition 0: its restore has not ended; run it again"):
        deployment.live(OLD)
    write(None)
    deployment.live(OLD)
    assert counted_once(deployment.driver)


def test_a_form_that_could_not_be_read_is_never_written() -> None:
    """A mistake in a release shows at its start."""
    with pytest.raises(ValueError, match="format 3"):
        Formats(frozenset({1, 2}), 3)


def test_a_local_state_of_another_origin_is_thrown_away(deployment: Deployment) -> None:
    """Topics are made anew from a backup under the same name: the position of a local state lies
    within the new changelog, and would leave out what stands before it."""
    deployment.live(OLD)
    deployment.live(OLD)
    driver = deployment.driver
    driver.crash()
    broker = driver.broker
    for number in range(2):
        target = Target("changelog", number)
        pairs = sorted(driver._stores[number].data.items())
        # On the disk is a state that went another way since the backup.
        driver._stores[number].data.update({key: b"900" for key, _ in pairs if key[:1] == b"n"})
        broker.topics[target] = []
        broker.append(target, ORIGIN_KEY, b"a-backup")
        for key, value in pairs:
            broker.append(target, key, value)
        for _ in range(50):
            broker.append(target, b"other", b"1")
            broker.append(target, b"other", None)
    deployment.live(OLD)
    assert counted_once(driver)
