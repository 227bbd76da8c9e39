"""What a tier gives: multiplied points, a bonus for reaching it, services; and fixed tiers."""

from __future__ import annotations

import pytest
from ledger_support import DAY_MS, SPEND, Bench, DictState, programme, rule
from tiers_support import GROWTH, TO_GROWTH, at, changes, crm, ladder, tier, with_ladder

from pointstream.ledger.codec import decode_order, encode_order
from pointstream.ledger.records import Award, Order
from pointstream.ledger.tiers import tier_at

YEAR = {"kind": "calendar", "unit": "year"}
ROLLING = {"kind": "rolling", "days": 30}
DOUBLE = tier("gold", 1_000, benefits={"multiplier": 2})


def by_growth(gold: dict[str, object] = DOUBLE, **fields: object) -> Bench:
    """Gold from 1,000 of growth; it multiplies the points of orders."""
    return Bench(
        with_ladder(gold, qualified_by="growth", rules=[SPEND], **fields),
        now_ms=at("2026-03-02T12:00:00+08:00"),
    )


def make_gold(bench: Bench) -> None:
    bench.adjust(1_000, wallet="growth")


def make_member(bench: Bench) -> None:
    bench.adjust(-1_000, wallet="growth")
    bench.later(3)
    assert crm(bench)["tier"] == "member"


# --- multipliers ----------------------------------------------------------------------------------


@pytest.mark.case(9)
def test_earned_at_gold_is_clawed_back_at_gold() -> None:
    """Times 2 then, silver now: the refund takes twice the money's points."""
    bench = by_growth()
    make_gold(bench)
    bench.order("o1", 100)
    make_member(bench)

    bench.refund("o1", "r1", 30)
    assert bench.moved("reversed") == [60]
    bench.refund("o1", "r2", 70)

    assert bench.moved("reversed") == [60, 140]
    assert bench.available() == 0


@pytest.mark.case(9)
def test_earned_at_member_is_not_clawed_back_at_gold() -> None:
    """What counts is the order's own time."""
    bench = by_growth()
    bench.order("o1", 100)
    make_gold(bench)

    bench.cancel("o1")

    assert bench.moved("reversed") == [100]


@pytest.mark.case(9)
@pytest.mark.parametrize("refunds", [[1, 1, 1], [3], [2, 1], [1, 2]])
def test_multiplied_refunds_round_as_the_award_did(refunds: list[int]) -> None:
    """Times 1.5 of 3 points is 4; whatever is refunded, what stays is what the rest would earn."""
    bench = by_growth(tier("gold", 1_000, benefits={"multiplier": 1.5}))
    make_gold(bench)
    bench.order("o1", 3)
    assert bench.available() == 4
    left = 3
    for number, refunded in enumerate(refunds):
        bench.refund("o1", f"r{number}", refunded)
        left -= refunded
        assert bench.available() == left * 3 // 2


def test_only_what_spend_rules_give_is_multiplied() -> None:
    """A bonus of 50 is 50 for everybody."""
    bonus = rule("order_bonus", points=50, min_minor=0)
    bench = Bench(
        with_ladder(DOUBLE, qualified_by="growth", rules=[SPEND, bonus, rule("check_in", points=2)])
    )
    make_gold(bench)

    bench.order("o1", 100)
    bench.check_in()

    assert bench.available() == 200 + 50 + 2


def test_the_order_that_reaches_a_tier_is_still_scored_with_the_one_before() -> None:
    """The next one is not."""
    bench = Bench(with_ladder(DOUBLE))

    bench.order("o1", 1_000)
    bench.later(ms=1)
    bench.order("o2", 100)

    assert bench.available() == 1_200


