"""What a flag does to points: they wait for a review, then go on or are reversed, once."""

from __future__ import annotations

from typing import Any

import pytest
from flags_support import flagging, review, suspicion, watched
from ledger_support import DAY_MS, SPEND, Bench, outcomes, rule

from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.ledger import Outcome
from pointstream.ledger.suspicion import flag_id_of


def places(bench: Bench, member: str = "m1") -> tuple[int, int, int]:
    """Available, pending, held."""
    wallet = bench.wallet(member)
    return wallet.available, wallet.pending, wallet.held


def held_order() -> tuple[Bench, str]:
    """An order of 100 is spendable when an order of 50 makes both suspicious."""
    found = suspicion("x1", "x2")
    bench = flagging({"x2": found})
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")
    return bench, flag_id_of(found)


def test_the_points_of_the_event_are_pending_and_those_of_the_earlier_ones_held() -> None:
    """In the transaction of the award: at no moment can the new ones be spent."""
    bench, flag_id = held_order()

    assert places(bench) == (0, 50, 100)
    earned, pending, held = bench.entries
    assert (earned["type"], pending["type"]) == ("points.earned", "points.pending")
    assert (held["type"], held["delta"], held["flag_id"]) == ("points.held", -100, flag_id)
    assert (held["cause_type"], held["reason"]) == ("fraud.flag", "under_review")
    assert bench.redeem(1).outcome is Outcome.INSUFFICIENT_POINTS
    bench.later(400)
    assert places(bench) == (0, 50, 100)


@pytest.mark.case(39)
def test_a_release_activates_once() -> None:
    """What was under review and what was held is spendable; again, nothing moves."""
    bench, flag_id = held_order()

    done = review(bench, "release", flag_id)
    entries = len(bench.entries)

    assert done.result is not None
    assert done.result["outcome"] == "accepted"
    assert places(bench) == (150, 0, 0)
    assert bench.moved("activated") == [50]
    assert bench.moved("voided") == [100]
    assert {e["actor_id"] for e in bench.entries[3:]} == {"clerk"}
    assert {e["reason"] for e in bench.entries[3:]} == {"looked at it"}
    again = outcomes(review(bench, "release", flag_id), review(bench, "reject", flag_id))
    assert again == [Outcome.FLAG_ALREADY_RELEASED] * 2
    assert len(bench.entries) == entries
    assert [flag["state"] for flag in bench.flags] == ["raised", "released"]


@pytest.mark.case(39)
def test_a_rejection_reverses_once() -> None:
    """Both lots, in one entry that says who and why; again, nothing moves."""
    bench, flag_id = held_order()

    review(bench, "reject", flag_id, reason="a script")

    assert places(bench) == (0, 0, 0)
    (entry,) = bench.entries[3:]
    assert (entry["type"], entry["amount"], entry["delta"]) == ("points.reversed", 150, 0)
    assert (entry["actor_id"], entry["reason"], entry["flag_id"]) == ("clerk", "a script", flag_id)
    again = outcomes(review(bench, "reject", flag_id), review(bench, "release", flag_id))
    assert again == [Outcome.FLAG_ALREADY_REJECTED] * 2
    assert bench.wallet().reversed == 150
    assert [flag["state"] for flag in bench.flags] == ["raised", "confirmed"]


@pytest.mark.case(39)
def test_the_explanation_stays_readable_when_the_rule_has_changed() -> None:
    """The numbers of then are in the flag, not looked up: the record of its end has them too."""
    bench, flag_id = held_order()
    bench.restart()

    review(bench, "release", flag_id, reason="a family")

    assert bench.flags[-1]["explanation"] == (
        "clerk (head_office) releases: a family. m1 checked in 11 times within 60 s, 10 are allowed"
    )
    assert (bench.flags[-1]["observed"], bench.flags[-1]["threshold"]) == (11, 10)
    assert bench.flags[-1]["evidence"][:2] == ["x1", "x2"]


def test_what_only_flags_holds_nothing() -> None:
    """The flag can be reviewed all the same; a rejection takes nothing, for nothing was held."""
    found = suspicion("x1", action=FlagAction.FLAG)
    bench = flagging({"x1": found})
    bench.order("o1", 100, event_id="x1")

    assert places(bench) == (100, 0, 0)
    review(bench, "reject", flag_id_of(found))
    assert places(bench) == (100, 0, 0)
    assert [flag["state"] for flag in bench.flags] == ["raised", "confirmed"]


