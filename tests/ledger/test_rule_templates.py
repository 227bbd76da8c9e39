"""Templates of rule sets: with their defaults they are fit, and give what they say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme

from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import epoch_ms
from pointstream.operations.rulecheck import check_rule_files
from pointstream.operations.rulefiles import read_rule_file
from pointstream.operations.templates import (
    Template,
    ValueInvalid,
    template_named,
    templates,
)

TODAY = date(2026, 3, 1)
NOW_MS = epoch_ms(datetime(2026, 3, 1, 4, tzinfo=UTC))
PLAIN = programme().source
NAMES = [template.name for template in templates()]


def named(name: str) -> Template:
    template = template_named(name)
    assert template is not None
    return template


def bench(name: str, base: Programme = PLAIN, **values: str) -> Bench:
    """A ledger that has a template's rule set; what multiplies also has something to multiply."""
    (written,) = read_rule_file(named(name).filled(values, base, TODAY), name).rule_sets
    rule_sets = [written.rule_set.model_dump(mode="json", exclude_defaults=True)]
    if written.rule_set.rules[0].kind == "multiplier":
        rules = [SPEND, {"id": "bonus", "kind": "order_bonus", "points": 5}]
        rule_sets.append({"id": "base", "version": 1, "rules": rules})
    return Bench(programme(rule_sets=rule_sets))


@pytest.mark.parametrize("name", NAMES)
def test_with_its_defaults_a_template_is_fit(name: str) -> None:
    """Nothing is wrong and nothing to be warned of; every rule holds at some time."""
    text = named(name).filled({}, PLAIN, TODAY)

    checked = check_rule_files([read_rule_file(text, name)], PLAIN, NOW_MS)

    assert [str(each) for each in (*checked.problems, *checked.warnings)] == []
    assert all(held.spans for held in checked.held)


def test_there_is_one_for_each_of_the_usual_rule_sets() -> None:
    """By these names they are asked for."""
    assert NAMES == [
        "birthday-double",
        "complete-profile",
        "group-buy",
        "new-member-gift",
        "refer-a-friend",
        "review",
        "shop-opening",
        "sign-in-streak",
        "spend-and-earn",
        "spend-x-get-y",
        "staff-performance",
        "weekend-double",
    ]


def _spend_and_earn(ledger: Bench) -> list[int]:
    ledger.order("o1", 99)
    ledger.order("o2", 0)
    return [99]


def _sign_in_streak(ledger: Bench) -> list[int]:
    for _ in range(8):
        ledger.check_in()
        ledger.check_in()
        ledger.later(1)
    return [2, 2, 2, 2, 2, 2, 2, 30, 2]


def _refer_a_friend(ledger: Bench) -> list[int]:
    ledger.give("referral.registered", referee_id="f1")
    for friend, paid_minor in (("f1", 5_000), ("f2", 4_999)):
        order = {"order_id": friend, "paid_minor": paid_minor, "currency": "CNY"}
        ledger.give("referral.first_order", referee_id=friend, **order)
    for friend in range(60):
        ledger.give("referral.registered", referee_id=f"g{friend}")
    return [20, 100, *[20] * 44]


def _activities(ledger: Bench, activity: str, count: int, **fields: Any) -> None:
    for number in range(count):
        ledger.give("activity.recorded", activity=activity, reference=f"r{number}", **fields)


def _review(ledger: Bench) -> list[int]:
    _activities(ledger, "review.posted", 4)
    _activities(ledger, "review.posted", 4)
    return [10, 10, 10]


def _complete_profile(ledger: Bench) -> list[int]:
    _activities(ledger, "profile.completed", 3)
    return [50]


def _spend_x_get_y(ledger: Bench) -> list[int]:
    ledger.order("o1", 300)
    ledger.order("o2", 299)
    ledger.later(30, ms=-1)
    ledger.order("o3", 300)
    ledger.later(ms=1)
    ledger.order("o4", 300)
    return [50, 50]


def _group_buy(ledger: Bench) -> list[int]:
    _activities(ledger, "groupbuy.joined", 4)
    return [15, 15, 15]


def _shop_opening(ledger: Bench) -> list[int]:
    ledger.order("o1", 60, store_id="new-shop")
    ledger.order("o2", 40, store_id="new-shop")
    ledger.order("o3", 60, store_id="old-shop")
    ledger.later(14)
    ledger.order("o4", 60, store_id="new-shop")
    return [60, 20, 40]


def _staff_performance(ledger: Bench) -> list[int]:
    _activities(ledger, "sale.closed", 1, value_minor=25_000, currency="CNY")
    return [2]


def _birthday_double(ledger: Bench) -> list[int]:
    """Born on the second day."""
    ledger.give("member.updated", birthday="1990-03-03")
    ledger.order("o1", 10)
    ledger.later(1)
    ledger.order("o2", 10)
    ledger.order("o3", 10, member="somebody-else")
    ledger.later(1)
    ledger.order("o4", 10)
    return [10, 5, 10, 5, 10, 10, 5, 10, 5]


def _weekend_double(ledger: Bench) -> list[int]:
    """The first day is a Monday; Saturday begins at its local midnight, to the millisecond."""
    ledger.later(5, ms=-1)
    ledger.order("o1", 10)
    ledger.later(ms=1)
    ledger.order("o2", 10)
    ledger.tick(START_MS + 7 * DAY_MS)
    ledger.order("o3", 10)
    return [10, 5, 10, 5, 10, 10, 5]


def _new_member_gift(ledger: Bench) -> list[int]:
    ledger.give("member.registered")
    ledger.give("member.registered")
    ledger.give("member.updated", member="m2")
    return [100]


