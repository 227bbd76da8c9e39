"""Simulations on recorded runs: the same rules change nothing, others just what they should."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import orjson
import pytest

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target
from pointstream.ledger import Ledger
from pointstream.operations.placement import partition_of
from pointstream.operations.simulation import NothingRecorded, Plan, Simulation, page
from pointstream.rules import compile_programme

from . import recorded
from .recorded import DAY_MS, NOW_MS, Given, stream
from .simulated import run

PARTITIONS = 2
FROM_MS = NOW_MS + DAY_MS
TO_MS = NOW_MS + 3 * DAY_MS
#: One in each partition.
MEMBERS = [
    next(f"m{n}" for n in range(100) if partition_of(b"m%d" % n, PARTITIONS) == partition)
    for partition in range(PARTITIONS)
]
BUDGETS = [{"id": "autumn", "points": 100}]


def spend(points: int = 1, version: int = 1, **fields: Any) -> dict[str, Any]:
    """A rule set that pays so many points per 1.00."""
    rule = {"id": "base", "kind": "spend", "points": points, "per_minor": 100, **fields}
    return {"id": "head-office", "version": version, "rules": [rule]}


def programme(*rule_sets: dict[str, Any], **fields: Any) -> Programme:
    content = {"id": "test", "rule_sets": [*(rule_sets or [spend()])], "budgets": BUDGETS, **fields}
    return Programme.model_validate(content)


class Past:
    """What happened, on a driver of its own."""

    def __init__(self, of: Programme | None = None) -> None:
        self.programme = of or programme()
        compiled = compile_programme(self.programme)
        self.driver = EngineTestDriver(
            lambda partition: PointsProcessor(Ledger(compiled), partitions=PARTITIONS),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
        )
        self._made = 0

    def give(self, topic: str, at_ms: int, kind: str, member: str, **fields: Any) -> None:
        """An event that is taken at once, and happened then unless it says otherwise."""
        self._made += 1
        body = {
            "event_id": f"e{self._made}",
            "type": kind,
            "member_id": member,
            "occurred_at": rfc3339(fields.pop("occurred_ms", at_ms)),
            **fields,
        }
        self.driver.tick(at_ms)
        self.driver.send(f"points.{topic}", member.encode(), orjson.dumps(body), timestamp_ms=at_ms)
        self.settle()

    def order(self, at_ms: int, member: str, order_id: str, paid: int, **fields: Any) -> None:
        fields.update(order_id=order_id, currency="CNY", paid_minor=paid * 100)
        self.give("orders", at_ms, "order.paid", member, **fields)

    def refund(self, at_ms: int, member: str, order_id: str, refunded: int) -> None:
        self.give(
            "orders",
            at_ms,
            "order.refunded",
            member,
            order_id=order_id,
            refund_id=f"r-{order_id}",
            refunded_minor=refunded * 100,
        )

    def command(self, at_ms: int, kind: str, member: str, **fields: Any) -> None:
        actor = {"id": member, "role": "member"}
        self.give("commands", at_ms, kind, member, actor=actor, **fields)

    def publish(self, at_ms: int, content: dict[str, Any]) -> None:
        body = {
            "event_id": f"{content['id']}-{content['version']}",
            "type": "ruleset.published",
            "occurred_at": rfc3339(at_ms),
            "ruleset_id": content["id"],
            "ruleset": content,
        }
        key = content["id"].encode()
        self.driver.tick(at_ms)
        self.driver.send("points.rules", key, orjson.dumps(body), timestamp_ms=at_ms)
        self.settle()

    def settle(self) -> None:
        while self.driver.lag():
            self.driver.run()

    def with_candidate(
        self, *candidates: dict[str, Any], watched: frozenset[str] = frozenset(), **options: Any
    ) -> Simulation:
        rule_sets = [RuleSet.model_validate(each) for each in candidates]
        of = options.pop("of", self.programme)
        plan = Plan(of, rule_sets, FROM_MS, TO_MS, watched)
        return run(self.driver, plan, **options)


def figures(found: Simulation) -> dict[str, tuple[int, int]]:
    return {line.name: (line.real, line.other) for line in found.figures()}


def differences(found: Simulation) -> list[Any]:
    """Everything that is not the same."""
    lines = [*found.figures(), *found.outstanding(), *found.rules(), *found.shops(), *found.days()]
    lines += [line for pair in found.tiers() for line in pair]
    return [line for line in lines if line.difference] + found.members()


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("seed", [5, 6])
def test_the_same_rules_change_nothing_whatever_happened(partitions: int, seed: int) -> None:
    """Given generated events with commands of every kind, transfers, merges, stock and crashes,
    when their own rules are simulated, then every entry is made again and nothing differs."""
    driver = recorded.record(stream(900, seed=seed), partitions)
    own = recorded.PROGRAMME.source
    plan = Plan(own, own.rule_sets, NOW_MS + 2 * DAY_MS, NOW_MS + 90 * DAY_MS)

    found = run(driver, plan)

    assert found.sound
    assert found.as_recorded == 0
    assert found.verdict.same == len(driver.outputs("points.balance-changes")) > 900
    assert differences(found) == []
    assert found.real.moved == found.other.moved
    assert found.within > 500


def test_a_candidate_gives_what_it_would_have_given_had_it_been_in_force() -> None:
    """Given a stream in which nobody tells other partitions anything, when a candidate is simulated
    over all of it, then members have what they have in a run with the candidate in its place."""
    given: list[Given] = stream(900, alone=True)
    driver = recorded.record(given, 3)
    own = recorded.PROGRAMME.source
    office = own.rule_sets[0].model_dump(mode="json", exclude_defaults=True)
    office["rules"][0]["per_minor"] = 50
    candidate = RuleSet.model_validate(office)

    found = run(driver, Plan(own, [candidate], NOW_MS - 30 * DAY_MS, NOW_MS + 90 * DAY_MS, top=99))

    changed = own.model_copy(update={"rule_sets": (candidate, *own.rule_sets[1:])})
    before, recorded.PROGRAMME = recorded.PROGRAMME, compile_programme(changed)
    try:
        again = recorded.record(given, 3)
    finally:
        recorded.PROGRAMME = before
    own_again = run(again, Plan(changed, [candidate], NOW_MS - 30 * DAY_MS, NOW_MS + 90 * DAY_MS))
    assert found.sound
    assert own_again.sound
    has = {line.name: line.other for line in found.outstanding()}
    assert has == {line.name: line.real for line in own_again.outstanding()}
    assert found.other.moved == own_again.real.moved
    assert found.other.awards.given > found.real.awards.given + 100_000
    assert found.accounts.more > 0


def test_a_changed_rule_differs_by_just_what_it_pays_in_its_span() -> None:
    """Given orders before, in and after the span, late ones and refunds, when the candidate pays
    double, then only orders dated in it and what is left of them count twice."""
    past = Past()
    one, two = MEMBERS
    past.order(NOW_MS, one, "before", 100)
    past.order(FROM_MS + 1, one, "in", 70, store_id="S-1")
    past.order(FROM_MS + 2, two, "late", 30, occurred_ms=NOW_MS)
    past.order(FROM_MS + 3, two, "too", 10)
    past.refund(FROM_MS + 4, one, "before", 50)
    past.refund(FROM_MS + 5, one, "in", 20)
    past.order(TO_MS + 5, one, "after", 1_000)

    found = past.with_candidate(spend(points=2, version=9), watched=frozenset({one, two}))

    assert found.sound
    assert figures(found)["points awarded"] == (70 + 30 + 10, 140 + 30 + 20)
    assert figures(found)["points taken back by refunds"] == (50 + 20, 50 + 40)
    (line,) = found.outstanding()
    assert (line.real, line.other) == (50 + 50 + 30 + 10, 50 + 100 + 30 + 20)
    assert [(each.name, each.difference) for each in found.members()] == [(one, 50), (two, 10)]
    assert {each.name: each.difference for each in found.shops()} == {"S-1": 50, "": 10}
    assert (found.accounts.more, found.accounts.less) == (2, 0)
    changed = [[each and each["amount"] for each in p] for p in found.changed_entries(one)]
    assert sorted(changed) == [[20, 40], [70, 140]]
    assert [[e and e["amount"] for e in p] for p in found.changed_entries(two)] == [[10, 20]]


def test_what_could_be_paid_with_more_points_is_paid() -> None:
    """Given a redemption and a transfer that were rejected, when a candidate gives enough, then
    they are accepted and the recipient in another partition has the points."""
    past = Past()
    one, two = MEMBERS
    past.order(NOW_MS, two, "joins", 1)
    past.order(FROM_MS + 1, one, "o", 100)
    past.command(FROM_MS + 2, "points.transfer", one, points=120, to_member_id=two)
    past.command(FROM_MS + 3, "points.redeem", two, points=110)

    found = past.with_candidate(spend(points=2))

    assert found.sound
    assert figures(found)["commands accepted"] == (0, 2)
    assert figures(found)["commands rejected"] == (2, 0)
    assert {each.name: (each.real, each.other) for each in found.members()} == {
        one: (100, 80),
        two: (1, 11),
    }


def test_what_is_not_earned_any_more_cannot_be_spent() -> None:
    """Given a transfer that was made, when a candidate gives less, then it is rejected, and the
    recipient's partition does not get the message that was really sent."""
    past = Past()
    one, two = MEMBERS
    past.order(NOW_MS, two, "joins", 1)
    past.order(FROM_MS + 1, one, "o", 100)
    past.command(FROM_MS + 2, "points.transfer", one, points=80, to_member_id=two)

    found = past.with_candidate(spend(points=1, per_minor=200))

    assert found.sound
    assert {each.name: (each.real, each.other) for each in found.members()} == {
        one: (20, 50),
        two: (81, 1),
    }


