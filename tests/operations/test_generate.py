"""The generated stream: the same bytes for the same plan, all of it taken by the contract."""

from __future__ import annotations

import hashlib
import itertools
import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from pointstream.contracts.decoding import Decoded, decode
from pointstream.operations.chain import DAY_MS, LOCAL_OFFSET_MS, moment_of, trade_until
from pointstream.operations.generate import (
    FRAUD_KINDS,
    SUBTLETIES,
    Label,
    StreamPlan,
    generate,
)

_END_MS = 1_772_323_200_000  # 2026-03-01T00:00:00Z
_PLAN = StreamPlan(
    events=20_000,
    members=1_000,
    seed=7,
    start_ms=_END_MS - 30 * DAY_MS,
    end_ms=_END_MS,
    fraudsters=3,
)


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    """The plan's stream, parsed."""
    return [json.loads(generated.value) for generated in generate(_PLAN)]


def _digest(plan: StreamPlan) -> str:
    stream = hashlib.sha256()
    for topic, key, value, again, at_ms, label in generate(plan):
        line = f"{topic} {again} {at_ms} {label}"
        stream.update(b"%b %b %b\n" % (line.encode(), key, value))
    return stream.hexdigest()


def _occurred_ms(event: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000)


def test_the_same_plan_gives_the_same_bytes() -> None:
    """Two runs of one plan agree in every byte, and any other seed differs."""
    assert _digest(_PLAN) == _digest(replace(_PLAN))
    assert _digest(_PLAN) != _digest(replace(_PLAN, seed=8))


def test_a_small_stream_is_what_it_was() -> None:
    """The bytes do not depend on the machine or on the version of Python."""
    plan = replace(_PLAN, events=500, members=50, redelivered=0.05)

    assert _digest(plan) == _KNOWN_DIGEST


def test_every_event_fits_the_contract() -> None:
    """Each is on its topic, under its key, and decodes."""
    for generated in generate(_PLAN):
        decoded = decode(generated.topic, generated.key, generated.value)
        assert isinstance(decoded, Decoded), (decoded, generated.value)


def test_there_are_as_many_events_as_asked_for(events: list[dict[str, Any]]) -> None:
    """Exactly as many, each with an id of its own."""
    assert len(events) == _PLAN.events
    assert len({event["event_id"] for event in events}) == _PLAN.events
    assert list(generate(replace(_PLAN, events=0))) == []


def test_nothing_occurs_outside_the_period(events: list[dict[str, Any]]) -> None:
    """Every time lies within the plan's period; the end itself is excluded."""
    times_ms = [_occurred_ms(event) for event in events]
    assert min(times_ms) >= _PLAN.start_ms
    assert max(times_ms) < _PLAN.end_ms


def test_the_stream_tells_every_story(events: list[dict[str, Any]]) -> None:
    """Orders lead; returns, check-ins, referrals, activities and commands are there."""
    kinds = Counter(event["type"] for event in events)

    assert kinds.most_common(1)[0][0] == "order.paid"
    assert set(kinds) == {
        "order.paid",
        "order.refunded",
        "order.cancelled",
        "checkin.recorded",
        "referral.registered",
        "referral.first_order",
        "activity.recorded",
        "member.registered",
        "member.updated",
        "points.redeem",
        "points.adjust",
        "points.transfer",
    }
    assert min(kinds.values()) >= _PLAN.events // 1_000
    assert kinds["member.registered"] == pytest.approx(_PLAN.members, rel=0.05)


def test_money_returned_never_exceeds_money_paid(events: list[dict[str, Any]]) -> None:
    """Partial, repeated and full refunds of an order stay within what was paid for it."""
    paid = {
        event["order_id"]: event["paid_minor"] for event in events if event["type"] == "order.paid"
    }
    refunded: Counter[str] = Counter()
    for event in events:
        if event["type"] == "order.refunded" and event["order_id"] in paid:
            refunded[event["order_id"]] += event["refunded_minor"]

    assert len(refunded) > 100
    assert all(total <= paid[order_id] for order_id, total in refunded.items())
    assert any(total == paid[order_id] for order_id, total in refunded.items())
    assert any(total < paid[order_id] for order_id, total in refunded.items())


