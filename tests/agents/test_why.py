"""Why an event earned what it did, told from recorded runs over two partitions."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import orjson
import pytest

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import EngineTestDriver
from pointstream.ledger import Ledger
from pointstream.operations.placement import partition_of
from pointstream.operations.reading import CommittedReader
from pointstream.operations.why import (
    EventNotFound,
    Explanation,
    NotTaken,
    Wanted,
    arithmetic,
    cap_named,
    explain_event,
    period_named,
)
from pointstream.rules import compile_programme

from .simulated import MemoryReader

NOW_MS = 1_772_380_800_000
HOUR_MS = 3_600_000
PARTITIONS = 2
#: One in each partition.
M0, M1 = (
    next(f"m{n}" for n in range(100) if partition_of(b"m%d" % n, PARTITIONS) == partition)
    for partition in range(PARTITIONS)
)
SPEND = {"id": "base", "kind": "spend", "points": 2, "per_minor": 100}


def programme(*rules: dict[str, Any], version: int = 1, **fields: Any) -> Programme:
    content = {"id": "head-office", "version": version, "rules": list(rules or (SPEND,))}
    return Programme.model_validate({"id": "test", "rule_sets": [content], **fields})


class Past:
    """What happened, on a driver of its own."""

    def __init__(self, *rules: dict[str, Any], **fields: Any) -> None:
        self.programme = programme(*rules, **fields)
        compiled = compile_programme(self.programme)
        self.driver = EngineTestDriver(
            lambda partition: PointsProcessor(Ledger(compiled), partitions=PARTITIONS),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
        )
        self.now_ms = NOW_MS
        self.driver.tick(NOW_MS)

    def give(self, topic: str, kind: str, event_id: str, member: str, **fields: Any) -> None:
        body = {
            "event_id": event_id,
            "type": kind,
            "member_id": member,
            "occurred_at": rfc3339(fields.pop("occurred_ms", self.now_ms)),
            **fields,
        }
        self.send(topic, member.encode(), orjson.dumps(body))

    def send(self, topic: str, key: bytes, value: bytes | None) -> None:
        self.driver.send(f"points.{topic}", key, value, timestamp_ms=self.now_ms)
        for _ in range(20):
            self.driver.run()
            if not self.driver.lag():
                return

    def order(self, event_id: str, paid: int, member: str = M0, **fields: Any) -> None:
        fields.update(order_id=f"o-{event_id}", currency="CNY", paid_minor=paid * 100)
        self.give("orders", "order.paid", event_id, member, **fields)

    def publish(self, version: int, *rules: dict[str, Any]) -> None:
        content = {"id": "head-office", "version": version, "rules": list(rules)}
        body = {
            "event_id": f"v{version}",
            "type": "ruleset.published",
            "occurred_at": rfc3339(self.now_ms),
            "ruleset_id": "head-office",
            "ruleset": content,
        }
        self.send("rules", b"head-office", orjson.dumps(body))

    def later(self, hours: int = 1) -> None:
        self.now_ms += hours * HOUR_MS
        self.driver.tick(self.now_ms)

    def why(
        self,
        event_id: str | None = None,
        *,
        order_id: str | None = None,
        member_id: str | None = None,
        of: Programme | None = None,
        **gone: dict[str, int],
    ) -> Explanation:
        def make_job(ledger: Ledger, partitions: int) -> PointsProcessor:
            return PointsProcessor(ledger, partitions=partitions)

        reader = cast(CommittedReader, MemoryReader(self.driver, **gone))
        wanted = Wanted(event_id, order_id, member_id)
        told = of or self.programme
        return asyncio.run(explain_event(reader, "points.", told, wanted, make_job))


def sums(told: Explanation) -> dict[str, tuple[int, int | None]]:
    """Of the rules that match: due and granted."""
    return {
        rule.looked.rule_id: (rule.looked.numbers["due"], rule.granted)
        for rule in told.rules
        if rule.looked.matched
    }


def reckoned(told: Explanation) -> dict[str, str]:
    """The arithmetic of the rules that match."""
    return {
        rule.looked.rule_id: arithmetic(rule.rule, rule.looked, told.event_id)
        for rule in told.rules
        if rule.looked.matched
    }


def test_rules_that_match_and_rules_that_do_not_are_told_with_why() -> None:
    """An order of 12.50 in shop s1: by the base rule 24; not by the one of another shop, nor by the
    one for large orders."""
    past = Past(
        SPEND,
        {**SPEND, "id": "s2", "scope": {"stores": ["s2"]}},
        {**SPEND, "id": "large", "when": {"field": "paid_minor", "ge": 10_000}},
    )
    past.give("orders", "order.paid", "e1", M0, order_id="o1", currency="CNY", paid_minor=1_250,
              store_id="s1")  # fmt: skip

    told = past.why("e1")

    assert (told.outcome, told.doubts) == ("points_awarded", [])
    assert sums(told) == {"base": (24, 24)}
    assert reckoned(told) == {"base": "floor(12.50 / 1.00) x 2 = 24"}
    assert [str(unmet) for rule in told.rules for unmet in rule.looked.unmet] == [
        "scope.stores: store_id is 's1', not in ['s2']",
        "when: paid_minor is 1250, not ge 10000",
    ]
    (entry,) = told.entries
    assert (entry["amount"], entry["cause_event_id"]) == (24, "e1")
    assert [(each.id, each.number) for each in told.in_force] == [("head-office", 1)]


def test_it_is_told_by_the_version_of_its_time_whatever_came_after() -> None:
    """Given v2 and v3 published later, and v2 before a late event, each has its own version; the
    rule set may even be withdrawn by now."""
    past = Past()
    past.order("first", 10)
    past.later()
    past.publish(2, {**SPEND, "points": 5})
    past.order("second", 10)
    past.order("late", 10, occurred_ms=past.now_ms - 1)
    past.later()
    past.publish(3, {**SPEND, "points": 9})
    past.send("rules", b"head-office", None)

    for event_id, version, points in (("first", 1, 20), ("second", 2, 50), ("late", 1, 20)):
        told = past.why(event_id)
        assert told.doubts == []
        assert [(each.id, each.number) for each in told.in_force] == [("head-office", version)]
        assert sums(told) == {"base": (points, points)}


def test_groups_multipliers_and_tiers_are_told() -> None:
    """Who won, why, and what a multiplier multiplied."""
    ladder = {
        "id": "ladder",
        "qualified_by": "growth",
        "window": {"kind": "lifetime"},
        "tiers": [
            {"id": "silver", "threshold": 0},
            {"id": "gold", "threshold": 10, "benefits": {"multiplier": "1.5"}},
        ],
    }
    growth = {"id": "growth", "spendable": False}
    past = Past(
        SPEND,
        {"id": "five", "kind": "order_bonus", "points": 5, "group": "g"},
        {"id": "seven", "kind": "order_bonus", "points": 7, "group": "g"},
        {"id": "double", "kind": "multiplier", "factor": "2.5"},
        {"id": "status", "kind": "activity", "activity": "vote", "points": 10, "wallet": "growth"},
        ladders=[ladder],
        wallets=[{"id": "points"}, growth],
    )
    past.give("activities", "activity.recorded", "e0", M0, activity="vote", reference="r")
    past.later()
    past.order("e1", 10)

    told = past.why("e1")

    assert told.doubts == []
    assert sums(told) == {"base": (30, 30), "five": (5, 0), "seven": (7, 7), "double": (45, 45)}
    assert [(r.looked.rule_id, r.looked.lost_to) for r in told.rules if r.looked.lost_to] == [
        ("five", "seven")
    ]
    assert reckoned(told) == {
        "base": "floor(floor(10.00 / 1.00) x 2 x 1.5 of the tier) = 30",
        "five": "5 for 10.00",
        "seven": "7 for 10.00",
        "double": "floor(30 x 1.5) = 45, of what spend rules give into its wallet",
    }


def test_caps_are_told_as_they_stood_before_the_event() -> None:
    """30 a day, 24 used: of 20 due 6 are granted."""
    past = Past({**SPEND, "cap": {"day": 30}})
    past.order("e1", 12)
    past.order("e2", 10)
    past.order("e3", 10)

    told = past.why("e2")

    assert (sums(told), told.doubts) == ({"base": (20, 6)}, [])
    (granted,) = told.rules[0].looked.granted
    (cap,) = granted.caps
    assert (cap_named(cap.name), period_named(cap.period)) == ("head-office: rule base", "day")
    assert (cap.limit, cap.used, cap.left) == (30, 24, 6)


@pytest.mark.parametrize("member", [M0, M1])
def test_of_a_budget_it_is_told_what_was_asked_and_what_the_ledger_has(member: str) -> None:
    """30 are left of 50 when 40 are asked for: wherever the budget's owner is."""
    past = Past({**SPEND, "budget": "autumn"}, budgets=[{"id": "autumn", "points": 50}])
    past.order("e1", 10, member)
    past.order("e2", 20, member)
    past.order("e3", 20, member)

    told = past.why("e2")

    assert (told.outcome, told.doubts) == ("award_under_way", [])
    assert sums(told) == {"base": (40, 30)}
    (granted,) = told.rules[0].looked.granted
    assert (granted.budget, granted.left) == ("autumn", 40)
    assert sums(past.why("e3")) == {"base": (40, 0)}


