"""What counts once, and what is answered once: ids, business keys, commands, restarts."""

from __future__ import annotations

import pytest
from ledger_support import DAY_MS, SPEND, Bench, outcomes, programme, rule

from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.ledger import Outcome
from pointstream.ledger.state import event_key


@pytest.mark.case(1)
def test_same_event_with_restart_between_earns_once() -> None:
    """A redelivered order makes no second entry, also for a ledger that was started anew."""
    bench = Bench()
    bench.order("o1", 40, event_id="a")
    bench.restart()

    again = bench.order("o1", 40, event_id="a")

    assert again.outcome is Outcome.EVENT_ALREADY_TAKEN
    assert not again.entries
    assert bench.available() == 40
    assert len(bench.entries) == 1


@pytest.mark.case(1)
def test_new_event_id_for_same_order_earns_nothing() -> None:
    """The order id is a business key: another event about it does not award it again."""
    bench = Bench()
    bench.order("o1", 40, event_id="a")

    other = bench.order("o1", 40, event_id="b")

    assert other.outcome is Outcome.ORDER_ALREADY_AWARDED
    assert bench.available() == 40


@pytest.mark.case(1)
def test_without_dedupe_a_redelivery_earns_twice() -> None:
    """The guard is what keeps case 1: switched off, the same order counts again."""
    bench = Bench(dedupe=False)
    bench.order("o1", 40, event_id="a")
    bench.order("o1", 40, event_id="a")

    assert bench.available() == 80
    assert list(bench.lots().values()) == [40, 40]


def test_id_with_other_content_is_a_dead_letter() -> None:
    """An event_id stands for one content; the second one goes back with its bytes."""
    bench = Bench()
    bench.order("o1", 40, event_id="a")
    before = bench.books()

    other = bench.order("o1", 41, event_id="a")

    assert other.outcome is Outcome.ID_REUSED_WITH_OTHER_CONTENT
    (letter,) = other.dead_letters
    assert letter.code is DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT
    assert letter.source.value is not None
    assert b'"paid_minor":4100' in letter.source.value
    assert bench.books() == before


def test_id_of_an_ignored_event_stands_for_its_content_too() -> None:
    """A second event about an order earned nothing, and its id is used up all the same."""
    bench = Bench()
    bench.order("o1", 40, event_id="a")
    before = bench.books()
    assert bench.order("o1", 40, event_id="b").outcome is Outcome.ORDER_ALREADY_AWARDED
    after = bench.books()
    del after[event_key(b"m1", "b")]
    assert after == before, "nothing but its id is kept"

    other = bench.order("o2", 70, event_id="b")

    assert other.dead_letters[0].code is DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT
    assert bench.order("o1", 40, event_id="b").outcome is Outcome.EVENT_ALREADY_TAKEN
    assert bench.available() == 40


OLD = {
    "order.paid": {"order_id": "o", "currency": "CNY", "paid_minor": 4_000},
    "referral.registered": {"referee_id": "r"},
    "activity.recorded": {"activity": "x", "reference": "r"},
    "checkin.recorded": {},
}


@pytest.mark.case(1)
@pytest.mark.parametrize("type_", OLD)
@pytest.mark.parametrize("ahead_ms", [0, 60_000])
def test_an_archive_published_again_earns_nothing(type_: str, ahead_ms: int) -> None:
    """As long as the business key is known it earns once; after that it is too old to be taken."""
    compiled = programme(
        SPEND,
        rule("referral", when="registered", points=20),
        rule("activity", activity="x", points=5),
        rule("check_in", points=2, every_time=True),
        dedup_window="P2D",
        refund_window="P30D",
    )
    seen = set()
    for days in (2, 30, 500):
        for ms in (-1, 0, ahead_ms - 1, ahead_ms):
            bench = Bench(compiled)
            fields = {"event_id": "a", "occurred_ms": bench.now_ms + ahead_ms, **OLD[type_]}
            bench.give(type_, **fields)
            earned = bench.available()
            assert earned
            bench.later(days, ms=ms)
            bench.restart()

            seen.add(bench.give(type_, **fields).outcome)

            assert bench.available() == earned

    assert {Outcome.EVENT_ALREADY_TAKEN, Outcome.TOO_OLD} < seen
    assert not seen & {Outcome.POINTS_AWARDED, Outcome.NOTHING_EARNED}


