"""Flags and everything else that moves points: refunds, expiry, merges, erasures, caps, tiers."""

from __future__ import annotations

from typing import Any

import pytest
from flags_support import flagging, review, suspicion, watched
from ledger_support import DAY_MS, SPEND, START_MS, Bench, rule

from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome
from pointstream.ledger.suspicion import flag_id_of

FOUND = suspicion("x1", "x2")
FLAG = flag_id_of(FOUND)
CAP = {"month": 160}


def places(bench: Bench, member: str = "m1") -> tuple[int, int, int]:
    """Available, pending, held."""
    wallet = bench.wallet(member)
    return wallet.available, wallet.pending, wallet.held


def flagged(*rules: dict[str, Any], **settings: Any) -> Bench:
    """Order o1 of 100 is held, order o2 of 50 under review; 30 others can be spent."""
    bench = flagging({"x2": FOUND}, watched(*rules, **settings))
    bench.order("o0", 30)
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")
    assert places(bench) == (30, 50, 100)
    return bench


# --- refunds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["release", "reject"])
@pytest.mark.parametrize("order", ["o1", "o2"])
def test_a_refund_takes_what_is_held_back_of_its_order(order: str, how: str) -> None:
    """Under review or held: the order's own points pay for it, and the rest is reviewed."""
    bench = flagged()
    worth = {"o1": 100, "o2": 50}

    bench.refund(order, "r1", 20)

    worth[order] -= 20
    assert places(bench) == (30, worth["o2"], worth["o1"])
    review(bench, how, FLAG)
    left = sum(worth.values()) if how == "release" else 0
    assert places(bench) == (30 + left, 0, 0)
    assert bench.wallet().reversed == 20 + sum(worth.values()) - left
    bench.cancel("o1")
    bench.cancel("o2")
    assert places(bench) == (30, 0, 0)
    assert bench.wallet().reversed == 150
    assert bench.wallet().written_off == 0


def test_an_order_returned_in_full_leaves_the_review_nothing() -> None:
    """Case 14 under review: it never activates; the rejection takes nothing else for it."""
    for how in ("release", "reject"):
        bench = flagged()
        bench.cancel("o1")
        bench.cancel("o2")
        assert places(bench) == (30, 0, 0)

        review(bench, how, FLAG)

        assert places(bench) == (30, 0, 0)
        assert bench.wallet().reversed == 150


def test_a_return_after_the_rejection_takes_nothing_again() -> None:
    """The order knows what the review has had."""
    bench = flagged()
    review(bench, "reject", FLAG)

    bench.refund("o1", "r1", 40)
    bench.cancel("o1")
    bench.cancel("o2")

    assert places(bench) == (30, 0, 0)
    assert (bench.wallet().reversed, bench.wallet().written_off) == (150, 0)


def test_points_that_had_paid_for_a_returned_order_are_held_when_they_come_back() -> None:
    """They are in the lots of the evidence again."""
    bench = flagging({"x2": FOUND}, watched())
    bench.order("o1", 100, event_id="x1")
    bench.redeem(80, order_id="o5")
    bench.order("o5", 10)
    bench.check_in(event_id="x2")
    assert places(bench) == (10, 0, 20)

    bench.cancel("o5")

    assert places(bench) == (0, 0, 100)
    review(bench, "release", FLAG)
    assert places(bench) == (100, 0, 0)


def test_with_only_pending_a_refund_leaves_what_was_active() -> None:
    """The policy's words hold for held points as well: the review decides on them."""
    bench = flagged(refund_policy="only_pending")

    bench.refund("o1", "r1", 20)
    bench.refund("o2", "r2", 20)

    assert places(bench) == (30, 30, 100)
    review(bench, "release", FLAG)
    assert places(bench) == (160, 0, 0)


@pytest.mark.parametrize("ordered", [True, False])
def test_what_a_till_frees_after_a_rejection_is_not_taken_again(ordered: bool) -> None:
    """The first rejection took other points for it: the second finds the lot's own, and leaves
    them."""
    other = suspicion("x1", "x3", detector="too-far")
    rules = (SPEND, rule("activity", activity="a", points=10))
    bench = flagging({"x2": FOUND, "x3": other}, watched(*rules))
    if ordered:
        bench.order("o1", 10, event_id="x1")
    else:
        bench.give("activity.recorded", activity="a", reference="r", event_id="x1")
    bench.hold("h1", 10)
    bench.order("o9", 30)
    bench.check_in(event_id="x2")
    review(bench, "reject", FLAG)
    assert places(bench) == (20, 0, 10)
    bench.void("h1")
    bench.give("activity.recorded", activity="b", reference="r", event_id="x3")
    assert places(bench) == (20, 0, 10)

    review(bench, "reject", flag_id_of(other))

    assert places(bench) == (30, 0, 0)
    assert bench.wallet().reversed == 10