LIVES: dict[str, Callable[[Bench], list[int]]] = {
    "birthday-double": _birthday_double,
    "complete-profile": _complete_profile,
    "group-buy": _group_buy,
    "new-member-gift": _new_member_gift,
    "refer-a-friend": _refer_a_friend,
    "review": _review,
    "shop-opening": _shop_opening,
    "sign-in-streak": _sign_in_streak,
    "spend-and-earn": _spend_and_earn,
    "spend-x-get-y": _spend_x_get_y,
    "staff-performance": _staff_performance,
    "weekend-double": _weekend_double,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_template_gives_what_it_says(name: str) -> None:
    """With its defaults, in a ledger whose day is the first of the campaign."""
    ledger = bench(name)
    assert ledger.now_ms == START_MS == epoch_ms(datetime.fromisoformat("2026-03-02T00:00+08:00"))

    assert LIVES[name](ledger) == [amount for amount in ledger.moved("earned") if amount]


def test_values_take_the_place_of_defaults() -> None:
    """Money in minor units, a last day to its end, in the programme's time zone."""
    base = programme(time_zone="Europe/Berlin", currency="EUR").source
    values = {
        "id": "march",
        "amount": " 12.5 ",
        "points": "7",
        "from": "2026-03-28",
        "until": "2026-03-29",
    }

    text = named("spend-x-get-y").filled(values, base, TODAY)

    (written,) = read_rule_file(text, "x").rule_sets
    (rule,) = written.rule_set.rules
    dumped = rule.model_dump(mode="json")
    assert (written.rule_set.id, dumped["points"], dumped["min_minor"]) == ("march", 7, 1_250)
    assert dumped["effective_from"] == "2026-03-28T00:00:00+01:00"
    assert dumped["effective_to"] == "2026-03-30T00:00:00+02:00"
    assert written.rule_set.description == "7 points on top for orders from 12.50 EUR"


def test_the_last_day_follows_the_first() -> None:
    """A campaign of thirty days, whenever it begins."""
    text = named("spend-x-get-y").filled({"from": "2030-01-01"}, PLAIN, TODAY)

    assert 'effective_to: "2030-01-31T00:00:00+08:00"' in text


def test_the_version_is_the_next_of_the_programme() -> None:
    """So that it takes the place of what is there."""
    rules = [{"id": "r", "kind": "spend", "per_minor": 100}]
    base = programme(rule_sets=[{"id": "review", "version": 4, "rules": rules}]).source

    assert "\nversion: 5\n" in named("review").filled({}, base, TODAY)
    assert "\nversion: 1\n" in named("review").filled({"id": "reviews"}, base, TODAY)


@pytest.mark.parametrize("text", ["true", "null", "12", "a: b", "x # y", '"', "{", "a\nb", "- é"])
def test_a_text_stays_a_text(text: str) -> None:
    """Whatever it means in YAML."""
    filled = named("review").filled({"activity": text}, PLAIN, TODAY)

    read = read_rule_file(filled, "x")

    assert [getattr(rule, "activity", "") for rule in read.rule_sets[0].rule_set.rules] == [text]


@pytest.mark.parametrize("stores", ["true,no", "s1, s2 ,", "a: b"])
def test_ids_stay_ids(stores: str) -> None:
    """One by one, without what is around them."""
    filled = named("shop-opening").filled({"stores": stores}, PLAIN, TODAY)

    read = read_rule_file(filled, "x")

    names = tuple(name.strip() for name in stores.split(",") if name.strip())
    assert read.rule_sets[0].rule_set.rules[0].scope.stores == names


@pytest.mark.parametrize(
    ("name", "value", "text", "allowed"),
    [
        ("review", "points", "0", "a whole number from 1 to 1,000,000,000"),
        ("review", "points", "1.5", "a whole number"),
        ("review", "points", "many", "a whole number"),
        ("sign-in-streak", "days", "1", "from 2 to 366"),
        ("spend-and-earn", "amount", "0", "an amount like 12.50, from 0.01 on"),
        ("spend-and-earn", "amount", "1.005", "an amount like 12.50"),
        ("spend-and-earn", "amount", "NaN", "an amount like 12.50"),
        ("spend-and-earn", "amount", "Infinity", "an amount like 12.50"),
        ("spend-and-earn", "least", "-1", "from 0.00 on"),
        ("spend-x-get-y", "from", "tomorrow", "a day like 2027-12-31"),
        ("spend-x-get-y", "until", "2026-02-30", "a day like 2027-12-31"),
        ("spend-x-get-y", "until", "9999-12-31", "a day like 2027-12-31"),
        ("shop-opening", "stores", " , ", "at least one id"),
        ("review", "activity", " ", "1 to 128 characters"),
        ("weekend-double", "factor", "1", "above 1 and up to 100"),
        ("weekend-double", "factor", "100.001", "above 1 and up to 100"),
        ("weekend-double", "factor", "1.0001", "above 1 and up to 100"),
        ("weekend-double", "days", "sat, sonntag", "one of mon, tue, wed"),
        ("birthday-double", "near", "year", "one of day, week, month"),
        ("review", "id", "My Review", "1 to 64 of a-z"),
        ("review", "colour", "red", "review asks for no 'colour', but id, activity, points"),
    ],
)
def test_what_is_not_allowed_is_told(name: str, value: str, text: str, allowed: str) -> None:
    """By the value's name, with what is."""
    with pytest.raises(ValueInvalid) as caught:
        named(name).filled({value: text}, PLAIN, TODAY)

    assert allowed in str(caught.value)
    assert value in str(caught.value)
