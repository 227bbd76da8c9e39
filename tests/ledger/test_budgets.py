"""Budgets: what all members together get at most, decided by the owner of the budget's key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import START_MS, Bench, programme, rule
from tiers_support import GROWTH, crm, ladder, tier

from pointstream.contracts.programme import Programme
from pointstream.ledger import Outcome
from pointstream.ledger.codec import decode_list
from pointstream.ledger.messages import Message
from pointstream.ledger.state import grant_key, under_way_prefix
from pointstream.rules import CompiledProgramme

BUDGET = {"id": "autumn", "points": 1_000, "campaign_id": "autumn-2026"}


def budgeted(*others: dict[str, Any], points: int = 1_000, **fields: Any) -> CompiledProgramme:
    """One point per 1.00 out of a budget, and other rules."""
    rule_ = rule("spend", points=1, per_minor=100, budget="autumn", **fields)
    rule_set = {"id": "s", "version": 1, "rules": [rule_, *others]}
    return programme(rule_sets=[rule_set], budgets=[{**BUDGET, "points": points}])


class Held(Bench):
    """Messages stay under way until they are delivered by hand."""

    held: bool = True

    def deliver(self) -> None:
        if not self.held:
            super().deliver()

    def arrive_all(self) -> None:
        """Let all messages arrive, those that follow too."""
        self.held = False
        self.deliver()
        self.held = True


def awarded(bench: Bench) -> list[tuple[str, int, int | None]]:
    """Member, points granted, and what was due where that is more."""
    return [
        (entry["member_id"], entry["amount"], entry.get("due"))
        for entry in bench.entries
        if entry["type"] in ("points.earned", "points.pending")
    ]


def gone(bench: Bench) -> int:
    """What the owner of the budget counts as given away."""
    bench.flush()
    value = bench.state.get(grant_key("budget", "autumn"))
    return decode_list(value)[1] if value is not None else 0


def waits(bench: Bench, member: str = "m1") -> int:
    """How many awards of a member wait for their budget."""
    bench.flush()
    prefix = under_way_prefix(member.encode())
    return sum(key.startswith(prefix) for key in bench.state.values)


@pytest.mark.case(25)
def test_the_last_points_of_a_budget_are_granted_in_part() -> None:
    """Case 25: 100 left and a rule that gives 120: 100 awarded, and the entry says 120 was due."""
    bench = Bench(budgeted())
    bench.order("a", 900)
    bench.order("b", 120, member="m2")
    bench.order("c", 30, member="m3")

    assert awarded(bench) == [("m1", 900, None), ("m2", 100, 120), ("m3", 0, 30)]
    assert gone(bench) == 1_000
    assert {entry["campaign_id"] for entry in bench.entries} == {"autumn-2026"}


def test_an_award_waits_until_its_budget_has_answered() -> None:
    """No point of it is in the account meanwhile; what is given later names the order."""
    bench = Held(budgeted(rule("order_bonus", points=5)))

    decision = bench.order("a", 120, store_id="s1", channel="app")
    assert decision.outcome is Outcome.POINTS_AWARDED
    assert (bench.available(), waits(bench)) == (5, 1)
    order_offset = bench.offset - 1
    bench.later(1)
    bench.arrive_all()

    assert (bench.available(), waits(bench)) == (125, 0)
    entry = bench.entries[-1]
    assert (entry["type"], entry["amount"], entry["wallet"]) == ("points.earned", 120, "points")
    assert (entry["cause_type"], entry["cause_offset"]) == ("order.paid", order_offset)
    assert (entry["cause_event_id"], entry["order_id"]) == ("e1", "a")
    assert (entry["store_id"], entry["channel"]) == ("s1", "app")
    assert entry["occurred_at"] < entry["recorded_at"]
    assert "due" not in entry


def test_an_order_that_only_a_budget_pays_for_is_under_way() -> None:
    """It is taken, and taken once: given again, by any id, it asks for nothing."""
    bench = Held(budgeted())

    assert bench.order("a", 120, event_id="x").outcome is Outcome.AWARD_UNDER_WAY
    assert bench.order("a", 120, event_id="x").outcome is Outcome.EVENT_ALREADY_TAKEN
    assert bench.order("a", 120, event_id="y").outcome is Outcome.ORDER_ALREADY_AWARDED
    assert len(bench.messages) == 1
    bench.arrive_all()
    assert bench.order("a", 120, event_id="x").outcome is Outcome.EVENT_ALREADY_TAKEN
    assert bench.order("a", 120, event_id="z").outcome is Outcome.ORDER_ALREADY_AWARDED
    assert (awarded(bench), bench.messages) == ([("m1", 120, None)], [])


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        ("activity.recorded", {"activity": "a", "reference": "1"}),
        ("referral.registered", {"referee_id": "m2"}),
        (
            "referral.first_order",
            {"referee_id": "m2", "order_id": "o", "paid_minor": 100, "currency": "CNY"},
        ),
        ("checkin.recorded", {}),
    ],
)
def test_other_rewards_than_orders_have_budgets_too(type_: str, fields: dict[str, Any]) -> None:
    """The same way for all of them, the bonus of a streak included."""
    rules = [
        rule("activity", activity="a", points=40),
        rule("referral", id="r1", when="registered", points=40),
        rule("referral", id="r2", when="first_order", points=40),
        rule("check_in", points=40),
    ]
    rule_set = {"id": "s", "version": 1, "rules": [{**each, "budget": "autumn"} for each in rules]}
    bench = Held(programme(rule_sets=[rule_set], budgets=[{**BUDGET, "points": 25}]))

    assert bench.give(type_, **fields).outcome is Outcome.AWARD_UNDER_WAY
    bench.arrive_all()

    assert (awarded(bench), gone(bench)) == ([("m1", 25, 40)], 25)
    assert bench.entries[0]["cause_type"] == type_


def test_base_and_bonus_of_a_streak_ask_one_by_one() -> None:
    """Two awards of one rule and event wait side by side, and are granted in their order."""
    daily = rule("check_in", points=2, streak={"days": 2, "points": 30}, budget="autumn")
    rule_set = {"id": "s", "version": 1, "rules": [daily]}
    bench = Held(programme(rule_sets=[rule_set], budgets=[{**BUDGET, "points": 24}]))
    bench.check_in()
    bench.later(1)
    bench.check_in()
    assert waits(bench) == 3

    bench.arrive_all()

    assert awarded(bench) == [("m1", 2, None), ("m1", 2, None), ("m1", 20, 30)]
    assert [entry.get("reason") for entry in bench.entries] == [None, None, "streak"]


def test_caps_come_before_the_budget() -> None:
    """The budget is asked for what caps leave; `due` is what the rule gave before both."""
    bench = Bench(budgeted(cap={"day": 50}, points=80))
    bench.order("a", 120)
    bench.order("b", 120)
    bench.order("c", 120, member="m2")

    assert awarded(bench) == [("m1", 50, 120), ("m1", 0, 120), ("m2", 30, 120)]
    assert gone(bench) == 80


def test_two_awards_under_way_do_not_both_use_the_room() -> None:
    """The room of a cap is taken when the budget is asked; what it does not grant comes back."""
    bench = Held(budgeted(rule("activity", activity="a", points=40), cap={"day": 50}, points=20))
    bench.order("a", 30)
    bench.order("b", 30)
    bench.arrive_all()
    assert awarded(bench) == [("m1", 20, 30), ("m1", 0, 30)]

    more = budgeted(rule("activity", activity="a", points=40), cap={"day": 50}, points=90)
    bench.programme = more
    bench.restart()
    bench.order("c", 100)
    bench.arrive_all()

    # 20 were kept: 30 of the 50 are left, in whatever way they had been asked for before.
    assert awarded(bench)[-1] == ("m1", 30, 100)


# --- refunds before the budget's answer -----------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("points", "refunds", "left"),
    [
        (1_000, [40], 80),
        (1_000, [40, 40, 40], 0),
        (100, [10], 100),  # 120 due, 100 granted: what is left of the order still earns 110
        (100, [10, 20], 90),
        (0, [120], 0),
    ],
)
def test_refunds_come_out_the_same_before_and_after_the_answer(
    points: int, refunds: list[int], left: int, late: bool
) -> None:
    """What is asked back is the share of what was granted, whenever that becomes known."""
    bench = Held(budgeted(points=points or 1))
    if not points:
        bench.order("first", 1, member="m2")
        bench.arrive_all()
    bench.order("a", 120)
    if late:
        bench.arrive_all()
    for number, refunded in enumerate(refunds):
        bench.refund("a", f"r{number}", refunded)
    bench.arrive_all()

    assert (bench.available(), bench.wallet().debt, waits(bench)) == (left, 0, 0)
    assert gone(bench) == (min(points, 120) or 1)


@pytest.mark.parametrize("late", [False, True])
def test_a_cancellation_before_the_answer_takes_all_of_it(late: bool) -> None:
    """The points are given and taken in one step, in the name of the cancellation."""
    bench = Held(budgeted(points=100))
    bench.order("a", 120)
    if late:
        bench.arrive_all()
    cancelled = bench.cancel("a", event_id="cancel")
    bench.arrive_all()

    assert cancelled.outcome is Outcome.ORDER_CANCELLED
    assert bench.available() == 0
    assert [(e["type"], e["amount"]) for e in bench.entries] == [
        ("points.earned", 100),
        ("points.reversed", 100),
    ]
    assert bench.entries[-1]["cause_event_id"] == "cancel"
    assert bench.entries[-1]["campaign_id"] == "autumn-2026"


def test_a_parked_refund_waits_for_the_answer_too() -> None:
    """Refund, order, answer: the net award."""
    bench = Held(budgeted())
    bench.refund("a", "r", 50)
    bench.order("a", 120)
    bench.arrive_all()

    assert (bench.available(), bench.moved("reversed")) == (70, [50])


def test_refunds_leave_a_budget_as_it_is() -> None:
    """A budget is spent by awards: returned goods do not fill it again."""
    bench = Bench(budgeted(points=100))
    bench.order("a", 100)
    bench.refund("a", "r", 100)
    bench.order("b", 50)

    assert awarded(bench) == [("m1", 100, None), ("m1", 0, 50)]
    assert gone(bench) == 100


def test_a_rule_that_keeps_on_refund_keeps_what_the_budget_grants() -> None:
    """A refund of a part before the answer asks nothing back; a full return does."""
    bench = Held(budgeted(keep_on_refund=True))
    bench.order("a", 120)
    bench.refund("a", "r1", 50)
    bench.order("b", 30)
    bench.refund("b", "r1", 30)
    bench.arrive_all()

    assert awarded(bench) == [("m1", 120, None), ("m1", 30, None)]
    assert bench.moved("reversed") == [30]


def gold(qualified_by: str, budget: int, **fields: Any) -> CompiledProgramme:
    """Gold from 1,000 of a wallet earns twice as much."""
    return programme(
        rule("spend", points=1, per_minor=100, budget="autumn", **fields),
        budgets=[{**BUDGET, "points": budget}],
        wallets=[{"id": "points"}, GROWTH],
        ladders=[
            ladder(tier("gold", 1_000, benefits={"multiplier": 2}), qualified_by=qualified_by)
        ],
    )


@pytest.mark.parametrize("late", [False, True])
def test_what_a_tier_multiplies_is_due_and_is_asked_back_at_its_multiplier(late: bool) -> None:
    """Case 9 with a cap and a budget: 200 due of an order of 100, cut to 150, then to 130."""
    bench = Held(gold("growth", 130, cap={"day": 150}))
    bench.adjust(1_000, wallet="growth")
    bench.order("a", 100)
    bench.adjust(-1_000, wallet="growth")
    if late:
        bench.arrive_all()
    bench.refund("a", "r1", 30)
    bench.refund("a", "r2", 20)
    bench.arrive_all()

    assert awarded(bench) == [("m1", 130, 200)]
    assert sum(bench.moved("reversed")) == 30
    assert bench.available() == 100


def test_a_tier_is_reached_by_what_was_granted() -> None:
    """Not by what is under way, and not by what a refund asks back at once."""
    bench = Held(gold("points", 2_700))
    bench.order("a", 1_200)
    bench.later(1)
    bench.refund("a", "r", 900)
    bench.arrive_all()
    bench.refund("a", "r2", 300)
    bench.order("b", 1_000)
    bench.refund("b", "r", 100)
    bench.arrive_all()
    bench.order("c", 600)
    assert (bench.tier_changes, bench.available()) == ([], 900)

    # 500 are left in the budget.
    bench.arrive_all()

    assert [change["to_tier"] for change in bench.tier_changes] == ["gold"]
    assert crm(bench)["available"] == 1_400


def test_money_counts_towards_a_tier_without_the_budget() -> None:
    """Gold from 10.00: a refund takes its money off once, not again with the budget's answer."""
    bench = Held(gold("money", 2_000))
    bench.order("a", 9)
    bench.refund("a", "r", 2)
    bench.arrive_all()
    bench.order("b", 2)
    assert bench.tier_changes == []

    bench.order("c", 1)

    assert [change["to_tier"] for change in bench.tier_changes] == ["gold"]