# --- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["release", "reject"])
def test_what_expired_meanwhile_goes_when_it_comes_free(how: str) -> None:
    """A release lets it expire at once, a rejection reverses it: out once, either way."""
    bench = flagged(wallets=[{"id": "points", "expiry": {"days": 30}}])
    bench.later(31)
    assert places(bench) == (0, 50, 100)

    review(bench, how, FLAG)

    assert places(bench) == (0, 0, 0)
    wallet = bench.wallet()
    gone = (180, 0) if how == "release" else (30, 150)
    assert (wallet.expired, wallet.reversed) == gone
    bench.cancel("o1")
    bench.cancel("o2")
    assert (bench.wallet().expired, bench.wallet().reversed) == gone
    assert bench.wallet().written_off == 0


def test_pending_points_are_active_at_their_own_time_after_a_release() -> None:
    """Released early they wait on; released late they are active at once."""
    wallets = [{"id": "points", "activation": {"after": "P2D"}, "expiry": {"days": 30}}]
    for days, at_once in ((1, 0), (5, 150)):
        bench = flagging({"x2": FOUND}, watched(wallets=wallets))
        bench.order("o1", 100, event_id="x1")
        bench.order("o2", 50, event_id="x2")
        bench.later(days)
        assert places(bench) == (0, 150, 0)

        review(bench, "release", FLAG)

        assert places(bench) == (at_once, 150 - at_once, 0)
        bench.later(2)
        assert places(bench) == (150, 0, 0)
        bench.cancel("o1")
        assert places(bench) == (50, 0, 0)


def test_what_waits_for_an_activity_waits_for_both() -> None:
    """The activity comes while it is under review: the release makes it active."""
    wallets = [{"id": "points", "activation": {"on_activity": "order.completed"}}]
    bench = flagging({"x2": FOUND}, watched(wallets=wallets))
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")

    bench.give("activity.recorded", activity="order.completed", reference="o2")
    assert places(bench) == (0, 150, 0)
    review(bench, "release", FLAG)

    assert places(bench) == (50, 100, 0)
    bench.give("activity.recorded", activity="order.completed", reference="o1")
    assert places(bench) == (150, 0, 0)
    bench.cancel("o2")
    assert places(bench) == (100, 0, 0)


def test_points_that_slide_are_held_and_freed_like_others() -> None:
    """Their end follows the activity meanwhile."""
    wallets = [{"id": "points", "expiry": {"kind": "sliding", "days": 30}}]
    for how, left in (("release", 181), ("reject", 31)):
        bench = flagged(wallets=wallets)
        bench.later(20)
        bench.order("o9", 1)
        bench.later(20)
        review(bench, how, FLAG)
        assert places(bench) == (left, 0, 0)
        bench.later(31)
        assert places(bench) == (0, 0, 0)


@pytest.mark.parametrize("activation", [{}, {"on_activity": "order.completed"}])
@pytest.mark.parametrize("how", ["release", "reject"])
def test_a_migration_of_expiry_moves_what_is_held_back_too(
    how: str, activation: dict[str, str]
) -> None:
    """And lets none of it go: refunds and reviews find it by its new end."""

    def made(days: int, **settings: Any) -> Any:
        wallet = {"id": "points", "expiry": {"days": days}, "activation": activation}
        return watched(wallets=[wallet], **settings)

    at_ms = START_MS + 2 * DAY_MS
    bench = flagging({"x2": FOUND}, made(5))
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")
    before = places(bench)
    bench.programme = made(
        20, expiry_migrations=[{"id": "m", "at": rfc3339(at_ms), "at_least_days": 1}]
    )
    bench.restart()
    bench.tick(at_ms)
    bench.later(8)
    assert places(bench) == before

    bench.refund("o1", "r1", 20)
    bench.refund("o2", "r2", 20)
    assert sum(places(bench)) == 110
    review(bench, how, FLAG)
    for order in ("o1", "o2"):
        bench.give("activity.recorded", activity="order.completed", reference=order)

    assert places(bench) == ((110 if how == "release" else 0), 0, 0)
    assert bench.wallet().written_off == 0
    bench.later(11)
    assert places(bench) == (0, 0, 0)


