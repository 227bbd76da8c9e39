"""What rules give: by lines, pieces, rates and draws, with a life of its own."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
from ledger_support import DAY_MS, Bench, programme, rule

from pointstream.contracts.wire import rfc3339
from pointstream.rules.effects import drawn

SEED = "a seed that nobody knows yet"
LINES = [
    {"line_id": "a", "sku": "s1", "category": "toys", "quantity": 3, "paid_minor": 950},
    {"line_id": "b", "sku": "s2", "category": "food", "quantity": 2, "paid_minor": 750},
    {"line_id": "c", "category": "card", "quantity": 1, "paid_minor": 300, "earns": False},
]
TOYS = {"field": "category", "eq": "toys"}


@pytest.mark.parametrize(
    ("fields", "points"),
    [
        ({"kind": "spend", "per_minor": 100}, 17),
        ({"kind": "spend", "per_minor": 100, "per_line": True}, 9 + 7),
        ({"kind": "spend", "per_minor": 100, "lines": TOYS}, 9),
        ({"kind": "spend", "per_minor": 100, "lines": {"not": TOYS}}, 7),
        ({"kind": "spend", "per_minor": 100, "lines": {"not": TOYS}, "min_minor": 751}, 0),
        ({"kind": "spend", "rates": [{"per_minor": 100}]}, 17),
        (
            {
                "kind": "spend",
                "rates": [{"per_minor": 100}, {"from_minor": 1_700, "per_minor": 50}],
            },
            34,
        ),
        (
            {
                "kind": "spend",
                "rates": [{"per_minor": 100}, {"from_minor": 1_701, "per_minor": 50}],
            },
            17,
        ),
        ({"kind": "spend", "rates": [{"from_minor": 1_701, "per_minor": 50}]}, 0),
        ({"kind": "order_bonus", "points": 5, "lines": TOYS, "min_minor": 950}, 5),
        ({"kind": "order_bonus", "points": 5, "lines": TOYS, "min_minor": 951}, 0),
        ({"kind": "quantity", "points": 2}, 12),
        ({"kind": "quantity", "points": 2, "per_pieces": 4}, 2),
        ({"kind": "quantity", "points": 2, "lines": TOYS}, 6),
        ({"kind": "quantity", "points": 2, "lines": {"field": "sku", "eq": "s9"}}, 0),
    ],
)
def test_what_an_order_gives(fields: dict[str, Any], points: int) -> None:
    """20.00 in three lines, of which the gift card earns nothing."""
    bench = Bench(programme({"id": "r", **fields}))

    bench.give("order.paid", order_id="o", currency="CNY", paid_minor=2_000, lines=LINES)

    assert bench.moved("earned") == ([points] if points else [])
    bench.refund("o", "r1", 20)
    assert sum(bench.moved("reversed")) == points


def test_an_order_without_lines() -> None:
    """It has no lines that fit and no pieces; per line, it counts as one."""
    bench = Bench(
        programme(
            rule("quantity", points=5),
            {**rule("spend", per_minor=100, lines=TOYS), "id": "toys"},
            {**rule("spend", per_minor=100, per_line=True), "id": "line"},
        )
    )

    bench.order("o1", 20)

    assert [(e["rule_id"], e["amount"]) for e in bench.entries] == [("line", 20)]


def test_pieces_go_with_their_money() -> None:
    """One of three returned leaves two; a part of one leaves no more than the whole ones."""
    bench = Bench(programme(rule("quantity", points=10, lines=TOYS)))
    bench.give("order.paid", order_id="o", currency="CNY", paid_minor=2_000, lines=LINES)

    for refund, minor in (("r1", 316), ("r2", 1)):
        bench.give(
            "order.refunded",
            order_id="o",
            refund_id=refund,
            refunded_minor=minor,
            lines=[{"line_id": "a", "refunded_minor": minor}],
        )

    assert bench.moved("earned") == [30]
    assert bench.moved("reversed") == [10, 10]


# --- draws ---------------------------------------------------------------------------------------


def lottery(*prizes: tuple[int, int], **fields: Any) -> dict[str, Any]:
    table = [{"points": points, "weight": weight} for points, weight in prizes]
    draw = {"seed": SEED, "commitment": sha256(SEED.encode()).hexdigest(), "prizes": table}
    return {"id": "lottery", "draw": draw, **fields}


def test_a_draw_can_be_checked_by_anybody() -> None:
    """Fixed for good: HMAC-SHA256 of the event id under the seed, modulo the weights."""
    # printf '%s' e1 | openssl dgst -sha256 -hmac 'a seed that nobody knows yet'
    import hmac

    digest = hmac.new(SEED.encode(), b"e1", "sha256").hexdigest()

    assert drawn(SEED, "e1", 100) == int(digest, 16) % 100


def test_draws_follow_the_weights_and_repeat_exactly() -> None:
    """Over many events each prize comes about as often as it weighs; a rerun draws the same."""

    def play() -> Bench:
        bench = Bench(
            programme(
                lottery((0, 6), (10, 3), (100, 1), kind="activity", activity="lottery.entered"),
            ),
            batch=100,
        )
        for number in range(1_000):
            bench.give("activity.recorded", activity="lottery.entered", reference=f"{number}")
        bench.flush()
        return bench

    bench = play()

    count = Counter(bench.moved("earned"))
    assert 250 < count[10] < 350
    assert 60 < count[100] < 140
    assert set(count) == {10, 100}
    assert play().books() == bench.books()


def test_prizes_under_a_budget() -> None:
    """What the budget has left is granted, and what was drawn is told."""
    bench = Bench(
        programme(
            lottery((80, 1), kind="activity", activity="play", budget="b"),
            budgets=[{"id": "b", "points": 100}],
        )
    )

    for number in range(3):
        bench.give("activity.recorded", activity="play", reference=f"{number}")

    assert [(e["amount"], e.get("due")) for e in bench.entries] == [(80, None), (20, 80), (0, 80)]


@pytest.mark.case(8)
def test_a_prize_drawn_for_an_order_goes_with_its_condition() -> None:
    """Below the amount that gave the draw, what was drawn is taken back, and drawn no more."""
    bench = Bench(programme(lottery((70, 1), kind="order_bonus", min_minor=10_000)))
    bench.order("o1", 150)
    bench.refund("o1", "r1", 50)
    kept = bench.available()

    bench.refund("o1", "r2", 1)

    assert (kept, bench.available()) == (70, 0)


def test_a_blank_uses_up_the_day_of_a_check_in() -> None:
    """Whoever drew nothing today does not draw again today."""
    bench = Bench(programme(lottery((0, 10**9), (5, 1), kind="check_in")))

    bench.check_in()
    again = bench.check_in()

    assert bench.entries == []
    assert again.outcome.value == "already_checked_in"


# --- welcome, own life ---------------------------------------------------------------------------


def test_a_welcome_gift_is_given_once() -> None:
    """To who registers, whatever is told before or after, and however often it is told."""
    bench = Bench(programme(rule("registered", points=88, scope={"segments": ["new"]})))
    joined_ms = bench.now_ms

    bench.give("member.updated", segments=["new"])
    bench.give("member.registered", occurred_ms=joined_ms - DAY_MS, segments=["old"])
    bench.later(1_000)
    bench.give("member.registered", segments=["new"])

    assert bench.moved("earned") == [88]
    assert bench.entries[0]["rule_id"] == "registered"


def test_a_gift_that_does_not_match_can_still_be_earned() -> None:
    """What did not pay does not use it up."""
    bench = Bench(programme(rule("registered", points=88, scope={"stores": ["s1"]})))

    bench.give("member.registered", store_id="s2")
    bench.give("member.registered", store_id="s1")

    assert bench.moved("earned") == [88]


def test_points_with_a_life_of_their_own() -> None:
    """A rule's activation and expiry take the place of its wallet's; the other rule has those."""
    bench = Bench(
        programme(
            rule("spend", per_minor=100),
            rule("order_bonus", points=5, activation={"after": "P2D"}, expiry={"days": 10}),
            wallets=[{"id": "points", "expiry": {"days": 100}}],
        )
    )
    start_ms = bench.now_ms

    bench.order("o1", 10)

    base, bonus = bench.entries
    assert base["lots"][0]["expires_at"] == rfc3339(start_ms + 100 * DAY_MS)
    assert bonus["lots"][0]["expires_at"] == rfc3339(start_ms + 10 * DAY_MS)
    assert (bench.available(), bench.wallet().pending) == (10, 5)
    bench.later(2)
    assert bench.available() == 15
    bench.later(8)
    assert bench.available() == 10