def test_a_candidates_budget_is_kept_over_all_partitions() -> None:
    """Given orders in both partitions, when a candidate has a budget that the real rules do not
    ask for, then its owner grants no more than there is and the rest is told as withheld."""
    past = Past()
    for number, member in enumerate([*MEMBERS, *MEMBERS]):
        past.order(FROM_MS + number + 1, member, f"o{number}", 40)

    found = past.with_candidate(spend(budget="autumn"))

    assert found.sound
    assert figures(found)["points awarded"] == (160, 100)
    assert figures(found)["points withheld by caps and budgets"] == (0, 60)
    assert [(line.real, line.other) for line in found.outstanding()] == [(160, 100)]


def test_a_candidate_takes_the_place_of_versions_published_and_withdrawn_meanwhile() -> None:
    """Given a version published in the span, when a candidate of the id is simulated, then it holds
    all the time; a rule set of another id stays as it was."""
    past = Past(programme(spend(), {**spend(5), "id": "extra"}))
    (one, _) = MEMBERS
    past.order(FROM_MS + 1, one, "first", 10)
    past.publish(FROM_MS + 10, spend(points=3, version=2))
    past.order(FROM_MS + 20, one, "second", 10)

    found = past.with_candidate(spend(points=7))

    assert found.sound
    assert {line.name: (line.real, line.other) for line in found.rules()} == {
        "head-office/base": (10 + 30, 70 + 70),
        "extra/base": (100, 100),
    }


