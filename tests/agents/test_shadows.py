"""Candidates in shadow over all partitions: each difference told once, whoever dies when."""

from typing import Any

import orjson
import pytest

from pointstream.contracts.outputs import ShadowDiff
from pointstream.contracts.shadows import shadow_key
from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary

from .recorded import inputs_of, replay
from .recorded import new_driver as recorded_driver

NOW_MS = 1_772_380_800_000
PARTITIONS = 2
SECOND_MS = 1_000
DIFFS = "points.shadow-diffs"


def publish(driver: EngineTestDriver, points: int, at_ms: int) -> None:
    """Publish a candidate that would give so many points for each order."""
    content: dict[str, Any] = {
        "id": "bonus",
        "version": 1,
        "rules": [{"id": "bonus", "kind": "order_bonus", "points": points}],
    }
    body = {
        "event_id": f"candidate-{points}",
        "type": "ruleset.published",
        "occurred_at": rfc3339(at_ms),
        "ruleset_id": shadow_key("bonus"),
        "shadow": True,
        "ruleset": content,
    }
    key = shadow_key("bonus").encode()
    driver.send("points.rules", key, orjson.dumps(body), timestamp_ms=at_ms)


def order(driver: EngineTestDriver, number: int, at_ms: int) -> None:
    member = f"m{number % 9}"
    body = {
        "event_id": f"e{number}",
        "type": "order.paid",
        "member_id": member,
        "occurred_at": rfc3339(at_ms),
        "order_id": f"o{number}",
        "currency": "CNY",
        "paid_minor": 1_000,
    }
    driver.send("points.orders", member.encode(), orjson.dumps(body), timestamp_ms=at_ms)


def settle(driver: EngineTestDriver) -> None:
    for _ in range(100):
        driver.run()
        if not driver.lag():
            return
    raise AssertionError("something is under way for ever")


def run(driver: EngineTestDriver, crash: Boundary | CommitFate | None, *, shadow: bool) -> None:
    """A candidate, another draft of it and its withdrawal, with orders after each."""
    driver.tick(NOW_MS)
    for step, points in enumerate((5, 7, 0)):
        at_ms = NOW_MS + step * SECOND_MS
        if shadow and points:
            publish(driver, points, at_ms)
        elif shadow:
            key = shadow_key("bonus").encode()
            driver.send("points.rules", key, None, timestamp_ms=at_ms)
        settle(driver)
        for number in range(step * 20, step * 20 + 20):
            order(driver, number, at_ms)
        if crash is not None:
            driver.crash()
            driver.crash_at(crash, after=step % PARTITIONS)
        settle(driver)


def sent(driver: EngineTestDriver, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    return [(record.key, record.value) for record in driver.outputs(topic)]


@pytest.mark.parametrize("crash", [None, *Boundary, *CommitFate])
def test_each_difference_is_told_once_and_money_is_as_without(
    new_driver, crash: Boundary | CommitFate | None
) -> None:
    """Given two drafts of a candidate and its withdrawal, with crashes, then each order of their
    time has one record in its member's partition, and the ledger is that of a run without."""
    driver = new_driver(partitions=PARTITIONS, batch_records=6)
    run(driver, crash, shadow=True)
    without = new_driver(partitions=PARTITIONS, batch_records=6)
    run(without, None, shadow=False)

    told: dict[str, int] = {}
    for partition in range(PARTITIONS):
        for record in driver.broker.records(Target(DIFFS, partition)):
            diff = orjson.loads(record.value or b"")
            ShadowDiff.model_validate(diff)
            assert (record.key or b"").decode() == diff["member_id"]
            assert diff["cause_partition"] == partition
            assert diff["order_id"] not in told, "told twice"
            (bonus,) = (each for each in diff["awards"] if each["ruleset_id"] == "bonus")
            told[diff["order_id"]] = bonus["would_give"]
    assert told == {f"o{number}": 5 if number < 20 else 7 for number in range(40)}
    assert sent(driver, "points.balance-changes") == sent(without, "points.balance-changes")
    assert sent(driver, "points.dead-letters") == []


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_replay_tells_the_same_differences(batch: int) -> None:
    """Given a recorded run, when its partitions are replayed in batches of another size, then the
    records and the state are the same, byte for byte."""
    driver = recorded_driver(PARTITIONS, 5)
    run(driver, None, shadow=True)

    for partition in range(PARTITIONS):
        made = replay(inputs_of(driver, partition), partition, PARTITIONS, batch)
        target = Target(DIFFS, partition)
        committed = driver.broker.records(target)
        assert len(committed) > 10
        assert made.sent[target] == [(r.key, r.value, tuple(r.headers)) for r in committed]
        assert made.state == driver.state(partition)
    driver.close()