@pytest.mark.parametrize(
    ("rule", "given", "words"),
    [
        (
            {"kind": "quantity", "points": 3, "per_pieces": 2},
            ("orders", "order.paid", {"paid": 10, "pieces": 5}),
            "floor(5 pieces / 2) x 3 = 6",
        ),
        (
            {"kind": "order_bonus", "points": 5, "min_minor": 2_000},
            ("orders", "order.paid", {"paid": 10, "pieces": 1}),
            "10.00 is below 20.00: nothing",
        ),
        (
            {"kind": "spend", "rates": [{"from_minor": 0, "points": 1, "per_minor": 100}]},
            ("orders", "order.paid", {"paid": 10, "pieces": 1}),
            "the best of the rates that 10.00 has reached = 10",
        ),
        (
            {"kind": "check_in", "points": 4, "streak": {"days": 2, "points": 6}},
            ("check-ins", "checkin.recorded", {}),
            "4 + 6 for 2 days in a row = 10",
        ),
        (
            {"kind": "referral", "when": "registered", "points": 8},
            ("referrals", "referral.registered", {"referee_id": "friend"}),
            "8",
        ),
        (
            {"kind": "activity", "activity": "sale.closed", "points": 2, "per_minor": 300},
            (
                "activities",
                "activity.recorded",
                {
                    "activity": "sale.closed",
                    "reference": "r",
                    "value_minor": 1_000,
                    "currency": "CNY",
                },
            ),
            "floor(10.00 / 3.00) x 2 = 6",
        ),
        (
            {"kind": "registered", "points": 100},
            ("members", "member.registered", {}),
            "100",
        ),
    ],
)
def test_the_arithmetic_of_every_kind_of_rule(
    rule: dict[str, Any], given: tuple[str, str, dict[str, Any]], words: str
) -> None:
    """In numbers that can be checked by hand."""
    past = Past({"id": "r", **rule})
    topic, kind, fields = given
    if topic == "orders":
        line = {"line_id": "1", "quantity": fields["pieces"], "paid_minor": fields["paid"] * 100}
        past.order("e1", fields["paid"], lines=[line])
    else:
        if topic == "check-ins":
            past.give(topic, kind, "the day before", M0)
            past.later(24)
        past.give(topic, kind, "e1", M0, **fields)

    told = past.why("e1")

    assert (reckoned(told), told.doubts) == ({"r": words}, [])