# --- frozen accounts ----------------------------------------------------------------------------


def test_unfreezing_lets_nothing_under_review_go() -> None:
    """The freeze and the flag are two things."""
    bench = flagged()
    bench.freeze()
    bench.unfreeze()
    assert places(bench) == (30, 50, 100)

    bench.freeze()
    review(bench, "release", FLAG)
    assert places(bench) == (130, 50, 0)
    bench.unfreeze()
    assert places(bench) == (180, 0, 0)


# --- merging and erasing ------------------------------------------------------------------------


def merge(bench: Bench, old: str, into: str) -> None:
    bench.command("account.merge", old, into_member_id=into)


@pytest.mark.parametrize("how", ["release", "reject"])
def test_a_merge_takes_flags_and_what_they_hold_along(how: str) -> None:
    """The survivor's review ends it; one under the old id arrives there too."""
    for reviewed in ("m1", "m2"):
        bench = flagged()
        bench.order("o9", 1, "m2")
        merge(bench, "m1", "m2")
        assert places(bench, "m2") == (31, 50, 100)
        assert bench.redeem(32, "m2").outcome is Outcome.INSUFFICIENT_POINTS

        review(bench, how, FLAG, reviewed, event_id="r1")

        left = 150 if how == "release" else 0
        assert places(bench, "m2") == (31 + left, 0, 0)
        assert [a["outcome"] for a in bench.answers if a["command_id"] == "r1"] == ["accepted"]
        again = review(bench, "reject", FLAG, "m2", event_id="r2")
        assert again.outcome is (
            Outcome.FLAG_ALREADY_RELEASED if how == "release" else Outcome.FLAG_ALREADY_REJECTED
        )
        bench.cancel("o1", "m2")
        bench.cancel("o2", "m1")
        assert places(bench, "m2") == (31, 0, 0)
        assert bench.wallet("m2").reversed == 150


@pytest.mark.parametrize("how", ["release", "reject"])
def test_what_was_earned_before_a_merge_is_found_under_the_survivors_name(how: str) -> None:
    """Who counts by the survivor names its id with events that came under the old one."""
    found = suspicion("x1", "x2", "x3", member="m2")
    rules = (SPEND, rule("activity", activity="a", points=10))
    bench = flagging({"x3": found}, watched(*rules))
    bench.order("o9", 30, "m2")
    bench.order("o1", 100, "m1", event_id="x1")
    bench.give("activity.recorded", "m1", activity="a", reference="r", event_id="x2")
    merge(bench, "m1", "m2")

    bench.check_in("m2", event_id="x3")

    assert places(bench, "m2") == (30, 0, 110)
    review(bench, how, flag_id_of(found), "m2")
    left = 110 if how == "release" else 0
    assert places(bench, "m2") == (30 + left, 0, 0)
    assert bench.wallet("m2").reversed == 110 - left


@pytest.mark.parametrize("how", ["release", "reject"])
def test_two_members_of_one_flag_who_merge_are_one(how: str) -> None:
    """Both shares end with the flag, each point once."""
    events = (("m1", "x1"), ("m2", "x2"), ("m3", "x3"))
    found = suspicion(
        entity_kind=EntityKind.DEVICE,
        entity_id="d",
        events=events,
        members=("m1", "m2", "m3"),
    )
    bench = flagging({"x3": found}, watched())
    for member, event in events:
        bench.order(f"o-{member}", 10, member, event_id=event)
    merge(bench, "m1", "m2")
    assert places(bench, "m2") == (0, 0, 20)

    review(bench, how, flag_id_of(found), "m1")

    left = 1 if how == "release" else 0
    assert places(bench, "m2") == (20 * left, 0, 0)
    assert places(bench, "m3") == (10 * left, 0, 0)
    assert bench.account("m2").flags == bench.account("m3").flags == 0
    assert not [key for key in bench.books() if key[:1] in b"bf"]


def test_a_member_under_suspicion_is_not_erased_before_the_review() -> None:
    """What the reviewer needs would be gone."""
    for how in ("release", "reject"):
        bench = flagged()
        refused = bench.command("account.erase")
        assert refused.outcome is Outcome.REVIEW_REQUIRED
        review(bench, how, FLAG)
        assert bench.command("account.erase").outcome is Outcome.ERASED
        assert not [key for key in bench.books() if key[:1] in b"bfFlqhH"]


