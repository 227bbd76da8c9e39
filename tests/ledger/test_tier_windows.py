"""What counts towards a tier: everything on its own local day, as long as that is in the window."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, Bench, programme, rule
from tiers_support import GROWTH, LIFETIME, TO_GROWTH, at, changes, crm, ladder, tier, with_ladder

from pointstream.ledger.state import days_prefix, prefix_stop

ROLLING = {"kind": "rolling", "days": 30}
YEAR = {"kind": "calendar", "unit": "year"}


def days_kept(bench: Bench, ladder_id: str = "status") -> int:
    """How many days of a rolling window have keys of their own."""
    bench.flush()
    prefix = days_prefix(b"m1", ladder_id)
    return len(list(bench.state.scan(prefix, prefix_stop(prefix))))


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_a_day_counts_until_it_leaves_the_window(zone: str) -> None:
    """30 days, today included: what was earned late on 1 March counts to the end of 30 March, in
    the programme's time zone, over its change of the clocks too."""
    offset = "+08:00" if zone == "Asia/Shanghai" else "-05:00"
    after = "+08:00" if zone == "Asia/Shanghai" else "-04:00"
    bench = Bench(
        with_ladder(window=ROLLING, grace="P0D", time_zone=zone),
        now_ms=at(f"2026-03-01T23:59:59{offset}"),
    )
    bench.order("o1", 999)
    bench.later(ms=1_000)

    bench.tick(at(f"2026-03-30T23:59:59{after}"))
    assert crm(bench)["next_tier_missing"] == 1
    bench.later(ms=1_000)

    assert crm(bench)["next_tier_missing"] == 1_000


def test_a_window_of_months_ends_on_the_same_date_or_the_last_of_the_month() -> None:
    """Of 31 January, one month: to the end of 27 February, as of the 28th, 29th and 30th."""
    window = {"kind": "rolling", "months": 1}
    bench = Bench(with_ladder(window=window), now_ms=at("2026-01-27T12:00:00+08:00"))
    for number in range(5):
        bench.order(f"o{number}", 100)
        bench.later(1)

    seen: list[tuple[str, int]] = []
    for day in ("2026-02-26", "2026-02-27", "2026-02-28"):
        bench.tick(at(f"{day}T00:00:00+08:00"))
        seen.append((day[-2:], 1_000 - crm(bench)["next_tier_missing"]))

    assert seen == [("26", 500), ("27", 400), ("28", 0)]


def test_a_tier_falls_when_the_window_has_moved_on() -> None:
    """At the review after the grace, and not at all if enough was earned meanwhile."""
    bench = Bench(with_ladder(window=ROLLING, grace="P7D"), now_ms=at("2026-03-01T12:00:00+08:00"))
    bench.order("o1", 600)
    bench.later(10)
    bench.order("o2", 400)
    bench.tick(at("2026-03-31T00:00:00+08:00"))
    assert crm(bench)["tier_until"] == "2026-04-06T16:00:00.000Z"

    bench.tick(at("2026-04-07T00:00:00+08:00") - 1)
    assert crm(bench)["tier"] == "gold"
    bench.later(ms=1)

    assert crm(bench)["tier"] == "member"
    assert bench.tier_changes[-1]["observed"] == 400
    assert bench.tier_changes[-1]["occurred_at"] == "2026-04-06T16:00:00.000Z"


def test_what_left_the_window_leaves_nothing_behind() -> None:
    """A day has a key as long as it counts; the latest one is in the account."""
    bench = Bench(with_ladder(window=ROLLING))
    for number in range(100):
        bench.order(f"o{number}", 10)
        bench.later(1)

    assert 28 <= days_kept(bench) <= 30
    assert bench.account().tiers["status"].amount == 290
    bench.later(30)

    assert days_kept(bench) == 0
    assert bench.account().tiers["status"].amount == 0
    assert bench.account().timer_ms == 0


def test_many_events_of_one_day_read_and_write_no_day() -> None:
    """The day that goes on is kept in the account."""
    bench = Bench(with_ladder(window=ROLLING))

    for number in range(50):
        bench.order(f"o{number}", 1)

    assert days_kept(bench) == 0
    assert bench.account().tiers["status"].amount == 50


