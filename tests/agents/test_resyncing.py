"""Standings sent again by all partitions, with a crash at every place between two effects."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest

from pointstream.agents import processor
from pointstream.contracts.outputs import CommandResult
from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary

from .conftest import NewDriver

START_MS = 1_767_225_600_000
PARTITIONS = 3
MEMBERS = [f"m{number:03}" for number in range(120)]
COMMANDS = "points.commands"


@pytest.fixture
def runner() -> Any:
    with asyncio.Runner() as runner:
        yield runner


def club(new_driver: NewDriver, runner: Any) -> EngineTestDriver:
    """Members with a hundred points each, every second one at home in one shop."""
    driver = new_driver(partitions=PARTITIONS, runner=runner)
    driver.tick(START_MS)
    for number, member in enumerate(MEMBERS):
        order = {
            "event_id": f"o-{member}",
            "type": "order.paid",
            "member_id": member,
            "occurred_at": rfc3339(START_MS),
            "order_id": f"o-{member}",
            "currency": "CNY",
            "paid_minor": 10_000,
        }
        home = {
            "event_id": f"h-{member}",
            "type": "member.registered",
            "member_id": member,
            "occurred_at": rfc3339(START_MS),
            "home_store_id": f"s{number % 2}",
        }
        driver.send("points.orders", member.encode(), orjson.dumps(order))
        driver.send("points.members", member.encode(), orjson.dumps(home))
    while not settled(driver):
        assert driver.run()
    return driver


def ask(driver: EngineTestDriver, type_: str, name: str, **fields: Any) -> None:
    body = {
        "event_id": f"r-{name}",
        "type": type_,
        "member_id": name,
        "occurred_at": rfc3339(START_MS),
        "actor": {"id": "ops", "role": "head_office"},
        "reason": "rows were lost",
        **fields,
    }
    driver.send(COMMANDS, name.encode(), orjson.dumps(body))


def settled(driver: EngineTestDriver) -> bool:
    return not driver.lag()


def latest(driver: EngineTestDriver, topic: str) -> dict[bytes | None, bytes | None]:
    return {record.key: record.value for record in driver.outputs(topic)}


def answers(driver: EngineTestDriver) -> list[dict[str, Any]]:
    told = [
        orjson.loads(record.value or b"") for record in driver.outputs("points.command-results")
    ]
    for answer in told:
        CommandResult.model_validate(answer)
    return told


@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_all_are_sent_again_once_whatever_crashes(
    new_driver: NewDriver, runner: Any, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    """Every standing exactly once more, the same bytes and headers; one answer with their number;
    the ledger says nothing."""
    driver = club(new_driver, runner)
    before = {t: latest(driver, t) for t in ("points.crm-sync", "points.mall-sync")}
    counts = {t: Counter(r.key for r in driver.outputs(t)) for t in before}
    entries = len(driver.outputs("points.balance-changes"))
    monkeypatch.setattr(processor, "_TIMERS_PER_BATCH", 1)

    ask(driver, "accounts.resync", "all")
    crashes, at_ms = 0, START_MS
    driver.crash()  # some places are passed by a new owner only
    driver.crash_at(place, after=crashes)
    for _ in range(60):
        if driver.run():
            at_ms += 100
            driver.tick(at_ms)
            continue
        crashes += 1
        driver.lose_state()
        if crashes < 10:
            driver.crash_at(place, after=crashes)

    assert crashes
    (answer,) = answers(driver)
    assert (answer["outcome"], answer["resent"]) == ("accepted", len(MEMBERS))
    for topic, standings in before.items():
        assert latest(driver, topic) == standings
        told = Counter(record.key for record in driver.outputs(topic))
        assert set((told - counts[topic]).values()) == {1}
        assert len(told - counts[topic]) == len(MEMBERS)
    assert len(driver.outputs("points.balance-changes")) == entries
    left = [key for partition in range(PARTITIONS) for key in driver.state(partition)]
    assert not [key for key in left if key[:1] == b"1"]


def test_one_member_and_one_shop(new_driver: NewDriver, runner: Any) -> None:
    """The member's owner alone; of the shop its own members, wherever they are."""
    driver = club(new_driver, runner)
    before = len(driver.outputs("points.crm-sync"))

    ask(driver, "account.resync", "m007")
    assert driver.run()
    assert [r.key for r in driver.outputs("points.crm-sync")].count(b"m007") >= 2
    assert len(driver.outputs("points.crm-sync")) == before + 1
    # Its id, too: readers are told to drop no standing by it.
    *_, known, again = (r for r in driver.outputs("points.crm-sync") if r.key == b"m007")
    assert "ce_id" in dict(again.headers)
    assert (again.value, again.headers) == (known.value, known.headers)

    ask(driver, "accounts.resync", "shop", home_store_id="s1")
    for step in range(10):
        assert driver.run()
        driver.tick(START_MS + 100 * step)
    sent = len(driver.outputs("points.crm-sync")) - before - 1
    assert [answer["resent"] for answer in answers(driver)] == [1, 60]
    assert sent == 60