# --- what else can come in between ----------------------------------------------------------------


def test_a_frozen_account_gets_its_award_kept_pending() -> None:
    """As all that it earns."""
    bench = Held(budgeted())
    bench.order("a", 120)
    bench.freeze()
    bench.arrive_all()
    assert (bench.wallet().pending, bench.wallet().available) == (120, 0)
    bench.unfreeze()
    assert bench.available() == 120


@pytest.mark.parametrize("completed_first", [False, True])
def test_an_award_can_wait_for_its_budget_and_for_an_activity(completed_first: bool) -> None:
    """Whichever comes last makes it spendable."""
    wallet = {"id": "points", "activation": {"on_activity": "order.completed"}}
    bench = Held(
        programme(
            rule("spend", points=1, per_minor=100, budget="autumn"),
            budgets=[BUDGET],
            wallets=[wallet],
        )
    )
    bench.order("a", 120)
    if not completed_first:
        bench.arrive_all()
        assert (bench.wallet().pending, bench.available()) == (120, 0)
    bench.give("activity.recorded", activity="order.completed", reference="a")
    bench.arrive_all()

    assert (bench.wallet().pending, bench.available()) == (0, 120)


def test_an_answer_that_comes_after_the_points_expired_earns_and_loses_them() -> None:
    """A lot's life counts from the event; a refund afterwards finds nothing to ask back."""
    compiled = programme(
        rule_sets=[
            {
                "id": "s",
                "version": 1,
                "rules": [rule("spend", points=1, per_minor=100, budget="autumn")],
            }
        ],
        budgets=[BUDGET],
        wallets=[{"id": "points", "expiry": {"days": 2}}],
    )
    bench = Held(compiled)
    bench.order("a", 120)
    bench.later(3)
    bench.arrive_all()
    bench.refund("a", "r", 120)

    assert [e["type"] for e in bench.entries] == ["points.earned", "points.expired"]
    assert bench.available() == 0


