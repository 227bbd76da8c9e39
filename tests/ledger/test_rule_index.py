"""Rules found by what an event is like, and rules looked at one by one: the same comes out.

With a trace every rule is looked at, without one only those that the index finds.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import DAY_MS, START_MS, Bench, programme, rule

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.inputs import ActivityRecorded, CheckinRecorded, OrderPaid
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.ledger.facts import Facts
from pointstream.ledger.records import Line, Order
from pointstream.ledger.scored import Due
from pointstream.ledger.scoring import Trace, score_activity, score_check_in, score_order
from pointstream.rules import index
from pointstream.rules.index import Rewards

STORES = ("s1", "s2", "s3")
BRANDS = ("b1", "b2")
CODES = ("c1", "c2", "c3")
SEGMENTS = ("new", "staff", "lounge")
TIERS = ("member", "silver", "vip")
CATEGORIES = ("toys", "food", "books")
SKUS = ("k1", "k2", "k3")
DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-07", "2027-06-01")
"""The last is too far from the others for a rule to be filed by day."""
WEEKDAYS = ("mon", "tue", "sat", "sun")
LADDER = {
    "id": "status",
    "qualified_by": "money",
    "window": {"kind": "lifetime"},
    "tiers": [
        {"id": "member", "threshold": 0},
        {"id": "silver", "threshold": 10_000},
        {"id": "vip", "segment": "lounge"},
    ],
}


def some(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


def texts(field: str, values: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.sampled_from(values).map(lambda value: {"field": field, "eq": value}),
        st.sampled_from(values).map(lambda value: {"field": field, "ne": value}),
        some(values).map(lambda allowed: {"field": field, "in": allowed}),
        some(values).map(lambda others: {"field": field, "not_in": others}),
    )


def span(field: str, low: int, high: int) -> st.SearchStrategy[dict[str, Any]]:
    numbers = st.integers(low, high)
    return st.one_of(
        st.tuples(numbers, numbers).map(lambda two: {"field": field, "between": sorted(two)}),
        numbers.map(lambda number: {"field": field, "eq": number}),
        numbers.map(lambda number: {"field": field, "ge": number}),
    )


lines = st.recursive(
    st.one_of(
        texts("category", CATEGORIES),
        texts("sku", SKUS),
        st.just({"field": "quantity", "ge": 2}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=3,
)

asked = st.one_of(
    texts("store_id", STORES),
    texts("brand_id", BRANDS),
    texts("channel", ("pos", "web")),
    texts("member.tier", TIERS),
    texts("weekday", WEEKDAYS),
    texts("date", DAYS),
    st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map(
        lambda two: {"field": "date", "between": sorted(two)}
    ),
    span("hour", 0, 23),
    span("day_of_month", 1, 31),
    span("month", 1, 12),
    st.sampled_from(CODES).map(lambda code: {"field": "campaign_codes", "contains": code}),
    st.sampled_from(SEGMENTS).map(lambda name: {"field": "member.segments", "contains": name}),
    st.just({"field": "store_id", "exists": True}),
    st.just({"field": "member.orders", "ge": 1}),
)


def conditions(leaf: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
            inner.map(lambda part: {"not": part}),
        ),
        max_leaves=4,
    )


of_orders = st.one_of(
    conditions(asked),
    conditions(
        st.one_of(
            asked,
            lines.map(lambda line: {"any_line": line}),
            lines.map(lambda one: {"all_lines": one}),
        )
    ),
)

scopes = st.fixed_dictionaries(
    {},
    optional={
        "stores": some(STORES),
        "brands": some(BRANDS),
        "channels": some(("pos", "web")),
        "campaign_codes": some(CODES),
        "tiers": some(TIERS),
        "segments": some(SEGMENTS),
    },
)
common = {
    # Mostly one thing or the other: a rule is filed under one of all that it asks.
    "scope": st.one_of(st.just({}), st.just({}), scopes),
    "priority": st.integers(-2, 2),
    "group": st.sampled_from([None, None, None, "g"]),
}

rules = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("spend"), "per_minor": st.sampled_from([100, 700]), **common},
        optional={"when": of_orders, "lines": lines, "per_line": st.booleans()},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("order_bonus"), "points": st.integers(1, 99), **common},
        optional={"when": of_orders, "lines": lines},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("quantity"), "points": st.just(3), **common},
        optional={"when": of_orders, "lines": lines},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("multiplier"), "factor": st.just(2), **common},
        optional={"when": of_orders, "of": st.sampled_from(["base", "all"])},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("check_in"), "points": st.integers(1, 9), **common},
        optional={"when": conditions(asked)},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("activity"),
            "activity": st.sampled_from(["review", "lottery"]),
            "points": st.integers(1, 9),
            **common,
        },
        optional={"when": conditions(asked)},
    ),
)

places = {
    "store_id": st.sampled_from(STORES),
    "brand_id": st.sampled_from(BRANDS),
    "channel": st.sampled_from(["pos", "web"]),
    "campaign_codes": st.lists(st.sampled_from(CODES), max_size=2),
}
bought = st.lists(
    st.fixed_dictionaries(
        {"quantity": st.integers(1, 3), "paid_minor": st.integers(0, 3_000)},
        optional={"category": st.sampled_from(CATEGORIES), "sku": st.sampled_from(SKUS)},
    ),
    max_size=3,
)
events = st.one_of(
    st.fixed_dictionaries({"type": st.just("order.paid"), "lines": bought}, optional=places),
    st.fixed_dictionaries({"type": st.just("checkin.recorded")}, optional=places),
    st.fixed_dictionaries(
        {"type": st.just("activity.recorded"), "activity": st.sampled_from(["review", "none"])},
        optional=places,
    ),
)
moments = st.integers(START_MS // DAY_MS - 2, START_MS // DAY_MS + 8).flatmap(
    lambda day: st.integers(0, 23).map(lambda hour: day * DAY_MS + hour * 3_600_000)
)


def event_of(fields: dict[str, Any], at_ms: int) -> Any:
    """What a publisher's event becomes."""
    body = {"event_id": "e1", "member_id": "m1", "occurred_at": rfc3339(at_ms), **fields}
    if body["type"] == "order.paid":
        body["lines"] = [{"line_id": str(n), **line} for n, line in enumerate(body["lines"])]
        paid_minor = sum(line["paid_minor"] for line in body["lines"]) or 1_234
        if not any(line["paid_minor"] for line in body["lines"]):
            body["lines"] = []
        body |= {"order_id": "o1", "currency": "CNY", "paid_minor": paid_minor}
    if body["type"] == "activity.recorded":
        body["reference"] = "r1"
    decoded = decode(topic_of_type(body["type"]), b"m1", dumps(body), ())
    assert isinstance(decoded, Decoded), decoded
    return decoded.event


