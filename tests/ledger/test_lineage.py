"""What descended from points of a confirmed flag: sent on, or earned by a referral."""

from __future__ import annotations

from typing import Any

import pytest
from flags_support import flagging, new_ledger, review, suspicion, watched
from ledger_support import SPEND, Bench, programme, rule
from tiers_support import ladder, tier

from pointstream.ledger import Outcome
from pointstream.ledger.book import Book
from pointstream.ledger.given import given_by
from pointstream.ledger.lineage import DEPTH
from pointstream.ledger.messages import Message
from pointstream.ledger.suspicion import flag_id_of

FOUND = suspicion("x1", "x2")
FLAG = flag_id_of(FOUND)


def places(bench: Bench, member: str = "m1") -> tuple[int, int, int]:
    """Available, held, reversed."""
    wallet = bench.wallet(member)
    return wallet.available, wallet.held, wallet.reversed


def send(bench: Bench, points: int, sender: str, to: str, **fields: Any) -> None:
    bench.command("points.transfer", sender, points=points, to_member_id=to, **fields)


def chain(members: int, points: int = 100, **settings: Any) -> Bench:
    """100 points of m1 that turn out to be suspicious, sent on from member to member."""
    bench = flagging({"x2": FOUND}, watched(**settings))
    for n in range(2, members + 1):
        bench.order(f"o-{n}", 1, f"m{n}")
    bench.later(ms=1)
    bench.order("o1", 100, event_id="x1")
    for n in range(1, members):
        # The older ones are spent first: what came is sent when it alone is left.
        if n > 1:
            bench.redeem(1, f"m{n}")
        send(bench, points, f"m{n}", f"m{n + 1}")
    bench.check_in(event_id="x2")
    return bench


def test_points_that_were_sent_are_taken_back_where_they_are() -> None:
    """What the recipient has besides stays; the entries there name flag, reviewer and reason."""
    bench = chain(2, 60)
    assert (places(bench), places(bench, "m2")) == ((0, 40, 0), (61, 0, 0))

    review(bench, "reject", FLAG, reason="a ring")

    assert (places(bench), places(bench, "m2")) == ((0, 0, 40), (1, 0, 60))
    entry = bench.entries[-1]
    assert (entry["type"], entry["member_id"], entry["delta"]) == ("points.reversed", "m2", -60)
    assert (entry["actor_id"], entry["reason"], entry["flag_id"]) == ("clerk", "a ring", FLAG)
    assert bench.wallet().written_off == bench.wallet("m2").written_off == 0


def test_points_are_followed_over_several_members() -> None:
    """Those in between have nothing left of them, and lose nothing."""
    bench = chain(5)

    review(bench, "reject", FLAG)

    assert [places(bench, f"m{n}")[2] for n in range(1, 6)] == [0, 0, 0, 0, 100]
    assert places(bench, "m5") == (1, 0, 100)


def test_points_are_followed_over_so_many_members_and_no_further() -> None:
    """What has gone further falls back on the flagged member, who has nothing: written off."""
    for members, taken in ((DEPTH + 1, 100), (DEPTH + 2, 0)):
        bench = chain(members)
        review(bench, "reject", FLAG)
        assert bench.wallet(f"m{members}").reversed == taken
        assert bench.wallet().written_off == 100 - taken


@pytest.mark.parametrize(
    ("policy", "available", "debt", "written_off"),
    [("only_pending", 50, 0, 70), ("within_balance", 0, 0, 20), ("debt", 0, 20, 0)],
)
def test_what_the_recipient_has_spent_falls_back_on_the_sender(
    policy: str, available: int, debt: int, written_off: int
) -> None:
    """Who was sent points loses no others for it; the sender's follow the refund policy."""
    bench = flagging({"x2": FOUND}, watched(refund_policy=policy))
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 500, "m2")
    bench.redeem(500, "m2")
    send(bench, 100, "m1", "m2")
    bench.redeem(70, "m2")
    bench.order("o3", 200, "m2")
    bench.order("o4", 50)
    bench.check_in(event_id="x2")

    review(bench, "reject", FLAG)

    assert places(bench, "m2") == (200, 0, 30)
    wallet = bench.wallet()
    assert (wallet.available, wallet.debt, wallet.written_off) == (available, debt, written_off)


