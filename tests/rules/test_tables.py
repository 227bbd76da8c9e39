"""Which version of which rule set is in force when, as versions come and go."""

from __future__ import annotations

from typing import Any

import pytest

from pointstream.contracts.fitting import misfits
from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.wire import epoch_ms
from pointstream.rules import RuleBook, RuleTable, Version, compile_rule_set
from pointstream.rules.versions import without


def version(number: int, rule: str, *, id: str = "set", **span: str) -> Version:
    """A version with one rule, whose name says which."""
    fields: dict[str, Any] = {
        "id": id,
        "version": number,
        "rules": [{"id": rule, "kind": "spend", "per_minor": 100}],
        **span,
    }
    rule_set = RuleSet.model_validate(fields)
    return Version.of(rule_set, compile_rule_set(rule_set))


def names(table: RuleTable) -> list[str]:
    return [reward.rule_id for reward in table.orders]


def test_a_version_put_in_holds_from_its_beginning_beside_what_was_there() -> None:
    """Given a base, when a version is put in that begins later, then each holds in its time."""
    later = version(2, "new", effective_from="2026-03-01T00:00Z")
    book = RuleBook([version(1, "old")])

    book.put(later)

    assert later.from_ms is not None
    assert names(book.rules_at(later.from_ms - 1)) == ["old"]
    assert names(book.rules_at(later.from_ms)) == ["new"]


def test_a_version_dropped_is_gone_and_the_one_below_holds_again() -> None:
    """Given a version on top, when it is dropped, then the base is in force as before."""
    book = RuleBook([version(1, "old")])
    book.put(version(2, "new"))

    book.drop("set", 2)
    book.drop("set", 3)

    assert names(book.rules_at(0)) == ["old"]


def test_the_base_can_be_bounded_version_by_version() -> None:
    """Given two versions of the programme, when they end at two times, then each ends at its own,
    and one above both goes on."""
    book = RuleBook([version(1, "one"), version(2, "two"), version(1, "other", id="b")])

    book.bound("set", [(1, 100), (2, 200)])
    assert names(book.rules_at(99)) == ["two", "other"]
    assert names(book.rules_at(199)) == ["two", "other"]
    assert names(book.rules_at(200)) == ["other"]

    book.put(version(3, "three"))
    assert names(book.rules_at(200)) == ["other", "three"]


def test_of_equal_numbers_the_one_put_in_counts() -> None:
    """Given a version of the programme, when one of the same number is put in, then that counts."""
    book = RuleBook([version(1, "file")])

    book.put(version(1, "topic"))

    assert names(book.rules_at(0)) == ["topic"]


def test_tables_handed_out_stay_as_they_were() -> None:
    """Given tables in hand, when the book changes, then they say what they said."""
    book = RuleBook([version(1, "old")])
    before = book.tables

    book.put(version(2, "new"))

    assert names(before.at(0)) == ["old"]
    assert names(book.tables.at(0)) == ["new"]


def test_a_span_inside_a_span_ends_where_the_first_of_them_ends() -> None:
    """Given a rule that outlives its rule set, when the set is over, then so is the rule."""
    rule = {
        "id": "r",
        "kind": "spend",
        "per_minor": 100,
        "effective_from": "2026-01-02T00:00Z",
        "effective_to": "2026-01-09T00:00Z",
    }
    rule_set = RuleSet.model_validate(
        {"id": "s", "version": 1, "effective_to": "2026-01-05T00:00Z", "rules": [rule]}
    )
    book = RuleBook([Version.of(rule_set, compile_rule_set(rule_set))])

    assert rule_set.rules[0].effective_from is not None
    assert rule_set.effective_to is not None
    from_ms, to_ms = epoch_ms(rule_set.rules[0].effective_from), epoch_ms(rule_set.effective_to)
    said = [names(book.rules_at(at_ms)) for at_ms in (from_ms - 1, from_ms, to_ms - 1, to_ms)]
    assert said == [[], ["r"], ["r"], []]


@pytest.mark.parametrize(
    ("rule", "path", "says"),
    [
        ({"wallet": "miles"}, "rules[1].wallet", "this programme has points, growth"),
        ({"budget": "spring"}, "rules[1].budget", "this programme has autumn"),
        ({"budget": "autumn", "wallet": "growth"}, "rules[1].budget", "is of 'points'"),
    ],
)
def test_what_a_programme_does_not_have_is_named_with_its_path(
    rule: dict[str, str], path: str, says: str
) -> None:
    """Given a rule that names what is not there, then the path and what is allowed are told."""
    fine = {"id": "fine", "kind": "spend", "per_minor": 100}
    rule_sets = [{"id": "s", "version": 1, "rules": [fine]}]
    programme = Programme.model_validate(
        {
            "id": "p",
            "wallets": [{"id": "points"}, {"id": "growth", "spendable": False}],
            "budgets": [{"id": "autumn", "points": 10}],
            "rule_sets": rule_sets,
        }
    )
    rules = [fine, {**fine, "id": "wrong", **rule}]

    assert not misfits(programme, RuleSet.model_validate(rule_sets[0]))
    (misfit,) = misfits(
        programme, RuleSet.model_validate({"id": "s", "version": 2, "rules": rules})
    )
    assert misfit.path == path
    assert says in misfit.message


def test_a_candidate_holds_in_its_span_in_the_place_of_all_versions_of_its_id() -> None:
    """Given versions before, in and after a span, and one with a higher number that is put in
    later, when a candidate has the span, then it alone holds there and they hold around it."""
    span = Version(version(1, "tried").rule_set, version(1, "tried").compiled, 100, 200)
    book = RuleBook([version(3, "real"), version(1, "other", id="b")], [span])

    book.put(Version(version(4, "late").rule_set, version(4, "late").compiled, 150, None))

    assert names(book.rules_at(99)) == ["real", "other"]
    assert names(book.rules_at(100)) == names(book.rules_at(199)) == ["tried", "other"]
    assert names(book.rules_at(200)) == ["late", "other"]
    assert [each.number for each in book.base] == [3, 1]


def test_what_is_left_of_a_version_without_a_span() -> None:
    """Given a span, when it is cut out of versions, then what is before and after it is left."""
    whole = version(1, "rule")
    short = Version(whole.rule_set, whole.compiled, 120, 180)
    later = Version(whole.rule_set, whole.compiled, 300, None)

    assert [(v.from_ms, v.to_ms) for v in without(whole, 100, 200)] == [(None, 100), (200, None)]
    assert without(short, 100, 200) == []
    assert without(later, 100, 200) == [later]
    assert without(whole, None, None) == []