def test_members_check_in_for_days_in_a_row(events: list[dict[str, Any]]) -> None:
    """There are streaks of a week and more, by the chain's local days."""
    days: dict[str, set[int]] = {}
    for event in events:
        if event["type"] == "checkin.recorded":
            day = (_occurred_ms(event) + LOCAL_OFFSET_MS) // DAY_MS
            days.setdefault(event["member_id"], set()).add(day)

    def longest(member_days: set[int]) -> int:
        starts = (day for day in member_days if day - 1 not in member_days)
        return max(
            sum(1 for _ in itertools.takewhile(member_days.__contains__, itertools.count(start)))
            for start in starts
        )

    assert sum(longest(member_days) >= 7 for member_days in days.values()) >= 10


def test_some_points_are_sent_to_nobody(events: list[dict[str, Any]]) -> None:
    """Most go to members who have joined; a mistyped id is nobody's, so they have to come back."""
    members = {event["member_id"] for event in events if event["type"] == "member.registered"}
    to = [event["to_member_id"] for event in events if event["type"] == "points.transfer"]
    known = sum(member in members for member in to)

    assert 0 < len(to) - known < len(to) / 5


_FRAUD = replace(_PLAN, events=40_000, members=3_000, fraudsters=120)


@pytest.fixture(scope="module")
def episodes() -> dict[Label, list[dict[str, Any]]]:
    """The events of each episode of fraud."""
    found: dict[Label, list[dict[str, Any]]] = {}
    for generated in generate(_FRAUD):
        if generated.label is not None:
            found.setdefault(generated.label, []).append(json.loads(generated.value))
    return found


def _of(
    episodes: dict[Label, list[dict[str, Any]]], kind: str, subtlety: str
) -> list[list[dict[str, Any]]]:
    found = [
        events
        for label, events in episodes.items()
        if (label.kind, label.subtlety) == (kind, subtlety)
    ]
    assert found
    return found


def test_without_fraudsters_nothing_has_a_label() -> None:
    """An honest stream is honest, also by what it does in a minute."""
    check_ins: Counter[tuple[bytes, str]] = Counter()
    for generated in generate(replace(_PLAN, fraudsters=0)):
        assert generated.label is None
        event = json.loads(generated.value)
        if event["type"] == "checkin.recorded":
            check_ins[generated.key, event["occurred_at"][:16]] += 1
    assert max(check_ins.values()) < 5


def test_every_kind_of_fraud_comes_in_every_subtlety(
    episodes: dict[Label, list[dict[str, Any]]],
) -> None:
    """All come equally often, spread over the period, by about as many members as asked for."""
    told = Counter((label.kind, label.subtlety) for label in episodes)
    members = {event["member_id"] for events in episodes.values() for event in events}

    assert set(told) == {(kind, subtlety) for kind in FRAUD_KINDS for subtlety in SUBTLETIES}
    assert max(told.values()) - min(told.values()) <= 1
    assert len(members) == pytest.approx(_FRAUD.fraudsters, rel=0.1)
    starts = sorted(_occurred_ms(events[0]) for events in episodes.values())
    third_ms = (_FRAUD.end_ms - _FRAUD.start_ms) // 3
    assert starts[0] < _FRAUD.start_ms + third_ms
    assert _FRAUD.start_ms + 2 * third_ms < starts[-1] < _FRAUD.end_ms


def test_a_plain_script_checks_in_more_than_ten_times_a_minute(
    episodes: dict[Label, list[dict[str, Any]]],
) -> None:
    """Within 60 seconds by the events' own time."""
    for events in _of(episodes, "velocity", "plain"):
        times_ms = sorted(_occurred_ms(event) for event in events)
        assert len(times_ms) > 12
        assert times_ms[10] - times_ms[0] < 60_000


def test_a_plain_ring_refers_itself(episodes: dict[Label, list[dict[str, Any]]]) -> None:
    """Each refers the next, and the last refers the first."""
    for events in _of(episodes, "ring", "plain"):
        edges = {
            event["member_id"]: event["referee_id"]
            for event in events
            if event["type"] == "referral.registered"
        }
        assert len(edges) == 3
        assert set(edges) == set(edges.values())


def test_a_plain_farm_is_many_members_on_one_telephone(
    episodes: dict[Label, list[dict[str, Any]]],
) -> None:
    """Seven accounts at least on one device."""
    for events in _of(episodes, "farm", "plain"):
        assert len({event["device_id"] for event in events}) == 1
        assert len({event["member_id"] for event in events}) >= 7


def test_a_refund_loop_brings_back_what_it_buys(
    episodes: dict[Label, list[dict[str, Any]]],
) -> None:
    """Every order of the episode is returned."""
    for events in _of(episodes, "refund_loop", "plain"):
        ordered = {event["order_id"] for event in events if event["type"] == "order.paid"}
        assert len(ordered) >= 5
        assert ordered == {e["order_id"] for e in events if e["type"] == "order.refunded"}


