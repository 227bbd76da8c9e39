"""Why a rule does not match: the comparisons that are to blame, and what was found."""

from __future__ import annotations

from typing import Any

import pytest
from test_conditions import EVENT, FACTS

from pointstream.contracts.rulesets import RuleSet
from pointstream.rules import compile_rule_set


def why_not(**fields: Any) -> list[tuple[str, Any, str, Any, bool]]:
    """The comparisons that keep a rule about orders from matching, as tuples."""
    rule = {"id": "r", "kind": "order_bonus", "points": 1, **fields}
    rule_set = RuleSet.model_validate({"id": "s", "version": 1, "rules": [rule]})
    reward = compile_rule_set(rule_set).orders["r"]
    assert reward.matches is not None
    if reward.matches(EVENT, FACTS):
        return []
    return [
        (each.path, each.found, each.operator, each.asked, each.negated)
        for each in reward.why_not(EVENT, FACTS)
    ]


HERE = {"field": "channel", "eq": EVENT.channel}
APP = {"field": "channel", "eq": "app"}
SHOP = {"field": "store_id", "eq": "nowhere"}


@pytest.mark.parametrize(
    ("when", "paths"),
    [
        ({"all": [HERE, APP, SHOP]}, ["when.all[1]", "when.all[2]"]),
        ({"any": [APP, SHOP]}, ["when.any[0]", "when.any[1]"]),
        ({"not": HERE}, ["when.not"]),
        ({"not": {"any": [HERE, APP]}}, ["when.not.any[0]"]),
        ({"not": {"all": [HERE, {"not": APP}]}}, ["when.not.all[0]", "when.not.all[1].not"]),
        ({"any": [APP, {"all": [HERE, SHOP]}]}, ["when.any[0]", "when.any[1].all[1]"]),
        ({"any": [APP, HERE]}, []),
    ],
)
def test_the_comparisons_to_blame_are_named_by_their_place(
    when: dict[str, Any], paths: list[str]
) -> None:
    """Of `all` those that fail, of `any` all, of `not` what holds under it."""
    assert [path for path, *_ in why_not(when=when)] == paths


def test_what_was_found_and_what_was_asked_is_told() -> None:
    """As data, so that a table or a program can show it."""
    assert why_not(when=APP) == [("when", EVENT.channel, "eq", "app", False)]
    assert why_not(when={"not": HERE}) == [("when.not", EVENT.channel, "eq", EVENT.channel, True)]
    assert why_not(scope={"stores": ["s8"]}) == [
        ("scope.stores", EVENT.store_id, "in", ["s8"], False)
    ]


def test_of_lines_those_that_fit_are_told() -> None:
    """None of the order's lines is for the garden."""
    asked = {"field": "category", "eq": "garden"}

    ((path, found, operator, told, _),) = why_not(when={"any_line": asked})

    assert (path, found, operator, told) == ("when.any_line", [], "any_line", asked)


def test_scope_and_condition_are_both_told() -> None:
    """Whoever mends the one need not find out about the other only then."""
    paths = [path for path, *_ in why_not(when=APP, scope={"stores": ["s8"]})]

    assert paths == ["scope.stores", "when"]