def test_sent_and_spent_points_of_one_lot_are_each_taken_once() -> None:
    """40 sent, 30 spent, 30 there; two flags about them, one after the other, and a return."""
    other = suspicion("x1", "x3", detector="too-far")
    bench = flagging({"x2": FOUND, "x3": other}, watched())
    bench.order("o9", 1, "m2")
    bench.order("o1", 100, event_id="x1")
    send(bench, 40, "m1", "m2")
    bench.redeem(30)
    bench.order("o3", 500)
    bench.later(1)
    bench.check_in(event_id="x2")
    bench.give("activity.recorded", activity="a", reference="r", event_id="x3")

    review(bench, "reject", FLAG)
    assert (places(bench), places(bench, "m2")) == ((470, 0, 60), (1, 0, 40))
    review(bench, "reject", flag_id_of(other))
    bench.cancel("o1")

    assert (places(bench), places(bench, "m2")) == ((470, 0, 60), (1, 0, 40))


def test_a_release_follows_nothing() -> None:
    """What was sent stays where it is, and can be followed by a later flag."""
    other = suspicion("x1", "x3", detector="too-far")
    bench = chain(2, 60)
    bench.new_ledger(bench.programme).suspicions["x3"] = other  # type: ignore[attr-defined]
    review(bench, "release", FLAG)
    assert (places(bench), places(bench, "m2")) == ((40, 0, 0), (61, 0, 0))

    bench.give("activity.recorded", activity="a", reference="r", event_id="x3")
    review(bench, "reject", flag_id_of(other))
    assert (places(bench), places(bench, "m2")) == ((0, 0, 40), (1, 0, 60))


class Late(Bench):
    """A bench that delivers messages when it is told to."""

    def deliver(self) -> None:
        """Wait."""

    def deliver_now(self) -> None:
        super().deliver()


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_still_on_its_way_is_taken_where_it_ends(frozen: bool) -> None:
    """At the recipient, or at the sender when the recipient's side refuses it; once."""
    bench = Late(watched(), new_ledger=new_ledger({"x2": FOUND}))
    bench.order("o9", 1, "m2")
    bench.order("o1", 100, event_id="x1")
    if frozen:
        bench.freeze("m2")
    send(bench, 60, "m1", "m2")
    bench.check_in(event_id="x2")
    review(bench, "reject", FLAG)

    bench.deliver_now()

    expected = ((0, 0, 100), (1, 0, 0)) if frozen else ((0, 0, 40), (1, 0, 60))
    assert (places(bench), places(bench, "m2")) == expected
    assert bench.wallet().written_off == 0


def test_points_that_come_round_to_their_sender_are_found_there() -> None:
    """m1 sent them to m2, who sent them back."""
    bench = flagging({"x2": FOUND}, watched())
    bench.order("o1", 100, event_id="x1")
    bench.order("o9", 1, "m2")
    bench.redeem(1, "m2")
    send(bench, 60, "m1", "m2")
    send(bench, 60, "m2", "m1")
    bench.check_in(event_id="x2")
    assert places(bench) == (60, 40, 0)

    review(bench, "reject", FLAG)

    assert (places(bench), places(bench, "m2")) == ((0, 0, 100), (0, 0, 0))


@pytest.mark.parametrize("merged", ["m1", "m2"])
def test_merged_members_are_followed_to_their_survivors(merged: str) -> None:
    """The sender's links as well as the recipient's."""
    bench = chain(2, 60)
    bench.order("o3", 5, "m3")
    bench.command("account.merge", merged, into_member_id="m3")

    review(bench, "reject", FLAG, "m1")

    other = "m2" if merged == "m1" else "m1"
    reversed_ = bench.wallet("m3").reversed, bench.wallet(other).reversed
    assert reversed_ == ((40, 60) if merged == "m1" else (60, 40))


def test_a_recipient_who_was_erased_is_forgotten_by_the_sender() -> None:
    """No id is left; what the erasure has cleared falls on nobody."""
    bench = chain(2, 60)
    assert bench.command("account.erase", "m2").outcome is Outcome.ERASED
    assert not [key for key, value in bench.books().items() if b"m2" in key + value]

    review(bench, "reject", FLAG)

    assert places(bench) == (0, 0, 40)
    assert bench.wallet().written_off == 60


def test_a_sender_who_was_erased_is_forgotten_by_the_recipient() -> None:
    """No id is left."""
    bench = flagging({}, watched())
    bench.order("o1", 100)
    bench.order("o9", 1, "m2")
    send(bench, 60, "m1", "m2")

    bench.command("account.erase", "m1")

    assert not [key for key, value in bench.books().items() if b"m1" in key + value]


# --- referrals ----------------------------------------------------------------------------------


