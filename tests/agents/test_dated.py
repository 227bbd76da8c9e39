"""What a programme does to everybody at a date, through the whole job and its crashes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pointstream.agents import processor
from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.outputs import Reminder
from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary
from pointstream.ledger import Ledger
from pointstream.rules import compile_programme

DAY_MS = 86_400_000
START_MS = 1_767_225_600_000
MEMBERS = 90
PROGRAMME = compile_programme(
    Programme.model_validate(
        {
            "id": "dated",
            "wallets": [
                {
                    "id": "points",
                    "expiry": {"kind": "sliding", "days": 40},
                    "remind_before": ["P7D"],
                }
            ],
            "rule_sets": [
                {
                    "id": "all",
                    "version": 1,
                    "rules": [{"id": "spend", "kind": "spend", "points": 1, "per_minor": 100}],
                }
            ],
            "clear_outs": [
                {
                    "id": "dormant",
                    "at": rfc3339(START_MS + 20 * DAY_MS),
                    "condition": {"max_balance": 60},
                    "remind_before": ["P3D"],
                }
            ],
            "expiry_migrations": [{"id": "again", "at": rfc3339(START_MS + 10 * DAY_MS)}],
        }
    )
)


@pytest.fixture
def runner() -> Any:
    with asyncio.Runner() as runner:
        yield runner


def driver_of(runner: Any) -> EngineTestDriver:
    driver = EngineTestDriver(
        lambda partition: PointsProcessor(Ledger(PROGRAMME), partitions=2),
        inputs=[f"points.{suffix}" for suffix in INPUTS],
        ticks=f"points.{TICKS}",
        partitions=2,
        runner=runner,
    )
    driver.tick(START_MS)
    for number in range(MEMBERS):
        member = f"m{number}"
        body = {
            "event_id": f"e{number}",
            "type": "order.paid",
            "member_id": member,
            "occurred_at": rfc3339(START_MS),
            "order_id": f"o{number}",
            "currency": "CNY",
            "paid_minor": (number + 1) * 100,
        }
        driver.send("points.orders", member.encode(), orjson.dumps(body))
    assert driver.run()
    return driver


def bodies(driver: EngineTestDriver, topic: str) -> list[Any]:
    return [orjson.loads(record.value or b"") for record in driver.outputs(topic)]


@pytest.mark.parametrize("lose_state", [False, True])
@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_every_account_is_met_once_whatever_crashes(
    runner: Any, monkeypatch: pytest.MonkeyPatch, place: Boundary | CommitFate, lose_state: bool
) -> None:
    """Walks of many transactions, with a crash in each: outputs and state as without any."""
    whole = driver_of(runner)
    whole.tick(START_MS + 80 * DAY_MS)
    assert whole.run()

    monkeypatch.setattr(processor, "_TIMERS_PER_BATCH", 3)
    driver = driver_of(runner)
    driver.tick(START_MS + 80 * DAY_MS)
    driver.crash()  # some places are passed by a new owner only
    crashes = 0
    driver.crash_at(place, after=crashes)
    while not driver.run():
        crashes += 1
        if lose_state:
            driver.lose_state()
        if crashes < 12:
            driver.crash_at(place, after=crashes)

    assert crashes
    for topic in ("points.balance-changes", "points.reminders"):
        assert bodies(driver, topic) == bodies(whole, topic)
    assert driver.state_hash() == whole.state_hash()
    entries = bodies(driver, "points.balance-changes")
    cleared = [e["amount"] for e in entries if e["cause_type"] == "programme.clear_out"]
    assert sorted(cleared) == list(range(1, 61))
    expired = [e["amount"] for e in entries if e["type"] == "points.expired"]
    assert sorted(expired) == list(range(61, 91))
    # The migration on the tenth day began the whole span anew.
    assert {e["occurred_at"] for e in entries if e["type"] == "points.expired"} == {
        rfc3339(START_MS + 50 * DAY_MS)
    }
    reminders = bodies(driver, "points.reminders")
    for reminder in reminders:
        Reminder.model_validate(reminder)
    assert len({r["event_id"] for r in reminders}) == len(reminders) == 60 + 30
    standings = bodies(driver, "points.crm-sync")
    assert {s["available"] for s in standings[-MEMBERS:]} >= {0}
