"""One run over a labelled stream, and what comes of it."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from pointstream.contracts.wire import dumps, loads, rfc3339
from pointstream.engine import Processor
from pointstream.operations.chain import DAY_MS
from pointstream.operations.evaluation.laboratory import Laboratory
from pointstream.operations.evaluation.score import (
    EXAMPLES,
    DetectorScore,
    Evaluation,
    KindScore,
)
from pointstream.operations.generate import (
    FRAUD_KINDS,
    SUBTLETIES,
    Generated,
    Label,
    StreamPlan,
    generate,
)

__all__ = ["PARTITIONS", "evaluate"]

PARTITIONS: Final = 4
"""Of the laboratory: some, so that detectors have to talk over partitions."""
_TOGETHER_MS: Final = 60_000
"""Events that arrive within a minute are taken together: what one partition tells another is known
there a minute later at most."""
_TOGETHER: Final = 500
_LATE_MS: Final = 7 * DAY_MS
"""A flag counts for an episode until so long after its last event."""


@dataclass(slots=True)
class _Episode:
    """What is known of one episode."""

    begin_ms: int
    end_ms: int = 0
    members: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    found_by: dict[str, int] = field(default_factory=dict)
    """By detector, when its first flag was raised (ms)."""


@dataclass(slots=True)
class _Flag:
    """A flag, as far as it has come."""

    flag_id: str
    detector: str
    action: str
    raised_ms: int
    """When it was raised, in partition time."""
    members: set[str]
    hits: dict[Label, int] = field(default_factory=dict)
    """The episodes that it is right about, and when it came to be (ms)."""


def evaluate(
    plan: StreamPlan,
    make_job: Callable[[int], Processor],
    *,
    progress: Callable[[int], None] = lambda events: None,
) -> Evaluation:
    """Let the job take the plan's stream, and say what its detectors found of the fraud in it.

    `progress` is told now and then how many more events were taken.
    """
    with tempfile.TemporaryDirectory(prefix="pointstream-evaluate-") as directory:
        laboratory = Laboratory(make_job, PARTITIONS, Path(directory))
        try:
            return _Trial(plan, laboratory, progress).run()
        finally:
            laboratory.close()


class _Trial:
    def __init__(
        self,
        plan: StreamPlan,
        laboratory: Laboratory,
        progress: Callable[[int], None],
    ) -> None:
        self._plan = plan
        self._laboratory = laboratory
        self._progress = progress
        self._now_ms = plan.start_ms
        self._members: set[bytes] = set()
        self._episodes: dict[Label, _Episode] = {}
        self._label_of: dict[str, Label] = {}
        """By event id."""
        self._order_label: dict[str, Label] = {}
        self._flags: dict[str, _Flag] = {}
        self._said: dict[str, str] = {}
        self._stake: Counter[Label] = Counter()
        self._saved: Counter[Label] = Counter()
        self._lots: dict[str, Label] = {}
        self._spending: dict[str, tuple[Label, int]] = {}
        """Redemptions that are part of a fraud, and how many points each asked for."""
        self._reviews: set[str] = set()
        self._answered_reviews: set[str] = set()

    def run(self) -> Evaluation:
        for batch in _batches(generate(self._plan)):
            self._now_ms = batch[-1].at_ms
            for generated in batch:
                self._members.add(generated.key)
                if generated.label is not None and not generated.again:
                    self._note(generated.label, loads(generated.value), generated.at_ms)
            records = [(each.topic, each.key, each.value) for each in batch]
            self._look(self._laboratory.give(records, self._now_ms))
            self._progress(len(batch))
        self._review()
        return self._result()

    # --- the truth ----------------------------------------------------------------------------

    def _note(self, label: Label, event: dict[str, Any], at_ms: int) -> None:
        # Measured from arrival: what a till hands in late cannot be flagged before.
        episode = self._episodes.setdefault(label, _Episode(at_ms))
        episode.end_ms = at_ms
        episode.members.add(event["member_id"])
        episode.events.add(event["event_id"])
        self._label_of[event["event_id"]] = label
        if event["type"] == "points.redeem":
            self._spending[event["event_id"]] = label, event["points"]
            self._stake[label] += event["points"]

    # --- what came out ------------------------------------------------------------------------

    def _look(self, outputs: Iterator[tuple[str, dict[str, Any]]]) -> None:
        for suffix, body in outputs:
            if suffix == "fraud-flags":
                self._flagged(body)
            elif suffix == "balance-changes":
                self._moved(body)
            elif suffix == "command-results":
                self._answered(body)

    def _flagged(self, body: dict[str, Any]) -> None:
        if body["state"] != "raised":
            return
        flag = self._flags.get(body["flag_id"])
        if flag is None:
            flag = self._flags[body["flag_id"]] = _Flag(
                body["flag_id"], body["detector"], body["action"], self._now_ms, set()
            )
            self._said[flag.flag_id] = body["explanation"]
        flag.members.update(body["member_ids"])
        # A flag that goes on may come to name an episode long after it was raised.
        for event_id in body["evidence"]:
            label = self._label_of.get(event_id)
            if label is not None:
                flag.hits.setdefault(label, self._now_ms)

    def _moved(self, entry: dict[str, Any]) -> None:
        kind = entry["type"]
        if kind in ("points.earned", "points.pending", "points.adjusted"):
            label = self._label_of.get(entry["cause_event_id"])
            if label is not None:
                self._stake[label] += entry["amount"]
                for lot in entry["lots"]:
                    self._lots[lot["lot_id"]] = label
        elif kind == "points.reversed":
            if entry["cause_event_id"] in self._reviews:
                # What was held has left its lots before, so they show no change now.
                labels = (self._lots.get(lot["lot_id"]) for lot in entry["lots"])
                label = next(filter(None, labels), None)
                if label is not None:
                    self._saved[label] += entry["amount"]
            else:
                for lot in entry["lots"]:
                    label = self._lots.get(lot["lot_id"])
                    if label is not None:
                        # Given back by the fraudster: it is at stake no longer.
                        self._stake[label] += lot["delta"]

    def _answered(self, result: dict[str, Any]) -> None:
        spent = self._spending.pop(result["command_id"], None)
        if spent is not None and result["outcome"] == "rejected":
            label, points = spent
            self._saved[label] += points
        if result["command_id"] in self._reviews:
            self._answered_reviews.add(result["command_id"])

    # --- the reviewer -------------------------------------------------------------------------

    def _review(self) -> None:
        """Decide on each flag as somebody would who knows the truth, a day after the end."""
        self._now_ms += DAY_MS
        self._look(self._laboratory.tick(self._now_ms))
        for flag in self._flags.values():
            self._look_for_members(flag)
        reviews = []
        for number, flag in enumerate(self._flags.values()):
            member = min(flag.members)
            review_id = f"review-{number}"
            review = {
                "event_id": review_id,
                "type": "review.reject" if flag.hits else "review.release",
                "member_id": member,
                "occurred_at": rfc3339(self._now_ms),
                "flag_id": flag.flag_id,
                "reason": "the labels say so",
                "actor": {"id": "reviewer", "role": "head_office"},
            }
            self._reviews.add(review_id)
            reviews.append(("commands", member.encode(), dumps(review)))
        self._look(self._laboratory.give(reviews, self._now_ms))

    def _look_for_members(self, flag: _Flag) -> None:
        """Count a flag for the episodes whose members it names, while they last."""
        for label, episode in self._episodes.items():
            in_time = episode.begin_ms <= flag.raised_ms <= episode.end_ms + _LATE_MS
            if in_time and flag.members & episode.members:
                flag.hits.setdefault(label, flag.raised_ms)

    # --- the result ---------------------------------------------------------------------------

    def _result(self) -> Evaluation:
        detectors: dict[str, DetectorScore] = {}
        false: Counter[str] = Counter()
        true: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for flag in self._flags.values():
            score = detectors.setdefault(flag.detector, DetectorScore(flag.detector))
            if not flag.hits:
                false[flag.detector] += 1
                score.false_flags += 1
                if len(score.examples) < EXAMPLES:
                    score.examples.append(self._said[flag.flag_id])
                continue
            score.true_flags += 1
            for kind, subtlety in {(label.kind, label.subtlety) for label in flag.hits}:
                true[kind, subtlety][flag.detector] += 1
            for label, hit_ms in flag.hits.items():
                found = self._episodes[label].found_by
                found[flag.detector] = min(hit_ms, found.get(flag.detector, hit_ms))
        kinds = {
            (kind, subtlety): KindScore(kind, subtlety)
            for kind in FRAUD_KINDS
            for subtlety in SUBTLETIES
        }
        for label, episode in self._episodes.items():
            row = kinds[label.kind, label.subtlety]
            row.episodes += 1
            row.at_stake += self._stake[label]
            # A rejection takes honest points of the same day back as well: those were not at stake.
            row.saved += min(self._saved[label], self._stake[label])
            if not episode.found_by:
                continue
            row.found += 1
            row.to_flag_ms.append(min(episode.found_by.values()) - episode.begin_ms)
            for detector, raised_ms in episode.found_by.items():
                row.found_by[detector] += 1
                detectors[detector].episodes[label.kind] += 1
                detectors[detector].to_flag_ms.append(raised_ms - episode.begin_ms)
        for key, row in kinds.items():
            row.true_flags = sum(true[key].values())
            row.false_flags = sum(false[detector] for detector in true[key])
        fraudsters = set(chain.from_iterable(e.members for e in self._episodes.values()))
        return Evaluation(
            self._plan.events,
            len(self._members),
            len(fraudsters),
            len(self._flags),
            list(kinds.values()),
            sorted(detectors.values(), key=lambda each: each.detector),
            len(self._reviews - self._answered_reviews),
        )


def _batches(stream: Iterator[Generated]) -> Iterator[list[Generated]]:
    batch: list[Generated] = []
    for generated in stream:
        if batch and (len(batch) >= _TOGETHER or generated.at_ms - batch[0].at_ms > _TOGETHER_MS):
            yield batch
            batch = []
        batch.append(generated)
    if batch:
        yield batch
