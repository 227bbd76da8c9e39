"""What the detectors found of what was there, in figures. Points are whole, times are ms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

__all__ = ["EXAMPLES", "DetectorScore", "Evaluation", "KindScore"]

EXAMPLES: Final = 3
"""How many false flags of a detector are quoted."""


class _Judged:
    """What can be said of any flags of which it is known whether they were right."""

    __slots__ = ()

    true_flags: int
    false_flags: int
    to_flag_ms: list[int]

    @property
    def precision(self) -> float | None:
        """The share of the flags that were right."""
        flags = self.true_flags + self.false_flags
        return self.true_flags / flags if flags else None

    @property
    def median_to_flag_ms(self) -> float | None:
        """The median of the time from the first event of an episode to its first flag."""
        return median(self.to_flag_ms) if self.to_flag_ms else None


@dataclass(slots=True)
class KindScore(_Judged):
    """How one kind of fraud, in one subtlety, was found. Points are whole, times are ms."""

    kind: str
    subtlety: str
    episodes: int = 0
    found: int = 0
    true_flags: int = 0
    false_flags: int = 0
    """Flags about nobody's fraud, of the detectors that found some of this kind."""
    found_by: Counter[str] = field(default_factory=Counter)
    """By detector, how many episodes."""
    to_flag_ms: list[int] = field(default_factory=list)
    """From the first event of an episode to its first flag."""
    at_stake: int = 0
    """Points that the fraud earned, or spent of others."""
    saved: int = 0
    """Of them, those that were kept back and reversed, or that could not be spent."""

    @property
    def recall(self) -> float | None:
        """The share of the episodes that were found."""
        return self.found / self.episodes if self.episodes else None

    def __add__(self, other: KindScore) -> KindScore:
        return KindScore(
            self.kind,
            self.subtlety,
            self.episodes + other.episodes,
            self.found + other.found,
            self.true_flags + other.true_flags,
            self.false_flags + other.false_flags,
            self.found_by + other.found_by,
            self.to_flag_ms + other.to_flag_ms,
            self.at_stake + other.at_stake,
            self.saved + other.saved,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for a program to read."""
        return {
            "kind": self.kind,
            "subtlety": self.subtlety,
            "episodes": self.episodes,
            "found": self.found,
            "recall": self.recall,
            "true_flags": self.true_flags,
            "false_flags": self.false_flags,
            "precision": self.precision,
            "median_to_flag_ms": self.median_to_flag_ms,
            "points_at_stake": self.at_stake,
            "points_saved": self.saved,
            "found_by": dict(self.found_by.most_common()),
        }


@dataclass(slots=True)
class DetectorScore(_Judged):
    """How right one detector was."""

    detector: str
    true_flags: int = 0
    false_flags: int = 0
    episodes: Counter[str] = field(default_factory=Counter)
    """By kind of fraud, how many it found."""
    to_flag_ms: list[int] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    """Explanations of the first false flags."""

    def __add__(self, other: DetectorScore) -> DetectorScore:
        return DetectorScore(
            self.detector,
            self.true_flags + other.true_flags,
            self.false_flags + other.false_flags,
            self.episodes + other.episodes,
            self.to_flag_ms + other.to_flag_ms,
            (self.examples + other.examples)[:EXAMPLES],
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for a program to read."""
        return {
            "detector": self.detector,
            "true_flags": self.true_flags,
            "false_flags": self.false_flags,
            "precision": self.precision,
            "median_to_flag_ms": self.median_to_flag_ms,
            "episodes": dict(self.episodes.most_common()),
            "false_examples": self.examples,
        }


@dataclass(slots=True)
class Evaluation:
    """The whole result."""

    events: int
    members: int
    fraudsters: int
    """Members with a part in fraud."""
    flags: int
    kinds: list[KindScore]
    detectors: list[DetectorScore]
    unanswered: int
    """Reviews that were given no answer: 0, or something is wrong."""

    def __add__(self, other: Evaluation) -> Evaluation:
        """Return the result over both streams: every count is the sum."""
        mine = {score.detector: score for score in self.detectors}
        for score in other.detectors:
            known = mine.get(score.detector)
            mine[score.detector] = score if known is None else known + score
        return Evaluation(
            self.events + other.events,
            self.members + other.members,
            self.fraudsters + other.fraudsters,
            self.flags + other.flags,
            [one + two for one, two in zip(self.kinds, other.kinds, strict=True)],
            [mine[detector] for detector in sorted(mine)],
            self.unanswered + other.unanswered,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for a program to read."""
        return {
            "events": self.events,
            "members": self.members,
            "fraudsters": self.fraudsters,
            "flags": self.flags,
            "kinds": [kind.as_json() for kind in self.kinds],
            "detectors": [detector.as_json() for detector in self.detectors],
            "unanswered_reviews": self.unanswered,
        }
