"""When points become spendable: on fixed days, or when an activity says so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme, rule

from pointstream.contracts.wire import epoch_ms
from pointstream.ledger import Decision, Outcome


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def wallet(expiry: dict[str, Any] | None = None, **activation: Any) -> dict[str, Any]:
    return {"id": "points", "activation": activation, "expiry": expiry or {}}


def completing(*rules: dict[str, Any], expiry: dict[str, Any] | None = None, **more: Any) -> Bench:
    """Points of an order wait until it is completed."""
    settings = {key: more.pop(key) for key in ("refund_policy",) if key in more}
    waiting = wallet(expiry, on_activity="order.completed", **more)
    return Bench(programme(*rules, wallets=[waiting], **settings))


def complete(bench: Bench, order_id: str, **fields: Any) -> Decision:
    return bench.give("activity.recorded", activity="order.completed", reference=order_id, **fields)


def where(bench: Bench) -> tuple[int, int, int]:
    """Points available, pending and expired."""
    totals = bench.wallet()
    return totals.available, totals.pending, totals.expired


@pytest.mark.parametrize(
    ("zone", "active"),
    [("Asia/Shanghai", "2026-03-15T00:00+08:00"), ("America/New_York", "2026-03-15T00:00-04:00")],
)
def test_points_become_active_on_the_next_fixed_day(zone: str, active: str) -> None:
    """Earned on the 2nd, active as the 15th begins, local time, in each zone its own."""
    bench = Bench(programme(time_zone=zone, wallets=[wallet(on_days=[1, 15])]), now_ms=START_MS + 1)
    bench.order("a", 100)

    bench.tick(at(active) - 1)
    assert where(bench) == (0, 100, 0)
    bench.tick(at(active))

    assert where(bench) == (100, 0, 0)
    assert bench.entries[-1]["type"] == "points.activated"


def test_order_waits_for_its_completion_and_for_no_other() -> None:
    """The activity names the order; nothing needs to be earned by the activity itself."""
    bench = completing()
    bench.order("a", 100)
    bench.order("b", 50)
    bench.later(20)
    assert where(bench) == (0, 150, 0)

    decision = complete(bench, "b")

    assert decision.outcome is Outcome.ORDER_COMPLETED
    (entry,) = decision.entries
    assert (entry["type"], entry["amount"], entry["order_id"]) == ("points.activated", 50, "b")
    assert entry["cause_type"] == "activity.recorded"
    assert where(bench) == (50, 100, 0)
    assert complete(bench, "a", event_id="x").entries
    assert complete(bench, "a", event_id="x").outcome is Outcome.EVENT_ALREADY_TAKEN
    again = complete(bench, "a", event_id="y")
    assert (again.outcome, again.entries) == (Outcome.ACTIVITY_ALREADY_AWARDED, [])
    assert where(bench) == (150, 0, 0)


def test_completion_before_its_order_is_remembered() -> None:
    """Whichever of the two comes first, the points are active from the same moment."""
    early, late = completing(after="P2D"), completing(after="P2D")
    for bench, first in ((early, True), (late, False)):
        if first:
            complete(bench, "a", occurred_ms=START_MS + 60_000 - 1)
        bench.later(ms=60_000)
        bench.order("a", 100, occurred_ms=START_MS)
        if not first:
            complete(bench, "a", occurred_ms=START_MS + 60_000 - 1)
        bench.tick(START_MS + 2 * DAY_MS + 60_000 - 2)
        assert where(bench) == (0, 100, 0)
        bench.tick(START_MS + 2 * DAY_MS + 60_000 - 1)
        assert where(bench) == (100, 0, 0)
        bench.refund("a", "r", 40)
        assert where(bench) == (60, 0, 0)


def test_order_completed_long_before_it_arrives_is_spendable_at_once() -> None:
    """Without a further delay there is nothing to wait for."""
    bench = completing()
    complete(bench, "a")
    bench.later(3)

    (entry,) = bench.order("a", 100).entries

    assert entry["type"] == "points.earned"
    assert where(bench) == (100, 0, 0)


def test_points_activate_by_themselves_at_the_latest() -> None:
    """Thirty days after they were earned, completed or not; a completion never delays that."""
    bench = completing(after="P7D", at_latest="P30D")
    bench.order("a", 100)
    bench.order("b", 50)
    bench.later(25)
    complete(bench, "b")

    bench.tick(START_MS + 30 * DAY_MS - 1)
    assert where(bench) == (0, 150, 0)
    bench.tick(START_MS + 30 * DAY_MS)

    assert where(bench) == (150, 0, 0)
    assert [e["recorded_at"] for e in bench.entries if e["type"] == "points.activated"] == [
        "2026-03-31T16:00:00.000Z"
    ]


def test_points_never_completed_are_gone_at_their_expiry() -> None:
    """They were no balance at any time, and a refund asks for nothing more."""
    bench = completing(expiry={"days": 10})
    bench.order("a", 100)

    bench.tick(START_MS + 10 * DAY_MS)

    assert where(bench) == (0, 0, 100)
    assert not complete(bench, "a").entries
    assert not bench.refund("a", "r", 100).entries


def test_completion_just_before_the_expiry_activates_what_then_expires() -> None:
    """Told a millisecond before, dated long before: spendable for that millisecond."""
    bench = completing(expiry={"days": 10}, at_latest="P30D")
    bench.order("a", 100)
    bench.order("b", 100)
    bench.tick(START_MS + 10 * DAY_MS - 1)
    complete(bench, "b", occurred_ms=START_MS + DAY_MS)
    assert where(bench) == (100, 100, 0)
    bench.later(1)
    assert where(bench) == (0, 0, 200)


@pytest.mark.case(14)
@pytest.mark.parametrize("policy", ["only_pending", "within_balance", "debt"])
def test_refund_finds_the_lot_before_and_after_completion(policy: str) -> None:
    """The order's own lot, wherever it is: none of it is left, nobody owes anything."""
    for complete_first in (False, True):
        bench = completing(refund_policy=policy, after="P3D")
        bench.order("a", 100)
        bench.order("other", 70)
        if complete_first:
            complete(bench, "a")
            complete(bench, "other")
        bench.refund("a", "r1", 30)
        bench.refund("a", "r2", 70)
        bench.later(4)

        totals = bench.wallet()
        assert totals.available + totals.pending == 70
        assert (totals.reversed, totals.written_off, totals.debt) == (100, 0, 0)