def test_a_late_order_is_scored_with_the_tier_of_its_own_time() -> None:
    """Before gold, at gold, and after it."""
    bench = by_growth()
    before_ms = bench.now_ms
    bench.later(2)
    make_gold(bench)
    at_gold_ms = bench.now_ms
    bench.later(2)
    make_member(bench)
    after_ms = bench.now_ms
    bench.later(2)

    earned = []
    for number, occurred_ms in enumerate((before_ms, at_gold_ms, after_ms - 1, after_ms)):
        decision = bench.order(f"o{number}", 100, occurred_ms=occurred_ms)
        earned.append(decision.entries[0]["amount"])

    # The last change was at the midnight before.
    assert earned == [100, 200, 100, 100]
    account = bench.account()
    assert tier_at(bench.ledger._book, account, before_ms) == "member"
    assert tier_at(bench.ledger._book, account, at_gold_ms) == "gold"


def test_of_many_changes_the_latest_are_known() -> None:
    """An account does not grow with them: before the earliest known, the earliest known counts."""
    bench = by_growth()
    for _ in range(6):
        make_gold(bench)
        make_member(bench)

    rank = bench.account().tiers["status"]
    assert len(rank.earlier) == 8
    assert rank.changes == 12
    assert tier_at(bench.ledger._book, bench.account(), 0) == rank.earlier[0][1]
    assert len({change["event_id"] for change in bench.tier_changes}) == 12


def test_of_two_ladders_the_better_multiplier_counts() -> None:
    """They do not multiply each other."""
    compiled = programme(
        SPEND,
        wallets=[{"id": "points"}, GROWTH],
        ladders=[
            ladder(DOUBLE, qualified_by="growth"),
            {
                "id": "spenders",
                "qualified_by": "money",
                "window": {"kind": "lifetime"},
                "tiers": [tier("guest", 0), tier("big", 1, benefits={"multiplier": 3})],
            },
        ],
    )
    bench = Bench(compiled)
    make_gold(bench)

    bench.order("o1", 100)
    assert bench.available() == 200
    bench.order("o2", 100)
    assert bench.available() == 500


@pytest.mark.parametrize(
    ("birthday", "day", "points"),
    [
        ("03-05", "2026-03-05T00:00:00", 300),
        ("03-05", "2026-03-05T23:59:59", 300),
        ("03-05", "2026-03-06T00:00:00", 200),
        ("1990-03-05", "2026-03-05T12:00:00", 300),
        ("02-29", "2027-02-28T12:00:00", 300),
        ("02-29", "2027-03-01T12:00:00", 200),
        ("02-29", "2028-02-28T12:00:00", 200),
        ("02-29", "2028-02-29T12:00:00", 300),
    ],
)
def test_a_birthday_multiplies_more(birthday: str, day: str, points: int) -> None:
    """On the local day; who was born on 29 February has it on the 28th in other years."""
    benefits = {"multiplier": 2, "birthday_multiplier": 3}
    bench = by_growth(tier("gold", 1_000, benefits=benefits))
    bench.give("member.registered", birthday=birthday)
    make_gold(bench)

    bench.tick(at(f"{day}+08:00"))
    bench.order("o1", 100)

    assert bench.available() == points
    bench.cancel("o1")
    assert bench.available() == 0


def test_a_birthday_that_gives_less_takes_nothing() -> None:
    """The larger of the two counts."""
    bench = by_growth(DOUBLE)
    bench.give("member.registered", birthday="03-02")
    make_gold(bench)

    bench.order("o1", 100)

    assert bench.available() == 200


def test_orders_without_a_tier_are_stored_as_before() -> None:
    """And what was stored before there were tiers can be read."""
    plain = Award("hash", "spend", "points", "lot", 1, 2, 100)
    gold = Award("hash", "spend", "points", "lot", 1, 2, 200, multiplier=2_000, uncounted=10)
    order = Order(9, 100, 1, None, None, None, [plain, gold])

    value = encode_order(order)

    assert b'"lot",1,2,100,0,0]' in value
    assert decode_order(value).awards == [plain, gold]


# --- the bonus for reaching a tier ----------------------------------------------------------------


def bonuses(bench: Bench) -> list[int]:
    return [e["amount"] for e in bench.entries if e.get("reason") == "tier_bonus"]


WITH_BONUS = tier("gold", 1_000, bonus={"points": 70})