@pytest.mark.parametrize(
    ("actor", "outcome"),
    [
        ({"id": "boss", "role": "head_office"}, Outcome.REVIEW_RELEASED),
        ({"id": "job", "role": "system"}, Outcome.REVIEW_RELEASED),
        ({"id": "till", "role": "store", "store_id": "s1"}, Outcome.NOT_PERMITTED),
        ({"id": "m1", "role": "member"}, Outcome.NOT_PERMITTED),
    ],
)
def test_head_office_reviews_what_detectors_found(actor: dict[str, Any], outcome: Outcome) -> None:
    """A shop could let its own people go."""
    bench, flag_id = held_order()

    done = review(bench, "release", flag_id, actor=actor, store_id="s1")

    assert done.outcome is outcome


def test_an_unknown_flag_is_told_so() -> None:
    """Also another member's: it is not a flag of this one."""
    bench, flag_id = held_order()
    bench.order("o3", 1, "m2")

    assert review(bench, "release", "fraud-nonsense").outcome is Outcome.FLAG_UNKNOWN
    assert review(bench, "release", flag_id, "m2").outcome is Outcome.FLAG_UNKNOWN


def test_no_command_reaches_what_a_flag_holds() -> None:
    """Neither capture nor void, adjustment down, transfer, nor clear-out."""
    bench, _ = held_order()
    bench.order("o3", 1, "m2")
    hold_id = next(key for key in bench.books() if key[:1] == b"H").split(b"\0", 1)[1].decode()

    with pytest.raises(AssertionError, match="schema_invalid"):
        bench.capture(hold_id)
    assert bench.adjust(-1).outcome is Outcome.INSUFFICIENT_POINTS
    assert bench.command("points.transfer", to_member_id="m2", points=1).outcome is (
        Outcome.INSUFFICIENT_POINTS
    )
    bench.clear()
    assert places(bench) == (0, 50, 100)


def test_a_hold_of_a_till_is_left_alone_but_what_comes_out_of_it_is_held() -> None:
    """A fraudster who reserves the points and lets them go again has won nothing."""
    found = suspicion("x1", "x2")
    bench = flagging({"x2": found})
    bench.order("o1", 100, event_id="x1")
    bench.hold("h1", 60)
    bench.check_in(event_id="x2")
    assert bench.wallet().held == 100

    bench.void("h1")

    assert places(bench) == (0, 0, 100)
    held = [e.get("flag_id") for e in bench.entries if e["type"] == "points.held"]
    assert held == [None, flag_id_of(found), flag_id_of(found)]
    review(bench, "release", flag_id_of(found))
    assert places(bench) == (100, 0, 0)


def test_a_lot_under_two_flags_is_free_when_both_are_released() -> None:
    """Under review or held: the first release changes nothing for what the second is about."""
    one = suspicion("x1", "x2")
    two = suspicion("x1", "x2", "x3", detector="too-far")
    bench = flagging({"x2": one, "x3": two})
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")
    bench.order("o3", 7, event_id="x3")
    assert places(bench) == (0, 57, 100)

    review(bench, "release", flag_id_of(one))
    assert places(bench) == (0, 57, 100)
    review(bench, "release", flag_id_of(two))
    assert places(bench) == (157, 0, 0)


def test_a_lot_under_two_flags_is_reversed_by_either_once() -> None:
    """The other one finds nothing of it left, and no other points pay for it."""
    one = suspicion("x1", "x2")
    two = suspicion("x1", "x2", detector="too-far", occurred_ms=1)
    bench = flagging({"x2": one, "x3": two})
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")
    bench.check_in(event_id="x3")
    bench.order("o3", 7)

    review(bench, "reject", flag_id_of(one))
    review(bench, "reject", flag_id_of(two))

    assert bench.wallet().reversed == 150
    assert places(bench) == (7, 0, 0)


