"""What other parts of the ledger keep about a member moves with a merge, and goes with an erasure.

Tiers, caps, budgets and stock that are under way, commands that wait for consent, expiry that
slides.
"""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme, rule
from tiers_support import GROWTH, TO_GROWTH, changes, ladder, tier

from pointstream.ledger import Outcome
from pointstream.ledger.codec import decode_list, decode_sums
from pointstream.ledger.decision import Effects
from pointstream.ledger.messages import Message
from pointstream.ledger.state import grant_key


class Held(Bench):
    """Messages of one type stay under way until they are let go."""

    kept: str | None = None

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.waiting: list[Message] = []

    def _note_effects(self, effects: Effects) -> None:
        super()._note_effects(effects)
        self.waiting += [m for m in self.messages if m.type == self.kept]
        self.messages = [m for m in self.messages if m.type != self.kept]

    def let_go(self) -> None:
        self.kept = None
        self.messages, self.waiting = self.waiting, []
        self.deliver()


def merge(bench: Bench, old: str = "old", survivor: str = "new") -> None:
    bench.command("account.merge", old, into_member_id=survivor)
    assert bench.answers[-1]["outcome"] == "accepted"


def traces(bench: Bench, id_: str) -> list[bytes]:
    return [k for k, v in bench.books().items() if id_.encode() in k or id_.encode() in v]


WINDOWS: list[dict[str, Any]] = [
    {"kind": "lifetime"},
    {"kind": "rolling", "days": 90},
    {"kind": "calendar"},
]


@pytest.mark.case(32)
@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window["kind"])
def test_progress_towards_a_tier_adds_up(window: dict[str, Any]) -> None:
    """600 and 500 are enough for 1,000, on which days they came; the bonus is paid once."""
    gold = tier("gold", 1_000, bonus={"points": 50})
    bench = Bench(
        programme(SPEND, wallets=[{"id": "points"}, GROWTH], ladders=[ladder(gold, window=window)])
    )
    for day in range(3):
        bench.order(f"a{day}", 200, member="old")
        bench.order(f"b{day}", 150, member="new")
        bench.later(days=1)
    bench.order("b9", 50, member="new")
    assert changes(bench) == []

    merge(bench)

    assert changes(bench) == [("upgrade", "member", "gold")]
    assert bench.tier_changes[0]["member_id"] == "new"
    assert bench.tier_changes[0]["observed"] == 1_100
    assert bench.available("new") == 1_150
    assert bench.account("old").tiers == {}
    bench.refund("a0", "r1", 200, member="old")
    rank = bench.account("new").tiers["status"]
    measured = sum(points for _, points in rank.periods) or rank.amount
    assert measured == 950
    if window["kind"] == "rolling":
        bench.later(days=100)
        assert bench.account("new").tiers["status"].amount == 0


@pytest.mark.case(32)
@pytest.mark.parametrize("gold_one", ["old", "new"])
def test_the_higher_tier_stays_and_its_bonus_is_not_paid_again(gold_one: str) -> None:
    """Whichever of the two had it."""
    gold = tier("gold", 1_000, bonus={"points": 50})
    bench = Bench(
        programme(
            SPEND,
            wallets=[{"id": "points"}, GROWTH],
            ladders=[ladder(gold, window={"kind": "calendar"})],
        )
    )
    other = "new" if gold_one == "old" else "old"
    bench.order("a", 1_000, member=gold_one)
    bench.order("b", 10, member=other)
    merge(bench)
    bench.order("c", 2_000, member="old")
    assert bench.account("new").tiers["status"].tier == "gold"
    assert bench.available("new") == 1_000 + 10 + 2_000 + 50
    assert bench.standings[-1].crm_sync["tier"] == "gold"


def test_a_cap_counts_what_both_had() -> None:
    """40 and 5 of a daily cap of 50 leave 5."""
    bench = Bench(programme(rule("spend", points=1, per_minor=100, cap={"day": 50})))
    bench.order("a", 40, member="old")
    bench.order("b", 5, member="new")
    merge(bench)
    bench.order("c", 30, member="new")
    assert bench.available("new") == 50


