"""Tiers are reached at once, kept while they are earned, and lost at a review only."""

from __future__ import annotations

import pytest
from ledger_support import Bench
from tiers_support import TO_GROWTH, at, changes, crm, tier, with_ladder

from pointstream.contracts.wire import rfc3339

UP = ("upgrade", "member", "gold")
DOWN = ("downgrade", "gold", "member")


# --- reaching a tier ------------------------------------------------------------------------------


def test_a_tier_is_reached_by_the_record_that_reaches_its_threshold() -> None:
    """Not by one point less; the change says what was measured, and the standings show it."""
    bench = Bench(with_ladder())

    bench.order("o1", 999)
    assert (changes(bench), crm(bench)["next_tier_missing"]) == ([], 1)
    bench.later(ms=5_000)
    bench.order("o2", 1)

    (change,) = bench.tier_changes
    assert changes(bench) == [UP]
    assert (change["ladder"], change["qualified_by"]) == ("status", "points")
    assert (change["observed"], change["threshold"]) == (1_000, 1_000)
    assert change["occurred_at"] == rfc3339(bench.now_ms)
    standing = bench.standings[-1]
    assert standing.crm_sync["tier"] == standing.mall_sync["tier"] == "gold"
    assert standing.crm_sync["tier_since"] == rfc3339(bench.now_ms)
    assert "next_tier" not in standing.crm_sync


def test_who_has_earned_nothing_has_the_first_tier() -> None:
    """Without a change that says so."""
    bench = Bench(with_ladder())

    bench.give("member.registered")

    assert crm(bench)["tier"] == "member"
    assert (crm(bench)["next_tier"], crm(bench)["next_tier_missing"]) == ("gold", 1_000)
    assert bench.tier_changes == []


def test_without_ladders_there_are_no_tiers() -> None:
    """And nothing is kept for them."""
    bench = Bench()

    bench.order("o1", 5_000)

    assert crm(bench)["tier"] is None
    assert "services" not in crm(bench)
    assert bench.account().tiers == {}


@pytest.mark.case(27)
def test_spending_does_not_lower_a_tier() -> None:
    """Earn 1,000, spend 900: still gold, at every review."""
    bench = Bench(with_ladder(window={"kind": "rolling", "days": 300}))
    bench.order("o1", 1_000)

    bench.redeem(900)
    bench.later(200)

    assert changes(bench) == [UP]
    assert crm(bench)["tier"] == "gold"


@pytest.mark.case(27)
def test_neither_expiry_nor_a_payment_for_an_order_lowers_a_tier() -> None:
    """Points that die of age or pay for something were earned all the same."""
    bench = Bench(with_ladder(wallets=[{"id": "points", "expiry": {"days": 10}}]))
    bench.order("o1", 1_000)
    bench.clear()
    bench.order("o2", 100)

    bench.later(30)

    assert bench.moved("expired") == [100]
    assert changes(bench) == [UP]


@pytest.mark.case(28)
@pytest.mark.parametrize("time", ["10:00:00", "23:59:50"])
def test_to_and_fro_at_the_threshold_is_one_change_and_one_bonus(time: str) -> None:
    """+1,000, -1, +1 within a minute, over midnight as well."""
    gold = tier("gold", 1_000, bonus={"points": 50})
    bench = Bench(with_ladder(gold), now_ms=at(f"2026-03-02T{time}+08:00"))

    bench.order("o1", 1_000)
    bench.later(ms=5_000)
    bench.refund("o1", "r1", 1)
    # The bonus counts as well, so go further below than it lifts.
    bench.refund("o1", "r2", 99)
    bench.later(ms=10_000)
    bench.order("o2", 100)
    bench.later(30)

    assert changes(bench) == [UP]
    assert [e["amount"] for e in bench.entries if e.get("reason") == "tier_bonus"] == [50]


@pytest.mark.case(28)
def test_to_and_fro_in_a_measure_that_the_bonus_does_not_count_in() -> None:
    """+1,000, -1, +1 of growth: one change, one bonus of points."""
    gold = tier("gold", 1_000, bonus={"points": 50})
    bench = Bench(with_ladder(gold, qualified_by="growth", rules=[TO_GROWTH]))

    bench.order("o1", 1_000)
    bench.later(ms=20_000)
    bench.refund("o1", "r1", 1)
    bench.later(ms=20_000)
    bench.order("o2", 1)
    bench.later(30)

    assert changes(bench) == [UP]
    (bonus,) = [e for e in bench.entries if e["wallet"] == "points"]
    assert (bonus["amount"], bonus["reason"], bonus["rule_id"]) == (50, "tier_bonus", "status.gold")


def test_what_an_order_and_its_waiting_refund_leave_decides() -> None:
    """The order would reach gold, but what waited for it takes that back in the same record."""
    bench = Bench(with_ladder())
    bench.refund("o1", "r1", 1)

    bench.order("o1", 1_000)

    assert changes(bench) == []


# --- losing one -----------------------------------------------------------------------------------