@pytest.mark.parametrize(
    ("policy", "left", "debt", "written_off"),
    [("only_pending", 30, 0, 80), ("within_balance", 0, 0, 50), ("debt", 0, 50, 0)],
)
def test_what_was_spent_follows_the_refund_policy(
    policy: str, left: int, debt: int, written_off: int
) -> None:
    """80 of 100 are spent, 30 others are there."""
    found = suspicion("x1", "x2")
    bench = flagging({"x2": found}, watched(refund_policy=policy))
    bench.order("o1", 100, event_id="x1")
    bench.redeem(80)
    bench.order("o9", 30)
    bench.check_in(event_id="x2")
    assert places(bench) == (30, 0, 20)

    review(bench, "reject", flag_id_of(found))

    wallet = bench.wallet()
    assert (wallet.available, wallet.debt, wallet.held) == (left, debt, 0)
    assert (wallet.written_off, wallet.reversed) == (written_off, 100 - written_off)
    assert bench.entries[-1]["written_off"] == written_off


def test_what_was_spent_of_other_events_is_known_as_long_as_their_ids_are() -> None:
    """A check-in has no order that says what it gave."""
    found = suspicion("x1", "x2")
    compiled = watched(SPEND, rule("check_in", points=10))
    bench = flagging({"x2": found}, compiled)
    bench.check_in(event_id="x1")
    bench.redeem(10)
    bench.order("o9", 30)
    bench.later(1)
    bench.check_in(event_id="x2")

    review(bench, "reject", flag_id_of(found))

    assert places(bench) == (20, 0, 0)
    assert bench.wallet().reversed == 20


def test_a_block_freezes_and_its_release_unfreezes() -> None:
    """Rejected, the account stays frozen until a command unfreezes it."""
    found = suspicion("x1", action=FlagAction.BLOCK)
    for how, status in (("release", "active"), ("reject", "frozen")):
        bench = flagging({"x1": found})
        bench.order("o9", 30)
        bench.order("o1", 100, event_id="x1")
        assert bench.account().status == "frozen"
        assert bench.redeem(1).outcome is Outcome.ACCOUNT_FROZEN

        review(bench, how, flag_id_of(found))

        assert bench.account().status == status
        assert places(bench)[0] == (130 if how == "release" else 30)


def test_two_blocks_end_with_the_second_release() -> None:
    """The first one hands over."""
    one = suspicion("x1", action=FlagAction.BLOCK)
    two = suspicion("x2", action=FlagAction.BLOCK, detector="too-far")
    bench = flagging({"x1": one, "x2": two})
    bench.order("o1", 100, event_id="x1")
    bench.order("o2", 50, event_id="x2")

    review(bench, "release", flag_id_of(one))
    assert bench.account().status == "frozen"
    assert places(bench) == (0, 150, 0)
    review(bench, "release", flag_id_of(two))
    assert bench.account().status == "active"
    assert places(bench) == (150, 0, 0)


def test_a_freeze_by_hand_is_not_undone_by_a_release() -> None:
    """Neither one that was there before, nor one after somebody had unfrozen the account."""
    found = suspicion("x1", action=FlagAction.BLOCK)
    before = flagging({"x1": found})
    before.order("o9", 30)
    before.freeze()
    before.order("o1", 100, event_id="x1")
    review(before, "release", flag_id_of(found))
    assert before.account().status == "frozen"
    assert places(before) == (30, 100, 0)

    after = flagging({"x1": found})
    after.order("o1", 100, event_id="x1")
    after.unfreeze()
    assert places(after) == (0, 100, 0)
    after.freeze()
    review(after, "release", flag_id_of(found))
    assert after.account().status == "frozen"


def test_several_members_are_held_and_released_together() -> None:
    """Each by its own partition; any of them can be named, and all are told how it ended."""
    events = tuple((f"m{n}", f"x{n}") for n in range(1, 7))
    found = suspicion(
        entity_kind=EntityKind.DEVICE,
        entity_id="d1",
        events=events,
        members=tuple(member for member, _ in events),
    )
    for how, left in (("release", 10), ("reject", 0)):
        bench = flagging({"x6": found})
        for member, event in events:
            bench.order(f"o-{member}", 10, member, event_id=event)
        assert [places(bench, member) for member, _ in events] == [(0, 0, 10)] * 6

        asked = review(bench, how, flag_id_of(found), "m4", event_id="r1")

        assert (asked.outcome, asked.result) == (Outcome.REVIEW_ASKED, None)
        assert [places(bench, member) for member, _ in events] == [(left, 0, 0)] * 6
        (answer,) = [a for a in bench.answers if a["command_id"] == "r1"]
        assert (answer["outcome"], answer["member_id"]) == ("accepted", "m4")
        assert bench.flags[-1]["member_ids"] == [member for member, _ in events]
        already = review(bench, "reject", flag_id_of(found), "m2").outcome
        assert already in (Outcome.FLAG_ALREADY_RELEASED, Outcome.FLAG_ALREADY_REJECTED)


