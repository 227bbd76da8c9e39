"""Tiers through the whole job: whatever crashes, each change and each bonus is told once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.outputs import Reminder, TierChange
from pointstream.contracts.programme import Programme
from pointstream.engine import Record
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary
from pointstream.ledger import Ledger
from pointstream.rules.compile import compile_programme

NOW_MS = 1_767_225_600_000
DAY_MS = 86_400_000
PARTITIONS = 3
MEMBERS = [f"m{number}" for number in range(12)]

PROGRAMME = compile_programme(
    Programme.model_validate(
        {
            "id": "test",
            "ladders": [
                {
                    "id": "status",
                    "window": {"kind": "rolling", "days": 30},
                    "grace": "P7D",
                    "remind_before": ["P3D"],
                    "tiers": [
                        {"id": "member", "threshold": 0},
                        {"id": "silver", "threshold": 300, "bonus": {"points": 20}},
                        {
                            "id": "gold",
                            "threshold": 600,
                            "bonus": {"points": 50},
                            "benefits": {"multiplier": 1.5},
                        },
                    ],
                }
            ],
            "rule_sets": [
                {
                    "id": "all",
                    "version": 1,
                    "rules": [{"id": "spend", "kind": "spend", "points": 1, "per_minor": 100}],
                }
            ],
        }
    )
)


def new_driver() -> EngineTestDriver:
    return EngineTestDriver(
        lambda partition: PointsProcessor(Ledger(PROGRAMME), partitions=PARTITIONS),
        inputs=[f"points.{suffix}" for suffix in INPUTS],
        ticks=f"points.{TICKS}",
        partitions=PARTITIONS,
        batch_records=4,
    )


def publish(driver: EngineTestDriver) -> None:
    """Three weeks of orders, with refunds, then two months in which nobody buys."""

    def send(kind: str, member: str, day: int, **fields: Any) -> None:
        body = {
            "type": kind,
            "member_id": member,
            "occurred_at": f"2026-01-{day + 1:02d}T00:00:00Z",
            **fields,
        }
        driver.send(
            "points.orders",
            member.encode(),
            orjson.dumps(body),
            timestamp_ms=NOW_MS + day * DAY_MS,
        )

    for day in range(0, 21, 3):
        driver.tick(NOW_MS + day * DAY_MS)
        for number, member in enumerate(MEMBERS):
            order_id = f"o{day}"
            send(
                "order.paid",
                member,
                day,
                event_id=order_id,
                order_id=order_id,
                currency="CNY",
                paid_minor=2_000 * (number + 1),
            )
            if number % 3 == 0 and day:
                refund_id = f"r{day}"
                send(
                    "order.refunded",
                    member,
                    day,
                    event_id=refund_id,
                    refund_id=refund_id,
                    order_id=f"o{day - 3}",
                    refunded_minor=1_000,
                )
    for day in range(25, 80, 5):
        driver.tick(NOW_MS + day * DAY_MS)


def told(driver: EngineTestDriver, suffix: str) -> list[tuple[Any, ...]]:
    return [(r.key, r.value, r.headers) for r in driver.outputs(f"points.{suffix}")]


def bodies(records: list[Record]) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in records]


@pytest.fixture(scope="module")
def undisturbed() -> EngineTestDriver:
    driver = new_driver()
    publish(driver)
    assert driver.run()
    return driver


def test_changes_and_reminders_keep_the_contract(undisturbed: EngineTestDriver) -> None:
    """Up and down again, with a reminder of each end, and an id of its own for each."""
    records = undisturbed.outputs("points.tier-changes")
    changes = bodies(records)
    reminders = bodies(undisturbed.outputs("points.reminders"))
    for change in changes:
        TierChange.model_validate(change)
    for reminder in reminders:
        Reminder.model_validate(reminder)

    ids = [dict(record.headers)["ce_id"].decode() for record in records]
    assert ids == [change["event_id"] for change in changes]
    assert len(set(ids)) == len(ids)
    ups = Counter(c["member_id"] for c in changes if c["direction"] == "upgrade")
    assert len(ups) > 6
    ended = [c for c in changes if c["direction"] == "downgrade"]
    assert {(r["member_id"], r["due_at"]) for r in reminders} == {
        (c["member_id"], c["occurred_at"]) for c in ended
    }
    latest = {s["member_id"]: s["tier"] for s in bodies(undisturbed.outputs("points.crm-sync"))}
    assert set(latest.values()) == {"member"}


@pytest.mark.parametrize("place", [Boundary.PROCESSED, Boundary.COMMITTED, *CommitFate])
@pytest.mark.parametrize("after", [0, 9, 19, 29])
def test_a_crash_changes_nothing(
    undisturbed: EngineTestDriver, place: Boundary | CommitFate, after: int
) -> None:
    """Nor does a second one, with the local state lost: the same bytes come out."""
    driver = new_driver()
    publish(driver)

    driver.crash_at(place, after=after)
    assert not driver.run()
    driver.lose_state()
    driver.crash_at(place, after=3)
    assert not driver.run()
    assert driver.run()

    for suffix in ("tier-changes", "reminders", "balance-changes"):
        assert told(driver, suffix) == told(undisturbed, suffix), suffix
    assert driver.state_hash() == undisturbed.state_hash()
