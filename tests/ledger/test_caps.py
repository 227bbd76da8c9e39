"""Caps: what one member gets at most by a rule, or by several rules together."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import DAY_MS, START_MS, Bench, outcomes, programme, rule

from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import epoch_ms
from pointstream.ledger import Outcome
from pointstream.ledger.memory import SWEEP_EVERY
from pointstream.ledger.state import caps_prefix, prefix_stop


def at(text: str) -> int:
    """A moment in Shanghai."""
    return epoch_ms(datetime.fromisoformat(f"{text}+08:00"))


def spend(**fields: object) -> dict[str, object]:
    return rule("spend", points=1, per_minor=100, **fields)


def told(bench: Bench) -> list[tuple[int, int | None]]:
    """What was granted, and what was due where that is more."""
    return [
        (entry["amount"], entry.get("due"))
        for entry in bench.entries
        if entry["type"] == "points.earned"
    ]


def counters(bench: Bench, member: str = "m1") -> list[bytes]:
    bench.flush()
    prefix = caps_prefix(member.encode())
    return [key[len(prefix) :] for key, _ in bench.state.scan(prefix, prefix_stop(prefix))]


@pytest.mark.case(26)
@pytest.mark.parametrize("batch", [1, 7])
def test_a_daily_cap_cuts_and_starts_anew_with_the_local_day(batch: int) -> None:
    """Case 26: 30 and 30 under a cap of 50 give 30 and 20; the next local day starts anew."""
    bench = Bench(programme(spend(cap={"day": 50})), batch=batch, now_ms=at("2026-03-02T23:59"))

    bench.order("a", 30)
    bench.order("b", 30)
    bench.tick(at("2026-03-03T00:00"))
    bench.order("c", 30)

    assert told(bench) == [(30, None), (20, 30), (30, None)]
    assert bench.available() == 80


@pytest.mark.case(26)
def test_a_late_event_counts_on_its_own_day() -> None:
    """When it arrives makes no difference: yesterday's room is used up, today's is not touched."""
    bench = Bench(programme(spend(cap={"day": 50})), now_ms=at("2026-03-03T12:00"))

    bench.order("a", 40)
    bench.order("b", 40, occurred_ms=at("2026-03-02T23:59:59.999"))
    bench.order("c", 40, occurred_ms=at("2026-03-02T00:00"))
    bench.order("d", 40)

    assert told(bench) == [(40, None), (40, None), (10, 40), (10, 40)]


@pytest.mark.parametrize(
    ("unit", "same", "anew"),
    [
        # 2 March 2026 is a Monday.
        ("day", "2026-03-02T23:59:59.999", "2026-03-03T00:00"),
        ("week", "2026-03-08T23:59:59.999", "2026-03-09T00:00"),
        ("month", "2026-03-31T23:59:59.999", "2026-04-01T00:00"),
    ],
)
def test_units_are_those_of_the_local_calendar(unit: str, same: str, anew: str) -> None:
    """Up to the last millisecond of the unit the same room is used; then there is new room."""
    bench = Bench(programme(spend(cap={unit: 50})), now_ms=at("2026-03-02T00:00"))

    bench.order("a", 30)
    bench.tick(at(same))
    bench.order("b", 30)
    bench.tick(at(anew))
    bench.order("c", 30)

    assert told(bench) == [(30, None), (20, 30), (30, None)]


def test_a_week_of_another_year_is_another_week() -> None:
    """Weeks and months are counted through, not within the year."""
    bench = Bench(programme(spend(cap={"week": 50, "month": 50})), now_ms=at("2026-12-28T00:00"))

    bench.order("a", 50)
    bench.tick(at("2027-01-03T23:59"))
    bench.order("b", 50)
    bench.tick(at("2027-12-27T00:00"))
    bench.order("c", 50)

    assert told(bench) == [(50, None), (0, 50), (50, None)]


def test_a_lifetime_cap_never_starts_anew() -> None:
    """What was given counts after years, when everything else is long forgotten."""
    bench = Bench(programme(spend(cap={"lifetime": 50})))

    bench.order("a", 30)
    bench.later(3_650)
    bench.order("b", 30)
    bench.later(3_650)
    bench.order("c", 30)

    assert told(bench) == [(30, None), (20, 30), (0, 30)]


def test_a_cap_by_event_counts_nothing() -> None:
    """Each event is cut by itself, and nothing is remembered of it."""
    bench = Bench(programme(spend(cap={"event": 50})))

    bench.order("a", 80)
    bench.order("b", 80)

    assert told(bench) == [(50, 80), (50, 80)]
    assert counters(bench) == []


def test_the_tightest_limit_decides() -> None:
    """All limits of a cap hold at once, and each counts what was granted, not what was due."""
    bench = Bench(programme(spend(cap={"event": 40, "day": 50, "week": 70})))

    bench.order("a", 60)
    bench.order("b", 60)
    bench.later(1)
    bench.order("c", 60)
    bench.later(7)
    bench.order("d", 60)

    assert told(bench) == [(40, 60), (10, 60), (20, 60), (40, 60)]


def test_every_member_has_room_of_their_own() -> None:
    """A cap is per member."""
    bench = Bench(programme(spend(cap={"day": 50})))

    bench.order("a", 60)
    bench.order("b", 60, member="m2")

    assert told(bench) == [(50, 60), (50, 60)]


def test_rules_share_a_cap() -> None:
    """A cap of the rule set is used up by all its rules, or by those that it names."""
    rules = [
        rule("activity", id="review", activity="review.posted", points=30),
        rule("activity", id="group-buy", activity="groupbuy.joined", points=30),
        rule("activity", id="profile", activity="profile.completed", points=30),
    ]
    shared = {"id": "engagement", "day": 50, "rules": ["review", "group-buy"]}
    rule_set = {"id": "head-office", "version": 1, "rules": rules, "caps": [shared]}
    bench = Bench(programme(rule_sets=[rule_set]))

    for activity in ("review.posted", "groupbuy.joined", "profile.completed"):
        bench.give("activity.recorded", activity=activity, reference="1")

    assert told(bench) == [(30, None), (20, 30), (30, None)]


def test_own_and_shared_caps_hold_together() -> None:
    """Points that a rule's own cap refuses leave the room of the shared one."""
    rules = [
        spend(cap={"day": 20}),
        rule("order_bonus", points=50),
    ]
    rule_set = {"id": "s", "version": 1, "rules": rules, "caps": [{"id": "all", "day": 60}]}
    bench = Bench(programme(rule_sets=[rule_set]))

    bench.order("a", 100)

    assert told(bench) == [(20, 100), (40, 50)]