def test_event_as_old_as_its_business_key_can_get_is_a_dead_letter() -> None:
    """One millisecond younger is taken; a member event has no key, and is taken at any age."""
    bench = Bench(programme(refund_window="P30D"))
    oldest_ms = bench.now_ms - 30 * DAY_MS
    before = bench.books()

    refused = bench.order("o1", 40, event_id="a", occurred_ms=oldest_ms)

    assert refused.dead_letters[0].code is DeadLetterCode.TOO_OLD
    assert bench.books() == before
    taken = bench.order("o2", 40, occurred_ms=oldest_ms + 1)
    assert taken.outcome is Outcome.POINTS_AWARDED
    profile = bench.give("member.registered", birthday="05-01", occurred_ms=oldest_ms - 1)
    assert profile.outcome is Outcome.MEMBER_RECORDED


@pytest.mark.case(2)
@pytest.mark.parametrize("ahead_ms", [0, 60_000])
def test_command_whose_answer_is_forgotten_is_too_old_to_be_carried_out(ahead_ms: int) -> None:
    """Until then it gets its answer; it never spends twice."""
    bench = Bench(programme(dedup_window="P5D"))
    bench.order("o1", 100)
    asked = {"event_id": "c1", "occurred_ms": bench.now_ms + ahead_ms}
    bench.redeem(30, **asked)

    bench.later(5, ms=ahead_ms - 1)
    assert bench.redeem(30, **asked).outcome is Outcome.COMMAND_ALREADY_ANSWERED
    bench.later(ms=1)
    late = bench.redeem(30, **asked)

    assert late.dead_letters[0].code is DeadLetterCode.TOO_OLD
    assert late.result is None
    assert bench.available() == 70


def test_event_id_is_forgotten_after_the_dedup_window() -> None:
    """An id is known until just before the window ends, whether or not it was swept away."""
    bench = Bench(programme(rule("activity", activity="x", points=5), dedup_window="P2D"))
    fields = {"event_id": "a", "occurred_ms": bench.now_ms, "activity": "x", "reference": "r"}
    bench.give("activity.recorded", **fields)

    bench.later(2, ms=-1)
    assert bench.give("activity.recorded", **fields).outcome is Outcome.EVENT_ALREADY_TAKEN
    bench.later(ms=1)
    # The id is free again; the business key still holds.
    assert bench.give("activity.recorded", **fields).outcome is Outcome.ACTIVITY_ALREADY_AWARDED


@pytest.mark.case(2)
def test_command_is_answered_once_and_for_good() -> None:
    """A rejection stays one when the balance has grown; a new command is judged anew."""
    bench = Bench()
    bench.order("o1", 40)
    first = bench.redeem(50, event_id="c1")
    asked_ms = bench.now_ms
    bench.order("o2", 100)
    bench.restart()

    again = bench.redeem(50, event_id="c1", occurred_ms=asked_ms)
    new = bench.redeem(50, event_id="c2")

    assert first.outcome is Outcome.INSUFFICIENT_POINTS
    assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert again.result == first.result
    assert first.result is not None
    assert first.result["reason"] == "insufficient_points"
    assert first.result["available_after"] == 40
    assert new.result is not None
    assert new.result["outcome"] == "accepted"
    assert bench.available() == 90


def test_accepted_command_given_again_spends_once() -> None:
    """The recorded answer comes again, the points do not go again."""
    bench = Bench()
    bench.order("o1", 100)
    first = bench.redeem(30, event_id="c1")

    again = bench.redeem(30, event_id="c1")

    assert again.result == first.result
    assert not again.entries
    assert bench.available() == 70


def test_rejected_command_leaves_only_its_answer() -> None:
    """Nothing of the member's books changes, byte for byte."""
    bench = Bench()
    bench.order("o1", 40)
    before = bench.books()

    bench.redeem(50, event_id="c1")

    after = bench.books()
    assert {key for key in after if after[key] != before.get(key)} == {b"Mm1\0c1"}
    assert before.keys() <= after.keys()


