"""Rule sets over all partitions: one owner decides, all apply, with crashes between the steps."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary
from pointstream.ledger.state import TOLD_RULE_SETS_START, TOLD_RULE_SETS_STOP

from .recorded import inputs_of, replay
from .recorded import new_driver as recorded_driver

NOW_MS = 1_772_380_800_000
PARTITIONS = 4
CRASHES = [*Boundary, *CommitFate]
SECOND_MS = 1_000


def rule_set(version: int, **fields: Any) -> dict[str, Any]:
    """A rule set beside the programme's: 100 points per 1.00, and the version's number on top."""
    rule = {"id": "hot", "kind": "spend", "points": 100 + version, "per_minor": 100}
    return {"id": "hot", "version": version, "rules": [rule], **fields}


def publish(driver: EngineTestDriver, content: dict[str, Any], at_ms: int = NOW_MS) -> None:
    body = {
        "event_id": f"v{content['version']}",
        "type": "ruleset.published",
        "occurred_at": rfc3339(at_ms),
        "ruleset_id": content["id"],
        "ruleset": content,
    }
    driver.send("points.rules", content["id"].encode(), orjson.dumps(body), timestamp_ms=at_ms)


def order(driver: EngineTestDriver, number: int, occurred_ms: int, at_ms: int) -> None:
    body = {
        "event_id": f"e{number}",
        "type": "order.paid",
        "member_id": f"m{number % 40}",
        "occurred_at": rfc3339(occurred_ms),
        "order_id": f"o{number}",
        "currency": "CNY",
        "paid_minor": 100,
    }
    key = f"m{number % 40}".encode()
    driver.send("points.orders", key, orjson.dumps(body), timestamp_ms=at_ms)


def settle(driver: EngineTestDriver) -> None:
    """Run until nothing is under way."""
    for _ in range(200):
        driver.run()
        if not driver.lag():
            return
    raise AssertionError("something is under way for ever")


def awards(driver: EngineTestDriver) -> dict[str, int]:
    """By order, the version of the published rule set that paid for it; each paid once."""
    found: dict[str, int] = {}
    for record in driver.outputs("points.balance-changes"):
        entry = orjson.loads(record.value)
        if entry.get("rule_id") == "hot":
            assert entry["order_id"] not in found, "scored by two versions, or twice"
            assert entry["amount"] == 100 + entry["rule_version"]
            found[entry["order_id"]] = entry["rule_version"]
    return found


def told(driver: EngineTestDriver) -> list[list[bytes]]:
    """What each partition keeps of published rule sets."""
    return [
        [
            key + value
            for key, value in sorted(driver.state(partition).items())
            if TOLD_RULE_SETS_START <= key < TOLD_RULE_SETS_STOP
        ]
        for partition in range(PARTITIONS)
    ]


@pytest.mark.parametrize("batch_records", [1, 7, 1000])
@pytest.mark.parametrize("crash", [None, *CRASHES])
def test_versions_published_ahead_hold_from_one_moment_whoever_dies_when(
    new_driver, batch_records: int, crash: Boundary | CommitFate | None
) -> None:
    """Given three versions some seconds ahead and a withdrawal, among orders of all times, then
    each order has the version of its own moment, once."""
    driver = new_driver(partitions=PARTITIONS, batch_records=batch_records)
    driver.tick(NOW_MS)
    spans = {version: NOW_MS + version * 10 * SECOND_MS for version in (1, 2, 3)}
    for version, from_ms in spans.items():
        publish(driver, rule_set(version, effective_from=rfc3339(from_ms)))
    died = 0

    def run() -> None:
        nonlocal died
        while driver.lag():
            if crash is not None and died < 25:
                driver.crash()
                driver.crash_at(crash, after=died % PARTITIONS)
            died += not driver.run()

    run()
    expected: dict[str, int] = {}
    for number in range(120):
        occurred_ms = NOW_MS + (number * 7_919) % 45_000
        order(driver, number, occurred_ms, NOW_MS + 45 * SECOND_MS)
        holding = [version for version, from_ms in spans.items() if from_ms <= occurred_ms]
        if holding:
            expected[f"o{number}"] = max(holding)
    run()
    withdrawn_ms = NOW_MS + 60 * SECOND_MS
    driver.send("points.rules", b"hot", None, timestamp_ms=withdrawn_ms)
    run()
    for number in range(120, 160):
        occurred_ms = withdrawn_ms + (number % 2) * SECOND_MS - 1
        order(driver, number, occurred_ms, withdrawn_ms + 5 * SECOND_MS)
        if occurred_ms < withdrawn_ms:
            expected[f"o{number}"] = 3
    run()

    assert died or crash is None
    assert awards(driver) == expected
    one, *others = told(driver)
    assert len(one) == 4
    assert all(other == one for other in others)


WRONG: list[bytes | None] = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"type":"ruleset.published"}',
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b" " * 300_000,
    None,
]


def test_a_broken_rule_set_of_every_kind_stops_nothing(new_driver) -> None:
    """Given all that can be wrong, when orders follow, then they earn by the rule set that was
    there, and each wrong record is a dead letter."""
    driver = new_driver(partitions=PARTITIONS)
    driver.tick(NOW_MS)
    publish(driver, rule_set(1))
    settle(driver)
    good = rule_set(2)
    rule = good["rules"][0]
    wrong: list[dict[str, Any]] = [
        {**good, "version": 0},
        {**good, "version": 1},
        {**good, "version": 2**31},
        {**good, "version": 2**70},
        {**good, "version": "2"},
        {**good, "rules": []},
        {**good, "rules": [rule, rule]},
        {**good, "rules": [{**rule, "kind": "gift"}]},
        {**good, "rules": [{**rule, "points": 0}]},
        {**good, "rules": [{**rule, "points": 1.5}]},
        {**good, "rules": [{**rule, "per_minor": 0}]},
        {**good, "rules": [{**rule, "pionts": 2}]},
        {**good, "rules": [{**rule, "wallet": "no-such"}]},
        {**good, "rules": [{**rule, "budget": "no-such"}]},
        {**good, "caps": [{"id": "c", "day": 5, "rules": ["no-such"]}]},
        {**good, "effective_from": "yesterday"},
        {**good, "effective_from": "2026-01-01T00:00:00"},
        {**good, "effective_from": rfc3339(NOW_MS), "effective_to": rfc3339(NOW_MS)},
        {**good, "id": "Hot!"},
        {**good, "id": "cold"},
    ]
    for number, content in enumerate(wrong):
        body = {
            "event_id": f"w{number}",
            "type": "ruleset.published",
            "occurred_at": rfc3339(NOW_MS),
            "ruleset_id": "Hot!" if content["id"] == "Hot!" else "hot",
            "ruleset": content,
        }
        value = b'{"event_id":' if number == 3 else _dumps(body)
        driver.send("points.rules", body["ruleset_id"].encode(), value)
    for value in WRONG[:-1]:
        driver.send("points.rules", b"hot", value)
    driver.send("points.rules", None, None)
    driver.send("points.rules", b"\xff", None)
    driver.send("points.rules", b"no\0thing", None)
    driver.send("points.rules", b"no-such", None)
    settle(driver)
    order(driver, 1, NOW_MS, NOW_MS)
    settle(driver)

    assert awards(driver) == {"o1": 1}
    letters = driver.outputs("points.dead-letters")
    assert len(letters) == len(wrong) + len(WRONG) - 1 + 3
    codes = [dict(letter.headers)["points.error.code"].decode() for letter in letters]
    assert codes.count("ruleset_invalid") == 3
    assert set(codes) == {
        "ruleset_invalid",
        "schema_invalid",
        "not_json",
        "too_large",
        "unknown_type",
        "key_missing",
        "key_mismatch",
    }


def _dumps(body: Any) -> bytes:
    # orjson refuses numbers that others write.
    import json

    return json.dumps(body).encode()


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=200) | st.none())
def test_no_bytes_on_the_topic_stop_a_partition(key: bytes, value: bytes | None) -> None:
    """Whatever is written there."""
    driver = recorded_driver(PARTITIONS, 7)
    driver.tick(NOW_MS)
    driver.send("points.rules", key, value)
    settle(driver)
    assert driver.lag() == 0
    driver.close()


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_replay_applies_each_version_at_its_recorded_place(batch: int) -> None:
    """Given versions that hold at once, published among orders, then a replay of each partition in
    its recorded order makes the same state, though some orders missed a version."""
    driver = recorded_driver(PARTITIONS, 5)
    driver.tick(NOW_MS)
    number = 0
    for version in range(1, 6):
        at_ms = NOW_MS + version * SECOND_MS
        publish(driver, rule_set(version), at_ms)
        for _ in range(30):
            order(driver, number, at_ms, at_ms)
            number += 1
        driver.run()
    driver.send("points.rules", b"hot", None, timestamp_ms=NOW_MS + 9 * SECOND_MS)
    settle(driver)
    assert len(awards(driver)) > 100

    for partition in range(PARTITIONS):
        made = replay(inputs_of(driver, partition), partition, PARTITIONS, batch)
        assert made.state == driver.state(partition)
    driver.close()
