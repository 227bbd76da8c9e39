"""What a rule asks about tiers must be tiers of the programme."""

from __future__ import annotations

from typing import Any

import pytest

from pointstream.contracts.fitting import misfits
from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import RuleSet

LADDER = {"id": "main", "tiers": [{"id": "silver", "threshold": 0}, {"id": "gold", "threshold": 9}]}


def rule_set(**fields: Any) -> dict[str, Any]:
    rule = {"id": "r", "kind": "spend", "per_minor": 100, **fields}
    return {"id": "s", "version": 1, "rules": [rule]}


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"scope": {"tiers": ["gold", "platin"]}}, "scope.tiers[1]", "has silver, gold"),
        ({"when": {"field": "member.tier", "eq": "platin"}}, "when.eq", "has silver, gold"),
        (
            {"when": {"not": {"field": "member.tiers.main", "in": ["gold", "x"]}}},
            "when.not.in[1]",
            "has silver, gold",
        ),
        (
            {"when": {"all": [{"field": "member.tiers.side", "eq": "gold"}]}},
            "when.all[0].field",
            "no such ladder; this programme has main",
        ),
    ],
)
def test_a_tier_that_nobody_can_have(fields: dict[str, Any], path: str, message: str) -> None:
    """It would be a rule that never holds, by a slip of the pen."""
    programme = Programme.model_validate(
        {"id": "p", "ladders": [LADDER], "rule_sets": [rule_set()]}
    )

    (misfit,) = misfits(programme, RuleSet.model_validate(rule_set(**fields)))

    assert misfit.path == f"rules[0].{path}"
    assert message in misfit.message


def test_tiers_that_there_are() -> None:
    """Nothing is said of rules that fit."""
    when = {"any": [{"field": "member.tier", "exists": True}, {"field": "hour", "eq": 1}]}
    fits = rule_set(scope={"tiers": ["gold"]}, when=when)

    Programme.model_validate({"id": "p", "ladders": [LADDER], "rule_sets": [fits]})