@pytest.mark.parametrize("refunded", [0, 40, 100])
def test_an_award_that_waits_for_its_budget_reaches_the_survivor(refunded: int) -> None:
    """The answer is passed on; refunds that came before it are settled with it."""
    spend = rule("spend", points=1, per_minor=100, budget="autumn")
    bench = Held(
        programme(spend, budgets=[{"id": "autumn", "points": 1_000, "campaign_id": "autumn"}])
    )
    bench.adjust(1, member="new")
    bench.kept = "grant.given"
    bench.order("a", 100, member="old")
    merge(bench)
    if refunded:
        bench.refund("a", "r", refunded, member="old")
    bench.let_go()
    assert bench.available("new") == 1 + 100 - refunded
    assert not [key for key in bench.books() if key[:1] == b"u"]


def test_two_orders_of_one_id_of_which_one_waits_for_its_budget() -> None:
    """The survivor's order stays; the award of the other one arrives all the same."""
    spend = rule("spend", points=1, per_minor=100, budget="autumn")
    bench = Held(
        programme(spend, budgets=[{"id": "autumn", "points": 1_000, "campaign_id": "autumn"}])
    )
    bench.order("a", 10, member="new")
    bench.kept = "grant.given"
    bench.order("a", 100, member="old")
    merge(bench)
    bench.cancel("a", member="old")
    bench.let_go()
    assert bench.available("new") == 100


def test_a_budget_grants_nothing_to_an_erased_member() -> None:
    """What it granted goes back to the budget."""
    spend = rule("spend", points=1, per_minor=100, budget="autumn")
    bench = Held(
        programme(spend, budgets=[{"id": "autumn", "points": 1_000, "campaign_id": "autumn"}])
    )
    bench.kept = "grant.given"
    bench.order("a", 100, member="forgotten")
    bench.command("account.erase", "forgotten")
    bench.let_go()
    assert decode_list(bench.books()[grant_key("budget", "autumn")])[1] == 0
    assert not traces(bench, "forgotten")


TILL = {"id": "till", "role": "store", "store_id": "s1"}


@pytest.mark.parametrize(
    ("end", "reason"), [("merge", "account_merged"), ("erase", "account_erased")]
)
def test_what_waits_for_consent_is_refused(end: str, reason: str) -> None:
    """Its flag is closed; consent that comes later finds nothing."""
    bench = Bench(programme(limits={"store": {"adjust": 100}}))
    bench.adjust(1, member="new")
    bench.adjust(150, member="old", event_id="c1", actor=TILL, store_id="s1")
    flag_id = bench.flags[-1]["flag_id"]
    if end == "merge":
        merge(bench)
    else:
        bench.command("account.erase", "old")
    (answer,) = [answer for answer in bench.answers if answer["command_id"] == "c1"]
    assert answer["reason"] == reason
    bench.command("review.release", "old", flag_id=flag_id, reason="late")
    assert bench.answers[-1]["reason"] in ("flag_already_rejected", "account_erased")
    assert bench.available("new") == 1
    assert not [key for key in bench.books() if key[:1] in (b"v", b"t")]


@pytest.mark.parametrize("kind", ["merge", "erase"])
def test_merging_and_erasing_themselves_can_need_a_second_actor(kind: str) -> None:
    """The command is answered once it is done, and both the same again."""
    bench = Bench(programme(consent_always=["account.merge", "account.erase"]))
    for member in ("old", "new"):
        bench.adjust(10, member=member)
    more = {"into_member_id": "new"} if kind == "merge" else {}
    asked: dict[str, Any] = {"event_id": "c1", "occurred_ms": START_MS, **more}
    bench.command(f"account.{kind}", "old", **asked)
    flag_id = bench.flags[-1]["flag_id"]
    boss = {"id": "boss", "role": "head_office"}
    review: dict[str, Any] = {"event_id": "r1", "occurred_ms": START_MS, "actor": boss}
    bench.command("review.release", "old", flag_id=flag_id, reason="fine", **review)
    first = [a for a in bench.answers if a["command_id"] in ("c1", "r1")]
    assert sorted(a["command_id"] for a in first) == ["c1", "r1"]
    assert {a["outcome"] for a in first} == {"accepted"}
    books = bench.books()

    bench.command(f"account.{kind}", "old", **asked)
    bench.command("review.release", "old", flag_id=flag_id, reason="fine", **review)

    again = bench.answers[-2:]
    assert sorted(again, key=lambda a: a["command_id"]) == sorted(
        first, key=lambda a: a["command_id"]
    )
    assert bench.books() == books


