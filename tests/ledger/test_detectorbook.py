"""Detector sets published while the ledger runs: hot, versioned by time, withdrawn."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import START_MS, Bench, programme
from watch_support import CHECK_IN, MINUTE_MS, OFTEN, watched

from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.ledger.decision import Decision, Outcome
from pointstream.ledger.state import TOLD_DETECTORS_START, TOLD_DETECTORS_STOP

SECOND_MS = 1_000


def often(version: int, limit: int, *, id: str = "base", **fields: Any) -> dict[str, Any]:
    """A set with one detector: more than so many check-ins in a minute."""
    return {"id": id, "version": version, "detectors": [{**OFTEN, "limit": limit}], **fields}


def publish(bench: Bench, content: dict[str, Any], event_id: str = "") -> Decision:
    """Publish a set, dated now."""
    body = {
        "event_id": event_id or f"{content['id']}-{content['version']}",
        "type": "detectors.published",
        "occurred_at": rfc3339(bench.now_ms),
        "detector_set_id": content["id"],
        "detector_set": content,
    }
    return bench.give_record("detectors", content["id"].encode(), dumps(body))


def check_ins(bench: Bench, number: int, start_ms: int | None = None) -> None:
    """So many check-ins, a second apart."""
    for nth in range(number):
        at_ms = (bench.now_ms if start_ms is None else start_ms) + nth * SECOND_MS
        bench.check_in(occurred_ms=at_ms)


def tripped(bench: Bench) -> list[tuple[int, int, int]]:
    """Version, observed and threshold of the flags."""
    return [(f["rule_version"], f["observed"], f["threshold"]) for f in bench.flags]


def test_a_published_version_counts_from_now_and_goes_on_from_what_was_counted() -> None:
    """The number of a window is there when its limit changes."""
    bench = Bench(watched(OFTEN))
    check_ins(bench, 5)
    assert publish(bench, often(4, 5)).outcome is Outcome.DETECTORS_PUBLISHED
    assert bench.flags == []
    bench.check_in()
    assert tripped(bench) == [(4, 6, 5)]


def test_flags_come_in_one_order_whatever_was_published_first_and_after_a_move() -> None:
    """Of two sets: by their ids, as they are read from the state."""
    raised = []
    for ids in (("spring", "autumn"), ("autumn", "spring")):
        for moved in (False, True):
            bench = Bench(watched())
            for id_ in ids:
                found = {**OFTEN, "id": f"often-{id_}", "limit": 3}
                publish(bench, {"id": id_, "version": 1, "detectors": [found]})
            if moved:
                bench.restart()
            check_ins(bench, 4)
            raised.append([flag["detector"] for flag in bench.flags])
    assert raised == [["often-autumn", "often-spring"]] * 4


def test_an_event_is_watched_by_the_version_of_its_own_time() -> None:
    """What happened before a version began is not held against it."""
    bench = Bench(watched(OFTEN))
    bench.later(ms=10 * MINUTE_MS)
    publish(bench, often(4, 2, effective_from=rfc3339(bench.now_ms)))
    check_ins(bench, 5, START_MS)
    assert bench.flags == []
    check_ins(bench, 3)
    assert tripped(bench) == [(4, 3, 2)]


def test_a_withdrawn_set_trips_nothing_any_more_and_stays_so_after_a_restart() -> None:
    """A tombstone ends the programme's own version, too."""
    bench = Bench(watched(OFTEN))
    publish(bench, often(4, 2))
    bench.later(ms=MINUTE_MS)
    decision = bench.give_record("detectors", b"base", None)
    assert decision.outcome is Outcome.DETECTORS_WITHDRAWN
    for _ in range(2):
        check_ins(bench, 12)
        bench.flush()
        bench.restart()
    assert bench.flags == []
    assert publish(bench, often(4, 2), "again").outcome is Outcome.DETECTORS_INVALID
    publish(bench, often(5, 2))
    check_ins(bench, 3)
    assert [version for version, _, _ in tripped(bench)] == [5]


def test_sets_of_different_ids_are_in_force_side_by_side() -> None:
    """A shop's own set leaves that of the programme as it is."""
    bench = Bench(watched(OFTEN))
    own = {"id": "shop", "version": 1, "detectors": [{**OFTEN, "id": "own", "limit": 3}]}
    publish(bench, own)
    check_ins(bench, 11)
    assert tripped(bench)[0] == (1, 4, 3)
    assert tripped(bench)[-1] == (3, 11, 10)


def test_what_was_published_is_there_after_a_restart() -> None:
    """It is in the state, and not only in memory."""
    bench = Bench(watched(OFTEN))
    publish(bench, often(4, 2))
    bench.flush()
    bench.restart()
    check_ins(bench, 3)
    assert tripped(bench) == [(4, 3, 2)]
    kept = list(bench.state.scan(TOLD_DETECTORS_START, TOLD_DETECTORS_STOP))
    assert len(kept) == 1


def test_versions_that_nobody_can_ask_for_are_dropped() -> None:
    """What is outdone for longer than events are taken is no use any more."""
    bench = Bench(watched(OFTEN))
    publish(bench, often(4, 2))
    bench.later(1)
    publish(bench, often(5, 3))
    bench.later(401)
    kept = [key for key, _ in bench.state.scan(TOLD_DETECTORS_START, TOLD_DETECTORS_STOP)]
    assert [key[-1] for key in kept] == [5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (often(3, 5), "version: 3 is not above 3"),
        (
            often(4, 5, deny=[{"entity": "ip", "id": "203.0.113.0/33"}]),
            "does not appear to be an IPv4 or IPv6 network",
        ),
    ],
)
def test_what_is_refused_leaves_everything_as_it_was(content: dict[str, Any], said: str) -> None:
    """A dead letter tells why."""
    bench = Bench(watched(OFTEN))
    decision = publish(bench, content)
    (letter,) = decision.dead_letters
    assert letter.code is DeadLetterCode.DETECTORS_INVALID
    assert said in letter.message
    check_ins(bench, 10)
    assert bench.flags == []


def test_a_programme_without_fraud_takes_no_detectors() -> None:
    """Reviews would lack what was never kept; the message says what to do."""
    bench = Bench(programme(CHECK_IN))
    (letter,) = publish(bench, often(1, 2)).dead_letters
    assert "fraud: {}" in letter.message
    empty = Bench(programme(CHECK_IN, fraud={}))
    assert publish(empty, often(1, 2)).outcome is Outcome.DETECTORS_PUBLISHED
    check_ins(empty, 3)
    assert tripped(empty) == [(1, 3, 2)]


def test_equal_content_changes_nothing_and_a_set_that_fits_no_more_is_set_aside() -> None:
    """A redelivery is known; a programme that lost its section says so and goes on."""
    bench = Bench(watched(OFTEN))
    publish(bench, often(4, 2))
    assert publish(bench, often(4, 2), "other").outcome is Outcome.DETECTORS_ALREADY_KNOWN
    bench.flush()
    bench.programme = programme(CHECK_IN)
    bench.restart()
    check_ins(bench, 3)
    assert bench.flags == []
    (aside,) = bench.ledger.take_set_aside()
    assert (aside.what, aside.rule_set, aside.version) == ("detector set", "base", 4)
