"""How what several rules give for one order goes together, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import Bench, programme, rule

SPEND = rule("spend", per_minor=100)


def bonus(id_: str, points: int, **fields: Any) -> dict[str, Any]:
    return {**rule("order_bonus", points=points, **fields), "id": id_}


def times(id_: str, factor: float, **fields: Any) -> dict[str, Any]:
    return {**rule("multiplier", factor=factor, **fields), "id": id_}


@pytest.mark.parametrize(
    ("rules", "given"),
    [
        ([SPEND, bonus("a", 5), bonus("b", 7)], {"spend": 100, "a": 5, "b": 7}),
        # Priority decides on the order of entries alone, where nothing is short.
        ([SPEND, bonus("a", 5, priority=3)], {"a": 5, "spend": 100}),
        ([bonus("a", 5, group="g"), bonus("b", 7, group="g")], {"b": 7}),
        ([bonus("a", 7, group="g"), bonus("b", 7, group="g")], {"a": 7}),
        (
            [
                bonus("a", 5, group="g", in_group="first"),
                bonus("b", 7, group="g", in_group="first"),
            ],
            {"a": 5},
        ),
        (
            [
                bonus("a", 5, group="g", in_group="first"),
                bonus("b", 7, group="g", in_group="first", priority=1),
            ],
            {"b": 7},
        ),
        # One that does not match leaves its place in the group.
        (
            [
                bonus("a", 5, group="g", in_group="first", min_minor=20_000),
                bonus("b", 7, group="g", in_group="first"),
            ],
            {"b": 7},
        ),
        ([bonus("a", 5, group="g"), bonus("b", 7, group="h")], {"a": 5, "b": 7}),
        # Of the base: what spend rules give, into the same wallet.
        ([SPEND, bonus("a", 50), times("m", 2)], {"spend": 100, "a": 50, "m": 100}),
        ([SPEND, times("m", 2, wallet="growth")], {"spend": 100}),
        # Of all: bonuses too, and multipliers of the base.
        ([SPEND, bonus("a", 50), times("m", 2, of="all")], {"spend": 100, "a": 50, "m": 150}),
        (
            [SPEND, bonus("a", 50), times("m", 2), times("n", 1.5, of="all")],
            {"spend": 100, "a": 50, "m": 100, "n": 125},
        ),
        # Two of a kind do not multiply each other, unless only one counts.
        ([SPEND, times("m", 2), times("n", 3)], {"spend": 100, "m": 100, "n": 200}),
        ([SPEND, times("m", 2, group="g"), times("n", 3, group="g")], {"spend": 100, "n": 200}),
        ([SPEND, times("m", 1.005)], {"spend": 100}),
        # What a cap takes off the base is multiplied all the same: a cap is of its own rule.
        ([{**SPEND, "cap": {"day": 10}}, times("m", 2)], {"spend": 10, "m": 100}),
        # Rules of higher priority use shared room first.
        (
            [SPEND, bonus("a", 30, priority=1)],
            {"a": 30, "spend": 20},
        ),
    ],
)
def test_what_rules_give_together(rules: list[dict[str, Any]], given: dict[str, int]) -> None:
    """An order of 100.00; each award is an entry of its own that names its rule."""
    shared = [{"id": "c", "day": 50}] if given == {"a": 30, "spend": 20} else []
    rule_set = {"id": "s", "version": 1, "rules": rules, "caps": shared}
    wallets = [{"id": "points"}, {"id": "growth", "spendable": False}]
    bench = Bench(programme(rule_sets=[rule_set], wallets=wallets))

    bench.order("o1", 100)

    assert list(given.items()) == [(e["rule_id"], e["amount"]) for e in bench.entries]


def test_the_winner_of_a_group_stays_the_winner() -> None:
    """A refund that would make another rule win takes back by the rule that did."""
    bench = Bench(
        programme(
            bonus("a", 50, group="g", when={"field": "paid_minor", "ge": 10_000}),
            bonus("b", 20, group="g"),
        )
    )
    bench.order("o1", 100)

    bench.refund("o1", "r1", 1)

    assert bench.moved("earned") == [50]
    assert bench.moved("reversed") == [50]


def test_rules_of_two_rule_sets_share_a_group() -> None:
    """Head office and a shop exclude each other by the name of the group."""
    sets = [
        {"id": "head-office", "version": 1, "rules": [bonus("a", 5, group="welcome")]},
        {"id": "shop-1", "version": 1, "rules": [bonus("b", 9, group="welcome")]},
    ]
    bench = Bench(programme(rule_sets=sets))

    bench.order("o1", 100)

    assert bench.moved("earned") == [9]


def test_groups_of_check_ins_and_activities() -> None:
    """Also besides orders one of a group gives; a streak counts to the rule that pays it."""
    bench = Bench(
        programme(
            {**rule("check_in", points=5, group="g"), "id": "a"},
            {
                **rule("check_in", points=3, group="g", streak={"days": 2, "points": 9}),
                "id": "b",
            },
            {**rule("activity", activity="x", points=1, group="g"), "id": "c"},
            {**rule("activity", activity="x", points=2, group="g"), "id": "d"},
        )
    )

    bench.check_in()
    bench.later(1)
    bench.check_in()
    bench.give("activity.recorded", activity="x", reference="1")

    assert [(e["rule_id"], e["amount"]) for e in bench.entries] == [
        ("a", 5),
        ("b", 3),
        ("b", 9),
        ("d", 2),
    ]