def test_a_new_version_goes_on_counting() -> None:
    """Publishing a rule set anew gives nobody room."""
    versions = [
        {"id": "s", "version": 1, "rules": [spend(cap={"day": 50})]},
        {
            "id": "s",
            "version": 2,
            "effective_from": "2026-03-02T12:00:00+08:00",
            "rules": [spend(cap={"day": 60}, description="better")],
        },
    ]
    bench = Bench(programme(rule_sets=versions), now_ms=at("2026-03-02T11:00"))

    bench.order("a", 50)
    bench.tick(at("2026-03-02T13:00"))
    bench.order("b", 50)

    assert told(bench) == [(50, None), (10, 50)]


def test_a_lowered_cap_gives_nothing_and_takes_nothing() -> None:
    """What was granted under the old limit stays."""
    bench = Bench(programme(spend(cap={"lifetime": 50})))
    bench.order("a", 50)
    bench.programme = programme(spend(cap={"lifetime": 20}))
    bench.restart()

    bench.order("b", 50)

    assert told(bench) == [(50, None), (0, 50)]
    assert bench.available() == 50


def test_where_nothing_is_left_the_entry_says_what_was_due() -> None:
    """No point moves and no lot is made, but the member can be told why."""
    bench = Bench(programme(spend(cap={"day": 50})))
    bench.order("a", 50)

    decision = bench.order("b", 30, store_id="s1")

    (entry,) = decision.entries
    assert decision.outcome is Outcome.NOTHING_EARNED
    assert (entry["amount"], entry["delta"], entry["due"], entry["lots"]) == (0, 0, 30, [])
    assert (entry["rule_id"], entry["order_id"], entry["store_id"]) == ("spend", "b", "s1")
    assert len(bench.lots()) == 1
    assert outcomes(bench.order("b", 30), bench.refund("b", "r", 30)) == [
        Outcome.ORDER_ALREADY_AWARDED,
        Outcome.ORDER_REFUNDED,
    ]
    assert bench.available() == 50


def test_a_capped_check_in_is_a_day_of_its_streak() -> None:
    """A cap takes points, not the day; base and bonus of one event share what is left."""
    daily = rule(
        "check_in", points=5, streak={"days": 3, "points": 30}, cap={"event": 12, "week": 30}
    )
    bench = Bench(programme(daily))

    for _ in range(3):
        bench.check_in()
        bench.later(1)

    assert told(bench) == [(5, None), (5, None), (5, None), (7, 30)]
    assert bench.check_in(occurred_ms=START_MS).outcome is Outcome.ALREADY_CHECKED_IN


