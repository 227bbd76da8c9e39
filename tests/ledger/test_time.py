"""Scoring by event time, activation, expiry, and timers that were due while nobody looked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme, rule

from pointstream.contracts.wire import epoch_ms, rfc3339
from pointstream.ledger import Outcome


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def wallet(**expiry: object) -> dict[str, object]:
    return {"id": "points", "expiry": expiry}


@pytest.mark.case(5)
def test_order_dated_inside_a_finished_promotion_is_scored_with_it() -> None:
    """What counts is when it was paid; its end is exclusive to the millisecond."""
    double = rule(
        "spend",
        id="double",
        per_minor=100,
        effective_from="2026-03-07T00:00:00+08:00",
        effective_to="2026-03-09T00:00:00+08:00",
    )
    bench = Bench(programme(SPEND, double), now_ms=at("2026-04-01T00:00:00+08:00"))

    bench.order("inside", 100, occurred_ms=at("2026-03-08T23:59:59.999+08:00"))
    bench.order("after", 100, occurred_ms=at("2026-03-09T00:00:00+08:00"))
    bench.order("before", 100, occurred_ms=at("2026-03-06T23:59:59.999+08:00"))
    bench.order("first", 100, occurred_ms=at("2026-03-07T00:00:00+08:00"))

    assert [(e["order_id"], e["rule_id"]) for e in bench.entries] == [
        ("inside", "spend"),
        ("inside", "double"),
        ("after", "spend"),
        ("before", "spend"),
        ("first", "spend"),
        ("first", "double"),
    ]


@pytest.mark.case(16)
def test_spending_takes_what_expires_first() -> None:
    """100 expire on day 30, 50 on day 60; 100 spent on day 10 leave 50 on day 31."""
    bench = Bench(programme(wallets=[wallet(days=30)]))
    bench.order("a", 100)
    bench.later(5)
    bench.order("b", 50)
    bench.later(5)

    bench.redeem(100)
    bench.later(21)

    assert bench.available() == 50
    assert not bench.moved("expired")


def test_spending_order_among_equal_expiries_is_by_age_then_id() -> None:
    """Two orders of one month expire together: the older goes first, in whichever order told."""
    bench = Bench(
        programme(wallets=[wallet(days=30, end_of="month"), {"id": "growth", "spendable": False}])
    )
    bench.order("young", 10, occurred_ms=START_MS - 1_000)
    bench.order("old", 10, occurred_ms=START_MS - 2_000)

    (entry,) = bench.redeem(15).entries

    by_lot = {e["lots"][0]["lot_id"]: e["order_id"] for e in bench.entries[:2]}
    assert [(by_lot[lot["lot_id"]], lot["delta"]) for lot in entry["lots"]] == [
        ("old", -10),
        ("young", -5),
    ]


@pytest.mark.case(17)
@pytest.mark.parametrize(
    ("zone", "expires_at"),
    [("Asia/Shanghai", "2026-05-01T16:00:00Z"), ("America/New_York", "2026-05-01T04:00:00Z")],
)
def test_one_month_to_the_end_of_the_local_day(zone: str, expires_at: str) -> None:
    """The same instant is another day in another zone, so it expires at another end of day."""
    earned_ms = at("2026-03-31T16:30:00Z")
    compiled = programme(time_zone=zone, wallets=[wallet(months=1, end_of="day")])
    bench = Bench(compiled, now_ms=earned_ms)
    bench.order("a", 100)
    expires_ms = at(expires_at)

    bench.tick(expires_ms - 1)
    assert bench.available() == 100
    (decision,) = bench.tick(expires_ms)

    assert decision.outcome is Outcome.POINTS_MOVED_BY_TIME
    assert bench.available() == 0
    assert bench.wallet().expired == 100


@pytest.mark.case(18)
@pytest.mark.parametrize(
    ("earned_at", "months", "end_of", "last_at"),
    [
        ("2026-01-31T12:00:00+08:00", 1, "day", "2026-02-28T23:59:59.999+08:00"),
        ("2028-01-31T12:00:00+08:00", 1, "day", "2028-02-29T23:59:59.999+08:00"),
        ("2028-02-29T12:00:00+08:00", 12, "none", "2029-02-28T11:59:59.999+08:00"),
    ],
)
def test_a_month_without_that_day_ends_on_its_last(
    earned_at: str, months: int, end_of: str, last_at: str
) -> None:
    """Spendable through the last day there is, gone with the next millisecond."""
    last_ms = at(last_at)
    for asked_ms, outcome in (
        (last_ms, Outcome.POINTS_REDEEMED),
        (last_ms + 1, Outcome.INSUFFICIENT_POINTS),
    ):
        bench = Bench(
            programme(wallets=[wallet(months=months, end_of=end_of)]), now_ms=at(earned_at)
        )
        bench.order("a", 100)
        bench.tick(asked_ms)

        assert bench.redeem(100).outcome is outcome


@pytest.mark.case(18)
@pytest.mark.parametrize(
    ("earned", "months", "over"),
    [
        ("2026-01-31T12:00+08:00", 1, "2026-03-01T00:00+08:00"),
        ("2028-01-31T12:00+08:00", 1, "2028-03-01T00:00+08:00"),
        ("2028-02-29T12:00+08:00", 12, "2029-03-01T00:00+08:00"),
    ],
)
def test_a_day_the_month_does_not_have_is_its_last(earned: str, months: int, over: str) -> None:
    """Spendable to the end of 28 or 29 February, and gone as March begins."""
    compiled = programme(wallets=[wallet(months=months, end_of="day")])
    bench = Bench(compiled, now_ms=at(earned))
    (entry,) = bench.order("a", 100).entries
    assert entry["lots"][0]["expires_at"] == rfc3339(at(over))

    bench.tick(at(over) - 1)
    assert bench.available() == 100
    bench.tick(at(over))

    assert bench.moved("expired") == [100]


@pytest.mark.case(19)
def test_a_lot_is_spendable_until_just_before_it_expires() -> None:
    """One millisecond before: accepted. At expires_at: rejected."""
    for early_ms, outcome in ((1, Outcome.POINTS_REDEEMED), (0, Outcome.INSUFFICIENT_POINTS)):
        bench = Bench(programme(wallets=[wallet(days=30)]))
        bench.order("a", 100)
        bench.now_ms += 30 * DAY_MS - early_ms

        assert bench.redeem(100).outcome is outcome


@pytest.mark.case(19)
def test_command_dated_ahead_of_partition_time_finds_what_is_left_by_then() -> None:
    """A clock that runs a little ahead must not spend what is gone at its own time."""
    bench = Bench(programme(wallets=[wallet(days=30)]))
    bench.order("a", 100)
    bench.later(1)
    b = bench.order("b", 40).entries[0]["lots"][0]["lot_id"]
    expires_ms = START_MS + 30 * DAY_MS
    bench.tick(expires_ms - 60_000)

    assert bench.redeem(41, occurred_ms=expires_ms).outcome is Outcome.INSUFFICIENT_POINTS
    (entry,) = bench.redeem(40, occurred_ms=expires_ms).entries
    assert [(lot["lot_id"], lot["delta"]) for lot in entry["lots"]] == [(b, -40)]
    assert bench.redeem(100, occurred_ms=expires_ms - 1).outcome is Outcome.POINTS_REDEEMED


def by_member(bench: Bench) -> list[Any]:
    """The entries in the order of each member; between members of two partitions there is none."""
    return sorted(bench.entries, key=lambda entry: (entry["member_id"], entry["seq"]))


@pytest.mark.case(20)
def test_timers_missed_over_three_midnights_ring_as_if_nobody_had_slept() -> None:
    """One late tick makes the same entries, byte for byte, as a tick every ten minutes."""
    benches = []
    for step_ms in (600_000, 4 * DAY_MS):
        bench = Bench(programme(wallets=[wallet(days=2, end_of="day")]), batch=7)
        for number in range(12):
            bench.order(f"o{number}", 10 + number, member=f"m{number % 3}")
            bench.now_ms += DAY_MS // 8
        while bench.now_ms < START_MS + 7 * DAY_MS:
            bench.tick(min(bench.now_ms + step_ms, START_MS + 7 * DAY_MS))
        benches.append(bench)

    watched, slept = benches
    assert len([e for e in slept.entries if e["type"] == "points.expired"]) > 3
    assert by_member(slept) == by_member(watched)
    assert slept.books() == watched.books()


def test_pending_points_activate_when_their_time_has_come() -> None:
    """They are shown pending at first, then move to what can be spent, and expire later."""
    bench = Bench(
        programme(
            wallets=[
                {
                    "id": "points",
                    "activation": {"after": "P7D", "end_of": "day"},
                    "expiry": {"days": 30},
                }
            ]
        ),
        now_ms=START_MS + 1_000,
    )
    (pending,) = bench.order("a", 100).entries
    assert (pending["type"], pending["delta"], pending["pending_after"]) == (
        "points.pending",
        0,
        100,
    )
    assert bench.redeem(1).outcome is Outcome.INSUFFICIENT_POINTS

    bench.tick(START_MS + 8 * DAY_MS - 1)
    assert bench.available() == 0
    bench.tick(START_MS + 8 * DAY_MS)

    assert bench.entries[-1]["type"] == "points.activated"
    assert bench.entries[-1]["recorded_at"] == "2026-03-09T16:00:00.000Z"
    assert bench.available() == 100
    bench.later(40)
    assert (bench.available(), bench.wallet().expired) == (0, 100)


def test_late_order_whose_points_are_over_already_earns_and_loses_them_at_once() -> None:
    """It earned by the rules of its time and lost by them; both can be seen, nothing be spent."""
    bench = Bench(programme(wallets=[wallet(days=10)]))
    decision = bench.order("a", 100, occurred_ms=START_MS - 20 * DAY_MS)

    earned, expired = decision.entries
    assert [earned["type"], expired["type"]] == ["points.earned", "points.expired"]
    assert [earned["amount"], expired["amount"]] == [100, 100]
    assert {entry["available_after"] for entry in decision.entries} == {0}
    assert expired["occurred_at"] == "2026-02-19T16:00:00.000Z"
    assert earned["lots"][0]["lot_id"] == expired["lots"][0]["lot_id"]
    assert bench.standings[-1].crm_sync["next_expiry_points"] == 0
    # Gone is gone: a refund asks for nothing more (case 13).
    bench.order("b", 70)
    assert not bench.refund("a", "r", 100).entries
    assert bench.available() == 70


@pytest.mark.parametrize(("after", "age_days"), [("P0D", 20), ("P12D", 3)])
def test_points_that_are_over_pay_no_debt(after: str, age_days: int) -> None:
    """Neither those of a late order nor those that are over when they would become active."""
    bench = Bench(programme(refund_policy="debt", wallets=[wallet(days=10)]))
    bench.order("a", 80)
    bench.redeem(80)
    bench.refund("a", "r", 80)
    bench.programme = programme(
        refund_policy="debt", wallets=[{**wallet(days=10), "activation": {"after": after}}]
    )
    bench.restart()

    bench.order("old", 80, occurred_ms=bench.now_ms - age_days * DAY_MS)
    bench.later(20)

    totals = bench.wallet()
    assert (totals.debt, totals.expired, totals.available, totals.pending) == (80, 80, 0, 0)
    assert bench.moved("expired") == [80]


def test_order_dated_a_little_ahead_is_spendable_at_once() -> None:
    """A till's clock runs a second ahead: no wallet waits for that, unless it has a delay."""
    bench = Bench()

    (entry,) = bench.order("a", 100, occurred_ms=bench.now_ms + 1_000).entries

    assert (entry["type"], entry["available_after"]) == ("points.earned", 100)
    assert bench.redeem(60).outcome is Outcome.POINTS_REDEEMED
    bench.cancel("a")
    assert bench.wallet().reversed == 40


