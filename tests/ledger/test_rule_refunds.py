"""Refunds under rules that ask for more than money, give by lines or pieces, or stack."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import SPEND, Bench, programme, rule

from pointstream.ledger.records import Award

LINES = [
    {"line_id": "a", "sku": "s1", "category": "toys", "quantity": 3, "paid_minor": 9_000},
    {"line_id": "b", "sku": "s2", "category": "food", "quantity": 2, "paid_minor": 5_050},
    {"line_id": "c", "category": "toys", "quantity": 1, "paid_minor": 999, "earns": False},
    {"line_id": "d", "sku": "s1", "category": "gift", "quantity": 4, "paid_minor": 0},
]
PAID = sum(int(str(line["paid_minor"])) for line in LINES)


BELOW_80 = {"field": "paid_minor", "lt": 8_000}
LATE = {"field": "hour", "gt": 22}


def bonus(points: int = 50, **fields: Any) -> dict[str, Any]:
    return rule("order_bonus", points=points, **fields)


@pytest.mark.case(8)
def test_a_bonus_goes_when_its_condition_on_the_money_no_longer_holds() -> None:
    """Bonus 50 for orders of 300.00, said as a condition: base and bonus go down."""
    bench = Bench(programme(SPEND, bonus(when={"field": "paid_minor", "ge": 30_000})))
    bench.order("o1", 300)

    bench.refund("o1", "r1", 50)

    assert bench.moved("reversed") == [50, 50]
    assert bench.available() == 250


def test_what_was_found_about_the_member_stays() -> None:
    """The first order stays the first one, and its bonus goes with the money alone."""
    first = {
        "all": [{"field": "order_number", "eq": 1}, {"field": "paid_minor", "ge": 20_000}],
    }
    bench = Bench(programme(bonus(when=first)))
    bench.order("o1", 300)
    bench.order("o2", 300)
    bench.refund("o1", "r1", 50)
    kept = bench.available()

    bench.refund("o1", "r2", 51)

    assert (kept, bench.available()) == (50, 0)
    assert bench.moved("earned") == [50]


@pytest.mark.parametrize("arrival", list(permutations([70, 20, 10])))
def test_a_condition_never_starts_to_hold_again(arrival: tuple[int, ...]) -> None:
    """Not between 120.00 and 150.00: whether a refund lands in the gap makes no difference."""
    gap = {"not": {"field": "paid_minor", "between": [12_000, 15_000]}}
    bench = Bench(programme(bonus(when=gap)))
    bench.order("o1", 200)

    for minor in arrival:
        bench.refund("o1", f"r{minor}", minor)

    assert bench.wallet().reversed == 50


def test_a_line_that_earned_the_bonus_takes_it_along() -> None:
    """The bonus for toys goes with the last of them, the points for food stay."""
    toys = {"any_line": {"field": "category", "eq": "toys"}}
    bench = Bench(
        programme(
            rule("spend", per_minor=100, lines={"field": "category", "eq": "food"}),
            bonus(when=toys),
        )
    )
    bench.give("order.paid", order_id="o", currency="CNY", paid_minor=PAID, lines=LINES)
    had = bench.available()

    for line, minor in (("a", 9_000), ("c", 999)):
        back = [{"line_id": line, "refunded_minor": minor}]
        refund = {"order_id": "o", "refund_id": line, "refunded_minor": minor, "lines": back}
        bench.give("order.refunded", **refund)

    assert (had, bench.available()) == (100, 50)
    assert bench.moved("reversed") == [50]


def test_a_multiplier_goes_down_with_its_base() -> None:
    """Double points: half of the money back takes half of both."""
    bench = Bench(programme(SPEND, rule("multiplier", factor=2), bonus(10)))
    bench.order("o1", 100)
    had = bench.available()

    bench.refund("o1", "r1", 50)

    assert (had, bench.available()) == (210, 110)
    assert {e["rule_id"]: e["amount"] for e in bench.entries if "reversed" in e["type"]} == {
        "spend": 50,
        "multiplier": 50,
    }


def test_a_multiplier_over_a_budget_goes_down_with_what_it_was_granted() -> None:
    """The owner grants less than was due; a full return takes back what was granted."""
    bench = Bench(
        programme(
            SPEND,
            rule("multiplier", factor=3, budget="b"),
            budgets=[{"id": "b", "points": 120}],
        )
    )
    bench.order("o1", 100)
    had = bench.available()

    bench.refund("o1", "r1", 100)

    assert (had, bench.available()) == (220, 0)
    assert bench.wallet().reversed == 220


def test_what_is_multiplied_stays_where_its_rule_says_so() -> None:
    """A base that refunds leave is multiplied as it was, until nothing of the order is left."""
    bench = Bench(programme({**SPEND, "keep_on_refund": True}, rule("multiplier", factor=2)))
    bench.order("o1", 100)

    bench.refund("o1", "r1", 99)
    kept = bench.available()
    bench.refund("o1", "r2", 1)

    assert (kept, bench.available()) == (200, 0)


def test_what_a_budget_grants_is_settled_as_the_rule_says() -> None:
    """With its answer, an award keeps what decided on it: half of the money, half of the points."""
    bench = Bench(
        programme(
            SPEND,
            rule("multiplier", factor=2, budget="b"),
            budgets=[{"id": "b", "points": 1_000}],
        )
    )
    bench.order("o1", 100)

    bench.refund("o1", "r1", 50)

    assert bench.available() == 100


@pytest.mark.parametrize(
    ("when", "back", "left"),
    [
        # not any: both bounds turn round, and both must hold.
        ({"not": {"any": [BELOW_80, LATE]}}, 20, 9),
        ({"not": {"any": [BELOW_80, LATE]}}, 21, 0),
        # not all: the hour alone is enough, whatever is left.
        ({"not": {"all": [BELOW_80, LATE]}}, 99, 9),
        ({"any": [{"field": "paid_minor", "gt": 8_000}, {"field": "hour", "eq": 0}]}, 99, 9),
        ({"any": [{"field": "paid_minor", "gt": 8_000}, {"field": "hour", "eq": 1}]}, 20, 0),
        ({"field": "paid_minor", "eq": 10_000}, 1, 0),
        ({"field": "paid_minor", "in": [9_000, 10_000]}, 10, 0),
        ({"field": "paid_minor", "ne": 9_000}, 9, 9),
        ({"field": "paid_minor", "ne": 9_000}, 10, 0),
        ({"field": "paid_minor", "le": 10_000}, 99, 9),
        ({"field": "paid_minor", "between": [5_000, 10_000]}, 50, 9),
        ({"field": "paid_minor", "between": [5_000, 10_000]}, 51, 0),
        ({"not": {"field": "paid_minor", "between": [5_000, 9_999]}}, 1, 0),
        ({"field": "quantity", "ge": 0}, 99, 9),
    ],
)
def test_what_is_looked_at_again(when: dict[str, Any], back: int, left: int) -> None:
    """A bonus of 9 for an order of 100.00 at midnight, after a refund."""
    bench = Bench(programme(bonus(9, when=when)))
    bench.order("o1", 100)
    assert bench.available() == 9

    bench.refund("o1", "r1", back)

    assert bench.available() == left


def test_a_refund_without_lines_is_spread_over_those_that_count() -> None:
    """Half of the order back: half of the toys, half of their pieces, rounded down."""
    toys = {"field": "category", "eq": "toys"}
    bench = Bench(
        programme(
            rule("spend", per_minor=100, lines=toys),
            rule("quantity", points=10, lines=toys),
            {**rule("spend", per_minor=100, per_line=True), "id": "each"},
        )
    )
    two = [
        {"line_id": "a", "category": "toys", "quantity": 3, "paid_minor": 9_000},
        {"line_id": "b", "category": "food", "quantity": 1, "paid_minor": 1_100},
    ]
    bench.give("order.paid", order_id="o", currency="CNY", paid_minor=10_100, lines=two)

    bench.give("order.refunded", order_id="o", refund_id="r", refunded_minor=5_050)

    assert bench.moved("earned") == [90, 30, 90 + 11]
    assert bench.moved("reversed") == [45, 20, 45 + 6]


def test_an_award_names_all_rule_sets_that_its_refunds_need() -> None:
    """Those of what it multiplied too: they move with it when the member is merged."""
    parts = [["h2", "base", 1_000, None, 5], ["h3", "m", 1_000, [["h4", "b", 1_000, None, 1]], 2]]
    award = Award("h1", "all", "points", "lot", 0, 0, 9, kept=parts)
    plain = Award("h1", "toys", "points", "lot", 0, 0, 9, kept=[[1, [0, 2]], [0], [3]])

    assert sorted(award.rule_sets()) == ["h1", "h2", "h3", "h4"]
    assert list(plain.rule_sets()) == ["h1"]


# --- any rule set of the language ----------------------------------------------------------------

minors = st.integers(0, PAID + 2_000)
order_fields = st.one_of(
    *(
        st.fixed_dictionaries({"field": st.just(field), operator: values})
        for field, values in (
            ("paid_minor", minors),
            ("earning_minor", minors),
            ("quantity", st.integers(0, 12)),
            ("order_number", st.integers(1, 3)),
            ("points_paid", st.integers(0, 2)),
            ("hour", st.integers(0, 23)),
        )
        for operator in ("eq", "ne", "lt", "le", "gt", "ge")
    ),
    st.fixed_dictionaries(
        {"field": st.just("paid_minor"), "between": st.tuples(minors, minors).map(sorted)}
    ),
    st.fixed_dictionaries(
        {"field": st.just("earning_minor"), "in": st.lists(minors, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"field": st.just("channel"), "in": st.just(["web", "pos"])}),
)
categories = st.lists(st.sampled_from(["toys", "food", "gift"]), min_size=1)
line_fields = st.one_of(
    st.fixed_dictionaries(
        {
            "field": st.just("category"),
            "in": st.lists(st.sampled_from(["toys", "food", "gift"]), min_size=1),
        }
    ),
    st.fixed_dictionaries({"field": st.just("sku"), "ne": st.sampled_from(["s1", "s2"])}),
    st.fixed_dictionaries({"field": st.just("paid_minor"), "ge": minors}),
    st.fixed_dictionaries({"field": st.just("earns"), "eq": st.booleans()}),
)
lines = st.one_of(line_fields, line_fields.map(lambda each: {"not": each}))
conditions = st.recursive(
    st.one_of(
        order_fields,
        lines.map(lambda each: {"any_line": each}),
        lines.map(lambda each: {"all_lines": each}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=5,
)
prizes = {"prizes": [{"points": 0}, {"points": 7, "weight": 3}, {"points": 90}]}
effects = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("spend"),
            "per_minor": st.integers(1, 5_000),
            "points": st.integers(1, 9),
            "per_line": st.booleans(),
            "min_minor": st.sampled_from([0, 5_000]),
        },
        optional={"lines": lines, "keep_on_refund": st.booleans()},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("spend"),
            "rates": st.just(
                [
                    {"points": 1, "per_minor": 100},
                    {"from_minor": 5_000, "points": 3, "per_minor": 290},
                    {"from_minor": 9_000, "points": 1, "per_minor": 500},
                ]
            ),
        },
        optional={"lines": lines},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("order_bonus"), "points": st.integers(1, 60)},
        optional={"lines": lines, "keep_on_refund": st.booleans(), "min_minor": minors},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("order_bonus"), "draw": st.just({"seed": "0123456789abcdef", **prizes})}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("quantity"),
            "points": st.integers(1, 9),
            "per_pieces": st.integers(1, 3),
        },
        optional={"lines": lines},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("multiplier"),
            "factor": st.sampled_from([1.5, 2, 3]),
            "of": st.sampled_from(["base", "all"]),
        }
    ),
)


@st.composite
def rule_sets(draw: st.DrawFn) -> list[dict[str, Any]]:
    rules = []
    for number in range(draw(st.integers(1, 5))):
        made = {"id": f"r{number}", **draw(effects)}
        made["priority"] = draw(st.integers(-1, 1))
        if draw(st.booleans()):
            made["when"] = draw(conditions)
        if draw(st.integers(0, 3)) == 0:
            made["group"], made["in_group"] = "g", "best"
        if draw(st.integers(0, 4)) == 0:
            made["cap"] = {"day": draw(st.integers(1, 80))}
        rules.append(made)
    return rules


@st.composite
def refunds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Refunds with and without lines that fit together, in any order."""
    given_back: list[dict[str, Any]] = []
    for line in LINES:
        left = int(str(line["paid_minor"]))
        for _ in range(draw(st.integers(0, 2))):
            part = draw(st.integers(0, left))
            left -= part
            row = [{"line_id": line["line_id"], "refunded_minor": part}]
            given_back.append({"refunded_minor": part, "lines": row})
    left = PAID - sum(row["refunded_minor"] for row in given_back)
    for _ in range(draw(st.integers(0, 2))):
        part = draw(st.integers(0, left))
        left -= part
        given_back.append({"refunded_minor": part})
    return [{**row, "refund_id": f"r{number}"} for number, row in enumerate(given_back)]


