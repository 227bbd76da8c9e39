"""The same input gives the same flags and the same bytes, however it is cut into batches."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from ledger_support import DAY_MS, START_MS, Bench
from watch_support import HOUR_MS, MINUTE_MS, OFTEN, detector, watched

from pointstream.ledger import memory

ALL = (
    OFTEN,
    detector("velocity", types=["order.paid"], measure="points", limit=900, within="PT6H")
    | {"action": "hold"},
    detector("velocity", id="days", types=["order.paid"], limit=9, within="P2D"),
    detector("spike", types=["order.paid"], measure="money", floor=50_000, min_history=3),
    detector("travel"),
    detector("refund_loop", limit=1, within="P7D", share_percent=20),
    detector("takeover", within="PT24H"),
    detector("large_spend", points=900),
    detector("distinct", entity="member", of="device", limit=2, within="PT1H"),
)
PLACES = ({"lat": 31.2, "lon": 121.5}, {"lat": 39.9, "lon": 116.4}, {"lat": 31.3, "lon": 121.4})


def stream(seed: int) -> list[tuple[int, dict[str, Any]]]:
    """Events of three busy members with times of arrival; late, unordered, some given twice."""
    dice = Random(seed)
    now_ms, events = START_MS, []
    for nth in range(160):
        now_ms += dice.choice((0, 500, MINUTE_MS, HOUR_MS, DAY_MS if nth % 40 == 0 else 0))
        member = f"m{dice.randrange(3)}"
        envelope = {
            "member": member,
            "event_id": f"e{nth}",
            "occurred_ms": now_ms - dice.choice((0, 0, 2_000, 2 * HOUR_MS)),
            "device_id": f"d{dice.randrange(4)}",
            "geo": dice.choice(PLACES),
        }
        kind = dice.randrange(5)
        if kind < 2:
            told = {"type_": "checkin.recorded", **envelope}
        elif kind == 2:
            paid = dice.choice((10_00, 100_00, 1_000_00))
            told = {"type_": "order.paid", "order_id": f"o{nth}", "currency": "CNY"}
            told |= {"paid_minor": paid, **envelope}
        elif kind == 3:
            told = {"type_": "order.cancelled", "order_id": f"o{dice.randrange(nth + 1)}"}
            told |= envelope
        else:
            told = {"type_": "points.redeem", "points": dice.choice((10, 500, 1_000))}
            told |= {"actor": {"id": member, "role": "member"}, **envelope}
        events.append((now_ms, told))
        if nth % 9 == 0:
            events.append((now_ms, told))
    return events


def run(events: list[tuple[int, dict[str, Any]]], batch: int, restart: bool = False) -> Bench:
    bench = Bench(watched(*ALL), batch=batch)
    for nth, (now_ms, told) in enumerate(events):
        bench.now_ms = now_ms
        bench.give(**told)
        if restart and nth % 10 == 0:
            bench.flush()
            bench.restart()
    bench.flush()
    return bench


@pytest.mark.parametrize("seed", range(4))
def test_batches_and_restarts_make_no_difference(seed: int) -> None:
    """Flags, entries and every byte of the state, with what is remembered of members."""
    events = stream(seed)
    one = run(events, 1)
    raised = {flag["detector"] for flag in one.flags}
    assert len(raised) >= 5, raised
    assert any(key[:1] == b"W" for key in one.state.values)
    for other in (run(events, 7), run(events, 10_000), run(events, 3, restart=True)):
        assert other.flags == one.flags
        assert other.entries == one.entries
        assert other.state.values == one.state.values


@pytest.mark.parametrize("seed", [0, 2, 3, 5])
def test_a_sweep_within_a_batch_makes_no_difference(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered is written when the batch ends. The sweep, which comes by before that,
    neither misses the place of what is new nor takes away what has been renewed."""
    monkeypatch.setattr(memory, "SWEEP_EVERY", 2)
    monkeypatch.setattr(memory, "SWEEP_STEP", 5)
    dice = Random(seed)
    now_ms, events = START_MS, []
    for nth in range(120):
        now_ms += dice.choice((MINUTE_MS, DAY_MS, 20 * DAY_MS))
        told = {"type_": "checkin.recorded", "member": f"m{dice.randrange(9)}"}
        events.append((now_ms, {**told, "event_id": f"e{nth}", "device_id": f"d{nth % 4}"}))
    one = run(events, 1)
    assert len([key for key in one.state.values if key[:1] == b"W"]) < 9
    for batch in (3, 17, 10_000):
        assert run(events, batch).state.values == one.state.values


@pytest.mark.parametrize("restart", [False, True])
def test_whether_somebody_looked_for_what_few_have_leaves_nothing_behind(restart: bool) -> None:
    """A referee of whom nothing had to be remembered: a worker that has heard of the referral, and
    one that came after it, write the same bytes about the next event."""
    bench = Bench(watched(detector("referral_cycle"), detector("large_spend", points=900)))
    bench.adjust(50, "m2")
    bench.give("referral.registered", "m1", referee_id="m2")
    bench.flush()
    if restart:
        bench.restart()

    bench.give(
        "points.redeem", "m2", points=10, actor={"id": "m2", "role": "member"}, device_id="D"
    )
    bench.flush()

    assert [key for key in bench.books() if key.startswith(b"Wm2")] == []