def scored(bench: Bench, event: Any, trace: Trace | None) -> list[Due]:
    """What is due for an event."""
    book = bench.ledger._book
    table = book.rules_at(event.occurred_at_ms)
    facts = Facts(book, bench.account(), event.occurred_at_ms)
    if isinstance(event, OrderPaid):
        of = [Line(line.line_id, line.paid_minor, line.earns) for line in event.lines]
        order = Order(0, event.paid_minor, event.occurred_at_ms, None, None, None, [], of)
        return score_order(table, event, order, facts, trace)
    if isinstance(event, CheckinRecorded):
        known: dict[str, Any] = {"again": False, "may_repeat": True, "joined": [], "days": 1}
        return score_check_in(table, event, facts, **known, trace=trace)
    assert isinstance(event, ActivityRecorded)
    return score_activity(table, event, facts, trace)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(rules, min_size=1, max_size=12),
    st.lists(some(SEGMENTS), max_size=1),
    st.integers(0, 20_000),
    st.lists(st.tuples(events, moments), min_size=3, max_size=12),
)
def test_the_index_finds_what_a_look_at_every_rule_finds(
    some_rules: list[dict[str, Any]],
    segments: list[list[str]],
    spent_minor: int,
    given_events: list[tuple[dict[str, Any], int]],
) -> None:
    """Given any rules, when any event is scored, then the dues and their order are the same."""
    named = [{"id": f"r{n}", **fields} for n, fields in enumerate(some_rules)]
    with pytest.MonkeyPatch.context() as patch:
        # Also the few rules of a small example are to be found by the index.
        patch.setattr(index, "_FILED_MIN", 1)
        bench = Bench(programme(*named, ladders=[LADDER]))
        bench.give("member.registered", segments=segments[0] if segments else [])
        bench.order("o0", spent_minor)

        for fields, at_ms in given_events:
            event = event_of(fields, at_ms)
            assert scored(bench, event, None) == scored(bench, event, [])


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"store_id": "s3", "lines": []}, ["s3", "everywhere"]),
        (
            {"store_id": "s3", "campaign_codes": ["c4", "c3"], "lines": []},
            ["s3", "c3", "everywhere"],
        ),
        ({"lines": []}, ["everywhere"]),
        (
            {"lines": [{"quantity": 1, "paid_minor": 100, "category": "toys"}]},
            ["everywhere", "toys"],
        ),
    ],
)
def test_only_what_fits_an_event_is_looked_at(fields: dict[str, Any], found: list[str]) -> None:
    """Of rules about shops, campaigns and goods those of the event, and those about nothing, in
    their order; a rule with two codes that the event has comes once."""
    bench = Bench(
        programme(
            *(
                {**rule("spend", per_minor=100, scope={"stores": [s]}), "id": s}
                for s in ("s2", "s3")
            ),
            *(
                {**rule("order_bonus", points=1, scope={"campaign_codes": codes}), "id": codes[0]}
                for codes in (["c3", "c4"], ["c5"], ["c6"], ["c7"], ["c8"])
            ),
            {**rule("spend", per_minor=100), "id": "everywhere"},
            {
                **rule("quantity", points=1, lines={"field": "category", "eq": "toys"}),
                "id": "toys",
            },
        )
    )
    bench.order("o0", 1)
    event = event_of({"type": "order.paid", **fields}, START_MS)
    table = bench.ledger._book.rules_at(START_MS)
    facts = Facts(bench.ledger._book, bench.account(), START_MS)

    assert isinstance(table.orders, Rewards)
    assert [reward.rule_id for reward in table.orders.candidates(event, facts)] == found
    assert len(table.orders) == 9