def test_referral_and_activity_earn_once_per_business_key() -> None:
    """One award per referee and kind, one per activity and reference, whatever the event id."""
    bench = Bench(
        programme(
            rule("referral", when="registered", points=20),
            rule("referral", id="first", when="first_order", points=100, min_minor=5000),
            rule("activity", activity="review.posted", points=10),
            rule("activity", id="sales", activity="sale.closed", points=3, per_minor=10000),
        )
    )
    money = {"currency": "CNY"}
    first_order = {"referee_id": "r1", "order_id": "o", "paid_minor": 5000, **money}
    decisions = [
        bench.give("referral.registered", referee_id="r1"),
        bench.give("referral.registered", referee_id="r1"),
        bench.give("referral.first_order", **first_order),
        bench.give("referral.first_order", **first_order),
        bench.give("activity.recorded", activity="review.posted", reference="p1", quantity=2),
        bench.give("activity.recorded", activity="review.posted", reference="p1"),
        bench.give("activity.recorded", activity="review.posted", reference="p2"),
        bench.give(
            "activity.recorded", activity="sale.closed", reference="p1", value_minor=25000, **money
        ),
        bench.give("activity.recorded", activity="unheard.of", reference="p1"),
    ]

    assert outcomes(*decisions) == [
        Outcome.POINTS_AWARDED,
        Outcome.REFERRAL_ALREADY_AWARDED,
        Outcome.POINTS_AWARDED,
        Outcome.REFERRAL_ALREADY_AWARDED,
        Outcome.POINTS_AWARDED,
        Outcome.ACTIVITY_ALREADY_AWARDED,
        Outcome.POINTS_AWARDED,
        Outcome.POINTS_AWARDED,
        Outcome.NOTHING_EARNED,
    ]
    assert bench.moved("earned") == [20, 100, 20, 10, 6]


def test_event_too_far_ahead_is_a_dead_letter() -> None:
    """Five minutes ahead of partition time are taken, one millisecond more is not."""
    bench = Bench()
    tolerated_ms = bench.now_ms + 5 * 60_000

    assert bench.order("o1", 1, occurred_ms=tolerated_ms).outcome is Outcome.POINTS_AWARDED
    before = bench.books()
    ahead = bench.order("o2", 1, occurred_ms=tolerated_ms + 1)

    assert ahead.dead_letters[0].code is DeadLetterCode.TOO_FAR_IN_FUTURE
    assert bench.books() == before


def test_money_in_another_currency_is_a_dead_letter() -> None:
    """Nobody has said what it is worth, so it earns nothing and is not lost."""
    bench = Bench()
    decision = bench.order("o1", 100, currency="USD")

    assert decision.dead_letters[0].code is DeadLetterCode.CURRENCY_NOT_SUPPORTED
    assert not bench.books()


def test_award_beyond_what_a_wallet_can_hold_is_a_dead_letter() -> None:
    """Sums stay within what every JSON reader holds exactly; the ledger goes on."""
    bench = Bench(programme(rule("spend", points=1_000_000_000, per_minor=1)))

    decision = bench.order("o1", 10_000_000)

    assert decision.dead_letters[0].code is DeadLetterCode.POINTS_OUT_OF_RANGE
    assert not bench.books()
    assert bench.order("o2", 1).outcome is Outcome.POINTS_AWARDED


def test_remembered_values_are_swept_and_nothing_changes_by_it() -> None:
    """Dead values go as new ones come, so the memory does not grow with the past."""
    bench = Bench(programme(SPEND, dedup_window="P1D", refund_window="P1D"), batch=200)
    for number in range(6_000):
        bench.order(f"o{number}", 1)
        if number == 2_999:
            bench.later(2)

    memory = [key for key in bench.books() if key[:1] in b"MO"]
    assert len(memory) < 9_000  # 12,000 were written, 6,000 are alive
    assert bench.available() == 6_000
    assert bench.order("o5999", 1).outcome is Outcome.ORDER_ALREADY_AWARDED


def test_accounts_seq_has_no_gap_over_restarts() -> None:
    """Entries of one member are numbered 1, 2, 3 … whatever happens in between."""
    bench = Bench(programme(SPEND, rule("check_in", points=1)))
    for number in range(5):
        bench.order(f"o{number}", 10)
        bench.order(f"o{number}", 10)
        bench.check_in()
        bench.redeem(3)
        bench.redeem(3_000)
        bench.restart()
        bench.later(1)

    assert [entry["seq"] for entry in bench.entries] == list(range(1, 16))