def test_points_whose_expiry_slides_go_on_with_the_survivors_activity() -> None:
    """The later activity of either counts, from the moment of the merge."""
    bench = Bench(programme(wallets=[{"id": "points", "expiry": {"kind": "sliding", "days": 10}}]))
    bench.order("b", 7, member="new")
    bench.later(days=8)
    bench.order("a", 100, member="old")
    bench.later(days=1)
    merge(bench)
    assert bench.available("new") == 107
    bench.later(days=8.9)
    assert bench.available("new") == 107
    bench.check_in("old")
    bench.later(days=9)
    assert bench.available("new") == 107
    bench.later(days=2)
    assert bench.available("new") == 0


def test_points_that_wait_for_an_activity_wait_on() -> None:
    """The activity is told under the old id."""
    bench = Bench(
        programme(
            wallets=[{"id": "points", "activation": {"on_activity": "order.completed"}}],
        )
    )
    bench.adjust(1, member="new")
    bench.order("a", 100, member="old")
    merge(bench)
    assert bench.wallet("new").pending == 100
    bench.give("activity.recorded", "old", activity="order.completed", reference="a")
    assert bench.wallet("new").pending == 0


@pytest.mark.parametrize("ordered_under", ["old", "new"])
def test_an_order_and_the_activity_it_waits_for_meet(ordered_under: str) -> None:
    """Bought under the one id, completed under the other, before the two were one."""
    completed_under = "old" if ordered_under == "new" else "new"
    bench = Bench(
        programme(
            wallets=[{"id": "points", "activation": {"on_activity": "order.completed"}}],
        )
    )
    bench.adjust(1, member=ordered_under)
    bench.adjust(1, member=completed_under)
    bench.order("a", 100, member=ordered_under)
    bench.give("activity.recorded", completed_under, activity="order.completed", reference="a")
    before = bench.available("old") + bench.available("new")
    merge(bench)
    assert bench.wallet("new").pending == 0
    assert bench.available("new") == before + 100


def test_what_a_member_may_send_in_a_day_is_one_members_after_a_merge() -> None:
    """60 and 30 of a limit of 100 leave 10."""
    bench = Bench(programme(transfers={"enabled": True, "daily_points": 100}))
    for member in ("old", "new", "friend"):
        bench.order("a", 200, member=member)
    for member, points in (("old", 60), ("new", 30)):
        bench.command("points.transfer", member, to_member_id="friend", points=points)
    merge(bench)
    bench.command("points.transfer", "old", to_member_id="friend", points=11)
    assert bench.answers[-1]["reason"] == "limit_reached"
    bench.command("points.transfer", "old", to_member_id="friend", points=10)
    assert bench.answers[-1]["outcome"] == "accepted"


def test_an_account_with_a_transfer_under_way_stays_until_it_is_settled() -> None:
    """Neither merged nor erased: the points could come back to nobody."""
    bench = Held(programme())
    for member in ("old", "new", "friend"):
        bench.order("a", 200, member=member)
    bench.kept = "transfer.sent"
    bench.command("points.transfer", "old", to_member_id="friend", points=60)
    bench.command("account.merge", "old", into_member_id="new")
    assert bench.answers[-1]["reason"] == "transfer_under_way"
    bench.command("account.erase", "old")
    assert bench.answers[-1]["reason"] == "transfer_under_way"
    bench.let_go()
    merge(bench)
    assert bench.available("friend") == 260


def test_while_it_asks_an_account_lives_on_but_goes_nowhere() -> None:
    """It earns and spends; a second merge, a transfer and an erasure are refused."""
    bench = Held(programme())
    for member in ("old", "new", "third"):
        bench.order("a", 100, member=member)
    bench.kept = "merge.asked"
    bench.command("account.merge", "old", into_member_id="new", event_id="c1")
    bench.order("b", 10, member="old")
    bench.redeem(20, member="old")
    bench.command("account.merge", "old", into_member_id="third")
    bench.command("account.erase", "old")
    bench.command("points.transfer", "old", to_member_id="third", points=1)
    bench.command("account.merge", "third", into_member_id="old")
    assert [answer.get("reason") for answer in bench.answers] == [
        None,
        "account_merging",
        "account_merging",
        "account_merging",
    ]
    bench.let_go()
    third, first = bench.answers[-2:]
    assert (third["member_id"], third["reason"]) == ("third", "account_merging")
    assert (first["command_id"], first["outcome"]) == ("c1", "accepted")
    assert bench.available("new") == 190


