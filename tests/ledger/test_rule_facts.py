"""What rules ask about members: counted, kept, moved with a merge, gone with an erasure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ledger_support import Bench, programme, rule

from pointstream.contracts.wire import epoch_ms
from pointstream.ledger.facts import Facts
from pointstream.ledger.records import Account
from pointstream.ledger.state import paid_prefix, prefix_stop


def bonus(points: int = 50, **fields: Any) -> dict[str, Any]:
    return rule("order_bonus", points=points, **fields)


def spent(minor: int, days: int) -> dict[str, Any]:
    return {"field": "spend_minor", "days": days, "ge": minor}


def at(text: str) -> int:
    """A moment in Shanghai."""
    return epoch_ms(datetime.fromisoformat(f"{text}+08:00"))


def paid_days(bench: Bench, member: str = "m1") -> int:
    bench.flush()
    prefix = paid_prefix(member.encode())
    return len(list(bench.state.scan(prefix, prefix_stop(prefix))))


def test_the_nth_order() -> None:
    """By arrival, whatever is returned meanwhile."""
    bench = Bench(programme(bonus(when={"field": "order_number", "in": [1, 3]})))
    for number in range(4):
        bench.order(f"o{number}", 10)
        bench.refund(f"o{number}", "r", 10)

    assert [e["order_id"] for e in bench.entries if e["type"] == "points.earned"] == ["o0", "o2"]


def test_spend_in_a_window_counts_the_order_itself_and_what_was_not_refunded() -> None:
    """100.00 within three days: 60 + 40 reach it, less a refund they do not."""
    bench = Bench(programme(bonus(when=spent(10_000, 3))), now_ms=at("2026-03-02T12:00"))

    bench.order("a", 60)
    bench.refund("a", "r", 1)
    bench.later(2)
    bench.order("b", 40)
    bench.order("c", 1)
    bench.later(1)
    bench.order("d", 58)
    bench.order("e", 1)

    earned = [e["order_id"] for e in bench.entries if e["type"] == "points.earned"]
    assert earned == ["c", "e"]


def test_days_are_counted_only_where_a_rule_asks() -> None:
    """And go when no window can reach them."""
    plain = Bench(programme(bonus()))
    plain.order("a", 60)
    assert paid_days(plain) == 0

    bench = Bench(programme(bonus(when=spent(10_000, 3))))
    bench.order("a", 60)
    assert paid_days(bench) == 1
    bench.later(368)
    bench.order("b", 60)
    assert bench.moved("earned") == []


def test_a_survivor_has_had_the_orders_of_both() -> None:
    """Numbers, what was paid and the welcome gift move with a merge."""
    bench = Bench(
        programme(
            bonus(1, when={"field": "order_number", "eq": 3}),
            {**bonus(2, when=spent(10_000, 1)), "id": "spent"},
            rule("registered", points=7),
        )
    )
    bench.give("member.registered", "m2")
    bench.order("a", 60, "m2")
    bench.order("b", 10)
    bench.command("account.merge", "m2", into_member_id="m1")

    bench.order("c", 30)
    bench.give("member.registered", "m1")

    assert [e["rule_id"] for e in bench.entries if e["type"] == "points.earned"] == [
        "registered",
        "order_bonus",
        "spent",
    ]
    assert paid_days(bench, "m2") == 0


def test_what_was_paid_is_gone_with_the_member() -> None:
    """No key stays behind."""
    bench = Bench(programme(bonus(when=spent(10_000, 3))))
    bench.order("a", 60)

    bench.command("account.erase")

    assert paid_days(bench) == 0


@pytest.mark.parametrize(
    ("birthday", "day", "week", "month"),
    [(307, True, True, True), (302, False, True, True), (331, False, False, True), (0, 0, 0, 0)],
)
def test_near_a_birthday(birthday: int, day: bool, week: bool, month: bool) -> None:
    """2026-03-07 is a Saturday: the week began on the 2nd."""
    bench = Bench()
    account = Account("m1", b"m1", birthday=birthday)
    facts = Facts(bench.ledger._book, account, at("2026-03-07T12:00"))

    assert [facts.near_birthday(unit) for unit in ("day", "week", "month")] == [day, week, month]


def test_a_birthday_on_29_february_is_the_28th_elsewhen() -> None:
    """But not where there is a 29th."""
    bench = Bench()
    account = Account("m1", b"m1", birthday=229)

    def on(text: str) -> bool:
        return Facts(bench.ledger._book, account, at(text)).near_birthday("day")

    assert [on("2027-02-28T09:00"), on("2028-02-28T09:00"), on("2028-02-29T09:00")] == [
        True,
        False,
        True,
    ]


def test_profile_facts() -> None:
    """Age, days since joining and tags are those that member events told."""
    bench = Bench(
        programme(
            {**bonus(1, when={"field": "member.age", "ge": 18}), "id": "age"},
            {**bonus(2, when={"field": "member.joined_days", "le": 30}), "id": "new"},
            {**bonus(4, when={"field": "member.tags.city", "eq": "SH"}), "id": "city"},
        ),
        now_ms=at("2026-03-02T00:00"),
    )
    told = {"birthday": "2008-03-03", "joined_at": "2026-01-31T01:00:00+08:00"}
    bench.give("member.registered", **told, tags={"city": "SH"})

    bench.order("a", 1)
    bench.later(1)
    bench.order("b", 1)

    given = [(e["order_id"], e["rule_id"]) for e in bench.entries]
    assert given == [("a", "new"), ("a", "city"), ("b", "age"), ("b", "city")]