@pytest.mark.case(31)
def test_frozen_account_keeps_completed_points_pending() -> None:
    """Unfrozen, it gets them; a refund meanwhile still finds them."""
    bench = completing()
    bench.order("a", 100)
    bench.freeze()
    assert complete(bench, "a").entries == []
    bench.refund("a", "r", 40)
    assert where(bench) == (0, 60, 0)

    bench.unfreeze()

    assert where(bench) == (60, 0, 0)


def test_points_without_an_order_do_not_wait_for_one() -> None:
    """A check-in into the same wallet follows the delay alone."""
    bench = completing(SPEND, rule("check_in", points=2))
    bench.order("a", 100)
    bench.check_in()

    assert where(bench) == (2, 100, 0)


def test_lots_wait_for_what_they_were_made_to_wait_for() -> None:
    """After the policy is dropped, the old order still waits, and its completion still counts."""
    bench = completing()
    bench.order("a", 100)
    bench.programme = programme()
    bench.restart()
    bench.order("b", 50)
    bench.later(5)
    assert where(bench) == (50, 100, 0)

    complete(bench, "a")

    assert where(bench) == (150, 0, 0)


def test_completion_activates_the_points_of_all_rules_and_earns_by_its_own() -> None:
    """Each award of the order has a lot of its own; the activity may have a rule as well."""
    bench = completing(
        SPEND,
        rule("order_bonus", points=20, min_minor=100),
        rule("activity", activity="order.completed", points=3),
    )
    bench.order("a", 100)

    decision = complete(bench, "a")

    assert decision.outcome is Outcome.POINTS_AWARDED
    assert [e["amount"] for e in decision.entries] == [3, 120]
    assert len(decision.entries[1]["lots"]) == 2
    assert where(bench) == (123, 0, 0)


@pytest.mark.parametrize("batch", [2, 50])
def test_batches_make_no_difference_to_completion(batch: int) -> None:
    """Batches of one and of many, with restarts: same entries, same state."""
    benches = []
    for size in (1, batch):
        bench = completing(expiry={"days": 30}, after="P1D", at_latest="P20D")
        bench.batch = size
        for number in range(20):
            order = f"o{number}"
            if number % 3 == 0:
                complete(bench, order)
            bench.order(order, 10 + number)
            bench.later(ms=3_600_000)
            if number % 3 == 1:
                complete(bench, order)
            if number % 4 == 0:
                bench.refund(order, f"r{number}", 5)
        bench.later(60)
        benches.append(bench)

    one, many = benches
    assert one.entries == many.entries
    assert one.books() == many.books()
    assert where(one)[:2] == (0, 0)
