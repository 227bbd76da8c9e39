"""What candidates would have changed is summed up content by content, rule by rule."""

from __future__ import annotations

from typing import Any

from pointstream.operations.shadows import ShadowSum


def diff(member: str, at: str, awards: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {"member_id": member, "recorded_at": at, "awards": awards, **fields}


def award(rule: str, given: int, would_give: int, *, other_life: bool = False) -> dict[str, Any]:
    return {
        "ruleset_id": "autumn",
        "rule_id": rule,
        "wallet": "points",
        "given": given,
        "would_give": would_give,
        "other_life": other_life,
    }


def test_sums_count_all_points_and_the_events_of_a_rule_that_differ() -> None:
    """Two events of one member: the base rule gives the same in the first, and the bonus differs in
    both."""
    sums = ShadowSum("autumn", 2, "abc")
    early, late = "2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z"

    sums.add(diff("m1", late, [award("base", 10, 10), award("bonus", 0, 5)]))
    sums.add(diff("m1", early, [award("base", 10, 20), award("bonus", 7, 5)]))

    assert (sums.events, sums.members) == (2, 1)
    assert (sums.first_at, sums.last_at) == (early, late)
    base = sums.rules["autumn", "base", "points"]
    assert (base.events, base.given, base.would_give, base.difference) == (1, 20, 30, 10)
    bonus = sums.rules["autumn", "bonus", "points"]
    assert (bonus.events, bonus.difference) == (2, 3)


def test_an_event_that_could_not_be_compared_counts_for_nothing_else() -> None:
    """What the candidate would have given is not known, so it is no zero."""
    sums = ShadowSum("autumn", 2, "abc")

    sums.add(diff("m1", "2026-03-01T00:00:00.000Z", [award("base", 10, 0)], error="KeyError"))

    assert (sums.events, sums.errors, sums.rules) == (0, {"KeyError": 1}, {})


def test_the_same_points_with_another_life_are_counted_by_themselves() -> None:
    """They differ, though no sum does."""
    sums = ShadowSum("autumn", 2, "abc")

    sums.add(diff("m1", "2026-03-01T00:00:00.000Z", [award("base", 10, 10, other_life=True)]))

    base = sums.rules["autumn", "base", "points"]
    assert (base.events, base.other_life, base.difference) == (1, 1, 0)