def referred(policy: str = "within_balance") -> Bench:
    """m0 has referred m1 twice over, and earned 20 and 30 by it; m1 turns out to be a fraud."""
    rules = (
        SPEND,
        rule("referral", id="r1", when="registered", points=20),
        rule("referral", id="r2", when="first_order", points=30),
    )
    bench = flagging({"x2": FOUND}, watched(*rules, refund_policy=policy))
    bench.give("referral.registered", "m0", referee_id="m1")
    bench.order("o1", 100, event_id="x1")
    bench.give(
        "referral.first_order",
        "m0",
        referee_id="m1",
        order_id="o1",
        paid_minor=10_000,
        currency="CNY",
    )
    bench.later(ms=1)
    bench.give("referral.registered", "m0", referee_id="m9")
    return bench


def test_what_was_earned_by_referring_a_fraud_is_taken_back_once() -> None:
    """Other referrals stay."""
    bench = referred()
    bench.check_in(event_id="x2")
    assert places(bench, "m0") == (70, 0, 0)

    review(bench, "reject", FLAG)

    assert places(bench, "m0") == (20, 0, 50)
    assert {e["flag_id"] for e in bench.entries if e["type"] == "points.reversed"} == {FLAG}
    lines = [key for key in bench.books() if key.startswith(b"Lm1\0referrer")]
    assert lines == []


def test_a_referrer_who_has_spent_it_owes_by_the_refund_policy() -> None:
    """Of 70, 60 are spent."""
    for policy, left, debt, written_off in (
        ("only_pending", 0, 0, 40),
        ("within_balance", 0, 0, 40),
        ("debt", 0, 40, 0),
    ):
        bench = referred(policy)
        bench.redeem(60, "m0")
        bench.check_in(event_id="x2")
        review(bench, "reject", FLAG)
        wallet = bench.wallet("m0")
        # The 10 that are left are those of m9, the last earned.
        if policy == "only_pending":
            assert (wallet.available, wallet.debt, wallet.written_off) == (10, 0, 50)
        else:
            assert (wallet.available, wallet.debt, wallet.written_off) == (left, debt, written_off)


def test_a_release_leaves_the_referrer_alone() -> None:
    """Nobody was a fraud."""
    bench = referred()
    bench.check_in(event_id="x2")
    review(bench, "release", FLAG)
    assert places(bench, "m0") == (70, 0, 0)


@pytest.mark.parametrize("erased", ["m0", "m9"])
def test_an_erased_member_of_a_referral_is_forgotten_on_both_sides(erased: str) -> None:
    """Neither the referrer nor the referee lives on with the other."""
    bench = referred()
    bench.command("account.erase", erased)
    bench.order("o5", 1)
    assert not [
        key
        for key, value in bench.books().items()
        if erased.encode() in key + value and key[:1] != b"b"
    ]


def test_without_detectors_nothing_is_kept() -> None:
    """The plain way writes no byte more."""
    bench = Bench(programme(SPEND, rule("referral", id="r1", when="registered", points=20)))
    bench.order("o1", 100, event_id="x1")
    bench.order("o9", 1, "m2")
    send(bench, 60, "m1", "m2")
    bench.give("referral.registered", "m0", referee_id="m1")

    assert not [key for key in bench.books() if key[:1] == b"L"]
    assert all(b"\n" not in value[25:] for key, value in bench.books().items() if key[:1] == b"M")


def test_a_link_that_never_was_is_passed_over() -> None:
    """A transfer that was refused has none at the recipient."""
    bench = flagging({}, watched())
    bench.order("o1", 1, "m2")
    body = {
        "transfer_id": "t",
        "number": 1,
        "points": 5,
        "flag_id": "f",
        "cause": {"event_id": "r", "type": "review.reject", "occurred_ms": 1},
        "root": "m1",
        "depth": 1,
    }
    bench.arrive(Message("lineage.followed", "m2", body))
    assert bench.decisions[-1].outcome is Outcome.NOTHING_DESCENDED
    assert places(bench, "m2") == (1, 0, 0)


def test_what_an_event_gave_by_a_tier_is_kept_with_it_at_once() -> None:
    """A review finds the bonus when the process ended right after the event."""
    bench = Bench(watched(SPEND, ladders=[ladder(tier("gold", 1_000, bonus={"points": 70}))]))
    bench.order("o1", 1_000, event_id="e1")
    bench.restart()
    found: list[int] = []

    def look(book: Book) -> None:
        found.extend(one.points for one in given_by(book, book.account("m1", b"m1"), "e1"))

    bench.open_for(look)

    assert found == [1_000, 70]