def test_a_bonus_names_its_tier_and_what_brought_it() -> None:
    """It is given now, even where the event is old; it lives as long as points do."""
    bench = Bench(with_ladder(WITH_BONUS, wallets=[{"id": "points", "expiry": {"days": 10}}]))
    bench.later(5)

    decision = bench.order("o1", 1_000, occurred_ms=bench.now_ms - 4 * DAY_MS)

    bonus = decision.entries[1]
    assert (bonus["rule_id"], bonus["amount"]) == ("status.gold", 70)
    assert bonus["cause_event_id"] == decision.entries[0]["cause_event_id"]
    assert bonus["occurred_at"] == bonus["recorded_at"]
    assert bonus["order_id"] is None
    bench.later(9)
    assert bench.available() == 70


@pytest.mark.parametrize(
    ("window", "days", "paid"),
    [
        ({"kind": "lifetime"}, 4_000, 1),
        (YEAR, 100, 1),
        (YEAR, 310, 2),
        (ROLLING, 20, 1),
        (ROLLING, 30, 2),
    ],
)
def test_a_bonus_is_paid_once_per_period(window: dict[str, object], days: int, paid: int) -> None:
    """For life once, in a calendar period once, in a rolling window once while that lasts."""
    bench = by_growth(WITH_BONUS, window=window, grace="P0D")
    make_gold(bench)
    make_member(bench)
    bench.later(days - 3)

    make_gold(bench)

    assert len(changes(bench)) == 3
    assert bonuses(bench) == [70] * paid


def test_a_bonus_that_counts_itself_lifts_further_and_ends() -> None:
    """Each tier pays into what the next one takes; the last has nobody above it."""
    steps = [tier(f"t{step}", 100 * step, bonus={"points": 100}) for step in range(1, 6)]
    bench = Bench(with_ladder(*steps))

    bench.order("o1", 100)

    assert [to for _, _, to in changes(bench)] == ["t1", "t2", "t3", "t4", "t5"]
    assert bonuses(bench) == [100] * 5
    assert bench.available() == 600


def test_who_jumps_over_a_tier_gets_the_bonus_of_the_one_reached() -> None:
    """One change, one bonus."""
    bench = Bench(with_ladder(tier("silver", 500, bonus={"points": 5}), WITH_BONUS))

    bench.order("o1", 1_000)

    assert len(changes(bench)) == 1
    assert bonuses(bench) == [70]


def test_falling_pays_no_bonus() -> None:
    """Silver is not reached from above."""
    silver = tier("silver", 500, bonus={"points": 5})
    bench = Bench(with_ladder(silver, WITH_BONUS, qualified_by="growth"))
    make_gold(bench)
    bench.adjust(-400, wallet="growth")
    bench.later(3)

    assert changes(bench)[-1] == ("downgrade", "gold", "silver")
    assert bonuses(bench) == [70]


def test_a_bonus_comes_before_the_points_that_expire_at_the_same_instant() -> None:
    """Activation, then the tier with its bonus, then expiry."""
    wallets = [
        {"id": "points", "expiry": {"days": 10}},
        {**GROWTH, "activation": {"after": "P10D"}},
    ]
    bench = Bench(
        with_ladder(WITH_BONUS, qualified_by="growth", rules=[SPEND, TO_GROWTH], wallets=wallets)
    )
    bench.order("o1", 1_000)
    bench.later(10)

    told = [(e["type"], e["wallet"], e.get("reason")) for e in bench.entries[2:]]
    assert told == [
        ("points.activated", "growth", None),
        ("points.earned", "points", "tier_bonus"),
        ("points.expired", "points", None),
    ]
    assert bench.available() == 70


# --- tiers that a segment gives -------------------------------------------------------------------

VIP = tier("vip", None, segment="vip", benefits={"services": ["lounge", "driver"]})


