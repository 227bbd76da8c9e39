"""Commands that waited and came to nothing: windows are as if they had never been given."""

from __future__ import annotations

from typing import Any

import pytest
from consent_support import BOSS, LIMITS, TILL, review
from ledger_support import DAY_MS, Bench, DictState
from watch_support import detector, watched

from pointstream.contracts.wire import dumps, rfc3339
from pointstream.ledger import Outcome
from pointstream.ledger.state import watch_key

SENDING = {"types": ["points.transfer"], "kind": "velocity"}
WINDOWS = [
    {**SENDING, "id": "day", "within": "P1D"},
    {**SENDING, "id": "week", "within": "P7D"},
    {**SENDING, "id": "day-points", "within": "P1D", "measure": "points"},
    {**SENDING, "id": "week-points", "within": "P7D", "measure": "points"},
]


def club(*detectors: dict[str, Any], **settings: Any) -> Bench:
    """m1 has 3,000 points, m2 can take some in."""
    bench = Bench(watched(*detectors, settings=settings))
    bench.order("o1", 3_000)
    bench.order("o2", 1, "m2")
    return bench


def send(bench: Bench, points: int, to: str = "m2", **fields: Any) -> None:
    fields.setdefault("actor", {"id": "m1", "role": "member"})
    bench.give("points.transfer", "m1", to_member_id=to, points=points, **fields)


def limited(detector_: dict[str, Any]) -> dict[str, Any]:
    """More than two, or more than 20 points."""
    return {**detector_, "limit": 20 if "measure" in detector_ else 2}


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window["id"])
def test_transfers_that_come_back_count_no_more(window: dict[str, Any]) -> None:
    """Two that arrive and any number that do not are two; a third that arrives is one too many."""
    bench = club(limited(window))
    for _ in range(3):
        send(bench, 10, "nobody")
    assert {answer["reason"] for answer in bench.answers} == {"recipient_unknown"}
    send(bench, 10)
    send(bench, 10, "nobody")
    send(bench, 10)
    assert bench.flags == []

    send(bench, 10)

    (flag,) = bench.flags
    assert flag["observed"] in (3, 30)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window["id"])
def test_what_came_to_nothing_leaves_no_trace(window: dict[str, Any]) -> None:
    """The value that is remembered of the member is the one from before, but for its end."""
    bench = club(limited(window))
    send(bench, 10)
    before = remembered(bench.state)

    send(bench, 10, "nobody", event_id="nothing")

    after = remembered(bench.state)
    assert b"nothing" not in after
    assert after == before


def remembered(state: DictState) -> bytes:
    value = state.get(watch_key(b"m1"))
    assert value is not None
    return value[9:]


@pytest.mark.parametrize("how", ["rejected", "never", "impossible", "released"])
def test_a_command_that_nobody_consents_to_counts_no_more(how: str) -> None:
    """Refused, left alone, or impossible by then; one that is carried out counts on."""
    given = detector("velocity", id="given", types=["points.adjust"], limit=1, within="P14D")
    bench = club(given, limits=LIMITS, consent_window="P2D")
    asked = bench.adjust(-150, event_id="c1", actor=TILL, store_id="s1")
    assert asked.outcome is Outcome.AWAITING_CONSENT
    (flag,) = bench.flags
    if how == "never":
        bench.later(3)
    else:
        if how == "impossible":
            bench.clear(actor={"id": "end", "role": "system"})
        verdict = "reject" if how == "rejected" else "release"
        review(bench, verdict, flag["flag_id"], BOSS)
    bench.flags.clear()

    bench.adjust(5)

    assert len(bench.flags) == (how == "released")


@pytest.mark.parametrize("stock", [0, 1])
def test_a_redemption_that_is_out_of_stock_counts_no_more(stock: int) -> None:
    """And one that there was an item for does."""
    bench = club(detector("velocity", id="spent", types=["points.redeem"], limit=1, within="P1D"))
    body = {
        "event_id": "item",
        "type": "item.published",
        "item_id": "cup",
        "occurred_at": rfc3339(bench.now_ms),
        "price_points": 10,
        "stock": stock,
    }
    publish(bench, body)
    actor = {"id": "m1", "role": "member"}
    bench.give("points.redeem", "m1", item_id="cup", actor=actor)
    assert bench.answers[-1]["outcome"] == ("accepted" if stock else "rejected")

    bench.redeem(5)

    assert len(bench.flags) == stock


def publish(bench: Bench, body: dict[str, Any]) -> None:
    bench.give_record("catalogue", b"cup", dumps(body))


@pytest.mark.parametrize(("windows", "flagged"), [((0, 1), []), ((1,), ["week"])])
def test_a_transfer_that_waited_for_consent_is_forgotten_by_its_own_date(
    windows: tuple[int, ...], flagged: list[str]
) -> None:
    """It is dated anew when somebody consents. Where it was counted by days alone, and its first
    date is not known any more, it stays counted."""
    bench = club(*(limited(WINDOWS[each]) for each in windows), limits=LIMITS)
    send(bench, 150, "nobody", actor=TILL, store_id="s1", event_id="big")
    (flag,) = bench.flags
    bench.later(ms=DAY_MS // 2)
    review(bench, "release", flag["flag_id"], BOSS)
    assert bench.answers[-1]["reason"] == "recipient_unknown"
    bench.flags.clear()

    send(bench, 1)
    send(bench, 1)

    assert [flag["detector"] for flag in bench.flags] == flagged