def test_all_six_members_on_a_device_are_held() -> None:
    """What the detector's flag does to them, each in the own partition."""
    events = tuple((f"m{n}", f"x{n}") for n in range(1, 7))
    found = suspicion(
        entity_kind=EntityKind.DEVICE,
        entity_id="d1",
        events=events,
        members=tuple(member for member, _ in events),
    )
    bench = flagging({"x6": found})
    for member, event in events:
        bench.order(f"o-{member}", 10, member, event_id=event)

    assert [places(bench, member) for member, _ in events] == [(0, 0, 10)] * 6


def test_the_referral_points_of_a_circle_are_held() -> None:
    """A refers B, B refers C, C refers A: what each earned by it waits for the review."""
    circle = (("a", "x1"), ("b", "x2"), ("c", "x3"))
    found = suspicion(
        entity_kind=EntityKind.REFERRER,
        entity_id="c",
        events=circle,
        members=("a", "b", "c"),
    )
    bench = flagging({"x3": found}, watched(rule("referral", points=20, when="registered")))
    for (member, event), referee in zip(circle, "bca", strict=True):
        bench.give("referral.registered", member, referee_id=referee, event_id=event)

    assert [places(bench, member) for member, _ in circle] == [(0, 0, 20), (0, 0, 20), (0, 20, 0)]
    review(bench, "reject", flag_id_of(found), "b")
    assert [bench.wallet(member).reversed for member, _ in circle] == [20] * 3


def test_a_flag_that_goes_on_holds_what_joins_it() -> None:
    """Also more than it keeps as evidence."""
    bench = flagging({f"x{n}": suspicion(f"x{n}") for n in range(1, 121)})
    for n in range(1, 121):
        bench.order(f"o{n}", 1, event_id=f"x{n}")
    assert places(bench) == (0, 120, 0)

    review(bench, "reject", flag_id_of(suspicion()))

    assert places(bench) == (0, 0, 0)
    assert bench.wallet().reversed == 120
    assert len(bench.flags) == 1 + 7


def test_released_it_is_cleared_until_the_episode_ends_confirmed_it_can_be_raised_anew() -> None:
    """After a release the same detector does not ask again about the same; another episode does."""
    found = suspicion("x1")
    for how, pending in (("release", 0), ("reject", 1)):
        bench = flagging({"x1": found, "x2": suspicion("x2")})
        bench.order("o1", 1, event_id="x1")
        review(bench, how, flag_id_of(found))
        bench.order("o2", 1, event_id="x2")
        assert places(bench)[1] == pending
    assert bench.flags[-1]["flag_id"] == f"{flag_id_of(found)}-2"
    assert places(bench, "m1") == (0, 1, 0)


def test_repeats_of_a_suspicious_event_do_nothing() -> None:
    """Neither does a repeated review."""
    bench, flag_id = held_order()
    bench.order("o2", 50, event_id="x2")
    assert places(bench) == (0, 50, 100)

    at_ms = bench.now_ms
    review(bench, "reject", flag_id, event_id="r1", occurred_ms=at_ms)
    again = review(bench, "reject", flag_id, event_id="r1", occurred_ms=at_ms)

    assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert again.result is not None
    assert again.result["outcome"] == "accepted"
    assert bench.wallet().reversed == 150


def test_the_books_are_the_same_whatever_the_batch() -> None:
    """Byte for byte, the open flag as well as the ended one."""
    found = suspicion("x1", "x2")

    def books(batch: int) -> tuple[dict[bytes, bytes], list[Any], list[Any]]:
        bench = flagging({"x2": found, "x4": suspicion("x4", detector="x")}, batch=batch)
        bench.order("o1", 100, event_id="x1")
        bench.order("o2", 50, event_id="x2")
        bench.later(ms=5)
        review(bench, "release", flag_id_of(found))
        bench.order("o4", 3, event_id="x4")
        bench.later(DAY_MS / DAY_MS)
        return bench.books(), bench.entries, bench.flags

    assert books(1) == books(3) == books(50)
