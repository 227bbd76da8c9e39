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
from pointstream.operations.generate import StreamPlan, generate

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
    for topic, key, value, again in generate(plan):
        stream.update(b"%b %b %b %d\n" % (topic.encode(), key, value, again))
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


def test_a_few_members_are_fraudsters() -> None:
    """Without fraudsters nobody hammers the check-in; with some, somebody does."""

    def most_check_ins_in_a_minute(plan: StreamPlan) -> int:
        counts: Counter[tuple[bytes, str]] = Counter()
        for generated in generate(plan):
            event = json.loads(generated.value)
            if event["type"] == "checkin.recorded":
                counts[generated.key, event["occurred_at"][:16]] += 1
        return max(counts.values())

    assert most_check_ins_in_a_minute(replace(_PLAN, fraudsters=0)) < 5
    assert most_check_ins_in_a_minute(replace(_PLAN, fraudsters=12)) >= 10


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


_KNOWN_DIGEST = "a686367465c8c475626989c48cca48e7512c54e57c884977f4277e504a55cc66"