def test_an_account_that_is_frozen_while_it_asks_is_not_merged() -> None:
    """The survivor waits for it no longer, and can itself be merged again."""
    bench = Held(programme())
    for member in ("old", "new", "third"):
        bench.order("a", 100, member=member)
    bench.kept = "merge.welcome"
    bench.command("account.merge", "old", into_member_id="new", event_id="c1")
    bench.command("account.erase", "new")
    assert bench.answers[-1]["reason"] == "account_merging"
    bench.freeze("old")
    bench.let_go()
    (answer,) = [answer for answer in bench.answers if answer["command_id"] == "c1"]
    assert answer["reason"] == "account_frozen"
    assert (bench.account("new").arriving, bench.account("old").merging_into) == (0, None)
    merge(bench, "new", "third")


def test_a_merged_account_keeps_nothing_but_sums() -> None:
    """Its value is that of an account that never had a profile, a tier or a reminder."""
    bench = Bench(
        programme(
            SPEND,
            wallets=[{"id": "points", "expiry": {"days": 30}, "remind_before": ["P7D"]}, GROWTH],
            ladders=[ladder()],
        )
    )
    bench.order("b", 1, member="new")
    bench.order("a", 1_500, member="old")
    bench.give("member.registered", "old", birthday="02-29", segments=["vip"])
    bench.check_in("old")
    bench.later(days=24)
    assert bench.reminders
    merge(bench)
    old = bench.account("old")
    assert (old.merged_into, old.status) == ("new", "merged")
    assert (old.tiers, old.reminded, old.runs, old.segments) == ({}, {}, [], [])
    assert (old.birthday, old.parked, old.timer_ms, old.merging_into) == (0, 0, 0, None)
    assert (old.wallets["points"].horizon, old.wallets["points"].slides) == ([], [])
    assert old.wallets["points"].balances()
    assert bench.account("new").birthday == 229


@pytest.mark.bare_ledger("keeps a message back")
@pytest.mark.case(33)
def test_an_account_with_all_there_is_leaves_nothing() -> None:
    """Whatever part of the ledger has kept something: no key and no value has the id."""
    id_ = "forget-me"
    bench = Held(
        programme(
            rule("spend", points=1, per_minor=100, cap={"day": 5_000}),
            rule("order_bonus", points=9, min_minor=100, budget="autumn"),
            rule("check_in", points=1, streak={"days": 7, "points": 10}),
            TO_GROWTH,
            wallets=[
                {"id": "points", "expiry": {"days": 30}, "remind_before": ["P7D"]},
                {**GROWTH, "activation": {"after": "P2D"}},
            ],
            ladders=[ladder(window={"kind": "rolling", "days": 90})],
            budgets=[{"id": "autumn", "points": 1_000, "campaign_id": "autumn"}],
            limits={"store": {"adjust": 100}},
            transfers={"enabled": True, "daily_points": 1_000},
        )
    )
    bench.order("z", 10, member="friend")
    for day in range(3):
        bench.order(f"o{day}", 500, member=id_)
        bench.check_in(id_)
        bench.later(days=1)
    bench.adjust(5, member=id_, wallet="growth")
    bench.redeem(100, member=id_, order_id="o0")
    bench.hold("h", 10, member=id_)
    bench.refund("o9", "r", 5, member=id_)
    bench.command("points.transfer", id_, to_member_id="friend", points=50)
    bench.command("points.transfer", "friend", to_member_id=id_, points=5)
    bench.give("member.registered", id_, birthday="02-29", segments=["vip"])
    bench.adjust(500, member=id_, actor=TILL, store_id="s1")
    bench.kept = "grant.given"
    bench.order("last", 500, member=id_)
    kinds = {key[:1].decode() for key in traces(bench, id_)}
    assert kinds == set("amlqdhHptuvBCMOPS")

    bench.command("account.erase", id_)

    assert traces(bench, id_) == []
    bench.let_go()
    bench.tick(START_MS + 900 * DAY_MS)
    assert traces(bench, id_) == []
    assert bench.order("late", 1, member=id_).outcome is Outcome.ACCOUNT_ERASED
    sums = decode_sums(bench.books()[b"x"])
    assert all(totals.balances() for totals in sums.wallets.values())
