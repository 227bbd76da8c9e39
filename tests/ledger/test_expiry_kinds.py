"""Expiry that goes by the calendar, and expiry that slides with what the member does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme, rule

from pointstream.contracts.wire import epoch_ms, rfc3339
from pointstream.ledger import Outcome
from pointstream.rules import CompiledProgramme


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def wallet(**expiry: Any) -> dict[str, Any]:
    return {"id": "points", "expiry": expiry}


def sliding(days: int = 10, *rules: dict[str, Any], **settings: Any) -> CompiledProgramme:
    return programme(*rules, wallets=[wallet(kind="sliding", days=days)], **settings)


def day(number: float) -> int:
    return START_MS + round(number * DAY_MS)


def expiry_told(bench: Bench) -> tuple[str | None, int]:
    """What the latest standing says of the next expiry."""
    bench.flush()
    crm = bench.standings[-1].crm_sync
    assert crm["next_expiry_at"] == bench.standings[-1].mall_sync["next_expiry_at"]
    return crm["next_expiry_at"], crm["next_expiry_points"]


@pytest.mark.parametrize(
    ("zone", "end"),
    [("Asia/Shanghai", "2027-04-01T00:00+08:00"), ("America/New_York", "2027-04-01T00:00-04:00")],
)
def test_what_was_earned_in_a_year_dies_together(zone: str, end: str) -> None:
    """Three months after the local year, whenever in it the points were earned."""
    compiled = programme(time_zone=zone, wallets=[wallet(kind="calendar", period="year", months=3)])
    bench = Bench(compiled)
    for month in range(3, 13):
        bench.tick(at(f"2026-{month:02}-20T12:00+08:00"))
        bench.order(f"o{month}", 10)
    bench.tick(at("2027-01-02T12:00+08:00"))
    bench.order("next year", 7)

    assert expiry_told(bench) == (rfc3339(at(end)), 100)
    bench.tick(at(end) - 1)
    assert bench.available() == 107
    bench.tick(at(end))

    assert bench.available() == 7
    assert bench.entries[-1]["recorded_at"] == rfc3339(at(end))


def test_every_activity_moves_the_end_of_all_sliding_points() -> None:
    """Old and new lots end together, so many days after the member was last seen."""
    bench = Bench(sliding(10, SPEND, rule("check_in", points=1)))
    bench.order("a", 100)
    bench.tick(day(9))
    bench.check_in()
    assert expiry_told(bench) == (rfc3339(day(19)), 101)
    bench.tick(day(18))
    (entry,) = bench.redeem(30).entries
    assert entry["lots"][0]["expires_at"] == rfc3339(day(28))

    bench.tick(day(28) - 1)
    assert bench.available() == 71
    (decision,) = bench.tick(day(28))

    (entry,) = decision.entries
    assert (entry["type"], entry["amount"]) == ("points.expired", 71)
    assert {lot["expires_at"] for lot in entry["lots"]} == {rfc3339(day(28))}
    assert entry["occurred_at"] == rfc3339(day(28))
    assert expiry_told(bench) == (None, 0)


@pytest.mark.parametrize(
    "act",
    [
        lambda bench: bench.order("b", 1),
        lambda bench: bench.redeem(1),
        lambda bench: bench.hold("h", 1),
        lambda bench: bench.check_in(),
        lambda bench: bench.refund("a", "r", 1),
        lambda bench: bench.give("referral.registered", referee_id="m9"),
        lambda bench: bench.give("activity.recorded", activity="review.posted", reference="x"),
    ],
)
def test_what_counts_as_activity(act: Any) -> None:
    """All that shows in last_activity_at, also where it earns nothing."""
    bench = Bench(sliding(10))
    bench.order("a", 100)
    bench.tick(day(9))
    act(bench)

    bench.tick(day(18))

    assert bench.wallet().expired == 0
    assert bench.standings[-1].crm_sync["last_activity_at"] == rfc3339(day(9))
    bench.tick(day(19))
    assert bench.available() == 0


@pytest.mark.parametrize(
    "act",
    [
        lambda bench: bench.redeem(1_000),
        lambda bench: bench.adjust(-1),
        lambda bench: bench.freeze(),
        lambda bench: bench.give("member.updated", segments=["x"]),
    ],
)
def test_what_is_no_activity_moves_nothing(act: Any) -> None:
    """A rejected command, and what others do about the member."""
    bench = Bench(sliding(10))
    bench.order("a", 100)
    bench.tick(day(9))
    act(bench)

    bench.tick(day(10))

    assert bench.available() == 0


def test_points_given_by_hand_live_the_whole_span() -> None:
    """To a member who has been away for long, or was never there."""
    bench = Bench(sliding(10))
    bench.adjust(50)
    assert expiry_told(bench) == (rfc3339(day(10)), 50)
    bench.tick(day(10))
    assert bench.available() == 0
    bench.tick(day(30))

    (entry,) = bench.adjust(20).entries

    assert entry["lots"][0]["expires_at"] == rfc3339(day(40))
    bench.tick(day(40) - 1)
    (entry,) = bench.clear().entries
    assert entry["lots"] == [
        {"lot_id": entry["lots"][0]["lot_id"], "delta": -20, "expires_at": rfc3339(day(40))}
    ]
    assert bench.adjust(5, occurred_ms=day(20)).outcome is Outcome.EXPIRY_IN_THE_PAST


def test_late_order_of_an_absent_member_earns_and_loses_its_points() -> None:
    """Had it come in time, they would be gone by now; a later activity would have kept them."""
    late = Bench(sliding(10), now_ms=day(30))
    earned, expired = late.order("a", 100, occurred_ms=day(1)).entries
    assert [earned["type"], expired["type"]] == ["points.earned", "points.expired"]
    assert expired["occurred_at"] == rfc3339(day(11))
    assert not late.refund("a", "r", 100, occurred_ms=day(2)).entries

    present = Bench(sliding(10), now_ms=day(30))
    present.order("b", 1)
    present.order("a", 100, occurred_ms=day(1))
    assert present.available() == 101


@pytest.mark.case(19)
def test_command_at_the_sliding_end_finds_nothing() -> None:
    """One millisecond before it is accepted, and moves the end; dated ahead it comes too late."""
    for early_ms, outcome in ((1, Outcome.POINTS_REDEEMED), (0, Outcome.INSUFFICIENT_POINTS)):
        for ahead_ms in (0, 60_000):
            bench = Bench(sliding(10))
            bench.order("a", 100)
            bench.now_ms = day(10) - early_ms - ahead_ms
            assert bench.redeem(1, occurred_ms=day(10) - early_ms).outcome is outcome


@pytest.mark.case(21)
def test_new_policy_leaves_lots_as_they_were_made() -> None:
    """Sliding ones slide on by their own span, fixed ones stay; new lots follow the new policy."""
    bench = Bench(programme(wallets=[wallet(days=40)]))
    bench.order("fixed", 1)
    for compiled in (sliding(10), sliding(20), programme(wallets=[wallet()])):
        bench.programme = compiled
        bench.restart()
        bench.order(f"o{id(compiled)}", 10)
    bench.tick(day(5))
    bench.give("activity.recorded", activity="seen", reference="1")

    bench.tick(day(15) - 1)
    assert bench.available() == 31
    bench.tick(day(15))
    assert bench.available() == 21
    bench.tick(day(25))
    assert bench.available() == 11
    bench.tick(day(40))
    assert bench.available() == 10
    assert bench.redeem(10).outcome is Outcome.POINTS_REDEEMED
    assert bench.moved("expired") == [10, 10, 1]


def test_points_with_a_fixed_end_are_spent_before_sliding_ones() -> None:
    """A fixed end comes for sure; then those that slide, then those that never expire."""
    bench = Bench()
    orders = []
    for order, compiled in (
        ("never", programme()),
        ("sliding", sliding(10)),
        ("fixed", programme(wallets=[wallet(days=40)])),
    ):
        bench.programme = compiled
        bench.restart()
        (entry,) = bench.order(order, 10).entries
        orders.append((entry["lots"][0]["lot_id"], order))

    (entry,) = bench.redeem(25).entries

    named = dict(orders)
    assert [named[lot["lot_id"]] for lot in entry["lots"]] == ["fixed", "sliding", "never"]
    assert "expires_at" not in entry["lots"][2]


@pytest.mark.case(13)
def test_refund_after_the_sliding_end_asks_for_nothing() -> None:
    """The points expired in the order's own lot."""
    bench = Bench(sliding(10))
    bench.order("a", 100)
    bench.tick(day(10))
    bench.order("b", 70)

    assert not bench.refund("a", "r", 100).entries
    assert bench.available() == 70