def test_a_segment_gives_its_tier_whatever_was_earned() -> None:
    """At once, with its services, and it cannot be reached by earning."""
    bench = Bench(with_ladder(tier("gold", 1_000), VIP))

    bench.give("member.updated", segments=["vip"])
    assert changes(bench) == [("upgrade", "member", "vip")]
    assert crm(bench)["services"] == ["lounge", "driver"]
    assert "next_tier" not in crm(bench)
    bench.order("o1", 5_000)
    bench.later(1_000)

    assert len(changes(bench)) == 1


def test_a_tier_that_its_segment_gives_has_no_end() -> None:
    """Also where tiers are held for a year: as long as the segment lasts."""
    bench = Bench(with_ladder(VIP, holds_for={"months": 12}))

    bench.give("member.updated", segments=["vip"])

    assert crm(bench)["tier_until"] is None


def test_who_leaves_the_segment_keeps_its_tier_for_the_grace() -> None:
    """And goes to what was earned."""
    bench = Bench(with_ladder(tier("gold", 1_000), VIP, grace="P7D"))
    bench.give("member.updated", segments=["vip", "new"])
    bench.order("o1", 1_000)
    bench.later(1)

    bench.give("member.updated", segments=["new"])
    bench.later(7, ms=-1)
    assert len(changes(bench)) == 1
    bench.later(ms=1)

    assert changes(bench)[1:] == [("downgrade", "vip", "gold")]


def test_one_level_down_never_leads_to_a_tier_that_only_a_segment_gives() -> None:
    """From platinum past the fixed tier to gold."""
    platinum = tier("platinum", 2_000)
    bench = Bench(with_ladder(tier("gold", 1_000), VIP, platinum, downgrade="one_level"))
    bench.order("o1", 2_000)
    bench.cancel("o1")
    bench.later(1.5)

    assert changes(bench)[1:] == [("downgrade", "platinum", "gold")]


def test_one_level_down_stops_at_the_tier_that_the_segment_gives() -> None:
    """A fixed tier above the next lower one is the floor."""
    platinum = tier("platinum", 2_000)
    bench = Bench(with_ladder(tier("gold", 1_000), VIP, platinum, downgrade="one_level"))
    bench.give("member.updated", segments=["vip"])
    bench.order("o1", 2_000)
    bench.cancel("o1")
    bench.later(10)

    assert changes(bench)[1:] == [
        ("upgrade", "vip", "platinum"),
        ("downgrade", "platinum", "vip"),
    ]


def test_the_next_tier_is_one_that_can_be_reached() -> None:
    """What only a segment gives is not told as something to earn."""
    bench = Bench(with_ladder(VIP, tier("gold", 1_000)))
    bench.order("o1", 1)

    assert (crm(bench)["next_tier"], crm(bench)["next_tier_missing"]) == ("gold", 999)


# --- reminders ------------------------------------------------------------------------------------


def test_a_tier_that_ends_is_announced_once_for_each_lead_time() -> None:
    """With what is missing to keep it, and when it ends."""
    bench = by_growth(tier("gold", 1_000), grace="P30D", remind_before=["P14D", "P3D"])
    make_gold(bench)
    bench.adjust(-300, wallet="growth")
    ends = "2026-04-01T16:00:00.000Z"
    bench.tick(at("2026-03-19T00:00:00+08:00") - 1)
    assert bench.reminders == []

    bench.later(ms=1)
    (reminder,) = bench.reminders
    assert (reminder["type"], reminder["tier"]) == ("reminder.tier_ending", "gold")
    assert (reminder["wallet"], reminder["points"]) == ("growth", 300)
    assert (reminder["due_at"], reminder["occurred_at"]) == (ends, "2026-03-18T16:00:00.000Z")
    bench.later(20)

    assert [r["occurred_at"] for r in bench.reminders[1:]] == ["2026-03-29T16:00:00.000Z"]
    assert len({r["event_id"] for r in bench.reminders}) == 2
    assert changes(bench)[1:] == [("downgrade", "gold", "member")]


