"""Ladders of tiers: what a programme may not say, and what it is compiled to."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pointstream.contracts.programme import Programme
from pointstream.rules.compile import CompiledProgramme, compile_programme

MEMBER = {"id": "member", "threshold": 0}
GOLD = {"id": "gold", "threshold": 1_000}


def compiled(*ladders: dict[str, Any], **fields: Any) -> CompiledProgramme:
    rules = [{"id": "spend", "kind": "spend", "points": 1, "per_minor": 100}]
    return compile_programme(
        Programme.model_validate(
            {
                "id": "test",
                "rule_sets": [{"id": "all", "version": 1, "rules": rules}],
                "ladders": list(ladders),
                **fields,
            }
        )
    )


def ladder(*tiers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "status", "tiers": [MEMBER, *(tiers or (GOLD,))], **fields}


@pytest.mark.parametrize(
    ("ladders", "words"),
    [
        ([{"id": "s", "tiers": [GOLD, MEMBER]}], "first tier of a ladder has the threshold 0"),
        ([ladder(GOLD, {"id": "top", "threshold": 1_000})], "'top' is not above the last"),
        ([ladder({"id": "nothing"})], "has a threshold, or a segment"),
        ([{"id": "s", "tiers": [{**MEMBER, "bonus": {"points": 1}}, GOLD]}], "has no bonus"),
        ([ladder(), ladder()], "two ladders have the id 'status'"),
        ([ladder(), {**ladder(), "id": "other"}], "two tiers have the id 'member'"),
        ([ladder(qualified_by="growth")], "neither 'money' nor a wallet"),
        ([ladder({**GOLD, "bonus": {"points": 1, "wallet": "growth"}})], "unknown wallet 'growth'"),
        ([ladder(window={"kind": "rolling"})], "a rolling window has months or days"),
        ([ladder(holds_for={"end_of": "year"})], "holds_for has months or days"),
        ([ladder({**GOLD, "benefits": {"multiplier": "1.2345"}})], "3 decimal places"),
        ([ladder({**GOLD, "benefits": {"multiplier": 0.5}})], "greater than or equal to 1"),
    ],
)
def test_a_ladder_that_cannot_work_is_refused(ladders: list[dict[str, Any]], words: str) -> None:
    """When the programme is read, in words that say what is wrong."""
    with pytest.raises(ValidationError) as refused:
        compiled(*ladders)

    assert words in str(refused.value)


def test_no_wallet_is_called_money_where_a_ladder_measures_money() -> None:
    """One name would mean two things."""
    with pytest.raises(ValidationError, match="no wallet can have that name"):
        compiled(ladder(qualified_by="money"), wallets=[{"id": "points"}, {"id": "money"}])


@pytest.mark.parametrize(
    ("told", "thousandths"), [(1.5, 1_500), (1.005, 1_005), ("1.001", 1_001), (2, 2_000)]
)
def test_a_multiplier_is_exact(told: object, thousandths: int) -> None:
    """Whether YAML read it as a fraction, a text or a whole number."""
    (status,) = compiled(ladder({**GOLD, "benefits": {"multiplier": told}})).ladders

    assert status.tiers[1].multiplier == thousandths


def test_levels_are_found_by_amount_and_by_segment() -> None:
    """The higher of the two; below everything is the first tier."""
    vip = {"id": "vip", "segment": "vip"}
    (status,) = compiled(ladder(GOLD, vip, {"id": "top", "threshold": 5_000})).ladders

    assert [status.level_for(amount, ()) for amount in (-1, 0, 999, 1_000, 4_999, 5_000)] == [
        0,
        0,
        0,
        1,
        1,
        3,
    ]
    assert [status.level_for(amount, ["new", "vip"]) for amount in (0, 1_000, 5_000)] == [2, 2, 3]
    assert (status.below(3), status.below(2), status.below(1)) == (1, 1, 0)