@pytest.mark.case(11)
def test_refund_finds_the_orders_own_sliding_lot() -> None:
    """Whatever activity has moved its end."""
    bench = Bench(sliding(10))
    a = bench.order("a", 100).entries[0]["lots"][0]["lot_id"]
    b = bench.order("b", 50).entries[0]["lots"][0]["lot_id"]
    bench.tick(day(8))
    bench.refund("b", "r", 50)
    bench.tick(day(16))

    assert bench.lots() == {a: 100}
    assert bench.wallet().reversed == 50
    assert b not in bench.lots()


@pytest.mark.case(12)
def test_points_that_paid_come_back_into_their_sliding_lot() -> None:
    """Returning the purchase is an activity: they live on from there."""
    bench = Bench(sliding(10, rule("spend", points=1, per_minor=1_000_000)))
    bench.adjust(100)
    lots = bench.lots()
    bench.redeem(100, order_id="a")
    bench.order("a", 30)
    bench.tick(day(25))

    bench.refund("a", "r", 30)

    assert bench.lots() == lots
    assert expiry_told(bench) == (rfc3339(day(35)), 100)
    bench.tick(day(35))
    assert (bench.available(), bench.wallet().expired) == (0, 100)


@pytest.mark.case(22)
def test_held_points_whose_sliding_end_has_come() -> None:
    """Captured they are spent; freed by time they expire at once, with what else has come back."""
    for capture in (True, False):
        bench = Bench(sliding(10))
        bench.order("a", 100)
        bench.hold("h", 60, expires_at=rfc3339(day(12)))
        bench.tick(day(11))
        assert (bench.available(), bench.wallet().expired) == (0, 40)
        if capture:
            assert bench.capture("h").outcome is Outcome.POINTS_CAPTURED
        bench.tick(day(13))
        totals = bench.wallet()
        assert (totals.held, totals.available) == (0, 0)
        assert (totals.redeemed, totals.expired) == ((60, 40) if capture else (0, 100))