def taken(rules: list[dict[str, Any]], back: list[dict[str, Any]], *, first: bool) -> Bench:
    """The order and its refunds, the order first or last."""
    bench = Bench(programme(*rules))
    order = {"order_id": "o", "currency": "CNY", "paid_minor": PAID, "lines": LINES}
    if first:
        bench.give("order.paid", event_id="the-order", **order)
    for refund in back:
        bench.give("order.refunded", order_id="o", **refund)
    if not first:
        bench.give("order.paid", event_id="the-order", **order)
    return bench


def by_rule(bench: Bench, kind: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in bench.entries:
        if entry["type"] == f"points.{kind}":
            found[entry["rule_id"]] = found.get(entry["rule_id"], 0) + entry["amount"]
    return {rule_id: points for rule_id, points in found.items() if points}


@settings(max_examples=150, deadline=None)
@given(rules=rule_sets(), back=refunds(), data=st.data())
def test_any_rules_and_any_order_of_refunds(
    rules: list[dict[str, Any]], back: list[dict[str, Any]], data: st.DataObject
) -> None:
    """What is taken back depends on what is left alone, is never more than was given, and all of
    it once nothing is left; the same input gives the same bytes."""
    bench = taken(rules, back, first=True)
    earned, reversed_ = by_rule(bench, "earned"), by_rule(bench, "reversed")

    assert all(reversed_.get(rule_id, 0) <= points for rule_id, points in earned.items())
    assert set(reversed_) <= set(earned)
    assert taken(rules, back, first=True).books() == bench.books()
    other = taken(rules, data.draw(st.permutations(back)), first=data.draw(st.booleans()))
    assert (by_rule(other, "earned"), by_rule(other, "reversed")) == (earned, reversed_)

    bench.cancel("o")

    assert by_rule(bench, "reversed") == earned
