"""Conditions: which there are, what they ask, and what is said of those that make no sense."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from pointstream.contracts.conditions import Condition
from pointstream.contracts.rulesets import RuleSet
from pointstream.rules import compile_rule_set
from pointstream.rules.conditions import compile_condition

LINES = (
    SimpleNamespace(line_id="a", sku="s1", category="toys", quantity=2, paid_minor=900, earns=True),
    SimpleNamespace(
        line_id="b", sku=None, category="food", quantity=1, paid_minor=100, earns=False
    ),
)
EVENT = SimpleNamespace(
    type="order.paid",
    event_id="e1",
    store_id="s1",
    brand_id=None,
    channel="web",
    campaign_codes=("x", "y"),
    source=None,
    device_id=None,
    paid_minor=1_000,
    points_paid=0,
    lines=LINES,
)
PROFILE = {"tags": {"vip": True, "level": 3, "city": "SH"}, "home_store_id": "s1"}
FACTS = SimpleNamespace(
    at_ms=0,
    local=datetime(2026, 3, 7, 18, 30),  # a Saturday
    segments=["staff"],
    orders=4,
    joined_days=10,
    age=None,
    tier=lambda ladder: {None: "gold", "visits": "regular"}.get(ladder),
    tiers=frozenset({"gold", "regular"}),
    profile=PROFILE.get,
    near_birthday=lambda unit: unit == "week",
    spend_minor=lambda days: days * 100,
)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"field": "store_id", "eq": "s1"}, True),
        ({"field": "store_id", "ne": "s1"}, False),
        ({"field": "store_id", "in": ["s0", "s1"]}, True),
        ({"field": "store_id", "not_in": ["s0", "s1"]}, False),
        ({"field": "store_id", "exists": True}, True),
        ({"field": "brand_id", "exists": True}, False),
        ({"field": "brand_id", "eq": "b"}, False),
        ({"field": "brand_id", "ne": "b"}, True),
        ({"field": "brand_id", "not_in": ["b"]}, True),
        ({"field": "campaign_codes", "contains": "y"}, True),
        ({"field": "campaign_codes", "contains": "z"}, False),
        ({"field": "paid_minor", "lt": 1_000}, False),
        ({"field": "paid_minor", "le": 1_000}, True),
        ({"field": "paid_minor", "gt": 1_000}, False),
        ({"field": "paid_minor", "ge": 1_000}, True),
        ({"field": "paid_minor", "between": [1_000, 1_001]}, True),
        ({"field": "paid_minor", "between": [1_001, 1_002]}, False),
        ({"field": "earning_minor", "eq": 900}, True),
        ({"field": "quantity", "eq": 3}, True),
        ({"field": "order_number", "eq": 5}, True),
        ({"field": "member.orders", "eq": 4}, True),
        ({"field": "hour", "between": [18, 20]}, True),
        ({"field": "minute_of_day", "eq": 18 * 60 + 30}, True),
        ({"field": "weekday", "in": ["sat", "sun"]}, True),
        ({"field": "day_of_month", "eq": 7}, True),
        ({"field": "month", "eq": 3}, True),
        ({"field": "date", "between": ["2026-03-01", "2026-03-07"]}, True),
        ({"field": "date", "ge": "2026-03-08"}, False),
        ({"field": "birthday", "eq": "day"}, False),
        ({"field": "birthday", "in": ["day", "week"]}, True),
        ({"field": "member.tier", "eq": "gold"}, True),
        ({"field": "member.tiers.visits", "eq": "regular"}, True),
        ({"field": "member.tiers.unknown", "eq": "regular"}, False),
        ({"field": "member.segments", "contains": "staff"}, True),
        ({"field": "member.home_store_id", "eq": "s1"}, True),
        ({"field": "member.joined_days", "le": 30}, True),
        ({"field": "member.age", "ge": 18}, False),
        ({"not": {"field": "member.age", "ge": 18}}, True),
        ({"field": "member.tags.level", "ge": 3}, True),
        ({"field": "member.tags.city", "ge": 3}, False),
        ({"field": "member.tags.vip", "eq": True}, True),
        ({"field": "member.tags.vip", "eq": 1}, False),
        ({"field": "member.tags.vip", "in": [1, "true"]}, False),
        ({"field": "member.tags.none", "eq": "x"}, False),
        ({"field": "spend_minor", "days": 30, "eq": 4_000}, True),
        ({"any_line": {"field": "category", "eq": "food"}}, True),
        ({"any_line": {"field": "sku", "eq": "s2"}}, False),
        ({"all_lines": {"field": "paid_minor", "ge": 100}}, True),
        ({"all_lines": {"field": "earns", "eq": True}}, False),
        ({"any_line": {"not": {"field": "sku", "exists": True}}}, True),
        (
            {
                "any_line": {
                    "all": [{"field": "sku", "eq": "s1"}, {"field": "category", "eq": "food"}]
                }
            },
            False,
        ),
        (
            {"any": [{"field": "channel", "eq": "pos"}, {"not": {"field": "month", "eq": 2}}]},
            True,
        ),
        ({"all": [{"field": "channel", "eq": "web"}, {"field": "month", "eq": 2}]}, False),
    ],
)
def test_what_a_condition_asks(condition: dict[str, Any], holds: bool) -> None:
    """Each field and each comparison, where it holds and where it does not."""
    compiled = compile_condition(Condition.model_validate(condition))

    assert compiled(EVENT, FACTS) is holds


def order_rule(**fields: Any) -> dict[str, Any]:
    return {"kind": "order_bonus", "id": "r", "points": 1, **fields}


def check_in(**fields: Any) -> dict[str, Any]:
    return {"kind": "check_in", "id": "r", "points": 1, **fields}


def spend(**fields: Any) -> dict[str, Any]:
    return {"kind": "spend", "id": "r", **fields}


SEED = "0123456789abcdef"


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        (
            order_rule(when={"field": "nix", "eq": 1}),
            "when.field",
            "unknown field 'nix'; there are",
        ),
        (order_rule(when={"field": "hour", "eq": "8"}), "when.eq", "with an integer, not with '8'"),
        (order_rule(when={"field": "hour", "eq": 8.5}), "when.eq", "must be a text, an integer"),
        (order_rule(when={"field": "hour", "eq": True}), "when.eq", "with an integer"),
        (order_rule(when={"field": "hour"}), "when", "a comparison has one of eq, ne, in"),
        (order_rule(when={"field": "hour", "eq": 1, "le": 3}), "when", "several are joined by all"),
        (order_rule(when={"eq": 1}), "when", "eq needs a field to compare"),
        (order_rule(when={}), "when", "a condition is one of field, all, any, not, any_line"),
        (order_rule(when={"feild": "hour", "eq": 1}), "when.feild", "Extra inputs"),
        (order_rule(when={"all": []}), "when.all", "at least 1 item"),
        (
            order_rule(when={"all": [{"not": {"field": "weekday", "in": ["sat", "zun"]}}]}),
            "when.all.0.not.in.1",
            "one of mon, tue, wed, thu, fri, sat, sun, not with 'zun'",
        ),
        (order_rule(when={"field": "weekday", "gt": "mon"}), "when.gt", "compared by eq, ne, in"),
        (order_rule(when={"field": "date", "ge": "2026-02-30"}), "when.ge", "a date, YYYY-MM-DD"),
        (order_rule(when={"field": "birthday", "eq": "year"}), "when.eq", "day, week, month"),
        (order_rule(when={"field": "store_id", "gt": "a"}), "when.gt", "compared by eq, ne, in"),
        (order_rule(when={"field": "campaign_codes", "eq": "a"}), "when.eq", "by contains, exists"),
        (
            order_rule(when={"field": "hour", "between": [9, 8]}),
            "when.between",
            "the first must not be more than the second",
        ),
        (order_rule(when={"field": "spend_minor", "ge": 1}), "when", "days belongs to spend_minor"),
        (order_rule(when={"field": "hour", "days": 2, "ge": 1}), "when", "days belongs to"),
        (
            order_rule(when={"any_line": {"field": "store_id", "eq": "s"}}),
            "when.any_line.field",
            "sku",
        ),
        (check_in(when={"field": "paid_minor", "ge": 1}), "when.field", "unknown field"),
        (
            check_in(when={"any_line": {"field": "sku", "eq": "s"}}),
            "when.any_line",
            "only an order",
        ),
        (order_rule(lines={"field": "skus", "eq": "s"}), "lines.field", "unknown field 'skus'"),
        (order_rule(draw={"seed": SEED, "prizes": [{"points": 1}]}), "draw", "not both"),
        ({"kind": "order_bonus", "id": "r"}, "points", "Field required: points, or a draw"),
        (
            {
                "kind": "check_in",
                "id": "r",
                "draw": {"seed": SEED, "commitment": "0" * 64, "prizes": [{"points": 1}]},
            },
            "draw.commitment",
            "must be the SHA-256 of the seed",
        ),
        (
            {"kind": "check_in", "id": "r", "draw": {"seed": SEED, "prizes": [{"points": 0}]}},
            "draw.prizes",
            "at least one prize",
        ),
        (spend(), "per_minor", "Field required: per_minor or rates"),
        (spend(per_minor=1, rates=[{"per_minor": 1}]), "rates", "does not go with per_minor"),
        (
            spend(rates=[{"from_minor": 5, "per_minor": 1}, {"from_minor": 5, "per_minor": 1}]),
            "rates.1.from_minor",
            "rates rise",
        ),
        ({"kind": "multiplier", "id": "r", "factor": 1}, "factor", "greater than 1"),
        ({"kind": "multiplier", "id": "r", "factor": 2, "of": "some"}, "of", "'base' or 'all'"),
        (order_rule(priority=1.5), "priority", "valid integer"),
        (order_rule(group="g", in_group="last"), "in_group", "'first' or 'best'"),
        (order_rule(expiry={"months": -1}), "expiry.months", "greater than or equal to 0"),
        (
            order_rule(activation={"on_activity": "order.completed"}),
            "activation.on_activity",
            "only a wallet's points wait",
        ),
        (
            {
                "kind": "referral",
                "id": "r",
                "when": "registered",
                "points": 1,
                "provided": {"field": "paid_minor", "ge": 1},
            },
            "provided.field",
            "unknown field",
        ),
    ],
)
def test_a_mistake_is_named_by_its_path(rule: dict[str, Any], path: str, message: str) -> None:
    """Whoever wrote it finds the place, and what is allowed there."""
    with pytest.raises(ValidationError) as caught:
        RuleSet.model_validate({"id": "s", "version": 1, "rules": [check_in(id="ok"), rule]})

    told = {
        ".".join(str(step) for step in error["loc"][3:]): error["msg"]
        for error in caught.value.errors()
        if error["loc"][:2] == ("rules", 1)
    }
    assert path in told, told
    assert message in told[path]


def test_conditions_have_a_depth() -> None:
    """What is nested without end is refused, and does not end the program."""
    condition: dict[str, Any] = {"field": "hour", "eq": 1}
    for _ in range(12):
        condition = {"not": condition}

    with pytest.raises(ValidationError, match="at most 12 deep"):
        RuleSet.model_validate({"id": "s", "version": 1, "rules": [order_rule(when=condition)]})


def test_a_rule_set_with_conditions_is_read_back_as_it_was_kept() -> None:
    """What the state keeps of it compiles to the same, under the same hash."""
    when = {
        "all": [
            {"not": {"field": "weekday", "in": ["sat"]}},
            {"any_line": {"not": {"field": "sku", "eq": "s1"}}},
        ]
    }
    rules = [order_rule(when=when, scope={"tiers": ["gold"]}), spend(id="s", per_minor=100)]
    kept = compile_rule_set(RuleSet.model_validate({"id": "s", "version": 1, "rules": rules}))

    again = compile_rule_set(RuleSet.model_validate_json(kept.source))

    assert (again.hash, again.source) == (kept.hash, kept.source)


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        ({"tiers": ["regular"]}, True),
        ({"tiers": ["silver"]}, False),
        ({"segments": ["press", "staff"]}, True),
        ({"segments": ["press"]}, False),
    ],
)
def test_a_scope_of_tiers_and_segments(scope: dict[str, Any], holds: bool) -> None:
    """The tier on any ladder counts, and any of the segments."""
    compiled = compile_rule_set(
        RuleSet.model_validate({"id": "s", "version": 1, "rules": [order_rule(scope=scope)]})
    )
    matches = compiled.orders["r"].matches

    assert matches is not None
    assert matches(EVENT, FACTS) is holds
    if not holds:
        (unmet,) = compiled.orders["r"].why_not(EVENT, FACTS)
        assert unmet.path == f"scope.{next(iter(scope))}"