@pytest.mark.case(31)
def test_frozen_account_loses_sliding_points_that_nothing_keeps_alive() -> None:
    """What it keeps pending goes when it is unfrozen, if its end has come by then."""
    pending = {**wallet(kind="sliding", days=10), "activation": {"after": "P5D"}}
    bench = Bench(programme(wallets=[pending]))
    bench.order("a", 100)
    bench.freeze()
    bench.tick(day(20))
    assert bench.wallet().pending == 100

    bench.unfreeze()

    totals = bench.wallet()
    assert (totals.pending, totals.available, totals.expired) == (0, 0, 100)


def test_points_over_before_they_become_active_pay_no_debt() -> None:
    """A sliding end before the activation: never a balance."""
    pending = {**wallet(kind="sliding", days=10), "activation": {"after": "P15D"}}
    bench = Bench(programme(refund_policy="debt"))
    bench.order("a", 80)
    bench.redeem(80)
    bench.refund("a", "r", 80)
    bench.programme = programme(refund_policy="debt", wallets=[pending])
    bench.restart()
    (entry,) = bench.order("b", 50).entries
    assert entry["lots"][0]["expires_at"] == rfc3339(day(10))

    bench.tick(day(30))

    totals = bench.wallet()
    assert (totals.debt, totals.expired, totals.available, totals.pending) == (80, 50, 0, 0)