def test_a_calendar_window_takes_the_better_of_two_periods() -> None:
    """What last year gave holds through this year; what is missing counts from this year alone."""
    bench = Bench(with_ladder(window=YEAR, grace="P0D"), now_ms=at("2026-12-31T23:59:59+08:00"))
    bench.order("o1", 1_000)
    bench.later(ms=1_000)
    bench.order("o2", 900)

    assert crm(bench)["tier"] == "gold"
    bench.tick(at("2028-01-01T00:00:00+08:00") - 1)
    assert changes(bench)[1:] == []
    bench.later(ms=1)

    assert changes(bench)[1:] == [("downgrade", "gold", "member")]
    assert bench.tier_changes[-1]["observed"] == 900
    assert crm(bench)["next_tier_missing"] == 1_000


@pytest.mark.parametrize(
    ("unit", "last", "first"),
    [
        ("month", "2026-04-30T23:59:59", "2026-05-01T00:00:00"),
        ("quarter", "2026-06-30T23:59:59", "2026-07-01T00:00:00"),
        ("year", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
    ],
)
def test_a_period_begins_at_local_midnight(unit: str, last: str, first: str) -> None:
    """Earned a second before and a second after: in two periods."""
    window = {"kind": "calendar", "unit": unit}
    bench = Bench(with_ladder(window=window), now_ms=at(f"{last}+08:00"))
    bench.order("o1", 600)
    bench.tick(at(f"{first}+08:00"))
    assert crm(bench)["next_tier_missing"] == 1_000
    bench.order("o2", 600)

    assert changes(bench) == []
    assert crm(bench)["next_tier_missing"] == 400


def test_money_is_what_was_paid_less_what_was_refunded() -> None:
    """Whatever points the rules gave for it; a cancellation takes off the rest."""
    by_money = with_ladder(
        tier("gold", 100_000), qualified_by="money", rules=[rule("check_in", points=1)]
    )
    bench = Bench(by_money)
    bench.order("o1", 600)
    bench.refund("o1", "r1", 200)
    assert crm(bench)["next_tier_missing"] == 60_000
    bench.order("o2", 600)
    assert changes(bench) == [("upgrade", "member", "gold")]
    assert (bench.tier_changes[0]["qualified_by"], bench.tier_changes[0]["observed"]) == (
        "money",
        100_000,
    )

    bench.cancel("o1")
    bench.refund("o1", "r2", 100)

    assert bench.account().tiers["status"].amount == 60_000


def test_a_refund_takes_off_what_the_order_earned_spent_or_not() -> None:
    """What the member spent is no reason to count a returned order."""
    bench = Bench(with_ladder())
    bench.order("o1", 1_000)
    bench.redeem(1_000)

    bench.refund("o1", "r1", 400)
    assert bench.account().tiers["status"].amount == 600
    bench.refund("o1", "r2", 600)

    assert bench.account().tiers["status"].amount == 0


def test_a_refund_takes_off_what_has_expired_too() -> None:
    """Its points are gone by age; the order is returned all the same."""
    bench = Bench(with_ladder(wallets=[{"id": "points", "expiry": {"days": 10}}]))
    bench.order("o1", 1_000)
    bench.later(11)

    bench.cancel("o1")

    assert bench.moved("reversed") == []
    assert bench.account().tiers["status"].amount == 0


def test_a_refund_counts_on_the_day_of_its_order() -> None:
    """So the day is even again, and when it leaves the window nothing changes."""
    bench = Bench(with_ladder(window=ROLLING))
    bench.order("o1", 500)
    bench.later(5)
    bench.order("o2", 500)
    bench.cancel("o1")

    assert bench.account().tiers["status"].amount == 500
    bench.later(26)
    assert bench.account().tiers["status"].amount == 500
    bench.later(5)
    assert bench.account().tiers["status"].amount == 0


def test_pending_points_count_from_when_they_are_active_on_the_day_they_were_earned() -> None:
    """Refunded before, they never do."""
    pending = [{"id": "points", "activation": {"after": "P10D"}}]
    bench = Bench(with_ladder(window=ROLLING, wallets=pending))
    bench.order("o1", 600)
    bench.order("o2", 600)
    bench.refund("o2", "r1", 200)
    assert bench.account().tiers["status"].amount == 0

    bench.later(10)
    assert changes(bench) == [("upgrade", "member", "gold")]
    assert bench.account().tiers["status"].amount == 1_000
    bench.refund("o2", "r2", 100)
    assert bench.account().tiers["status"].amount == 900
    bench.later(20)

    assert bench.account().tiers["status"].amount == 0


def test_what_a_frozen_account_keeps_counts_when_it_is_unfrozen() -> None:
    """The answer comes first, then the tier."""
    bench = Bench(with_ladder())
    bench.freeze()
    bench.order("o1", 1_000)
    assert changes(bench) == []

    bench.unfreeze()

    assert changes(bench) == [("upgrade", "member", "gold")]


def test_a_late_event_counts_on_its_own_day() -> None:
    """It may lift the member now; it leaves the window with its day; too old, it counts nothing."""
    bench = Bench(with_ladder(window=ROLLING, grace="P0D"))
    bench.later(40)
    bench.order("o1", 600)
    bench.order("o2", 600, occurred_ms=bench.now_ms - 20 * DAY_MS)
    bench.order("o3", 5_000, occurred_ms=bench.now_ms - 30 * DAY_MS)

    assert bench.account().tiers["status"].amount == 1_200
    assert changes(bench) == [("upgrade", "member", "gold")]
    bench.later(10)
    assert bench.account().tiers["status"].amount == 600


def test_the_order_of_arrival_makes_no_difference_to_what_is_measured() -> None:
    """Days that come one by one, backwards, or mixed, with refunds between."""
    days = (3, 1, 4, 1, 5, 2, 0)
    kept: list[Any] = []
    for order in (days, tuple(reversed(days)), tuple(sorted(days))):
        bench = Bench(with_ladder(window=ROLLING))
        bench.later(10)
        for number, day in enumerate(order):
            moment = bench.now_ms - day * DAY_MS
            bench.order(f"o{day}-{order[:number].count(day)}", 100 + day, occurred_ms=moment)
        bench.refund("o3-0", "r1", 50)
        seen = []
        for _ in range(32):
            seen.append(bench.account().tiers["status"].amount)
            bench.later(1)
        kept.append(seen)

    assert kept[0] == kept[1] == kept[2]
    assert kept[0][0] == 7 * 100 + sum(days) - 50
    assert kept[0][-1] == 0


def test_a_late_event_of_last_year_counts_for_last_year() -> None:
    """It lifts the member now; an event of two years ago does nothing."""
    bench = Bench(with_ladder(window=YEAR), now_ms=at("2027-01-02T12:00:00+08:00"))
    bench.order("o1", 5_000, occurred_ms=at("2025-12-31T23:59:59+08:00"))
    assert changes(bench) == []

    bench.order("o2", 1_000, occurred_ms=at("2026-12-31T23:59:59+08:00"))

    assert changes(bench) == [("upgrade", "member", "gold")]
    assert crm(bench)["tier_since"] == "2027-01-02T04:00:00.000Z"


def test_an_event_dated_ahead_into_the_next_year_is_not_lost() -> None:
    """A publisher's clock runs two minutes ahead, over New Year."""
    bench = Bench(with_ladder(window=YEAR), now_ms=at("2026-12-31T23:59:00+08:00"))
    bench.order("o1", 500)
    bench.order("o2", 700, occurred_ms=bench.now_ms + 120_000)
    assert changes(bench) == []
    bench.later(1)

    assert crm(bench)["next_tier_missing"] == 300


def test_growth_is_put_right_by_adjusting_and_spendable_points_are_not() -> None:
    """A wallet that cannot be spent from is nothing but a measure; a gift of points is a gift."""
    bench = Bench(with_ladder(qualified_by="growth", rules=[SPEND, TO_GROWTH]))
    bench.adjust(1_000)
    assert changes(bench) == []

    bench.adjust(1_000, wallet="growth")
    assert changes(bench) == [("upgrade", "member", "gold")]
    bench.adjust(-300, wallet="growth")

    assert bench.account().tiers["status"].amount == 700


def test_ladders_stand_side_by_side() -> None:
    """One by growth over a year, one by money for life: each for itself."""
    compiled = programme(
        TO_GROWTH,
        wallets=[{"id": "points"}, GROWTH],
        ladders=[
            ladder(qualified_by="growth", window=YEAR),
            {
                "id": "spenders",
                "qualified_by": "money",
                "window": LIFETIME,
                "tiers": [tier("guest", 0), tier("regular", 50_000), tier("big", 500_000)],
            },
        ],
    )
    bench = Bench(compiled)

    bench.order("o1", 600)
    assert [(c["ladder"], c["to_tier"]) for c in bench.tier_changes] == [("spenders", "regular")]
    bench.order("o2", 600)

    assert crm(bench)["tier"] == "gold"
    assert crm(bench)["tiers"] == [
        {
            "ladder": "spenders",
            "tier": "regular",
            "tier_since": "2026-03-01T16:00:00.000Z",
            "tier_until": None,
            "services": [],
            "next_tier": "big",
            "next_tier_missing": 380_000,
        }
    ]


def test_a_ladder_counts_from_when_there_is_one() -> None:
    """Orders from before are in no amount, so their refunds take nothing off."""
    bench = Bench(programme())
    bench.order("o1", 1_000)
    bench.later(1)

    bench.programme = with_ladder()
    bench.restart()
    bench.order("o2", 300)
    bench.cancel("o1")

    assert bench.account().tiers["status"].amount == 300


def test_points_that_a_budget_granted_count_when_it_has_answered() -> None:
    """And a refund takes them off again, though the order came before anything was measured."""
    limited = rule("spend", points=1, per_minor=100, budget="autumn")
    compiled = programme(
        limited,
        budgets=[{"id": "autumn", "points": 700}],
        wallets=[{"id": "points"}],
        ladders=[ladder()],
    )

    class Slow(Bench):
        """Messages take a second."""

        def deliver(self) -> None:
            self.now_ms += 1_000
            super().deliver()

    bench = Slow(compiled)
    bench.order("o1", 1_000)
    assert bench.account().tiers["status"].amount == 700

    bench.refund("o1", "r1", 500)
    assert bench.account().tiers["status"].amount == 500
    bench.cancel("o1")

    assert bench.account().tiers["status"].amount == 0


def test_a_day_of_which_nothing_is_left_has_no_key() -> None:
    """A late order that is cancelled leaves no trace in the window."""
    bench = Bench(with_ladder(window=ROLLING))
    bench.order("o1", 100)
    bench.order("o2", 100, occurred_ms=bench.now_ms - 2 * DAY_MS)
    assert days_kept(bench) == 1

    bench.cancel("o2")

    assert days_kept(bench) == 0
    assert bench.account().tiers["status"].amount == 100


def test_points_that_were_never_available_never_count() -> None:
    """They expire before they become active; so a refund has nothing to take off either."""
    wallets = [{"id": "points", "activation": {"after": "P20D"}, "expiry": {"days": 10}}]
    bench = Bench(with_ladder(wallets=wallets))
    bench.later(40)
    bench.order("o1", 2_000, occurred_ms=bench.now_ms - 30 * DAY_MS)
    bench.order("o2", 2_000)
    bench.later(20)

    bench.cancel("o1")
    bench.cancel("o2")

    assert bench.moved("expired") == [2_000, 2_000]
    assert changes(bench) == []
    assert bench.account().tiers["status"].amount == 0


def test_adjusting_points_that_can_be_spent_does_not_count() -> None:
    """Goodwill is no turnover."""
    bench = Bench(with_ladder())
    bench.order("o1", 500)

    bench.adjust(1_000)
    bench.adjust(-700)

    assert bench.account().tiers["status"].amount == 500