# --- caps, tiers, budgets -----------------------------------------------------------------------


@pytest.mark.parametrize(("how", "room"), [("release", 10), ("reject", 160)])
def test_what_a_rejection_takes_of_orders_makes_room_under_caps(how: str, room: int) -> None:
    """As a refund does: a counter holds what the member keeps."""
    bench = flagging({"x2": FOUND}, watched(rule("spend", points=1, per_minor=100, cap=CAP)))
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")
    review(bench, how, FLAG)

    bench.order("o3", 500)

    assert bench.entries[-1]["amount"] == room


@pytest.mark.parametrize(("how", "room"), [("release", 148), ("reject", 160)])
def test_what_a_rejection_takes_of_other_events_makes_room_as_well(how: str, room: int) -> None:
    """Whether the points are there or were spent: the first 7 were."""
    bench = flagging({"x2": FOUND}, watched(rule("activity", activity="a", points=1, cap=CAP)))
    bench.give("activity.recorded", activity="a", reference="r1", quantity=7, event_id="x1")
    bench.redeem(7)
    bench.give("activity.recorded", activity="a", reference="r2", quantity=5, event_id="x2")
    bench.adjust(7)
    review(bench, how, FLAG)

    bench.give("activity.recorded", activity="a", reference="r3", quantity=500)

    assert bench.entries[-1]["amount"] == room


def test_progress_towards_a_tier_goes_with_the_points() -> None:
    """What was counted is counted no more; what never became active was not counted."""
    tiers = [{"id": "basic", "threshold": 0}, {"id": "gold", "threshold": 120}]
    ladder = {
        "id": "status",
        "qualified_by": "points",
        "window": {"kind": "lifetime"},
        "tiers": tiers,
    }
    for how in ("release", "reject"):
        bench = flagged(ladders=[ladder])
        assert bench.standings[-1].crm_sync["tier"] == "gold"
        review(bench, how, FLAG)
        amount = bench.account().tiers["status"].amount
        assert amount == (180 if how == "release" else 30)
        bench.cancel("o1")
        bench.cancel("o2")
        assert bench.account().tiers["status"].amount == 30


@pytest.mark.parametrize("how", ["release", "reject"])
def test_points_given_by_hand_are_evidence_like_others(how: str) -> None:
    """What a shop's own people give: held, reversed if spent too, and no progress is taken off."""
    tiers = [{"id": "basic", "threshold": 0}, {"id": "gold", "threshold": 1_000}]
    window = {"kind": "lifetime"}
    ladder = {"id": "status", "qualified_by": "points", "window": window, "tiers": tiers}
    found = suspicion(
        entity_kind=EntityKind.STAFF,
        entity_id="till-4",
        events=(("m1", "x1"), ("m1", "x2")),
    )
    bench = flagging({"x3": found}, watched(ladders=[ladder]))
    bench.order("o1", 70)
    bench.later(ms=1)
    bench.adjust(50, event_id="x1")
    bench.redeem(90)
    bench.adjust(40, event_id="x2")
    bench.adjust(9, event_id="x3")
    assert places(bench) == (9, 0, 70)

    review(bench, how, flag_id_of(found))

    assert places(bench) == ((79, 0, 0) if how == "release" else (0, 0, 0))
    wallet = bench.wallet()
    assert (wallet.reversed, wallet.written_off) == ((0, 0) if how == "release" else (79, 11))
    assert bench.account().tiers["status"].amount == 70


def test_what_a_budget_grants_late_comes_under_review_too() -> None:
    """The event was suspicious before its budget had answered."""
    bonus = rule("order_bonus", id="b", points=40, min_minor=100, budget="c")
    bench = flagging(
        {"x1": suspicion("x1")}, watched(SPEND, bonus, budgets=[{"id": "c", "points": 1000}])
    )

    bench.order("o1", 100, event_id="x1")

    assert places(bench) == (0, 140, 0)
    review(bench, "reject", flag_id_of(suspicion()))
    assert places(bench) == (0, 0, 0)
    bench.cancel("o1")
    assert bench.wallet().reversed == 140