def test_standing_names_the_next_points_to_expire() -> None:
    """Its sum follows earning, spending and expiry, over more expiry times than are kept."""
    bench = Bench(programme(wallets=[wallet(days=10)]))
    for number in range(7):
        bench.order(f"o{number}", 10)
        bench.order(f"p{number}", number + 1)
        bench.later(1)

    def next_expiry() -> tuple[str, int]:
        crm = bench.standings[-1].crm_sync
        assert crm["next_expiry_at"] == bench.standings[-1].mall_sync["next_expiry_at"]
        return crm["next_expiry_at"], crm["next_expiry_points"]

    assert next_expiry() == ("2026-03-11T16:00:00.000Z", 11)
    bench.redeem(5)
    assert next_expiry() == ("2026-03-11T16:00:00.000Z", 6)
    bench.redeem(6 + 12 + 13 + 14 + 1)
    assert next_expiry() == ("2026-03-15T16:00:00.000Z", 14)
    bench.tick(START_MS + 15 * DAY_MS)
    assert next_expiry() == ("2026-03-17T16:00:00.000Z", 17)


def test_partition_time_never_goes_back() -> None:
    """An older record is taken at the time that was reached, also after a restart."""
    bench = Bench()
    bench.later(5)
    bench.restart()
    bench.now_ms -= DAY_MS
    (entry,) = bench.order("a", 1).entries

    assert entry["recorded_at"] == "2026-03-06T16:00:00.000Z"
    assert entry["occurred_at"] == "2026-03-05T16:00:00.000Z"