def test_who_is_late_for_a_lead_time_is_reminded_at_once_and_once() -> None:
    """The grace is shorter than both lead times."""
    bench = by_growth(tier("gold", 1_000), grace="P2D", remind_before=["P14D", "P7D"])
    make_gold(bench)
    bench.adjust(-300, wallet="growth")
    bench.adjust(-300, wallet="growth")
    bench.later(30)

    assert [r["points"] for r in bench.reminders] == [300]


def test_a_tier_that_is_earned_is_not_announced_to_end() -> None:
    """Held to the end of the year and earned again by then: no reminder."""
    holds = {"months": 1, "end_of": "year"}
    bench = by_growth(tier("gold", 1_000), holds_for=holds, remind_before=["P30D"])
    make_gold(bench)
    bench.tick(at("2026-12-20T00:00:00+08:00"))
    assert bench.reminders == []

    bench.adjust(-1, wallet="growth")

    (reminder,) = bench.reminders
    assert (reminder["points"], reminder["due_at"]) == (1, "2027-01-01T16:00:00.000Z")


def test_a_second_end_has_reminders_of_its_own() -> None:
    """Regained in time, then lost for good."""
    bench = by_growth(tier("gold", 1_000), grace="P30D", remind_before=["P14D"])
    make_gold(bench)
    for _ in range(2):
        bench.adjust(-300, wallet="growth")
        bench.later(20)
        bench.adjust(300, wallet="growth")

    assert len({r["due_at"] for r in bench.reminders}) == 2
    assert len(bench.reminders) == 2


# --- whatever the batch, wherever the crash -------------------------------------------------------


def story(bench: Bench, restart: bool = False) -> Bench:
    """A year with everything in it."""
    steps = 0

    def on() -> None:
        nonlocal steps
        steps += 1
        if restart:
            bench.flush()
            bench.restart()

    bench.give("member.registered", birthday="04-01", segments=["vip"])
    for week in range(60):
        on()
        bench.later(6.7)
        bench.order(f"o{week}", 150 + 40 * (week % 5), occurred_ms=bench.now_ms - week * 3_600_000)
        if week % 4 == 1:
            on()
            bench.refund(f"o{week - 1}", f"r{week}", 100)
        if week % 9 == 5:
            bench.give("member.updated", segments=[["vip"], []][week % 2])
            on()
            bench.cancel(f"o{week - 2}")
        if week == 30:
            bench.later(60)
    bench.later(120)
    bench.flush()
    return bench


def everything(batch: int, restart: bool = False) -> Bench:
    compiled = programme(
        SPEND,
        TO_GROWTH,
        refund_policy="debt",
        wallets=[{"id": "points", "expiry": {"months": 3}, "activation": {"after": "P3D"}}, GROWTH],
        ladders=[
            ladder(
                tier("silver", 500, bonus={"points": 25, "wallet": "growth"}),
                tier("gold", 1_000, bonus={"points": 300}, benefits={"multiplier": "1.25"}),
                VIP,
                window={"kind": "rolling", "months": 1},
                qualified_by="growth",
                downgrade="one_level",
                grace="P5D",
                remind_before=["P3D"],
            ),
            {
                "id": "spenders",
                "qualified_by": "money",
                "window": {"kind": "calendar", "unit": "quarter"},
                "holds_for": {"months": 1, "end_of": "quarter"},
                "tiers": [
                    tier("guest", 0),
                    tier("big", 200_000, benefits={"birthday_multiplier": 4}),
                ],
            },
        ],
    )
    return story(Bench(compiled, state=DictState(), batch=batch), restart)


def test_neither_batches_nor_crashes_show() -> None:
    """Entries, changes, reminders and the state are the same bytes."""
    one = everything(1)
    assert {change["direction"] for change in one.tier_changes} == {"upgrade", "downgrade"}
    assert len(one.tier_changes) > 10
    assert one.reminders

    for other in (everything(1, restart=True), everything(7), everything(1_000)):
        assert other.entries == one.entries
        assert other.tier_changes == one.tier_changes
        assert other.reminders == one.reminders
        assert other.books() == one.books()
