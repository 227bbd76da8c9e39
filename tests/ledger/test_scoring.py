"""What rules that were looked at say about it."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import Bench, programme, rule

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.inputs import OrderPaid
from pointstream.contracts.wire import dumps
from pointstream.ledger.facts import Facts
from pointstream.ledger.records import Line, Order
from pointstream.ledger.scoring import Trace, score_order

RULES = (
    rule("spend", per_minor=100, points=2),
    rule("order_bonus", points=50, scope={"stores": ["s1", "s2"]}),
)


def paid(**fields: Any) -> tuple[OrderPaid, Order]:
    """An order of 30.00, and its record."""
    body = {
        "event_id": "e1",
        "type": "order.paid",
        "member_id": "m1",
        "occurred_at": "2026-03-02T10:00:00Z",
        "order_id": "o1",
        "currency": "CNY",
        "paid_minor": 3_000,
        **fields,
    }
    decoded = decode("orders", b"m1", dumps(body), ())
    assert isinstance(decoded, Decoded)
    assert isinstance(decoded.event, OrderPaid)
    event = decoded.event
    lines = [Line(line.line_id, line.paid_minor, line.earns) for line in event.lines]
    order = Order(0, event.paid_minor, event.occurred_at_ms, None, None, None, [], lines)
    return event, order


@pytest.mark.parametrize(
    ("store_id", "matched", "says"),
    [
        ("s1", True, "50 points for 3000 minor units"),
        ("s9", False, "scope.stores: store_id is 's9', not in ['s1', 's2']"),
    ],
)
def test_a_trace_tells_of_every_rule(store_id: str, matched: bool, says: str) -> None:
    """Of those that match and of those that do not, with what decided it; the score is the same."""
    compiled = programme(*RULES)
    bench = Bench(compiled)
    bench.order("o0", 1)
    event, order = paid(store_id=store_id)
    table = bench.ledger._book.rules_at(event.occurred_at_ms)
    facts = Facts(bench.ledger._book, bench.account(), event.occurred_at_ms)
    trace: Trace = []

    dues = score_order(table, event, order, facts, trace)

    assert dues == score_order(table, event, order, facts)
    assert [(row.rule_id, row.matched, row.points) for row in trace] == [
        ("spend", True, 60),
        ("order_bonus", matched, 50 if matched else 0),
    ]
    assert [row.says for row in trace] == ["60 points for 3000 minor units", says]


def test_a_trace_names_the_condition_that_failed() -> None:
    """By its place among those joined by all; the loser of a group is told of, too."""
    when = {"all": [{"field": "paid_minor", "ge": 1_000}, {"field": "weekday", "eq": "sun"}]}
    compiled = programme(
        rule("order_bonus", points=5, group="g"),
        {**rule("order_bonus", points=9, group="g"), "id": "best"},
        {**rule("order_bonus", points=9, when=when), "id": "sundays"},
        rule("multiplier", factor=1.5, of="all"),
    )
    bench = Bench(compiled)
    bench.order("o0", 1)
    event, order = paid()
    trace: Trace = []

    facts = Facts(bench.ledger._book, bench.account(), event.occurred_at_ms)
    score_order(bench.ledger._book.rules_at(event.occurred_at_ms), event, order, facts, trace)

    assert [(row.rule_id, row.matched, row.points) for row in trace] == [
        ("order_bonus", True, 0),
        ("best", True, 9),
        ("sundays", False, 0),
        ("multiplier", True, 4),
    ]
    assert trace[0].says.endswith("of the group 'g' the rule 'best' gives")
    assert trace[2].says == "when.all[1]: weekday is 'mon', not eq 'sun'"
    assert trace[3].says == "9 points x 500 thousandths = 4 points more"


def test_a_ledger_tells_how_it_came_to_its_awards_and_awards_the_same() -> None:
    """Given two orders under a cap, once with a trace and once without, then entries and state are
    the same, and the trace has what was due, what the cap had used, and what it left."""
    capped = {**RULES[0], "cap": {"event": 70, "day": 100}}
    told, silent = (Bench(programme(capped, RULES[1])) for _ in range(2))
    trace: Trace = []
    for bench in (told, silent):
        bench.order("o1", 30)
    told.ledger.tell(trace)
    for bench in (told, silent):
        bench.order("o2", 40, store_id="s2")

    assert (told.entries, told.books()) == (silent.entries, silent.books())
    spend, bonus = trace
    (granted,) = spend.granted
    assert (granted.due, granted.left) == (80, 40)
    assert [(cap.period, cap.limit, cap.used, cap.left) for cap in granted.caps] == [
        ("event", 70, 0, 70),
        ("d", 100, 60, 40),
    ]
    assert (bonus.matched, bonus.points, bonus.granted) == (True, 50, [])
    told.ledger.tell(None)
    told.order("o3", 1)
    assert len(trace) == 2
