"""Ledger entries in words."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pointstream.contracts.vocabulary import MovementType
from pointstream.operations.explain import entry_in_words, money

_SHANGHAI = ZoneInfo("Asia/Shanghai")

_EARNED: dict[str, Any] = {
    "type": "points.earned",
    "wallet": "points",
    "occurred_at": "2026-03-01T06:02:00.000Z",
    "amount": 120,
    "delta": 120,
    "lots": [{"lot_id": "l", "delta": 120, "expires_at": "2027-03-31T16:00:00.000Z"}],
    "cause_type": "order.paid",
    "order_id": "O-17",
    "store_id": "S-3",
    "rule_id": "base",
}
_PAID = {"order_id": "O-17", "paid_minor": 12_000, "currency": "CNY"}


def test_an_award_tells_order_money_store_rule_and_last_day() -> None:
    """Points last until just before their expiry: of a local midnight, the day before is told."""
    assert entry_in_words(_EARNED, _PAID, _SHANGHAI) == (
        "2026-03-01 14:02 earned 120 points: order O-17 of 120.00 CNY at store S-3, rule base "
        "(expires 2027-03-31)"
    )


def test_what_only_the_cause_knew_is_left_out_without_it() -> None:
    """Inputs are kept for a while, the ledger for ever."""
    assert entry_in_words(_EARNED, None, UTC) == (
        "2026-03-01 06:02 earned 120 points: order O-17 at store S-3, rule base "
        "(expires 2027-03-31)"
    )


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        (
            {"order_id": None, "rule_id": "status.gold", "reason": "tier_bonus", "lots": []},
            _PAID,
            "earned 120 points: bonus for the tier status.gold",
        ),
        (
            {
                "type": "points.held",
                "cause_type": "fraud.flag",
                "reason": "under_review",
                "flag_id": "fraud-1",
            },
            None,
            "reserved 120 points: until a review has decided (flag fraud-1)",
        ),
        (
            {
                "type": "points.reversed",
                "cause_type": "review.reject",
                "actor_id": "ann",
                "reason": "a script",
                "flag_id": "fraud-1",
            },
            None,
            "120 points taken back: for order O-17 by ann, a script (flag fraud-1)",
        ),
        (
            {"type": "points.earned", "amount": 100, "due": 120, "lots": []},
            _PAID,
            "earned 100 points: order O-17 of 120.00 CNY at store S-3, rule base "
            "(the rule gave 120, the limit left 100)",
        ),
        (
            {
                "type": "points.reversed",
                "cause_type": "order.refunded",
                "amount": 20,
                "delta": -20,
                "written_off": 80,
                "lots": [{"lot_id": "l", "delta": -20, "expires_at": None}],
            },
            {"refund_id": "R-1"},
            "20 points taken back: refund R-1 of order O-17 at store S-3 "
            "(80 already spent, written off)",
        ),
        (
            {
                "type": "points.redeemed",
                "cause_type": "points.redeem",
                "amount": 1,
                "delta": -1,
                "actor_id": "M-1",
                "store_id": None,
                "lots": [],
            },
            None,
            "spent 1 point: for order O-17 by M-1",
        ),
        (
            {
                "type": "points.adjusted",
                "cause_type": "points.adjust",
                "amount": 900,
                "delta": 900,
                "order_id": None,
                "actor_id": "till-4",
                "confirmed_by": "boss",
                "reason": "broken kettle",
                "store_id": None,
                "lots": [],
            },
            None,
            "credited 900 points by hand: by till-4 with the consent of boss, broken kettle",
        ),
        (
            {
                "type": "points.adjusted",
                "cause_type": "points.adjust",
                "amount": 400,
                "delta": 0,
                "order_id": None,
                "actor_id": "till-4",
                "store_id": None,
                "lots": [{"lot_id": "l", "delta": 400}],
            },
            None,
            "credited 400 points by hand, not to spend yet: by till-4",
        ),
        (
            {
                "type": "points.captured",
                "cause_type": "points.redeem",
                "amount": 200,
                "delta": 0,
                "actor_id": "M-1",
                "item_id": "mug",
                "quantity": 2,
                "lots": [],
            },
            None,
            "spent 200 points that were reserved: for 2 of item mug with order O-17 by M-1",
        ),
        (
            {
                "type": "points.voided",
                "cause_type": "points.redeem",
                "amount": 100,
                "delta": 100,
                "item_id": "mug",
                "quantity": 1,
                "order_id": None,
                "reason": "out_of_stock",
                "lots": [],
            },
            None,
            "100 points no longer reserved: for item mug, out_of_stock",
        ),
        (
            {
                "type": "points.transferred_out",
                "cause_type": "points.transfer",
                "amount": 30,
                "delta": -30,
                "order_id": None,
                "store_id": None,
                "actor_id": "M-1",
                "member_id": "M-1",
                "counterparty_id": "M-2",
                "lots": [],
            },
            None,
            "gave away 30 points: to M-2",
        ),
        (
            {
                "type": "points.transferred_in",
                "cause_type": "points.transfer",
                "amount": 30,
                "delta": 30,
                "order_id": None,
                "actor_id": "till-4",
                "member_id": "M-2",
                "counterparty_id": "M-1",
                "lots": [],
            },
            None,
            "received 30 points: from M-1 by till-4",
        ),
        (
            {
                "type": "points.transferred_in",
                "cause_type": "points.transfer",
                "amount": 30,
                "delta": 30,
                "order_id": None,
                "store_id": None,
                "actor_id": "M-1",
                "member_id": "M-1",
                "counterparty_id": "M-2",
                "reason": "recipient_frozen",
                "lots": [],
            },
            None,
            "got 30 points back: to M-2, recipient_frozen",
        ),
        (
            {
                "type": "points.adjusted",
                "cause_type": "points.adjust",
                "amount": 50,
                "delta": -50,
                "order_id": None,
                "store_id": None,
                "actor_id": "clerk-3",
                "reason": "counted twice",
                "lots": [],
            },
            None,
            "debited 50 points by hand: by clerk-3, counted twice",
        ),
        (
            {
                "type": "points.voided",
                "cause_type": "timer.points.voided",
                "amount": 60,
                "delta": 60,
                "order_id": None,
                "reason": "hold_expired",
                "lots": [],
            },
            None,
            "60 points no longer reserved: not used in time at store S-3",
        ),
        (
            {
                "type": "points.expired",
                "cause_type": None,
                "amount": 7,
                "delta": -7,
                "order_id": None,
                "store_id": None,
                "lots": [],
            },
            None,
            "7 points expired",
        ),
        (
            {
                "type": "points.earned",
                "wallet": "growth",
                "cause_type": "checkin.recorded",
                "order_id": None,
                "amount": 5,
                "lots": [],
                "debt_after": 30,
            },
            {},
            "earned 5 growth points: check-in at store S-3, rule base (30 owed)",
        ),
        (
            {
                "cause_type": "activity.recorded",
                "order_id": None,
                "store_id": None,
                "lots": [],
            },
            {"activity": "review.posted", "reference": "A-1"},
            "earned 120 points: review.posted A-1, rule base",
        ),
    ],
)
def test_movements_in_words(
    changes: dict[str, Any], cause: dict[str, Any] | None, words: str
) -> None:
    """Each kind says what moved, why, and what else must be known."""
    assert entry_in_words({**_EARNED, **changes}, cause, UTC) == f"2026-03-01 06:02 {words}"


@pytest.mark.parametrize("kind", list(MovementType))
def test_every_movement_has_words(kind: MovementType) -> None:
    """None falls back to its name on the wire."""
    words = entry_in_words({**_EARNED, "type": str(kind)}, None, UTC)

    assert "120 points" in words
    assert "_" not in words


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (12_000, "CNY", "120.00 CNY"),
        (5, "USD", "0.05 USD"),
        (120, "JPY", "120 JPY"),
        (1_234, "KWD", "1.234 KWD"),
        (-150, "CNY", "-1.50 CNY"),
    ],
)
def test_money_has_the_decimals_of_its_currency(minor: int, currency: str, text: str) -> None:
    """Not every currency has cents."""
    assert money(minor, currency) == text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "points.merged_out"}, "120 points moved to M-9: by clerk, one person"),
        ({"type": "points.merged_in"}, "120 points moved here from M-9: by clerk, one person"),
        (
            {"type": "points.merged_out", "reason": "debt", "debt_after": 120},
            "took over a debt of 120 points of M-9: by clerk (120 owed)",
        ),
        ({"type": "points.merged_in", "reason": "debt"}, "M-9 took over 120 points owed: by clerk"),
    ],
)
def test_a_merge_in_words(changes: dict[str, Any], words: str) -> None:
    """Both sides name the other one, and say which way points or a debt went."""
    merge = {
        "cause_type": "account.merge",
        "counterparty_id": "M-9",
        "actor_id": "clerk",
        "reason": "one person",
        "order_id": None,
        "store_id": None,
        "lots": [],
        "debt_after": 0,
    }
    entry = {**_EARNED, **merge, **changes}
    assert entry_in_words(entry, None, UTC) == f"2026-03-01 06:02 {words}"


def test_a_clear_out_of_the_whole_programme_in_words() -> None:
    """It names the clear-out: nobody gave a command."""
    entry = {
        "type": "points.cleared",
        "occurred_at": "2026-12-31T16:00:00.000Z",
        "amount": 70,
        "delta": -70,
        "lots": [{"lot_id": "l", "delta": -70}],
        "cause_type": "programme.clear_out",
        "reason": "dormant-2027",
    }

    words = entry_in_words(entry, None, _SHANGHAI)

    assert words == "2027-01-01 00:00 70 points cleared out: dormant-2027, of the whole programme"