def test_a_takeover_spends_on_a_telephone_nobody_else_has(
    episodes: dict[Label, list[dict[str, Any]]],
) -> None:
    """The thief's device is in no honest event."""
    honest = {
        json.loads(generated.value).get("device_id")
        for generated in generate(_FRAUD)
        if generated.label is None
    }
    for events in _of(episodes, "takeover", "plain"):
        assert not {event["device_id"] for event in events} & honest
        assert events[-1]["type"] == "points.redeem"


def test_what_is_part_of_a_fraud_cannot_be_read_from_the_bytes() -> None:
    """The label stands beside the event."""
    labelled = 0
    for generated in generate(_FRAUD):
        if generated.label is not None:
            labelled += 1
            assert generated.label.kind.encode() not in generated.value
    assert labelled > _FRAUD.fraudsters


def test_nobody_honest_is_in_two_cities_at_once() -> None:
    """Between two places, honest members have hours: nobody flies by chance."""
    last: dict[str, tuple[int, tuple[float, float]]] = {}
    moments: list[tuple[int, str, tuple[float, float]]] = []
    for generated in generate(replace(_PLAN, fraudsters=0)):
        event = json.loads(generated.value)
        if "geo" in event:
            place = (event["geo"]["lat"], event["geo"]["lon"])
            moments.append((_occurred_ms(event), event["member_id"], place))
    travelled = 0
    for at_ms, member, place in sorted(moments):
        if member in last:
            before_ms, there = last[member]
            if max(abs(place[0] - there[0]), abs(place[1] - there[1])) > 0.5:
                travelled += 1
                assert at_ms - before_ms > 5 * 3_600_000
        last[member] = (at_ms, place)

    assert travelled > 20


def test_emission_never_goes_back() -> None:
    """Events are emitted in order, none before it occurred."""
    latest_ms = 0
    for generated in generate(replace(_FRAUD, redelivered=0.05)):
        assert generated.at_ms >= latest_ms
        latest_ms = generated.at_ms
        assert _occurred_ms(json.loads(generated.value)) <= generated.at_ms


def test_a_redelivery_repeats_an_earlier_event_byte_for_byte() -> None:
    """The share asked for comes again, marked, and only ever what was there before."""
    seen: set[bytes] = set()
    again = 0
    for generated in generate(replace(_PLAN, redelivered=0.1)):
        assert generated.again == (generated.value in seen)
        again += generated.again
        seen.add(generated.value)

    assert again == pytest.approx(_PLAN.events * 0.1, rel=0.15)


def test_streams_of_different_plans_share_members_but_no_ids(events: list[dict[str, Any]]) -> None:
    """Publishing a second stream adds to the members' lives and reuses no event or order id."""
    others = [json.loads(each.value) for each in generate(replace(_PLAN, events=5_000))]

    for name in ("event_id", "order_id", "refund_id"):
        mine = {event[name] for event in events if name in event}
        assert not mine & {event[name] for event in others if name in event}
    assert {event["member_id"] for event in events} & {event["member_id"] for event in others}


def test_memory_does_not_grow_with_the_stream() -> None:
    """What is kept while streaming has a bound, whatever the number of events."""
    plan = replace(_PLAN, events=10_000_000, members=500_000)
    stream = generate(plan)
    for _ in itertools.islice(stream, 150_000):
        pass
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in itertools.islice(stream, 30_000):
        pass
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert after - before < 500_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"events": -1}, "number of events"),
        ({"members": 0}, "at least one member"),
        ({"end_ms": _PLAN.start_ms}, "before the end"),
        ({"start_ms": 0}, "1970"),
        ({"fraudsters": -1}, "fraudsters"),
        ({"redelivered": 1.0}, "redelivered"),
    ],
)
def test_a_plan_out_of_range_is_refused(change: dict[str, Any], says: str) -> None:
    """The message says what is wrong, for a user to read."""
    with pytest.raises(ValueError, match=says):
        replace(_PLAN, **change)


@pytest.mark.parametrize("hour", range(0, 49, 5))
def test_trade_and_moment_are_inverse(hour: int) -> None:
    """The moment until which so much was traded is the moment one started from."""
    moment_ms = _END_MS + hour * 3_600_000 + 1_234_567

    assert moment_of(trade_until(moment_ms)) == pytest.approx(moment_ms, abs=2)


_KNOWN_DIGEST = "3bd56e78bc7e4b415e4d96a90dc33b6f3287b038c4a96a9ca253cc7dde630f9e"
