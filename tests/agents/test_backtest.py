"""Backtests on recorded runs: the same detectors change nothing, others flag what they should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.programme import Programme
from pointstream.engine.records import Target
from pointstream.fraud.warming import reach
from pointstream.operations.simulation import (
    Flags,
    Plan,
    Simulation,
    flag_page,
    verdict_words,
    warmed_words,
)

from . import recorded
from .recorded import DAY_MS, NOW_MS, stream
from .simulated import run
from .test_simulation import FROM_MS, MEMBERS, PARTITIONS, TO_MS, Past, spend

SECOND_MS = 1_000
MINUTE_MS = 60_000
CHECK_IN = {"id": "in", "kind": "check_in", "points": 5, "every_time": True}


def often(limit: int, **fields: Any) -> dict[str, Any]:
    """More check-ins of a member within a minute."""
    told = {"id": "often", "kind": "velocity", "types": ["checkin.recorded"], "within": "PT60S"}
    return {**told, "limit": limit, "action": "hold", **fields}


def crowd(limit: int, **fields: Any) -> dict[str, Any]:
    """More members at one device within an hour."""
    return {
        "id": "crowd",
        "kind": "distinct",
        "entity": "device",
        "of": "member",
        "limit": limit,
        "within": "PT1H",
        "action": "hold",
        **fields,
    }


def detectors(*content: dict[str, Any], version: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": "base", "version": version, "detectors": list(content), **fields}


def watched(*content: dict[str, Any], **more: Any) -> Programme:
    """A programme with check-ins, and these detectors if any."""
    rules = {**spend(), "rules": [*spend()["rules"], CHECK_IN]}
    fraud = {"detector_sets": [detectors(*content)]} if content else None
    fields = {
        "id": "test",
        "rule_sets": [rules],
        "budgets": [{"id": "autumn", "points": 100}],
        **more,
    }
    return Programme.model_validate({**fields, **({} if fraud is None else {"fraud": fraud})})


def check_ins(past: Past, at_ms: int, member: str, count: int, **fields: Any) -> None:
    """So many, one per second."""
    for number in range(count):
        past.give("check-ins", at_ms + number * SECOND_MS, "checkin.recorded", member, **fields)


def backtest(past: Past, *candidates: dict[str, Any], **options: Any) -> tuple[Simulation, Flags]:
    sets = [DetectorSet.model_validate(each) for each in candidates]
    to_ms, warm_ms = options.pop("to_ms", TO_MS), options.pop("warm_ms", 0)
    plan = Plan(past.programme, (), FROM_MS, to_ms, detector_sets=sets, warm_ms=warm_ms)
    found = run(past.driver, plan, **options)
    assert found.flags is not None
    return found, found.flags


def lines(flags: Flags) -> dict[tuple[str, str], tuple[int, ...]]:
    """By detector and action: was, would be, both, new, gone."""
    return {
        (line.detector, line.action): (
            line.flags.was,
            line.flags.would_be,
            line.flags.both,
            line.flags.new,
            line.flags.gone,
        )
        for line in flags.lines()
    }


def busy_past(*content: dict[str, Any], reject: bool = False) -> Past:
    """Before the span and in it: one member with 12 check-ins in a minute, one with 8.

    With `reject` the latest flag is confirmed.
    """
    past = Past(watched(*content))
    one, two = MEMBERS
    check_ins(past, NOW_MS + MINUTE_MS, one, 12)
    check_ins(past, FROM_MS + MINUTE_MS, one, 12)
    check_ins(past, FROM_MS + 60 * MINUTE_MS, two, 8)
    if reject:
        actor = {"id": "rita", "role": "head_office"}
        latest = max(raised(past), key=lambda told: told["occurred_at"])["flag_id"]
        fields = {"actor": actor, "flag_id": latest, "reason": "a script"}
        past.give("commands", FROM_MS + DAY_MS, "review.reject", one, **fields)
    past.order(TO_MS + MINUTE_MS, one, "o1", 100)
    return past


def test_the_same_detectors_change_nothing() -> None:
    """Given generated traffic with devices, shops and crashes, when the programme's own detectors
    are tried, then every record is made again, messages between partitions too, and no flag is
    new or gone."""
    driver = recorded.record(stream(900, seed=5), 3)
    own = recorded.PROGRAMME.source
    assert own.fraud is not None
    plan = Plan(own, (), NOW_MS, NOW_MS + 90 * DAY_MS, detector_sets=own.fraud.detector_sets)

    found = run(driver, plan)

    assert found.flags is not None
    assert found.sound, verdict_words(found)
    assert found.as_recorded == 0
    assert found.flags.verdict.same == sum(
        record is not None
        for target, log in driver.broker.topics.items()
        if target.topic == "points.fraud-flags"
        for record in log
    )
    assert found.flags.real.flags
    assert found.flags.new == found.flags.gone == []
    assert [line for line in found.figures() if line.difference] == []


def test_stricter_detectors_raise_what_is_new() -> None:
    """Given one member above a limit and one below it, when the limit is tried lower, then the
    flag of the one is in both and that of the other is new, each with the points it holds back."""
    past = busy_past(often(10))

    found, flags = backtest(past, detectors(often(6), version=2))

    assert found.sound, verdict_words(found)
    assert lines(flags) == {("often", "hold"): (1, 2, 1, 1, 0)}
    (new,) = flags.new
    assert new.entity_id == MEMBERS[1]
    assert new.version == 2
    assert "7 events of checkin.recorded within 1 minute" in new.explanation
    assert flags.held() == (60, 60 + 40)
    members = flags.over_all()[2]
    assert (members.both, members.new, members.gone) == (1, 1, 0)


def test_laxer_detectors_lose_what_a_reviewer_has_decided() -> None:
    """Given a flag that was confirmed, when the limit is tried higher, then it is gone, and it is
    said that it was confirmed; what happened before the span counts for nothing."""
    past = busy_past(often(10), reject=True)

    found, flags = backtest(past, detectors(often(50), version=2))

    assert found.sound, verdict_words(found)
    assert lines(flags) == {("often", "hold"): (1, 0, 0, 0, 1)}
    assert flags.lines()[0].gone_confirmed == 1
    assert flags.lines()[0].gone_released == 0
    assert [each.state for each in flags.gone] == ["confirmed"]
    assert flags.held() == (60, 0)


def test_another_action_is_another_flag_of_the_same_member() -> None:
    """Given a detector that only flags, when it is tried with a hold, then its flag is gone, one
    that holds is new, and the members concerned are the same."""
    past = busy_past(often(10, action="flag"))

    _, flags = backtest(past, detectors(often(10), version=2))

    assert lines(flags) == {
        ("often", "flag"): (1, 0, 0, 0, 1),
        ("often", "hold"): (0, 1, 0, 1, 0),
    }
    assert [each.both for each in flags.over_all()] == [0, 1, 1]
    # Only check-ins from the eleventh on are suspicious before they are handled; those before
    # them are held.
    assert flags.held() == (0, 60)


def test_a_changed_window_does_not_make_a_suspicion_a_new_one() -> None:
    """Given a flag, when its detector is tried with a window that gives its flags other ids, then
    the evidence tells that it is the same."""
    past = busy_past(often(10))

    _, flags = backtest(past, detectors(often(10, within="PT3H"), version=2))

    (was,) = flags.real.flags
    (would_be,) = flags.other.flags
    assert was != would_be
    assert lines(flags) == {("often", "hold"): (1, 1, 1, 0, 0)}


def test_a_crowd_at_a_device_is_found_over_partitions() -> None:
    """Given members of two partitions at one device and a programme without detectors, when a
    detector of devices is tried, then its owner hears of them by messages that never were, and
    holds all their points."""
    past = Past(watched())
    members = [*MEMBERS, *(f"{each}0" for each in MEMBERS)]
    for number, member in enumerate(members):
        at_ms = FROM_MS + (1 + number) * MINUTE_MS
        past.order(at_ms, member, f"o{number}", 100, device_id="d-1")
    past.order(FROM_MS + DAY_MS, MEMBERS[0], "later", 1)

    found, flags = backtest(past, detectors(crowd(3)))

    assert found.sound, verdict_words(found)
    assert lines(flags) == {("crowd", "hold"): (0, 1, 0, 1, 0)}
    assert flags.new[0].members == set(members)
    assert flags.held() == (0, 400)


def test_detectors_of_devices_are_told_what_they_were_told() -> None:
    """Given a crowd at a device that was flagged, when the same detector is tried, then all
    messages are as recorded, and the flag is in both."""
    past = Past(watched(crowd(3)))
    members = [*MEMBERS, *(f"{each}0" for each in MEMBERS)]
    for number, member in enumerate(members):
        at_ms = FROM_MS + (1 + number) * MINUTE_MS
        past.order(at_ms, member, f"o{number}", 100, device_id="d-1")
    past.order(FROM_MS + DAY_MS, MEMBERS[0], "later", 1)

    found, flags = backtest(past, detectors(crowd(3), version=2))

    assert found.sound, verdict_words(found)
    assert found.as_recorded == 0
    assert lines(flags) == {("crowd", "hold"): (1, 1, 1, 0, 0)}
    assert flags.held() == (400, 400)


def test_points_that_were_waiting_already_are_counted_once() -> None:
    """Given points that take two days to become spendable, when a detector of members and one of
    devices are tried, then what was under review from the first moment and what came under it
    while it was waiting count once each."""
    past = Past(watched(wallets=[{"id": "points", "activation": {"after": "P2D"}}]))
    members = [*MEMBERS, *(f"{each}0" for each in MEMBERS)]
    for number, member in enumerate(members):
        at_ms = FROM_MS + (1 + number) * MINUTE_MS
        past.order(at_ms, member, f"o{number}", 100, device_id="d-1")
    past.order(FROM_MS + DAY_MS, MEMBERS[0], "later", 1)
    dear = {**often(80, id="dear"), "types": ["order.paid"], "measure": "money", "limit": 5_000}

    found, flags = backtest(past, detectors(crowd(3), dear))

    assert found.sound, verdict_words(found)
    by_detector = {line.detector: line.held_would_be for line in flags.lines()}
    assert by_detector["crowd"] + by_detector["dear"] == 400
    assert by_detector["dear"] == 400

    _, flags = backtest(past, detectors(crowd(3)))

    assert flags.held() == (0, 400)


def test_a_set_of_another_id_stands_beside_the_real_one() -> None:
    """Given a detector, when one of another set is tried, then both flag."""
    past = busy_past(often(10))

    _, flags = backtest(past, {**detectors(often(6, id="oftener")), "id": "more"})

    assert lines(flags) == {
        ("often", "hold"): (1, 1, 1, 0, 0),
        ("oftener", "hold"): (0, 2, 0, 2, 0),
    }


def _lost(log: list[Any]) -> None:
    log[first_of(log)] = None


def _changed(log: list[Any]) -> None:
    place = first_of(log)
    value = log[place].value.replace(b'"raised"', b'"released"')
    log[place] = replace(log[place], value=value)


def _added(log: list[Any]) -> None:
    log.append(replace(log[first_of(log)], offset=len(log)))


@pytest.mark.parametrize(
    ("harm", "differing", "said"),
    [
        (_lost, 1, "only the replay has fraud-"),
        (_changed, 2, "only the replay has fraud-"),
        (_added, 1, "only the topic has fraud-"),
    ],
)
def test_flags_that_are_not_what_was_written_are_told_of(
    harm: Callable[[list[Any]], None], differing: int, said: str
) -> None:
    """Given a topic of flags with one record lost, changed or too many, when detectors are tried,
    then that is said, with the flag."""
    past = busy_past(often(10))
    log = next(log for log in logs(past) if log)
    harm(log)

    found, flags = backtest(past, detectors(often(10), version=2))

    assert not found.sound
    assert found.verdict.identical
    assert flags.verdict.other == differing
    assert said in verdict_words(found)


def test_what_was_flagged_after_the_span_is_not_missed() -> None:
    """Given a flag that was raised after the end of the span, when detectors are tried, then the
    replay need not have it."""
    past = busy_past(often(10))
    check_ins(past, TO_MS + DAY_MS, MEMBERS[1], 12)

    found, flags = backtest(past, detectors(often(10), version=2))

    assert found.sound, verdict_words(found)
    assert len(flags.real.flags) == 1


def logs(past: Past) -> list[list[Any]]:
    topics = past.driver.broker.topics
    return [topics.get(Target("points.fraud-flags", number), []) for number in range(PARTITIONS)]


def first_of(log: list[Any]) -> int:
    return next(offset for offset, record in enumerate(log) if record is not None)


def raised(past: Past) -> list[Any]:
    return [orjson.loads(record.value) for log in logs(past) for record in log if record]


HOUR_MS = 60 * MINUTE_MS
BEFORE = [
    often(10, within="PT2H"),
    crowd(3, within="PT2H"),
    often(40, id="many", within="P3D", entity="device"),
    {
        "id": "shop",
        "kind": "velocity",
        "entity": "store",
        "types": ["checkin.recorded"],
        "limit": 12,
        "within": "PT2H",
    },
    {
        "id": "spike",
        "kind": "spike",
        "types": ["checkin.recorded"],
        "measure": "events",
        "bucket": "day",
        "floor": 11,
    },
    {"id": "ring", "kind": "referral_cycle"},
    {"id": "self", "kind": "shared_device"},
    {"id": "travel", "kind": "travel"},
    {"id": "move", "kind": "takeover", "within": "P1D", "share_percent": 1},
    {"id": "loop", "kind": "refund_loop", "limit": 1, "within": "P2D"},
]


def begun_past(*content: dict[str, Any]) -> Past:
    """What is suspicious only with what happened in the hour before the span."""
    past = Past(watched(*content))
    one, two = MEMBERS
    before, after = FROM_MS - HOUR_MS, FROM_MS + MINUTE_MS
    here, there = {"lat": 31.23, "lon": 121.47}, {"lat": 39.9, "lon": 116.4}
    members = [*MEMBERS, *(f"{each}0" for each in MEMBERS)]
    shop = {"store_id": "s1", "device_id": "d-shop"}
    past.order(before - DAY_MS, one, "o0", 100, device_id="d-old")
    check_ins(past, before, one, 10, **shop)
    for number, member in enumerate(members[:3]):
        past.order(before + number, member, f"b{number}", 100, device_id="d-1")
    past.order(before, two, "loop0", 100)
    past.give("orders", before + 10, "order.cancelled", two, order_id="loop0")
    past.give("referrals", before, "referral.registered", one, referee_id=two)
    past.give("check-ins", before, "checkin.recorded", "walker", geo=here, device_id="w-old")
    past.give("check-ins", before + 1, "checkin.recorded", "walker", device_id="w-new")

    past.order(after, members[3], "a3", 100, device_id="d-1")
    check_ins(past, after, one, 3, **shop)
    past.order(after, two, "loop1", 100)
    past.give("orders", after + 10, "order.cancelled", two, order_id="loop1")
    past.give("referrals", after, "referral.registered", two, referee_id=one)
    past.give("check-ins", after, "checkin.recorded", "walker", geo=there)
    spending = {"points": 5, "actor": {"id": "walker", "role": "member"}}
    past.give("commands", after + SECOND_MS, "points.redeem", "walker", **spending)
    past.order(FROM_MS + DAY_MS, one, "later", 1)
    return past


def test_windows_are_full_when_the_span_begins() -> None:
    """Given what began before the span, when detectors of all kinds are tried that count as far
    back, then they flag what goes on in it, as the same detectors did that were there all the time;
    without that, they do not."""
    real = begun_past(*BEFORE)
    found, flags = backtest(real, detectors(*BEFORE, version=2), warm_ms=2 * DAY_MS)
    assert found.sound, verdict_words(found)
    assert flags.new == flags.gone == []
    there = {name for name, _ in lines(flags)}
    assert there >= {"often", "crowd", "shop", "spike", "ring", "self", "travel", "move", "loop"}

    past = begun_past()
    found, flags = backtest(past, detectors(*BEFORE), warm_ms=2 * DAY_MS)
    assert found.sound, verdict_words(found)
    assert {name for name, _ in lines(flags)} == there
    assert found.warmed > 10
    assert found.warm_from_ms == FROM_MS - HOUR_MS - DAY_MS
    assert "over" in warmed_words(found)

    _, flags = backtest(past, detectors(*BEFORE))
    assert {name for name, _ in lines(flags)} <= {"spike", "self"}


def test_what_was_before_the_span_is_only_counted() -> None:
    """Given what had to be flagged before the span, when it is counted for the windows, then no
    flag comes of it and no point is held."""
    past = Past(watched())
    check_ins(past, FROM_MS - HOUR_MS, MEMBERS[0], 20)
    past.order(FROM_MS + DAY_MS, MEMBERS[0], "later", 1)

    found, flags = backtest(past, detectors(often(10)), warm_ms=DAY_MS)

    assert found.sound, verdict_words(found)
    assert found.warmed == 20
    assert lines(flags) == {}
    assert [line for line in (*found.figures(), *found.outstanding()) if line.difference] == []


def test_detectors_look_back_as_far_as_their_longest_window() -> None:
    """Given sets of detectors, then the longest counts, of those that are switched on."""

    def days(*content: dict[str, Any]) -> float:
        return reach([DetectorSet.model_validate(detectors(*content))]) / timedelta(days=1)

    assert days(often(10)) == 60 / 86_400
    assert days(often(10), often(10, id="week", within="P7D", types=["order.paid"])) == 8
    assert days(often(10), often(10, id="week", within="P7D", enabled=False)) == 60 / 86_400
    assert days({"id": "large", "kind": "large_spend", "points": 5}) == 0
    spike = {"id": "s", "kind": "spike", "types": ["order.paid"], "floor": 5, "history": 28}
    assert days(spike) == 29
    assert days({"id": "ring", "kind": "referral_cycle"}) == 90


def test_the_page_shows_both_sides_and_loads_nothing() -> None:
    """Given new flags and points that would be held, then there is a plot of days, of flags and of
    points by detector, the explanation of what is new, and no address of anything else."""
    past = busy_past(often(10))
    found, flags = backtest(past, detectors(often(6), version=2))
    sets = [DetectorSet.model_validate(detectors(often(6), version=2))]

    text = flag_page(found, flags, sets, top=5)

    assert text.count("<svg") == 3
    assert "7 events of checkin.recorded within 1 minute" in text
    assert "base version 2" in text
    assert "60 → 100" in text
    assert "://" not in text
    assert "<script" not in text
    assert "New: only" not in flag_page(found, flags, sets, top=0)