def test_a_rule_set_of_a_new_id_joins_those_in_force() -> None:
    """Given a programme, when a candidate has an id of its own, then it pays on top."""
    past = Past()
    past.order(FROM_MS + 1, MEMBERS[0], "o", 10)

    found = past.with_candidate({**spend(points=4), "id": "new"})

    assert {line.name: (line.real, line.other) for line in found.rules()} == {
        "head-office/base": (10, 10),
        "new/base": (0, 40),
    }


def test_inputs_that_are_gone_are_told_of() -> None:
    """Given retention that took the first order, when it is simulated, then what is lost is
    counted, the first entry that differs is named, and the result is not sound."""
    past = Past()
    for number in range(4):
        past.order(NOW_MS + number, MEMBERS[0], f"old{number}", 10)
    past.order(FROM_MS + 1, MEMBERS[0], "new", 10)

    found = past.with_candidate(spend(points=2), gone={"points.orders": 2})

    assert not found.sound
    assert found.lost == {"points.orders": 2}
    assert found.verdict.first is not None
    assert found.verdict.first.member_id == MEMBERS[0]
    assert "seq 1" in found.verdict.first.written
    assert figures(found)["points awarded"] == (10, 20)


def test_another_programme_than_the_workers_had_is_noticed() -> None:
    """Given a run, when it is simulated with a programme that pays otherwise, then the replay is
    not what was written."""
    past = Past()
    past.order(FROM_MS + 1, MEMBERS[0], "o", 10)

    found = past.with_candidate(spend(points=2), of=programme(spend(points=3)))

    assert not found.verdict.identical
    assert found.verdict.first is not None
    assert "points.earned of 10 points" in found.verdict.first.written
    assert "points.earned of 30 points" in found.verdict.first.replayed


def test_an_entry_that_only_the_ledger_has_is_noticed() -> None:
    """Given an entry in the ledger that no input explains, when it is simulated, then the replay is
    not what was written."""
    past = Past()
    past.order(FROM_MS + 1, MEMBERS[0], "o", 10)
    log = past.driver.broker.topics[Target("points.balance-changes", 0)]
    log.append(next(record for record in log if record is not None))

    found = past.with_candidate(spend())

    assert not found.verdict.identical
    assert found.verdict.other == 1