def test_an_answer_after_the_rule_is_gone_is_taken_by_the_rule_of_its_time() -> None:
    """The programme may move on while a budget is asked."""
    bench = Held(budgeted(cap={"day": 150}))
    bench.order("a", 120)
    bench.programme = programme()
    bench.restart()
    bench.arrive_all()
    bench.refund("a", "r", 20)

    assert (bench.available(), bench.entries[0]["rule_id"]) == (100, "spend")


@pytest.mark.parametrize("first", ["answer", "merge"])
def test_an_award_under_way_goes_to_the_survivor(first: str) -> None:
    """Whether the budget answers before the account has moved or after, refunds included."""
    bench = Held(budgeted(cap={"day": 150}))
    bench.order("a", 120, "old")
    bench.order("b", 10, "new")
    bench.command("account.merge", "old", into_member_id="new")
    if first == "merge":
        asked = [message for message in bench.messages if message.type == "grant.asked"]
        bench.messages[:] = [each for each in bench.messages if each not in asked]
        bench.arrive_all()
        bench.refund("a", "r", 20, "old")
        bench.messages.extend(asked)
    else:
        bench.refund("a", "r", 20, "old")
    bench.arrive_all()

    assert (bench.available("new"), gone(bench)) == (110, 130)
    assert (waits(bench, "old"), waits(bench, "new")) == (0, 0)
    bench.order("c", 100, "old")
    bench.arrive_all()
    assert awarded(bench)[-1] == ("new", 40, 100)
    ids = [entry["event_id"] for entry in bench.entries]
    assert len(set(ids)) == len(ids)


