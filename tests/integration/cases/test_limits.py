"""Limits that hold over all workers: a budget (case 25) and a member's cap (case 26)."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from .conftest import Deploy
from .deployment import at, now_ms

SHANGHAI = ZoneInfo("Asia/Shanghai")


def spend(**fields: Any) -> dict[str, Any]:
    rule = {"id": "spend", "kind": "spend", "points": 1, "per_minor": 100, **fields}
    return {"id": "campaign", "version": 1, "rules": [rule]}


@pytest.mark.case(25)
def test_a_budget_over_two_workers_that_are_killed(deploy: Deploy) -> None:
    """Case 25: 40 members in 4 partitions want 2,400 of 1,000; both workers die in the middle."""
    club = deploy(
        {
            "budgets": [{"id": "autumn", "points": 1_000}],
            "rule_sets": [spend(budget="autumn")],
        },
        workers=2,
        partitions=4,
    )
    members = [f"m{number}" for number in range(40)]
    body = {"type": "order.paid", "currency": "CNY", "paid_minor": 1_500}
    orders = [
        body
        | {"event_id": name, "order_id": name, "member_id": member, "occurred_at": at(now_ms())}
        for number in range(4)
        for member in members
        for name in [f"{member}-{number}"]
    ]

    club.publish(orders[:60])
    club.workers[0].kill()
    club.publish(orders[60:])
    club.workers[1].kill()
    club.publish(orders[::7])
    club.start()
    club.settle()
    assert sum(entry["amount"] for entry in club.entries()) == 1_000

    # Nothing is left: who comes late is told so, and what comes again asks for nothing.
    club.order("late", 120, "m0")
    club.publish(orders)
    club.settle()

    entries = club.entries()
    assert sum(entry["amount"] for entry in entries) == 1_000
    assert Counter(entry["order_id"] for entry in entries) == dict.fromkeys(
        [order["order_id"] for order in orders] + ["late"], 1
    )
    assert {entry["campaign_id"] for entry in entries} == {"autumn"}
    assert all(entry.get("due", entry["amount"]) in (15, 120) for entry in entries)
    # 66 orders got all of their 15, one the last 10.
    (part,) = [entry for entry in entries if 0 < entry["amount"] < 15]
    assert (part["amount"], part["due"]) == (10, 15)
    (late,) = [entry for entry in entries if entry["order_id"] == "late"]
    assert (late["amount"], late["due"]) == (0, 120)


@pytest.mark.case(26)
def test_a_daily_cap_over_two_workers_that_are_killed(deploy: Deploy) -> None:
    """Case 26: 30 and 30 under a cap of 50 give 30 and 20; the next local day starts anew."""
    club = deploy({"rule_sets": [spend(cap={"day": 50})]}, workers=2, partitions=4)
    members = [f"m{number}" for number in range(8)]

    for member in members:
        club.order(f"{member}-a", 30, member, occurred_ms=noon(2))
        club.order(f"{member}-b", 30, member, occurred_ms=noon(2))
    club.workers[0].kill()
    for member in members:
        club.order(f"{member}-c", 30, member, occurred_ms=noon(1))
        club.order(f"{member}-a", 30, member, occurred_ms=noon(2))
    club.workers[1].kill()
    club.start()
    club.settle()

    for member in members:
        assert [(e["amount"], e.get("due")) for e in club.entries(member)] == [
            (30, None),
            (20, 30),
            (30, None),
        ]


def noon(days_ago: int) -> int:
    """Noon in Shanghai, so many local days ago; ms since the epoch."""
    today = datetime.fromtimestamp(now_ms() / 1000, SHANGHAI).replace(
        hour=12, minute=0, second=0, microsecond=0
    )
    return int((today - timedelta(days=days_ago)).timestamp() * 1000)
