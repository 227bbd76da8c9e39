"""What may be sent and what it costs; and what sent points are to refunds and debts."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, START_MS, outcomes, programme
from transfer_support import Post, answer, post_with

from pointstream.contracts.programme import TransferFee
from pointstream.ledger import Outcome
from pointstream.ledger.book import MAX_POINTS
from pointstream.ledger.transfer_terms import LOTS_PER_TRANSFER, fee_of

HOUR_MS = 3_600_000


def test_recipient_that_can_hold_no_more_gets_nothing() -> None:
    """A wallet's sums stay numbers that every reader holds exactly."""
    post = post_with(100, 0)
    for number in range(9):
        post.recipient.adjust(min(10**15, MAX_POINTS - number * 10**15), "m2")
    post.recipient.adjust(MAX_POINTS - 9 * 10**15 - 29, "m2")

    post.send(30)
    post.settle()

    assert answer(post)[:2] == ("rejected", "limit_reached")
    post.send(29)
    post.settle()
    assert answer(post)[:2] == ("accepted", None)
    assert post.recipient.wallet("m2").granted == MAX_POINTS


@pytest.mark.parametrize(
    ("settings", "fields", "outcome"),
    [
        ({}, {"points": 101}, Outcome.INSUFFICIENT_POINTS),
        ({}, {"points": 10, "to": "m1"}, Outcome.TRANSFER_TO_SELF),
        ({}, {"points": 10, "actor": {"id": "m2", "role": "member"}}, Outcome.NOT_PERMITTED),
        (
            {},
            {"points": 10, "actor": {"id": "t", "role": "store", "store_id": "s1"}},
            Outcome.NOT_PERMITTED,
        ),
        ({"enabled": False}, {"points": 10}, Outcome.NOT_SUPPORTED),
        ({"min_points": 11}, {"points": 10}, Outcome.LIMIT_REACHED),
        ({"max_points": 9}, {"points": 10}, Outcome.LIMIT_REACHED),
        ({"daily_points": 9}, {"points": 10}, Outcome.LIMIT_REACHED),
        ({"fee": {"points": 1}}, {"points": 100}, Outcome.INSUFFICIENT_POINTS),
    ],
)
def test_what_may_not_leave_does_not(
    settings: dict[str, Any], fields: dict[str, Any], outcome: Outcome
) -> None:
    """The answer is there at once, nothing is sent, and the state keeps only the answer."""
    post = post_with(100, transfers=settings)
    before = post.sender.books()

    decision = post.send(event_id="c1", **fields)

    assert decision.outcome is outcome
    assert decision.result is not None
    assert decision.result["reason"] == outcome.value
    assert not post.sender.messages
    after = post.sender.books()
    assert {key for key in after if after[key] != before.get(key)} == {b"Mm1\0c1"}


def test_points_in_too_many_lots_do_not_leave_at_once() -> None:
    """What is under way fits into a record, and nothing of it is cut off."""
    post = post_with(0, 5)
    for number in range(LOTS_PER_TRANSFER + 1):
        post.sender.order(f"p{number}", 2)

    refused = post.send(2 * LOTS_PER_TRANSFER + 1)
    taken = post.send(2 * LOTS_PER_TRANSFER)
    post.settle()

    assert outcomes(refused, taken) == [Outcome.LIMIT_REACHED, Outcome.TRANSFER_STARTED]
    assert post.recipient.available("m2") == 5 + 2 * LOTS_PER_TRANSFER


def test_frozen_sender_sends_nothing() -> None:
    """Sending is spending."""
    post = post_with()
    post.sender.freeze("m1")

    assert post.send(30).outcome is Outcome.ACCOUNT_FROZEN


def test_debt_at_the_recipient_is_paid_first() -> None:
    """As with all credits; the lot holds what is left."""
    post = post_with(100, 50, refund_policy="debt")
    post.recipient.redeem(50, "m2")
    post.recipient.refund("o2", "r1", 20, "m2")
    assert post.recipient.wallet("m2").debt == 20

    post.send(30)
    post.settle()

    totals = post.recipient.wallet("m2")
    assert (totals.available, totals.debt, totals.transferred_in) == (10, 0, 30)
    (come,) = post.entries("m2", "transferred_in")
    assert (come["amount"], come["delta"], come["debt_after"]) == (30, 10, 0)
    assert [lot["delta"] for lot in come["lots"]] == [10]


def test_fee_is_paid_by_the_sender_on_top() -> None:
    """It is spent, with a reason of its own, and the recipient gets what was sent."""
    post = post_with(100, 5, transfers={"fee": {"points": 2, "permille": 100}})

    post.send(50)
    post.settle()

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.transferred_out, totals.redeemed) == (43, 50, 7)
    (fee,) = post.entries("m1", "redeemed")
    assert (fee["amount"], fee["delta"], fee["reason"]) == (7, -7, "transfer_fee")
    assert post.recipient.available("m2") == 55