def test_what_an_erased_member_would_have_got_goes_back_to_the_budget() -> None:
    """Nobody else would ever get it otherwise."""
    bench = Held(budgeted())
    bench.order("a", 120)
    bench.command("account.erase")
    assert waits(bench) == 0
    bench.arrive_all()

    assert (awarded(bench), gone(bench)) == ([], 0)


def test_an_answer_for_nothing_that_waits_stops_the_partition() -> None:
    """Skipped, points of the budget would be lost without a word."""
    bench = Held(budgeted())
    bench.order("a", 120)
    bench.arrive_all()
    bench.messages.append(
        Message(
            "grant.given",
            "m1",
            {
                "kind": "budget",
                "key": "autumn",
                "ask_id": "no",
                "asked": 1,
                "granted": 1,
                "note": {},
            },
        )
    )

    with pytest.raises(Exception, match="nothing of a member waits for 'no'"):
        bench.arrive_all()


# --- whatever happens -----------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["order", "order", "refund", "cancel", "activity", "again", "arrive", "one"]
        ),
        st.integers(0, 2),
        st.integers(1, 120),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from(["only_pending", "within_balance", "debt"]))
def test_a_budget_is_never_exceeded_and_never_kept_back(
    steps: list[tuple[str, int, int, int]], policy: str
) -> None:
    """Whatever is under way when: awards are the budget at most, and all of it if it is wanted."""
    rule_set = {
        "id": "s",
        "version": 1,
        "rules": [
            rule("spend", points=1, per_minor=100, budget="autumn", cap={"day": 150}),
            rule("activity", activity="a", points=25, budget="autumn"),
        ],
    }
    bench = Held(
        programme(rule_sets=[rule_set], budgets=[{**BUDGET, "points": 300}], refund_policy=policy),
        batch=3,
    )
    wanted = 0
    for number, (what, who, points, which) in enumerate(steps):
        member = f"m{who}"
        if what == "order":
            bench.order(f"o{number}", points, member)
        elif what == "refund":
            bench.refund(f"o{which}", f"r{number}", points, member)
        elif what == "cancel":
            bench.cancel(f"o{which}", member)
        elif what == "activity":
            bench.give("activity.recorded", member, activity="a", reference=str(which))
        elif what == "again":
            bench.order(f"o{which}", points, member, event_id=f"again{number}")
        elif what == "one" and bench.messages:
            _arrive_first(bench)
        elif what == "arrive":
            bench.arrive_all()
        assert sum(amount for _, amount, _ in awarded(bench)) <= 300
    wanted = sum(message.body["amount"] for message in bench.messages if "amount" in message.body)
    before = gone(bench)
    bench.arrive_all()

    granted = sum(amount for _, amount, _ in awarded(bench))
    assert granted == gone(bench) == min(300, before + wanted)
    assert not any(key[:1] == b"u" for key in bench.books())
    for entry in bench.entries:
        if "due" in entry:
            assert entry["due"] > entry["amount"]