def test_a_draw_is_told_with_its_lot() -> None:
    """The lot that was drawn and the prize that it is; the seed is not told."""
    seed = "0123456789abcdef"
    draw = {"seed": seed, "prizes": [{"points": 3, "weight": 9}, {"points": 50}]}
    past = Past({"id": "r", "kind": "check_in", "draw": draw})
    past.give("check-ins", "checkin.recorded", "e1", M0)

    told = past.why("e1")

    (words,) = reckoned(told).values()
    assert words.startswith("lot ")
    assert words.endswith(f" of 10 drawn: {told.entries[0]['amount']} for the day")
    assert seed not in words


def test_a_second_check_in_of_a_day_is_told() -> None:
    """It matches, and the day is used up."""
    past = Past({"id": "daily", "kind": "check_in", "points": 4})
    past.give("check-ins", "checkin.recorded", "e1", M0)
    past.give("check-ins", "checkin.recorded", "e2", M0)

    told = past.why("e2")

    assert (told.outcome, told.entries) == ("already_checked_in", [])
    assert told.rules[0].looked.says == "the day has had a check-in already"


def test_the_payment_of_an_order_is_found_by_the_order() -> None:
    """And not its refund, nor another member's order of that name."""
    past = Past()
    past.give("orders", "order.paid", "e1", M1, order_id="o", currency="CNY", paid_minor=100)
    past.give("orders", "order.paid", "e2", M0, order_id="o", currency="CNY", paid_minor=100)
    past.give("orders", "order.refunded", "e3", M0, order_id="o", refund_id="r", refunded_minor=1)

    assert past.why(order_id="o", member_id=M0).event_id == "e2"
    assert past.why(order_id="o", member_id=M1).event_id == "e1"


def test_an_event_is_found_in_whatever_form_its_id_was_written() -> None:
    """With characters that JSON may escape; in the header of a CloudEvent; not where it is only a
    part of another id, of a record that was refused."""
    past = Past()
    body = {"type": "checkin.recorded", "member_id": M0, "occurred_at": rfc3339(NOW_MS)}
    escaped = json.dumps({**body, "event_id": "till/é"}).replace("/", "\\/")
    past.send("check-ins", M0.encode(), escaped.encode())
    plain = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e1"),
        ("ce_source", b"till"),
        ("ce_subject", M0.encode()),
    ]
    headers = [*plain, ("ce_type", b"checkin.recorded"), ("ce_time", b"2026-03-01T16:00:00Z")]
    past.driver.send("points.check-ins", M0.encode(), b"{}", headers=headers, timestamp_ms=NOW_MS)
    past.send("orders", M0.encode(), orjson.dumps({**body, "event_id": "e10"}))

    assert past.why("till/é").event.offset == 0
    assert past.why("e1").event.offset == 1
    with pytest.raises(EventNotFound, match="unknown_type"):
        past.why("e10")
    with pytest.raises(EventNotFound, match="There is no event e "):
        past.why("e")