def test_fee_is_given_back_with_the_points() -> None:
    """Into its own lots, with their own expiry."""
    post = post_with(100, 0, transfers={"fee": {"points": 7}})
    lots = post.sender.lots("m1")

    post.send(50)
    post.settle()

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.redeemed, totals.restored) == (100, 7, 7)
    (fee,) = post.entries("m1", "restored")
    assert (fee["amount"], fee["reason"]) == (7, "transfer_fee")
    assert post.sender.lots("m1") == lots


@pytest.mark.parametrize(
    ("fee", "points", "due"),
    [
        ({}, 1_000, 0),
        ({"points": 3}, 1, 3),
        ({"permille": 15}, 199, 2),
        ({"points": 1, "permille": 15}, 200, 4),
        ({"permille": 10, "min": 5}, 100, 5),
        ({"permille": 10, "max": 5}, 1_000, 5),
    ],
)
def test_fee_follows_its_terms(fee: dict[str, int], points: int, due: int) -> None:
    """A sum, a share rounded down, a least and a most."""
    assert fee_of(TransferFee.model_validate(fee), points) == due


def test_daily_limit_counts_local_days() -> None:
    """In Shanghai a new day begins at 16:00 UTC; an earlier day's command counts on its own day."""
    post = post_with(500, 5, transfers={"daily_points": 100})
    post.tick(START_MS + 23 * HOUR_MS)

    first = post.send(60)
    over = post.send(41)
    rest = post.send(40)
    post.tick(START_MS + 24 * HOUR_MS - 1)
    late = post.send(1)
    post.tick(START_MS + 24 * HOUR_MS)
    anew = post.send(100)
    back = post.send(1, occurred_ms=START_MS + 24 * HOUR_MS - 1)

    assert outcomes(first, over, rest, late, anew, back) == [
        Outcome.TRANSFER_STARTED,
        Outcome.LIMIT_REACHED,
        Outcome.TRANSFER_STARTED,
        Outcome.LIMIT_REACHED,
        Outcome.TRANSFER_STARTED,
        Outcome.LIMIT_REACHED,
    ]


def test_returned_transfer_uses_up_no_limit() -> None:
    """Nothing was sent in the end; while it is under way it counts."""
    post = post_with(500, 0, transfers={"daily_points": 100})

    post.send(100)
    under_way = post.send(1)
    post.settle()
    after = post.send(100)

    assert outcomes(under_way, after) == [Outcome.LIMIT_REACHED, Outcome.TRANSFER_STARTED]


def test_what_was_sent_on_a_day_is_forgotten_when_no_command_of_it_can_come() -> None:
    """The state does not grow with the days."""
    post = post_with(500, 5, transfers={"daily_points": 100}, days=300, dedup_window="P2D")
    post.send(100)
    post.settle()
    assert any(key[:1] == b"S" for key in post.sender.books())

    post.tick(START_MS + 3 * DAY_MS)
    for number in range(4_200):
        post.sender.check_in(f"c{number}")

    assert not any(key[:1] == b"S" for key in post.sender.books())


def test_refund_of_what_was_sent_follows_the_policy() -> None:
    """As of points that were spent: the recipient keeps them."""
    post = post_with(100, 5, refund_policy="debt")
    post.send(80)
    post.settle()

    post.sender.cancel("o1")

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.debt) == (0, 80)
    assert post.recipient.available("m2") == 85


def test_points_that_come_back_pay_what_was_owed_meanwhile() -> None:
    """A refund on the way makes a debt; the way back pays it."""
    post = post_with(100, 0, refund_policy="debt")
    post.send(80)
    post.sender.cancel("o1")
    assert post.sender.wallet("m1").debt == 80

    post.settle()

    totals = post.sender.wallet("m1")
    assert (totals.available, totals.debt) == (0, 0)


def test_received_points_are_not_taken_back_with_an_order_of_the_same_name() -> None:
    """The lot is no order's lot: a refund of the recipient's own takes only what that earned, and
    its end names none."""
    post = Post(programme(wallets=[{"id": "points", "expiry": {"days": 30}}]))
    post.sender.order("same", 100)
    post.recipient.order("same", 10, "m2")
    post.send(50)
    post.settle()

    post.recipient.cancel("same", "m2")

    assert post.recipient.available("m2") == 50
    post.tick(START_MS + 31 * DAY_MS)
    (expired,) = post.entries("m2", "expired")
    assert (expired["amount"], expired["order_id"]) == (50, None)