def test_a_version_that_compaction_took_from_its_topic_is_known_from_the_messages() -> None:
    """Given a published version whose record is gone, when it is simulated, then the partitions are
    told of it as they were, and the ledger is made again."""
    past = Past()
    past.publish(NOW_MS, spend(points=3, version=2))
    past.order(FROM_MS + 1, MEMBERS[0], "o", 10)
    for number in range(PARTITIONS):
        log = past.driver.broker.topics.get(Target("points.rules", number), [])
        log[:] = [None for _ in log]

    found = past.with_candidate(spend(points=5))

    assert found.verdict.identical
    assert found.as_recorded == PARTITIONS
    assert figures(found)["points awarded"] == (30, 50)


def test_a_span_without_inputs_is_an_error() -> None:
    """Given orders before the span alone, when it is simulated, then that is said."""
    past = Past()
    past.order(NOW_MS, MEMBERS[0], "o", 10)

    with pytest.raises(NothingRecorded, match="1 inputs were taken before"):
        past.with_candidate(spend())


def test_with_the_clock_of_the_events_the_span_is_theirs() -> None:
    """Given a backfill that is taken in one day, when a span of the events' time is simulated, then
    it is theirs."""
    past = Past(programme(clock="events"))
    late_ms = TO_MS + 100 * DAY_MS
    for number, occurred_ms in enumerate((NOW_MS, FROM_MS, TO_MS - 1, TO_MS)):
        past.order(late_ms, MEMBERS[0], f"o{number}", 10, occurred_ms=occurred_ms)

    found = past.with_candidate(spend(points=2))

    assert found.verdict.identical
    assert found.within == 2
    assert figures(found)["points awarded"] == (20, 40)


def test_members_are_told_by_what_they_were_given_when_nothing_of_it_is_left() -> None:
    """Given points that expire within the span, when a candidate gives more, then nobody has more
    at the end, and who was given more is told all the same."""
    short = {"id": "points", "expiry": {"days": 1}}
    past = Past(programme(wallets=[short]))
    past.order(FROM_MS + 1, MEMBERS[0], "o", 10)
    past.order(TO_MS - 1, MEMBERS[1], "later", 10, occurred_ms=NOW_MS)

    found = past.with_candidate(spend(points=3))

    assert (found.accounts.given_more, found.accounts.more) == (1, 0)
    assert [(line.name, line.real, line.other) for line in found.members()] == [(MEMBERS[0], 0, 0)]
    assert found.given() == [20]
    assert found.awarded


def test_what_was_due_by_the_end_of_the_span_has_happened() -> None:
    """Given points that expired in the span while nothing was taken until after it, when it is
    simulated, then they have expired, as the ledger says."""
    past = Past(programme(wallets=[{"id": "points", "expiry": {"days": 1}}]))
    past.order(FROM_MS + 1, MEMBERS[0], "o", 10)
    for member in MEMBERS:
        past.order(TO_MS + 5, member, f"after-{member}", 10)

    found = past.with_candidate(spend(points=3))

    assert found.sound
    assert figures(found)["points expired"] == (10, 30)
    assert [(line.real, line.other) for line in found.outstanding()] == [(0, 0)]


def test_a_candidate_that_rewards_nothing_of_the_span_is_told_of() -> None:
    """Given an order that happened before the span and came in it, when it is simulated, then the
    candidate has awarded nothing."""
    past = Past()
    past.order(FROM_MS + 1, MEMBERS[0], "late", 10, occurred_ms=NOW_MS)

    found = past.with_candidate(spend(points=3))

    assert not found.awarded
    assert differences(found) == []


def test_the_page_is_whole_and_shows_names_as_text() -> None:
    """Given a shop with markup for a name, when the page is written, then it is text there, every
    tag is closed, and nothing is loaded from elsewhere."""
    past = Past()
    past.order(FROM_MS + 1, MEMBERS[0], "o", 1_000, store_id="<script>alert(1)</script>")
    past.order(FROM_MS + DAY_MS, MEMBERS[1], "p", 10)

    html = page(past.with_candidate(spend(points=2)), top=10)

    checker = _Tags()
    checker.feed(html)
    assert checker.open == []
    assert {"svg", "table", "polyline", "rect"} <= checker.seen
    assert not {"script", "link", "img", "iframe"} & checker.seen
    assert "&lt;script&gt;alert(1)" in html
    assert "http://" not in html
    assert "https://" not in html
    assert "+1,010" in html


class _Tags(HTMLParser):
    """What is open at the end, and which tags there were."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