@pytest.mark.case(29)
def test_nothing_is_lost_before_the_grace_is_over() -> None:
    """Grace of 30 days: gold on the 30th day, member from the midnight after."""
    bench = Bench(with_ladder(grace="P30D"), now_ms=at("2026-03-02T15:00:00+08:00"))
    bench.order("o1", 1_000)
    bench.refund("o1", "r1", 1)
    assert crm(bench)["tier_until"] == "2026-04-01T16:00:00.000Z"

    bench.tick(at("2026-04-02T00:00:00+08:00") - 1)
    assert changes(bench) == [UP]
    bench.tick(at("2026-04-02T00:00:00+08:00"))

    assert changes(bench) == [UP, DOWN]
    assert crm(bench)["tier"] == "member"


@pytest.mark.case(29)
def test_regained_within_the_grace_nothing_is_lost() -> None:
    """And falling again later begins a grace of its own."""
    bench = Bench(with_ladder(grace="P30D"))
    bench.order("o1", 1_000)
    bench.refund("o1", "r1", 1)
    bench.later(29)
    bench.order("o2", 1)

    assert crm(bench)["tier_until"] is None
    bench.later(100)
    assert changes(bench) == [UP]
    bench.refund("o2", "r2", 1)
    bench.later(29)
    assert changes(bench) == [UP]
    bench.later(2)
    assert changes(bench) == [UP, DOWN]


def test_without_grace_the_review_is_at_the_end_of_the_day() -> None:
    """So that a slip that is mended on the same day is none."""
    bench = Bench(with_ladder(grace="P0D"), now_ms=at("2026-03-02T15:00:00+08:00"))
    bench.order("o1", 1_000)
    bench.refund("o1", "r1", 1)

    bench.tick(at("2026-03-03T00:00:00+08:00") - 1)
    assert changes(bench) == [UP]
    bench.tick(at("2026-03-03T00:00:00+08:00"))
    assert changes(bench) == [UP, DOWN]


STEPS = (tier("bronze", 100), tier("silver", 500), tier("gold", 1_000))


def test_one_level_down_is_one_level_per_review() -> None:
    """Each lower tier is kept as long as any other, then reviewed again."""
    bench = Bench(with_ladder(*STEPS, downgrade="one_level", grace="P10D"))
    bench.order("o1", 1_000)
    bench.cancel("o1")

    bench.later(10)
    assert crm(bench)["tier"] == "silver"
    bench.later(10, ms=-1)
    assert crm(bench)["tier"] == "silver"
    bench.later(ms=1)
    assert crm(bench)["tier"] == "bronze"
    bench.later(30)

    assert [to for _, _, to in changes(bench)] == ["gold", "silver", "bronze", "member"]


def test_down_by_balance_goes_to_what_is_measured() -> None:
    """From gold to bronze in one change."""
    bench = Bench(with_ladder(*STEPS))
    bench.order("o1", 1_000)
    bench.refund("o1", "r1", 800)

    bench.later(3)

    assert changes(bench) == [("upgrade", "member", "gold"), ("downgrade", "gold", "bronze")]
    assert bench.tier_changes[-1]["observed"] == 200


def test_one_level_down_without_grace_is_one_level_a_day() -> None:
    """The review of the lower tier is a later one, whatever the grace."""
    bench = Bench(with_ladder(*STEPS, downgrade="one_level", grace="P0D"))
    bench.order("o1", 1_000)
    bench.cancel("o1")

    bench.later(1)
    assert crm(bench)["tier"] == "silver"
    bench.later(1)
    assert crm(bench)["tier"] == "bronze"


def test_a_tier_is_kept_until_the_end_of_the_next_year() -> None:
    """Until then nothing takes it; at its end it is looked at, and kept as long again if earned."""
    held = {"months": 12, "end_of": "year"}
    bench = Bench(
        with_ladder(window={"kind": "rolling", "months": 12}, holds_for=held, grace="P0D"),
        now_ms=at("2026-05-05T12:00:00+08:00"),
    )
    bench.order("o1", 1_000)
    assert crm(bench)["tier_until"] == "2027-12-31T16:00:00.000Z"
    bench.refund("o1", "r1", 500)
    bench.tick(at("2027-06-01T12:00:00+08:00"))
    bench.order("o2", 1_000)

    bench.tick(at("2028-01-02T00:00:00+08:00"))
    assert crm(bench)["tier_until"] == "2029-12-31T16:00:00.000Z"
    bench.tick(at("2030-01-01T00:00:00+08:00") - 1)
    assert changes(bench) == [UP]
    bench.tick(at("2030-01-02T00:00:00+08:00"))

    assert changes(bench) == [UP, DOWN]


def test_a_lower_tier_is_held_as_long_as_any_other() -> None:
    """One level a year, where tiers are held for a year."""
    held = {"months": 12, "end_of": "year"}
    bench = Bench(
        with_ladder(*STEPS, downgrade="one_level", holds_for=held),
        now_ms=at("2026-05-05T12:00:00+08:00"),
    )
    bench.order("o1", 1_000)
    bench.cancel("o1")

    bench.tick(at("2028-01-02T00:00:00+08:00"))
    assert (crm(bench)["tier"], crm(bench)["tier_until"]) == ("silver", "2029-12-31T16:00:00.000Z")
    bench.tick(at("2030-01-02T00:00:00+08:00") - 1)
    assert crm(bench)["tier"] == "silver"
    bench.later(ms=1)
    assert crm(bench)["tier"] == "bronze"