# --- refunds ------------------------------------------------------------------------------------


@pytest.mark.case(26)
def test_a_refund_asks_back_what_was_granted_at_most() -> None:
    """100 due, 50 granted: what the rest of the order would still earn counts against the 50."""
    bench = Bench(programme(spend(cap={"day": 50})))
    bench.order("a", 100)

    bench.refund("a", "r1", 50)
    assert bench.available() == 50
    bench.refund("a", "r2", 30)
    assert bench.available() == 20
    bench.refund("a", "r3", 20)

    assert bench.moved("reversed") == [30, 20]
    assert bench.available() == 0


def test_points_taken_back_make_room_again() -> None:
    """Who exchanges what they bought earns by the second purchase, and keeps the cap at most."""
    bench = Bench(programme(spend(cap={"day": 50})))
    bench.order("a", 30)
    bench.order("b", 30)

    bench.refund("a", "r1", 30)
    bench.order("c", 100)

    assert told(bench) == [(30, None), (20, 30), (30, 100)]
    assert bench.available() == 50


def test_room_comes_back_on_the_day_of_the_order() -> None:
    """A refund of yesterday's order makes no room today."""
    bench = Bench(programme(spend(cap={"day": 50})))
    bench.order("a", 50)
    bench.later(1)
    bench.order("b", 50)

    bench.refund("a", "r1", 50)
    bench.order("c", 50)
    bench.order("d", 50, occurred_ms=START_MS)

    assert told(bench) == [(50, None), (50, None), (0, 50), (50, None)]


@pytest.mark.parametrize(
    ("policy", "kept"), [("only_pending", 50), ("within_balance", 50), ("debt", 0)]
)
def test_points_written_off_make_no_room(policy: str, kept: int) -> None:
    """Bought, spent, returned, bought again: nobody keeps more than the cap by doing so."""
    bench = Bench(programme(spend(cap={"day": 50}), refund_policy=policy))
    bench.order("a", 50)
    bench.redeem(50)

    bench.refund("a", "r1", 50)
    bench.order("b", 50)

    wallet = bench.wallet()
    granted = sum(amount for amount, _ in told(bench))
    assert wallet.written_off == kept
    assert granted - wallet.reversed == 50
    # What is owed was taken back: the second purchase pays it off.
    assert (wallet.available, wallet.debt) == (0, 0)


def test_buying_and_returning_over_and_over_ends_at_nothing() -> None:
    """Case 15 under a cap."""
    bench = Bench(programme(spend(cap={"day": 50})))

    for number in range(10):
        bench.order(f"o{number}", 80)
        bench.refund(f"o{number}", "r", 80)

    assert bench.available() == 0
    bench.order("last", 80)
    assert bench.available() == 50


def test_who_is_merged_has_no_more_room_than_one_member() -> None:
    """What both have used is counted together; what each has got stays."""
    bench = Bench(programme(spend(cap={"day": 50, "lifetime": 100})))
    bench.order("a", 30, member="old")
    bench.order("b", 10, member="new")
    bench.command("account.merge", "old", into_member_id="new")

    bench.order("c", 30, member="new")
    bench.later(1)
    bench.order("d", 60, member="old")

    assert told(bench) == [(30, None), (10, None), (10, 30), (50, 60)]


# --- what is kept -------------------------------------------------------------------------------


def test_rules_without_caps_keep_no_counters() -> None:
    """Nothing is read or written for them."""
    bench = Bench(programme(spend()))

    bench.order("a", 50)

    assert counters(bench) == []


def test_counters_are_swept_when_no_event_can_count_any_more() -> None:
    """As long as an event of the day can be taken its counter is there; then it goes."""
    rules = (spend(cap={"day": 50, "lifetime": 1_000}), rule("activity", activity="a", points=1))
    bench = Bench(programme(*rules, refund_window="P10D", dedup_window="P1D"), batch=500)
    midnight_ms = START_MS + DAY_MS
    bench.order("a", 30)

    bench.tick(midnight_ms + 10 * DAY_MS - 2)
    _sweep(bench)
    bench.order("b", 30, occurred_ms=midnight_ms - 1)
    assert told(bench) == [(30, None), (20, 30)]
    assert len(counters(bench)) == 2
    bench.later(ms=2)
    _sweep(bench)

    assert bench.order("c", 30, occurred_ms=midnight_ms - 1).outcome is Outcome.TOO_OLD
    assert [name.rsplit(b"\0", 1)[1] for name in counters(bench)] == [b"l0"]