def test_points_over_before_they_become_active_count_for_no_tier() -> None:
    """So their refund takes nothing off what has counted."""
    pending = {**wallet(kind="sliding", days=10), "activation": {"after": "P15D"}}
    club = {
        "id": "club",
        "qualified_by": "points",
        "window": {"kind": "lifetime"},
        "downgrade": "by_balance",
        "tiers": [{"id": "basic", "threshold": 0}, {"id": "gold", "threshold": 100}],
    }
    bench = Bench(programme(wallets=[pending], ladders=[club]))
    bench.order("a", 80)
    bench.tick(day(20))
    assert bench.wallet().expired == 80
    bench.programme = programme(ladders=[club])
    bench.restart()
    bench.order("b", 100)
    bench.refund("a", "r", 80)
    bench.later(400)

    assert [c["to_tier"] for c in bench.tier_changes] == ["gold"]
    assert bench.standings[-1].crm_sync["tier"] == "gold"


def test_transferred_points_keep_the_end_they_had() -> None:
    """What the recipient does moves it no more; back with the sender they slide again."""
    bench = Bench(sliding(10, transfers={"enabled": True}))
    bench.order("a", 100)
    bench.order("b", 1, member="m2")
    bench.tick(day(5))
    transfer = {"points": 60, "to_member_id": "m2"}
    bench.command("points.transfer", **transfer)
    bench.command("points.transfer", **{**transfer, "points": 40, "to_member_id": "nobody"})
    bench.tick(day(14))
    bench.order("c", 1, member="m2")
    bench.order("d", 1)

    bench.tick(day(16))

    assert bench.available("m2") == 1
    assert bench.wallet("m2").expired == 1 + 60
    assert bench.available() == 41


@pytest.mark.case(20)
@pytest.mark.parametrize("batch", [1, 3, 1_000])
def test_sliding_ends_missed_while_nobody_looked_are_told_at_their_time(batch: int) -> None:
    """One late tick makes what a tick every hour makes, in batches of any size, with restarts."""
    benches = []
    for size, step_ms in ((1, 3_600_000), (batch, 40 * DAY_MS)):
        zone = "America/New_York"
        compiled = programme(
            time_zone=zone,
            wallets=[wallet(kind="sliding", days=3, end_of="day")],
        )
        bench = Bench(compiled, batch=size, now_ms=at("2026-03-01T12:00-05:00"))
        for number in range(30):
            member = f"m{number % 4}"
            bench.order(f"o{number}", 10 + number, member=member)
            if number % 3 == 0:
                bench.redeem(5, member=member)
            bench.now_ms += (number % 4) * DAY_MS
            if number == 15:
                bench.flush()
                bench.restart()
        end_ms = bench.now_ms + 5 * DAY_MS
        while bench.now_ms < end_ms:
            bench.tick(min(bench.now_ms + step_ms, end_ms))
        benches.append(bench)

    watched, slept = benches
    assert len(slept.moved("expired")) > 4
    assert slept.entries == watched.entries
    assert slept.books() == watched.books()
    told = {e["recorded_at"] for e in slept.entries if e["type"] == "points.expired"}
    # Midnights of New York, before and after the clocks were changed.
    assert {text[10:] for text in told} == {"T05:00:00.000Z", "T04:00:00.000Z"}


def test_activity_costs_the_same_however_many_sliding_lots_there_are() -> None:
    """Moving the end of all lots touches none of them."""
    written: list[set[bytes]] = []
    for lots in (1, 200):
        bench = Bench(sliding(10))
        for number in range(lots):
            bench.order(f"o{number}", 10)
        before = dict(bench.state.values)
        bench.later(1)
        bench.give("activity.recorded", activity="seen", reference="1")
        written.append({k[:1] for k, v in bench.state.values.items() if before.get(k) != v})
    assert written[0] == written[1]
    assert b"l" not in written[1]
