"""Detectors measured against the truth, with detectors of which it is known what they do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest

from pointstream.engine import InputRecord, Output, State
from pointstream.operations.chain import DAY_MS
from pointstream.operations.evaluation import PARTITIONS, Evaluation, KindScore, evaluate, page
from pointstream.operations.generate import StreamPlan

_END_MS = 1_772_323_200_000  # 2026-03-01T00:00:00Z
_PLAN = StreamPlan(
    events=12_000,
    members=900,
    seed=3,
    start_ms=_END_MS - 14 * DAY_MS,
    end_ms=_END_MS,
    fraudsters=60,
)


class Watcher:
    """Awards 5 points an event, and flags whoever checks in more than `limit` times a minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: Counter[tuple[str, str]] = Counter()
        self._flagged: set[str] = set()
        self._output = Output(0)

    def begin(self, state: State, output: Output) -> None:
        self._output = output

    def process(self, records: Sequence[InputRecord]) -> int:
        for record in records:
            if record.value:
                self._take(record, json.loads(record.value))
        return len(records)

    def finish(self) -> None:
        return None

    def _take(self, record: InputRecord, event: dict[str, Any]) -> None:
        member_id, event_id = event["member_id"], event["event_id"]
        lot = f"lot-{event_id}"
        if event["type"].startswith("review."):
            self._send("command-results", {"command_id": event_id, "outcome": "accepted"})
            if event["type"] == "review.reject":
                self._entry("points.reversed", event_id, f"lot-{self._last}", -5)
            return
        self._entry("points.earned", event_id, lot, 5)
        if event["type"] != "checkin.recorded":
            return
        minute = event["occurred_at"][:16]
        self._counts[member_id, minute] += 1
        if self._counts[member_id, minute] > self._limit and member_id not in self._flagged:
            self._flagged.add(member_id)
            self._last = event_id
            self._send(
                "fraud-flags",
                {
                    "flag_id": f"f-{member_id}",
                    "state": "raised",
                    "action": "hold",
                    "detector": "often",
                    "member_ids": [member_id],
                    "evidence": [event_id],
                    "explanation": f"{member_id} checks in too often",
                },
            )

    def _entry(self, kind: str, cause: str, lot: str, delta: int) -> None:
        lots = [{"lot_id": lot, "delta": delta}]
        body = {"type": kind, "cause_event_id": cause, "amount": abs(delta), "lots": lots}
        self._send("balance-changes", body)

    def _send(self, topic: str, body: dict[str, Any]) -> None:
        self._output.send(f"points.{topic}", b"k", json.dumps(body).encode())


def _row(result: Evaluation, kind: str, subtlety: str) -> KindScore:
    return next(row for row in result.kinds if (row.kind, row.subtlety) == (kind, subtlety))


@pytest.fixture(scope="module")
def careful() -> Evaluation:
    """What comes of a detector that finds only scripts."""
    return evaluate(_PLAN, lambda _: Watcher(9))


def test_what_a_detector_finds_is_counted_for_its_kind(careful: Evaluation) -> None:
    """A detector of scripts finds all scripts, flags nobody else, and no other kind."""
    scripts = _row(careful, "velocity", "plain")

    assert scripts.episodes >= 1
    assert (scripts.recall, scripts.precision) == (1.0, 1.0)
    assert scripts.found_by == {"often": scripts.episodes}
    assert 0 < (scripts.median_to_flag_ms or 0) < 3_600_000
    assert [row.found for row in careful.kinds if row.kind == "ring"] == [0, 0, 0]


def test_points_of_rejected_flags_are_saved(careful: Evaluation) -> None:
    """What the reviewer takes back of the awards of a fraud counts, and no more."""
    scripts = _row(careful, "velocity", "plain")

    assert scripts.saved == 5 * scripts.episodes
    assert scripts.at_stake > scripts.saved
    assert all(row.saved == 0 for row in careful.kinds if row.kind == "travel")
    assert careful.unanswered == 0


def test_flags_of_honest_members_count_against_a_detector() -> None:
    """One that flags every check-in is right about a few, and precision tells."""
    result = evaluate(_PLAN, lambda _: Watcher(0))
    detector = result.detectors[0]

    assert detector.false_flags > detector.true_flags > 0
    assert (detector.precision or 1) < 0.5
    assert {row.false_flags for row in result.kinds if row.found} == {detector.false_flags}
    assert detector.examples
    assert all("too often" in example for example in detector.examples)


def test_the_results_of_several_streams_add_up(careful: Evaluation) -> None:
    """Every count of two runs together is the sum."""
    both = careful + careful

    assert both.events == 2 * careful.events
    assert both.flags == 2 * careful.flags
    for one, two in zip(careful.kinds, both.kinds, strict=True):
        assert (two.episodes, two.found) == (2 * one.episodes, 2 * one.found)
        assert two.recall == one.recall
    assert both.detectors[0].true_flags == 2 * careful.detectors[0].true_flags


def test_the_same_plan_gives_the_same_result(careful: Evaluation) -> None:
    """No figure depends on the machine."""
    assert evaluate(_PLAN, lambda _: Watcher(9)).as_json() == careful.as_json()


def test_each_partition_has_a_job_of_its_own() -> None:
    """Members meet the job of their partition, and all partitions get some."""
    made: list[int] = []

    def make(partition: int) -> Watcher:
        made.append(partition)
        return Watcher(9)

    evaluate(_PLAN, make)

    assert made == list(range(PARTITIONS))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_shows_every_kind_and_loads_nothing(careful: Evaluation) -> None:
    """Two plots with two bars for each kind that came, and no address of anything else."""
    text = page(careful)
    read = _Page()
    read.feed(text)
    shown = sum(bool(row.episodes) for row in careful.kinds)

    assert read.tags["svg"] == 2
    assert read.tags["rect"] == 2 * 2 * shown
    assert read.links == []
    assert "://" not in text
