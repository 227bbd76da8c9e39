"""Candidates that run in shadow: what they would have given is told, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, Bench, programme, rule

from pointstream.contracts.shadows import shadow_key
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.ledger import comparing
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.state import TOLD_SHADOWS_START, TOLD_SHADOWS_STOP

DOUBLE = {**SPEND, "points": 2}


def candidate(bench: Bench, *rules: dict[str, Any], **fields: Any) -> Decision:
    """Publish a candidate of the programme's rule set, dated now unless said."""
    occurred_ms = fields.pop("occurred_ms", bench.now_ms)
    content = {"id": "head-office", "version": 2, "rules": list(rules or (DOUBLE,)), **fields}
    key = shadow_key(content["id"])
    body = {
        "event_id": f"shadow-{occurred_ms}-{len(bench.decisions)}",
        "type": "ruleset.published",
        "occurred_at": rfc3339(occurred_ms),
        "ruleset_id": key,
        "shadow": True,
        "ruleset": content,
    }
    return bench.give_record("rules", key.encode(), dumps(body))


def withdraw(bench: Bench, id: str = "head-office") -> Decision:
    return bench.give_record("rules", shadow_key(id).encode(), None)


def told(bench: Bench) -> list[tuple[str, int, int]]:
    """Of the latest difference: each rule with what it gave, and what it would have given."""
    awards = bench.shadow_diffs[-1]["awards"]
    return [(award["rule_id"], award["given"], award["would_give"]) for award in awards]


def money(bench: Bench) -> dict[bytes, bytes]:
    """All that is kept but for what is known of candidates and of the partition itself."""
    bench.flush()
    return {key: value for key, value in bench.state.values.items() if key[:1] not in b"oyz"}


def test_a_candidate_that_differs_is_told_of_and_awards_nothing() -> None:
    """Given one point per 1.00 and a candidate with two, when an order of 10.00 comes, then the
    member has 10 points and the record says that it would have been 20."""
    bench = Bench()
    assert candidate(bench).outcome is Outcome.SHADOW_PUBLISHED

    bench.order("o1", 10, store_id="s1", channel="pos", event_id="paid")

    assert bench.available() == 10
    (diff,) = bench.shadow_diffs
    assert told(bench) == [("spend", 10, 20)]
    assert (diff["ruleset_id"], diff["ruleset_version"]) == ("head-office", 2)
    assert (diff["against_version"], diff["cause_event_id"]) == (1, "paid")
    assert (diff["order_id"], diff["store_id"], diff["channel"]) == ("o1", "s1", "pos")


def test_an_event_for_which_nothing_differs_makes_no_record() -> None:
    """Given a candidate with a rule for one shop more, then only orders there are told of, and
    with all that they earn."""
    bench = Bench()
    bonus = rule("order_bonus", points=5, scope={"stores": ["s1"]})
    candidate(bench, SPEND, bonus)

    bench.order("o1", 10, store_id="s2")
    assert bench.shadow_diffs == []

    bench.order("o2", 10, store_id="s1")
    assert told(bench) == [("order_bonus", 0, 5), ("spend", 10, 10)]


def test_all_money_is_the_same_with_a_candidate_and_without() -> None:
    """Given the same day twice, once with a candidate, then entries, answers and state are the same
    byte for byte."""
    kept = []
    for shadow in (False, True):
        bench = Bench(programme(rule("spend", points=1, per_minor=100, cap={"day": 15})))
        if shadow:
            candidate(bench, rule("spend", points=3, per_minor=100, cap={"day": 100}))
        else:
            bench.offset += 2  # the publication, and what it told
        bench.order("o1", 10)
        bench.refund("o1", "r1", 5)
        bench.order("o2", 20)
        bench.give("points.redeem", points=3, actor={"id": "m1", "role": "member"})
        kept.append((bench.entries, bench.answers, money(bench)))

    assert kept[0] == kept[1]
    assert len(bench.shadow_diffs) == 2


def test_a_candidate_has_nothing_to_do_with_the_versions_of_its_rule_set() -> None:
    """Given a candidate with the number 2, when version 2 is published for real with the same
    rules, then it is taken, and the candidate differs no more."""
    bench = Bench()
    candidate(bench)
    body = {
        "event_id": "v2",
        "type": "ruleset.published",
        "occurred_at": rfc3339(bench.now_ms),
        "ruleset_id": "head-office",
        "ruleset": {"id": "head-office", "version": 2, "rules": [DOUBLE]},
    }

    assert bench.give_body(body).outcome is Outcome.RULESET_PUBLISHED
    bench.order("o1", 10)

    assert bench.available() == 20
    assert bench.shadow_diffs == []