def test_what_a_budget_grants_after_a_merge_comes_under_review_too() -> None:
    """The event came under the old id, its award comes to the survivor."""
    bonus = rule("order_bonus", id="b", points=40, min_minor=100, budget="c")
    bench = flagging(
        {"x1": suspicion("x1")}, watched(SPEND, bonus, budgets=[{"id": "c", "points": 100}])
    )
    bench.order("o9", 1, "m2")
    bench.deliver()
    bench.deliver = lambda: None  # type: ignore[method-assign]
    bench.order("o1", 100, event_id="x1")
    asked, bench.messages = bench.messages, []
    del bench.deliver
    merge(bench, "m1", "m2")

    bench.messages = asked
    bench.deliver()

    assert places(bench, "m2")[1:] == (140, 0)
    review(bench, "reject", flag_id_of(suspicion()), "m2")
    assert bench.wallet("m2").reversed == 140


def test_what_a_budget_has_not_granted_yet_comes_to_nothing_after_a_rejection() -> None:
    """The budget has it back; of the order nothing is left to return."""
    bonus = rule("order_bonus", id="b", points=40, min_minor=100, budget="c")
    bench = flagging(
        {"x1": suspicion("x1")}, watched(SPEND, bonus, budgets=[{"id": "c", "points": 100}])
    )
    bench.deliver = lambda: None  # type: ignore[method-assign]
    bench.order("o1", 100, event_id="x1")
    review(bench, "reject", flag_id_of(suspicion()))
    del bench.deliver

    bench.deliver()
    bench.cancel("o1")
    for number in range(3):
        bench.order(f"p{number}", 1, "m2")

    assert places(bench) == (0, 0, 0)
    assert bench.wallet().reversed == 100
    assert bench.wallet("m2").earned == 3 + 100


# --- transfers ----------------------------------------------------------------------------------


def test_a_part_that_is_held_cannot_be_sent() -> None:
    """The rest can."""
    bench = flagged()
    bench.order("o9", 1, "m2")
    send = {"to_member_id": "m2"}

    assert bench.command("points.transfer", points=31, **send).outcome is (
        Outcome.INSUFFICIENT_POINTS
    )
    bench.command("points.transfer", points=30, **send)

    assert places(bench) == (0, 50, 100)
    assert places(bench, "m2") == (31, 0, 0)


def test_points_of_evidence_that_a_frozen_recipient_sent_back_are_held() -> None:
    """They left before the flag and came back after it."""
    bench = flagging({"x2": FOUND}, watched())
    bench.order("o9", 1, "m2")
    bench.order("o1", 100, event_id="x1")
    bench.freeze("m2")
    bench.deliver = lambda: None  # type: ignore[method-assign]
    bench.command("points.transfer", points=60, to_member_id="m2")
    bench.check_in(event_id="x2")
    assert places(bench) == (0, 0, 40)
    del bench.deliver

    bench.deliver()

    assert places(bench) == (0, 0, 100)


# --- debt ---------------------------------------------------------------------------------------


def test_a_debt_of_a_rejection_is_paid_by_what_comes_next() -> None:
    """As that of a refund."""
    bench = flagging({"x2": FOUND}, watched(refund_policy="debt"))
    bench.order("o1", 100, event_id="x1")
    bench.redeem(100)
    bench.check_in(event_id="x2")
    review(bench, "reject", FLAG)
    assert bench.wallet().debt == 100

    bench.order("o3", 130)

    assert (bench.wallet().debt, bench.available()) == (0, 30)


def test_a_block_freezes_the_other_members_too() -> None:
    """Each account by its own partition, and back."""
    found = suspicion(
        entity_kind=EntityKind.IP,
        entity_id="203.0.113.7",
        events=(("m1", "x1"), ("m2", "x2")),
        members=("m1", "m2"),
        action=FlagAction.BLOCK,
    )
    bench = flagging({"x2": found}, watched())
    bench.order("o1", 10, "m1", event_id="x1")
    bench.order("o2", 10, "m2", event_id="x2")
    assert [bench.account(m).status for m in ("m1", "m2")] == ["frozen"] * 2
    assert bench.command("account.merge", "m1", into_member_id="m2").outcome is (
        Outcome.ACCOUNT_FROZEN
    )

    review(bench, "release", flag_id_of(found), "m2")

    assert [bench.account(m).status for m in ("m1", "m2")] == ["active"] * 2
    assert [places(bench, m) for m in ("m1", "m2")] == [(10, 0, 0)] * 2