@pytest.mark.parametrize(
    "when",
    [
        # An order of Monday, 2 March 2026, 00:00 in Shanghai, with a book, by a silver member.
        {"field": "date", "between": ["2026-03-01", "2026-03-02"]},
        {"field": "date", "between": ["2026-03-02", "2026-03-09"]},
        {"field": "date", "in": ["2026-01-01", "2026-03-02"]},
        {"field": "weekday", "eq": "mon"},
        {"field": "month", "between": [2, 3]},
        {"field": "month", "eq": 3},
        {"field": "day_of_month", "between": [1, 2]},
        {"field": "day_of_month", "eq": 2},
        {"field": "hour", "between": [0, 6]},
        {"field": "hour", "eq": 0},
        {"field": "member.tier", "eq": "silver"},
        {"field": "member.segments", "contains": "staff"},
        {"field": "campaign_codes", "contains": "c2"},
        {"field": "store_id", "in": ["s1", "s2"]},
        {"field": "brand_id", "eq": "b1"},
        {"field": "channel", "eq": "web"},
        {"any_line": {"field": "category", "eq": "books"}},
        {"all_lines": {"all": [{"field": "sku", "in": ["k1"]}]}},
    ],
)
def test_a_rule_is_found_by_the_last_value_that_fits_as_by_the_first(when: dict[str, Any]) -> None:
    """Whatever it is filed under, one rule alone is found, and gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_FILED_MIN", 1)
        bench = Bench(programme(rule("order_bonus", points=7, when=when), ladders=[LADDER]))
        bench.give("member.registered", segments=["staff"])
        bench.order("o0", 10_000)
        table = bench.ledger._book.rules_at(START_MS)
        line = {"quantity": 1, "paid_minor": 100, "category": "books", "sku": "k1"}
        of = {"store_id": "s2", "brand_id": "b1", "channel": "web", "campaign_codes": ["c1", "c2"]}

        event = event_of({"type": "order.paid", "lines": [line], **of}, START_MS)

        assert table.orders[0].needs
        assert [due.points for due in scored(bench, event, None)] == [7]