def test_a_candidate_is_looked_at_with_the_other_rules_as_they_change() -> None:
    """Given a candidate that was compared already, when a shop's rule set is published beside it,
    then what that one gives is on both sides."""
    bench = Bench()
    candidate(bench)
    bench.order("o1", 10)
    body = {
        "event_id": "shop",
        "type": "ruleset.published",
        "occurred_at": rfc3339(bench.now_ms),
        "ruleset_id": "shop-7",
        "ruleset": {"id": "shop-7", "version": 1, "rules": [rule("order_bonus", points=7)]},
    }
    bench.give_body(body)

    bench.order("o2", 10)

    assert told(bench) == [("spend", 10, 20), ("order_bonus", 7, 7)]


def test_the_latest_candidate_counts_whatever_its_version() -> None:
    """Given a candidate, when another draft of the same version comes, then that one counts; an
    older one that comes late, or the same again, changes nothing."""
    bench = Bench()
    candidate(bench)
    bench.later(1)
    assert candidate(bench, {**SPEND, "points": 3}).outcome is Outcome.SHADOW_PUBLISHED
    again = candidate(bench, {**SPEND, "points": 3})
    late = candidate(bench, {**SPEND, "points": 4}, occurred_ms=bench.now_ms - DAY_MS // 2)

    assert {again.outcome, late.outcome} == {Outcome.SHADOW_ALREADY_KNOWN}
    bench.order("o1", 10)
    assert told(bench) == [("spend", 10, 30)]


def test_a_candidate_is_looked_at_from_its_publication_until_it_is_withdrawn() -> None:
    """Given a candidate for next year, then it counts for what happens from now on and not for what
    comes late from before; withdrawn, it leaves nothing behind."""
    bench = Bench()
    bench.later(1)
    candidate(bench, effective_from=rfc3339(bench.now_ms + 300 * DAY_MS))

    bench.order("before", 10, occurred_ms=bench.now_ms - 1)
    assert bench.shadow_diffs == []
    bench.order("now", 10)
    assert len(bench.shadow_diffs) == 1

    assert withdraw(bench).outcome is Outcome.SHADOW_WITHDRAWN
    assert withdraw(bench).outcome is Outcome.SHADOW_WITHDRAWN
    bench.order("after", 10)
    assert len(bench.shadow_diffs) == 1
    bench.flush()
    assert list(bench.state.scan(TOLD_SHADOWS_START, TOLD_SHADOWS_STOP)) == []
    assert not [key for key in bench.state.values if key.startswith(b"yshadow:")]


def test_withdrawing_a_candidate_leaves_the_rule_set_in_force() -> None:
    """Given a candidate, when it is withdrawn, then the real rules give what they gave."""
    bench = Bench()
    candidate(bench)
    withdraw(bench)

    bench.order("o1", 10)

    assert bench.available() == 10


def test_a_new_ledger_over_the_same_state_knows_the_candidates() -> None:
    """Given a candidate, when the partition moves to another worker, then it goes on there."""
    bench = Bench()
    candidate(bench)
    bench.flush()
    bench.restart()

    bench.order("o1", 10)

    assert told(bench) == [("spend", 10, 20)]


def test_a_candidate_that_does_not_fit_is_refused_and_the_one_before_stays() -> None:
    """Given a candidate, when one comes that pays into a wallet that is not there, then it is a
    dead letter that names the place."""
    bench = Bench()
    candidate(bench)

    decision = candidate(bench, {**SPEND, "wallet": "stars"})

    (letter,) = decision.dead_letters
    assert letter.code is DeadLetterCode.RULESET_INVALID
    assert letter.message.startswith("rules[0].wallet")
    bench.order("o1", 10)
    assert told(bench) == [("spend", 10, 20)]


def test_a_candidate_that_does_not_fit_a_new_programme_is_set_aside() -> None:
    """Given a candidate that pays into a wallet, when a programme without it takes over the state,
    then orders are paid as ever and the candidate counts for nothing."""
    wallets = [{"id": "points"}, {"id": "stars"}]
    bench = Bench(programme(wallets=wallets))
    candidate(bench, {**SPEND, "wallet": "stars"})
    bench.flush()
    bench.programme = programme()
    bench.restart()

    bench.order("o1", 10)

    assert (bench.available(), bench.shadow_diffs) == (10, [])
    (aside,) = bench.ledger.take_set_aside()
    assert aside.rule_set == "shadow:head-office"


def test_a_candidate_that_raises_never_reaches_the_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a candidate that cannot be asked, when an order comes, then it earns as ever, and the
    record says what is wrong with the candidate."""
    bench = Bench()
    candidate(bench)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(bench.ledger._book.shadows, "table", broken)
    bench.order("o1", 10)

    assert bench.available() == 10
    (diff,) = bench.shadow_diffs
    assert diff["error"] == "ZeroDivisionError"
    assert told(bench) == [("spend", 10, 0)]


def test_a_candidate_that_gives_more_than_can_be_is_told_of_as_an_error() -> None:
    """Given points that no wallet could hold, then the order is paid, and no such number is sent:
    not every reader could hold it."""
    bench = Bench()
    candidate(bench, rule("spend", points=1_000_000_000, per_minor=1))

    bench.order("o1", 1_000_000)

    assert bench.available() == 1_000_000
    assert bench.shadow_diffs[-1]["error"] == "points_out_of_range"


def test_caps_count_as_the_rules_in_force_have_used_them() -> None:
    """Given a cap of 15 a day of which 10 are used, then a candidate with twice the points and the
    same cap would have given the same 5: no difference."""
    bench = Bench(programme({**SPEND, "cap": {"day": 15}}))
    candidate(bench, {**DOUBLE, "cap": {"day": 15}})
    bench.order("o1", 10)
    (award,) = bench.shadow_diffs[-1]["awards"]
    assert (award["due"], award["given"]) == (10, 10)
    assert (award["would_be_due"], award["would_give"]) == (20, 15)

    bench.order("o2", 10)
    assert len(bench.shadow_diffs) == 1, "more is due, and no more is granted"

    bench.order("o3", 10)
    assert len(bench.shadow_diffs) == 1, "nothing is left for either"
    assert [entry["amount"] for entry in bench.entries] == [10, 5, 0]


def test_rules_of_one_event_share_a_cap_in_shadow_too() -> None:
    """Given two rules under one cap of 12 a day, then what the first takes is gone for the second,
    though nothing is counted."""
    bench = Bench()
    rules = [rule("order_bonus", points=10), {**SPEND, "id": "spend"}]
    candidate(bench, *rules, caps=[{"id": "both", "day": 12}])

    bench.order("o1", 10)

    assert told(bench) == [("order_bonus", 0, 10), ("spend", 10, 2)]


def test_the_same_points_with_another_life_are_a_difference() -> None:
    """Given a candidate whose points die sooner, then that is told of."""
    bench = Bench()
    candidate(bench, {**SPEND, "expiry": {"kind": "rolling", "days": 10}})

    bench.order("o1", 10)

    (award,) = bench.shadow_diffs[-1]["awards"]
    assert (award["given"], award["would_give"], award["other_life"]) == (10, 10, True)


def test_a_candidate_beside_the_rule_sets_in_force_is_a_new_one() -> None:
    """Given a candidate with an id that nothing in force has, then it would come on top."""
    bench = Bench()
    candidate(bench, rule("order_bonus", points=7), id="shop-7", version=1)

    bench.order("o1", 10)

    assert told(bench) == [("spend", 10, 10), ("order_bonus", 0, 7)]
    assert bench.shadow_diffs[-1]["against_version"] is None


def test_several_candidates_are_each_looked_at_by_itself() -> None:
    """Given two candidates of different rule sets, then an order makes a record for each, and none
    has what the other would give."""
    bench = Bench()
    candidate(bench)
    candidate(bench, rule("order_bonus", points=7), id="shop-7", version=1)

    bench.order("o1", 10)

    by_id = {diff["ruleset_id"]: diff["awards"] for diff in bench.shadow_diffs}
    assert [award["would_give"] for award in by_id["head-office"]] == [20]
    assert [award["would_give"] for award in by_id["shop-7"]] == [10, 7]


@pytest.mark.parametrize(
    ("kind", "fields", "type_", "event"),
    [
        ("check_in", {}, "checkin.recorded", {}),
        ("referral", {"when": "registered"}, "referral.registered", {"referee_id": "m2"}),
        (
            "referral",
            {"when": "first_order"},
            "referral.first_order",
            {"referee_id": "m2", "order_id": "o", "paid_minor": 1, "currency": "CNY"},
        ),
        (
            "activity",
            {"activity": "review.posted"},
            "activity.recorded",
            {"activity": "review.posted", "reference": "r1"},
        ),
        ("registered", {}, "member.registered", {}),
    ],
)
def test_every_kind_of_event_is_compared(
    kind: str, fields: dict[str, Any], type_: str, event: dict[str, Any]
) -> None:
    """Given a candidate with a rule that nothing in force has, then its event is told of."""
    bench = Bench()
    candidate(bench, SPEND, rule(kind, points=9, **fields))

    bench.give(type_, **event)

    assert told(bench) == [(kind, 0, 9)]
    assert bench.entries == []


def test_what_was_had_already_is_compared_no_more() -> None:
    """Given an order that comes twice with two ids, then it is compared once."""
    bench = Bench()
    candidate(bench)

    bench.order("o1", 10)
    bench.order("o1", 10)

    assert len(bench.shadow_diffs) == 1


def test_without_a_candidate_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no candidate, or one that was withdrawn, then no event asks for one."""
    bench = Bench()
    candidate(bench)
    withdraw(bench)

    def asked(*_: Any) -> Any:
        raise AssertionError("asked")

    for module in ("orders", "earning", "members"):
        monkeypatch.setattr(f"pointstream.ledger.{module}.compare_shadows", asked)
    bench.order("o1", 10)
    bench.give("checkin.recorded")
    bench.give("member.registered")

    assert comparing.compare_shadows is not asked
    assert bench.available() == 10