def test_an_event_that_came_again_is_told_once() -> None:
    """The first record counts; where it came again is told."""
    past = Past()
    past.order("e1", 10)
    past.order("e2", 10)
    past.order("e1", 10)

    told = past.why("e1")

    assert (told.event.offset, len(told.event.again)) == (0, 1)
    assert (told.outcome, sums(told)) == ("points_awarded", {"base": (20, 20)})


def test_an_event_of_a_merged_member_is_followed_to_the_survivor() -> None:
    """Given that the first member was merged into one of another partition, then an order under the
    old id is explained as it was taken there."""
    past = Past({**SPEND, "cap": {"day": 30}})
    past.order("e1", 10, M1)
    past.give(
        "commands",
        "account.merge",
        "merge",
        M0,
        into_member_id=M1,
        reason="one person",
        actor={"id": "boss", "role": "head_office"},
    )
    past.order("e2", 10, M0)

    told = past.why("e2")

    assert (told.passed_on, told.member_id, told.doubts) == ([M1], M1, [])
    assert sums(told) == {"base": (20, 10)}


def test_what_cannot_be_explained_is_told_with_what_to_do() -> None:
    """No such event, one that was refused, one that nobody has taken yet."""
    past = Past()
    past.order("e1", 10)
    with pytest.raises(EventNotFound, match="There is no event e9 on orders, check-ins"):
        past.why("e9")
    with pytest.raises(EventNotFound, match="no event e1 on its partition of orders"):
        past.why("e1", member_id=M1)
    past.give("orders", "order.paid", "e2", M0, order_id="o2", currency="CNY", paid_minor="much")
    with pytest.raises(EventNotFound, match="refused as it stands: schema_invalid: paid_minor"):
        past.why("e2")
    body = orjson.dumps(
        {
            "event_id": "e3",
            "type": "checkin.recorded",
            "member_id": M0,
            "occurred_at": rfc3339(NOW_MS),
        }
    )
    past.driver.send("points.check-ins", M0.encode(), body)
    with pytest.raises(NotTaken, match="no worker has taken it yet"):
        past.why("e3")


def test_an_event_that_became_a_dead_letter_is_told_as_one() -> None:
    """Another currency: no rule was asked."""
    past = Past()
    past.give("orders", "order.paid", "e1", M0, order_id="o1", currency="JPY", paid_minor=100)

    told = past.why("e1")

    assert (told.outcome, told.rules, told.entries) == ("currency_not_supported", [], [])
    assert told.refusal == "the programme counts in CNY, the event in JPY"


def test_a_rule_set_of_the_file_that_is_another_now_is_taken_as_it_was_kept() -> None:
    """Given an order by version 1 of the programme's file, which has version 2 now: the state has
    kept the first for the order's refunds."""
    past = Past()
    past.order("e1", 10)

    told = past.why("e1", of=programme({**SPEND, "points": 7}, version=2))

    assert [(each.id, each.number) for each in told.in_force] == [("head-office", 1)]
    assert (sums(told), told.doubts) == ({"base": (20, 20)}, [])


def test_a_replay_that_made_something_else_says_so() -> None:
    """Given a check-in by a rule set of the file that is kept nowhere, then nothing is made up."""
    past = Past({"id": "daily", "kind": "check_in", "points": 4})
    past.give("check-ins", "checkin.recorded", "e1", M0)
    other = programme({"id": "daily", "kind": "check_in", "points": 9}, version=2)

    told = past.why("e1", of=other)

    assert len(told.doubts) == 2
    assert "which is not there any more" in told.doubts[0]
    assert "the ledger has points.earned of 4 by daily" in told.doubts[1]


def test_what_is_not_kept_any_more_is_told() -> None:
    """Given that the first order is gone from its topic, then the second is explained with less
    used of its cap than there was, and that is told."""
    past = Past({**SPEND, "cap": {"day": 30}})
    past.order("e1", 10)
    past.order("e2", 10)

    told = past.why("e2", gone={"points.orders": 1})

    assert told.doubts[0] == (
        "1 records of points.orders that were taken before are not kept any more"
    )
    assert len(told.doubts) == 2