def _arrive_first(bench: Held) -> None:
    """Let the first message arrive; what follows from it waits behind the others."""
    bench.arrive(bench.messages.pop(0))


# --- in the programme -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budgets", "where", "problem"),
    [
        ([], ("rule_sets", 0, "rules", 0, "budget"), "unknown budget 'autumn'"),
        (
            [{**BUDGET, "wallet": "g"}],
            ("rule_sets", 0, "rules", 0, "budget"),
            "budget 'autumn' is of 'g', the rule pays into 'points'",
        ),
        ([BUDGET, BUDGET], ("budgets", 1, "id"), "two budgets have the id 'autumn'"),
        ([{**BUDGET, "points": 0}], ("budgets", 0, "points"), "greater than or equal to 1"),
    ],
)
def test_a_budget_that_does_not_fit_is_named_by_its_place(
    budgets: list[dict[str, Any]], where: tuple[str | int, ...], problem: str
) -> None:
    """A rule among hundreds is found by its path."""
    rules = [rule("spend", points=1, per_minor=100, budget="autumn")]
    with pytest.raises(ValueError, match=problem) as caught:
        Programme.model_validate(
            {
                "id": "p",
                "wallets": [{"id": "points"}, {"id": "g"}],
                "budgets": budgets,
                "rule_sets": [{"id": "s", "version": 1, "rules": rules}],
            }
        )
    (error,) = caught.value.errors()  # type: ignore[attr-defined]
    assert error["loc"] == where


def test_the_campaign_is_the_budget_unless_it_is_named() -> None:
    """Entries name it either way."""
    compiled = programme(
        rule("activity", activity="a", points=5, budget="plain"),
        budgets=[{"id": "plain", "points": 10}],
        rule_sets=[
            {
                "id": "s",
                "version": 1,
                "rules": [rule("activity", activity="a", points=5, budget="plain")],
            }
        ],
    )
    bench = Bench(compiled, now_ms=START_MS)
    bench.give("activity.recorded", activity="a", reference="1")

    assert bench.entries[0]["campaign_id"] == "plain"