def _sweep(bench: Bench) -> None:
    """Have as many things remembered of another member as make the sweep go round."""
    for _ in range(SWEEP_EVERY):
        reference = str(bench.offset)
        bench.give("activity.recorded", "m2", activity="a", reference=reference)
    del bench.entries[-SWEEP_EVERY:]


# --- whatever happens ---------------------------------------------------------------------------

DAYS = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "refund", "cancel", "check_in", "redeem", "again"]),
        st.integers(0, DAYS - 1),
        st.integers(1, 120),
        st.integers(0, 11),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from(["only_pending", "within_balance", "debt"]))
def test_nobody_ever_keeps_more_than_a_cap(
    steps: list[tuple[str, int, int, int]], policy: str
) -> None:
    """Whatever is bought, returned and spent in whatever order, and given twice."""
    rule_set = {
        "id": "s",
        "version": 1,
        "rules": [
            spend(cap={"event": 70, "day": 90, "lifetime": 200}),
            rule("order_bonus", points=20, min_minor=5_000, keep_on_refund=True),
            rule("check_in", points=15, every_time=True),
        ],
        "caps": [{"id": "both", "day": 110, "rules": ["order_bonus", "check_in"]}],
    }
    compiled = programme(rule_sets=[rule_set], refund_policy=policy)
    single, bulk = Bench(compiled), Bench(compiled, batch=7)
    for bench in (single, bulk):
        bench.tick(START_MS + DAYS * DAY_MS)
        for number, (what, day, points, which) in enumerate(steps):
            when = {"occurred_ms": START_MS + day * DAY_MS}
            if what == "order":
                bench.order(f"o{number}", points, **when)
            elif what == "refund":
                bench.refund(f"o{which}", f"r{number}", points)
            elif what == "cancel":
                bench.cancel(f"o{which}")
            elif what == "check_in":
                bench.check_in(**when)
            elif what == "redeem":
                bench.redeem(points)
            else:
                bench.order(f"o{which}", points, event_id=f"again{which}", **when)
        bench.flush()
        _assert_within(bench)
    assert single.entries == bulk.entries
    assert single.books() == bulk.books()


def _assert_within(bench: Bench) -> None:
    of_order = {
        (entry["order_id"], entry["rule_id"]): entry["occurred_at"][:10]
        for entry in bench.entries
        if entry["type"] == "points.earned" and entry["order_id"]
    }
    by_day: dict[tuple[str, str], int] = {}
    for entry in bench.entries:
        if entry["type"] not in ("points.earned", "points.reversed"):
            continue
        granted = entry["type"] == "points.earned"
        assert not granted or entry["amount"] <= 70
        day = of_order.get((entry["order_id"], entry["rule_id"])) or entry["occurred_at"][:10]
        group = "spend" if entry["rule_id"] == "spend" else "both"
        by_day[group, day] = by_day.get((group, day), 0) + entry["amount"] * (1 if granted else -1)
        limit = 90 if group == "spend" else 110
        assert by_day[group, day] <= limit
        assert sum(n for (name, _), n in by_day.items() if name == "spend") <= 200


# --- in the programme ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"caps": [{"id": "c", "rules": ["spend"]}]}, "a cap needs one of event, day"),
        ({"caps": [{"id": "c", "day": 0}]}, "greater than or equal to 1"),
        ({"caps": [{"id": "c", "day": 5, "rules": ["other"]}]}, "rule 'other', which is not in"),
        ({"caps": [{"id": "c", "day": 5}, {"id": "c", "day": 5}]}, "two caps have the id 'c'"),
        ({"rules": [spend(cap={})]}, "a cap needs one of event, day"),
        ({"rules": [spend(cap={"year": 5})]}, "Extra inputs are not permitted"),
        (
            {
                "rules": [spend(), rule("order_bonus", points=1, wallet="g")],
                "caps": [{"id": "c", "day": 5}],
            },
            "pay into different wallets",
        ),
    ],
)
def test_a_cap_that_makes_no_sense_is_refused(change: dict[str, object], problem: str) -> None:
    """A cap that limits nothing, or not what it seems to."""
    rule_set = {"id": "s", "version": 1, "rules": [spend()], **change}

    with pytest.raises(ValueError, match=problem):
        Programme.model_validate(
            {"id": "p", "wallets": [{"id": "points"}, {"id": "g"}], "rule_sets": [rule_set]}
        )
