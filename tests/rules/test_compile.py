"""Rule sets compiled: what is in force when and where, and what it is worth."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.wire import epoch_ms
from pointstream.rules import (
    CompiledProgramme,
    OrderReward,
    RuleTable,
    compile_programme,
    compile_rule_set,
)


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def spend(id_: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "kind": "spend", "per_minor": 100, **fields}


def compiled(*rule_sets: dict[str, Any]) -> CompiledProgramme:
    return compile_programme(Programme.model_validate({"id": "test", "rule_sets": list(rule_sets)}))


def rule_set(version: int, *rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "head-office", "version": version, "rules": list(rules), **fields}


def names(table: RuleTable) -> list[str]:
    return [reward.rule_id for reward in table.orders]


@pytest.mark.case(5)
def test_the_highest_version_in_force_counts() -> None:
    """A later version holds from its own moment on, and gives way again when it ends."""
    programme = compiled(
        rule_set(1, spend("old")),
        rule_set(
            2,
            spend("new"),
            effective_from="2026-03-01T00:00:00+08:00",
            effective_to="2026-04-01T00:00:00+08:00",
        ),
    )

    assert names(programme.rule_book().rules_at(at("2026-02-28T23:59:59.999+08:00"))) == ["old"]
    assert names(programme.rule_book().rules_at(at("2026-03-01T00:00+08:00"))) == ["new"]
    assert names(programme.rule_book().rules_at(at("2026-03-31T23:59:59.999+08:00"))) == ["new"]
    assert names(programme.rule_book().rules_at(at("2026-04-01T00:00+08:00"))) == ["old"]


def test_rule_sets_of_different_ids_hold_side_by_side() -> None:
    """A shop's own rules come on top of head office's."""
    programme = compiled(
        rule_set(1, spend("base")), {"id": "shop-7", "version": 3, "rules": [spend("extra")]}
    )

    table = programme.rule_book().rules_at(0)

    assert names(table) == ["base", "extra"]
    assert [reward.rule_version for reward in table.orders] == [1, 3]
    assert len({reward.ruleset_hash for reward in table.orders}) == 2


@pytest.mark.parametrize(
    ("scope", "event", "holds"),
    [
        ({"stores": ["s1"]}, {"store_id": "s1"}, True),
        ({"stores": ["s1"]}, {"store_id": "s2"}, False),
        ({"stores": ["s1"]}, {}, False),
        ({"brands": ["b"], "channels": ["web"]}, {"brand_id": "b", "channel": "web"}, True),
        ({"brands": ["b"], "channels": ["web"]}, {"brand_id": "b", "channel": "pos"}, False),
        ({"campaign_codes": ["x", "y"]}, {"campaign_codes": ("z", "y")}, True),
        ({"campaign_codes": ["x", "y"]}, {"campaign_codes": ()}, False),
    ],
)
def test_scope(scope: dict[str, list[str]], event: dict[str, Any], holds: bool) -> None:
    """Every list that is given must contain the event's value."""
    (reward,) = compiled(rule_set(1, spend("r", scope=scope))).rule_book().rules_at(0).orders
    nowhere = {"store_id": None, "brand_id": None, "channel": None, "campaign_codes": ()}

    assert reward.matches is not None
    assert (
        reward.matches(SimpleNamespace(**{**nowhere, **event}), SimpleNamespace(at_ms=0)) is holds
    )


def test_a_rule_for_everywhere_asks_nothing() -> None:
    """The plain case costs no call."""
    (reward,) = compiled(rule_set(1, spend("r"))).rule_book().rules_at(0).orders
    assert reward.matches is None


@given(
    st.sampled_from(
        [
            spend("r", points=3, per_minor=700),
            spend("r", points=3, per_minor=700, min_minor=5_000),
            {"id": "r", "kind": "order_bonus", "points": 9, "min_minor": 5_000},
            {"id": "r", "kind": "order_bonus", "points": 9},
        ]
    ),
    st.integers(0, 20_000),
    st.integers(0, 20_000),
)
def test_more_money_never_earns_less(rule: dict[str, Any], one: int, other: int) -> None:
    """Refunds rely on it; and no money earns nothing."""
    reward = compile_rule_set(RuleSet.model_validate(rule_set(1, rule))).orders["r"]

    low, high = sorted((one, other))
    assert 0 <= reward.points(low) <= reward.points(high)
    assert reward.points(0) == 0


def test_a_rule_set_compiled_from_its_source_is_the_same() -> None:
    """The state keeps the source: what comes back must have the same hash and the same worth."""
    first = compile_rule_set(
        RuleSet.model_validate(
            rule_set(
                4,
                spend("r", scope={"stores": ["s"]}, keep_on_refund=True),
                {"id": "f", "kind": "referral", "when": "registered", "points": 1},
                effective_from="2026-03-01T00:00:00+08:00",
            )
        )
    )
    again = compile_rule_set(RuleSet.model_validate_json(first.source))

    assert (again.hash, again.source) == (first.hash, first.source)
    assert list(again.orders) == ["r"]
    assert isinstance(again.orders["r"], OrderReward)
    assert again.orders["r"].points(1_234) == 12
    assert again.orders["r"].keep_on_refund


def test_any_difference_gives_another_hash() -> None:
    """Entries name the hash: two contents must never share one."""
    hashes = {
        compile_rule_set(RuleSet.model_validate(content)).hash
        for content in (
            rule_set(1, spend("r")),
            rule_set(2, spend("r")),
            rule_set(1, spend("r", points=2)),
            rule_set(1, spend("r"), effective_to="2026-03-01T00:00:00Z"),
        )
    }
    assert len(hashes) == 4
