"""Two members become one: everything moves, nothing counts twice, late events find their way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, outcomes, programme, rule

from pointstream.ledger import Outcome, state
from pointstream.ledger.kinds import MEMBER_KINDS, OTHER_KINDS
from pointstream.ledger.leaving import KEYS_PER_MESSAGE


def merge(bench: Bench, old: str, survivor: str, **fields: Any) -> dict[str, Any]:
    """Merge one member into another; return the answer that the command got."""
    before = len(bench.answers)
    bench.command("account.merge", old, into_member_id=survivor, **fields)
    (answer,) = bench.answers[before:]
    return answer


def wallets(**points: Any) -> list[dict[str, Any]]:
    return [{"id": "points", **points}]


def all_points(bench: Bench) -> int:
    """What all members have, in the points wallet."""
    sums = 0
    for key in list(bench.books()):
        if key[:1] == b"a":
            totals = bench.account(key[1:].decode()).wallets.get("points")
            if totals is not None:
                sums += totals.available + totals.pending + totals.held - totals.debt
    return sums


@pytest.mark.case(32)
def test_everything_moves_and_later_events_land_on_the_survivor() -> None:
    """Lots with their expiry, holds with their lots, orders that can still be refunded."""
    bench = Bench(programme(wallets=wallets(expiry={"days": 30})))
    bench.order("o1", 100, member="old")
    bench.hold("h1", 30, member="old", expires_at="2026-03-20T00:00:00Z")
    bench.later(days=1)
    bench.order("o2", 10, member="new")
    lots = bench.lots("old")

    answer = merge(bench, "old", "new")

    assert (answer["outcome"], answer["member_id"]) == ("accepted", "old")
    assert (bench.available("old"), bench.wallet("old").held) == (0, 0)
    assert (bench.available("new"), bench.wallet("new").held) == (80, 30)
    assert lots.items() <= bench.lots("new").items()
    statuses = {s.member_id: s.crm_sync["status"] for s in bench.standings}
    assert statuses == {"old": "merged", "new": "active"}

    bench.capture("h1", member="old", points=20)
    bench.refund("o1", "r1", 40, member="old")
    bench.order("o3", 5, member="old")

    assert (bench.available("new"), bench.wallet("new").held) == (55, 0)
    assert not bench.lots("old")
    bench.tick(START_MS + 30 * DAY_MS)
    assert bench.moved("expired") == [40]
    assert bench.entries[-1]["member_id"] == "new"


@pytest.mark.case(32)
def test_the_entries_of_a_merge_name_lots_cause_and_actor() -> None:
    """What went out of one account came into the other, lot by lot."""
    bench = Bench(programme(wallets=wallets(activation={"after": "P2D"})))
    bench.order("o1", 100, member="old")
    bench.later(days=3)
    bench.order("o2", 20, member="old")
    bench.hold("h1", 30, member="old")
    bench.order("o3", 1, member="new")
    start = len(bench.entries)

    merge(bench, "old", "new", event_id="c1", reason="one person")

    out, into = bench.entries[start:]
    for entry, name in ((out, "old"), (into, "new")):
        assert entry["member_id"] == name
        assert (entry["cause_event_id"], entry["cause_type"]) == ("c1", "account.merge")
        assert (entry["actor_id"], entry["reason"]) == ("clerk", "one person")
        assert entry["amount"] == 120
    assert (out["type"], out["delta"]) == ("points.merged_out", -70)
    assert (into["type"], into["delta"]) == ("points.merged_in", 70)
    assert (into["available_after"], into["pending_after"], into["held_after"]) == (70, 21, 30)
    deltas = {lot["lot_id"]: -lot["delta"] for lot in out["lots"] if lot["delta"]}
    assert deltas == {lot["lot_id"]: lot["delta"] for lot in into["lots"] if lot["delta"]}
    bench.later(days=3)
    # The hold has ended by its time meanwhile.
    assert bench.available("new") == 121


@pytest.mark.case(32)
def test_what_was_taken_under_the_old_id_is_not_taken_again() -> None:
    """Events, business keys and commands are known: repeated under either id, nothing counts."""
    bench = Bench()
    bench.order("o1", 100, member="old", event_id="e1", occurred_ms=START_MS)
    bench.redeem(30, member="old", event_id="c1", occurred_ms=START_MS)
    bench.order("o9", 1, member="new")
    merge(bench, "old", "new")
    books = bench.books()
    answers = len(bench.answers)

    bench.order("o1", 100, member="old", event_id="e1", occurred_ms=START_MS)
    bench.redeem(30, member="old", event_id="c1", occurred_ms=START_MS)
    assert bench.books() == books
    (answer,) = bench.answers[answers:]
    assert (answer["outcome"], answer["member_id"], answer["seq"]) == ("accepted", "old", 2)

    bench.order("o1", 100, member="old", event_id="e2")
    bench.order("o1", 100, member="new", event_id="e3")
    assert bench.available("new") == 71
    again = bench.redeem(30, member="new", event_id="c1", occurred_ms=START_MS)
    assert again.outcome is Outcome.ID_REUSED_WITH_OTHER_CONTENT


@pytest.mark.case(32)
def test_streaks_profiles_and_referrals_go_on() -> None:
    """Days of both count as one streak, the later word about a field counts."""
    bench = Bench(
        programme(
            rule("check_in", points=1, streak={"days": 7, "points": 10}),
            rule("referral", when="registered", points=5),
        )
    )
    for day in range(6):
        bench.check_in(("old", "new")[day % 2])
        bench.later(days=1)
    bench.give("referral.registered", "old", referee_id="friend")
    bench.give("member.registered", "old", segments=["vip"], birthday="02-29")
    bench.later(ms=1)
    bench.give("member.updated", "new", birthday="03-01")

    merge(bench, "old", "new")
    bench.give("referral.registered", "new", referee_id="friend")
    bench.check_in("old")

    assert bench.available("new") == 6 + 5 + 1 + 10
    assert bench.standings[-1].crm_sync["segments"] == ["vip"]
    assert b"03-01" in bench.books()[b"mnew"]
    assert b"02-29" not in bench.books()[b"mnew"]


@pytest.mark.parametrize("refund_under", ["old", "new"])
def test_a_refund_that_waits_meets_its_order(refund_under: str) -> None:
    """The order was taken under one id, the refund waits under the other."""
    bench = Bench()
    order_under = "new" if refund_under == "old" else "old"
    bench.order("o0", 1, member="new")
    bench.refund("o1", "r1", 40, member=refund_under)
    bench.order("o1", 100, member=order_under)

    merge(bench, "old", "new")

    assert bench.available("new") == 61
    assert bench.account("new").parked == 0
    assert not [key for key in bench.books() if key[:1] in (b"p", b"t")]


def test_a_refund_goes_on_waiting_with_the_survivor() -> None:
    """Until the order comes, or as a dead letter just as it was, under the old id."""
    bench = Bench()
    bench.order("o0", 1, member="new")
    bench.refund("o1", "r1", 40, member="old")
    bench.refund("o2", "r2", 7, member="old")
    merge(bench, "old", "new")
    bench.refund("o2", "r3", 3, member="old")
    bench.order("o2", 10, member="new")
    assert bench.available("new") == 1

    (letter,) = [letter for d in bench.later(days=8) for letter in d.dead_letters]
    assert letter.code == "refund_without_order"
    assert letter.source.key == b"old"
    assert b'"member_id":"old"' in (letter.source.value or b"")
    assert bench.account("new").parked == 0


@pytest.mark.parametrize("owing", ["old", "new"])
def test_a_debt_is_paid_by_the_other_ones_points(owing: str) -> None:
    """Whichever of the two owed: what is left is what both had together."""
    bench = Bench(programme(refund_policy="debt"))
    other = "new" if owing == "old" else "old"
    bench.order("o1", 100, member=owing)
    bench.redeem(80, member=owing)
    bench.refund("o1", "r1", 100, member=owing)
    bench.order("o2", 50, member=other)
    before = all_points(bench)

    merge(bench, "old", "new")

    assert (bench.available("new"), bench.wallet("new").debt) == (0, 30)
    assert bench.wallet("old").debt == 0
    assert all_points(bench) == before == -30


def test_what_only_one_may_have_stays_the_survivors() -> None:
    """An order, an event id and a hold that both know; the other hold goes on under a new name."""
    bench = Bench()
    for member, points in (("old", 100), ("new", 60)):
        bench.order("o1", points, member=member, event_id="e1")
        bench.hold("h1", points // 2, member=member)
    merge(bench, "old", "new")

    assert (bench.available("new"), bench.wallet("new").held) == (80, 80)
    assert bench.capture("h1", member="new").entries[0]["amount"] == 30
    assert bench.refund("o1", "r1", 100, member="new").outcome is Outcome.REFUND_EXCEEDS_ORDER
    bench.later(days=2)
    assert (bench.available("new"), bench.wallet("new").held) == (130, 0)


def test_what_paid_for_a_returned_order_comes_back_from_either_id() -> None:
    """Paid under the one id, bought and returned under the other."""
    bench = Bench()
    for member in ("old", "new"):
        bench.adjust(100, member=member)
        bench.redeem(40, member=member, order_id="o1")
    bench.order("o1", 10, member="new")
    bench.refund("o1", "r1", 5, member="new")
    merge(bench, "old", "new")
    assert bench.available("new") == 60 + 60 + 10 - 5 + 20 + 20
    bench.cancel("o1", member="old")
    assert bench.available("new") == 200


def test_a_chain_of_merges_ends_at_the_last_one() -> None:
    """A into B, B into C: what is meant for A lands on C, and so does what still moves to B."""
    bench = Bench()
    for member in "abcd":
        bench.order("o", 10, member=member)
    for old, survivor in (("a", "b"), ("b", "c"), ("d", "a")):
        assert merge(bench, old, survivor)["outcome"] == "accepted"
    bench.order("late", 5, member="a")
    assert bench.available("c") == 45
    assert [bench.account(m).merged_into for m in "abd"] == ["b", "c", "c"]


def test_a_merge_that_cannot_be_is_refused() -> None:
    """Each for its own reason; nothing of either account has moved."""
    bench = Bench()
    for member in ("old", "new", "cold"):
        bench.order("o", 10, member=member)
    bench.freeze("cold")
    refused = {
        "old": "merge_into_self",
        "nobody": "recipient_unknown",
        "cold": "recipient_frozen",
    }
    for survivor, reason in refused.items():
        assert merge(bench, "old", survivor)["reason"] == reason
    assert merge(bench, "cold", "new")["reason"] == "account_frozen"
    shop = {"id": "till", "role": "store", "store_id": "s1"}
    assert merge(bench, "old", "new", actor=shop)["reason"] == "not_permitted"
    assert bench.account("old").merging_into is None
    assert bench.account("new").arriving == 0
    assert not [e for e in bench.entries if "merged" in e["type"]]

    assert merge(bench, "old", "new")["outcome"] == "accepted"
    assert merge(bench, "old", "cold")["reason"] == "account_merged"
    assert merge(bench, "new", "old")["reason"] == "merge_into_self"


def test_an_id_that_has_nothing_yet_can_be_merged() -> None:
    """What comes for it later belongs to the survivor from the first event on."""
    bench = Bench()
    bench.order("o", 10, member="new")
    assert merge(bench, "old", "new")["outcome"] == "accepted"
    bench.order("p", 5, member="old")
    assert bench.available("new") == 15
    assert bench.entries[-1]["member_id"] == "new"


def test_the_command_is_answered_once_and_for_good() -> None:
    """Given again under the old id, the recorded answer comes again."""
    bench = Bench()
    for member in ("old", "new"):
        bench.order("o", 10, member=member)
    first = merge(bench, "old", "new", event_id="c1", occurred_ms=START_MS)
    books = bench.books()
    again = merge(bench, "old", "new", event_id="c1", occurred_ms=START_MS)
    assert first == again
    other = merge(bench, "old", "new", event_id="c2", occurred_ms=START_MS)
    assert other["reason"] == "account_merged"
    assert other == merge(bench, "old", "new", event_id="c2", occurred_ms=START_MS)
    assert {k: v for k, v in bench.books().items() if k != b"Mold\0c2"} == books


def test_a_member_who_acts_under_the_old_id_acts_as_the_survivor() -> None:
    """The actor is the member still; a stranger is not."""
    bench = Bench()
    for member in ("old", "new"):
        bench.order("o", 10, member=member)
    merge(bench, "old", "new")
    bench.redeem(15, member="old")
    assert bench.available("new") == 5
    bench.redeem(1, member="old", actor={"id": "new", "role": "member"})
    assert bench.answers[-1]["outcome"] == "accepted"
    bench.redeem(1, member="old", actor={"id": "else", "role": "member"})
    assert bench.answers[-1]["reason"] == "not_permitted"


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_merge_of_thousands_of_orders_takes_many_messages(batch: int) -> None:
    """Nothing is lost on the way, and the batch size does not show."""
    bench = Bench(programme(SPEND, wallets=wallets(expiry={"days": 30})), batch=batch)
    bench.order("first", 1, member="new")
    for number in range(3_000):
        bench.order(f"o{number}", 2, member="old", event_id=f"e{number}")
    merge(bench, "old", "new")
    bench.flush()
    taken = outcomes(*bench.decisions).count(Outcome.MERGE_TAKEN)
    assert taken + 1 >= 9_000 // KEYS_PER_MESSAGE
    assert bench.available("new") == 6_001
    left = {key for key in bench.books() if b"old" in key}
    assert {key[:1] for key in left} == {b"a", b"M", b"s"}
    assert len(left) == 3
    for number in (0, 1_500, 2_999):
        bench.cancel(f"o{number}", member="old")
    assert bench.available("new") == 5_995
    bench.later(days=31)
    assert bench.available("new") == 0


def test_every_kind_of_key_is_known_to_be_a_members_or_not() -> None:
    """A kind that `state.py` tells of and the table does not would be lost with a merge."""
    told = re.findall(r"^    (\w)(?: .*|)$", state.__doc__ or "", re.MULTILINE)
    known = {kind.kind for kind in MEMBER_KINDS} | OTHER_KINDS
    assert {letter.encode() for letter in told} == known
    makers = set(re.findall(r'b"(\w)%b', Path(state.__file__ or "").read_text()))
    assert {letter.encode() for letter in makers} <= known
