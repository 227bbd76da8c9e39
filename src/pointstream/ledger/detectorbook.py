"""Detector sets that come and go while the job runs, in the way of rule sets (`rulebook.py`).

A programme without a `fraud` section refuses them: nothing of what a review needs was kept there.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.fitting import Misfit
from pointstream.contracts.inputs import DetectorsPublished, DetectorsWithdrawn
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.fraud.compile import CompiledDetectorSet, compile_detector_set
from pointstream.fraud.tables import DetectorBook, DetectorVersion
from pointstream.ledger.book import Book
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.published import Outcomes, Published
from pointstream.ledger.state import TOLD_DETECTORS_START

__all__ = ["DETECTOR_SETS", "detectors_published", "detectors_withdrawn"]


class _DetectorSets(Published[DetectorSet, CompiledDetectorSet, DetectorVersion]):
    what = "detector set"
    field = "detectors"
    owned = "detectors:"
    kind = TOLD_DETECTORS_START
    outcomes = Outcomes(
        published=Outcome.DETECTORS_PUBLISHED,
        withdrawn=Outcome.DETECTORS_WITHDRAWN,
        already_known=Outcome.DETECTORS_ALREADY_KNOWN,
        told=Outcome.DETECTORS_TOLD,
        ended=Outcome.DETECTORS_ENDED,
        set_aside=Outcome.DETECTORS_SET_ASIDE,
        dropped=Outcome.DETECTORS_DROPPED,
        invalid=Outcome.DETECTORS_INVALID,
        code=DeadLetterCode.DETECTORS_INVALID,
    )

    def parsed(self, text: bytes) -> DetectorSet:
        return DetectorSet.model_validate_json(text)

    def misfits(self, book: Book, content: DetectorSet) -> list[Misfit]:
        if book.programme.source.fraud is not None:
            return []
        return [
            Misfit((), "this programme has no fraud section: with `fraud: {}` in its file it can")
        ]

    def compile(self, content: DetectorSet) -> CompiledDetectorSet:
        return compile_detector_set(content)

    def version(
        self,
        content: DetectorSet,
        compiled: CompiledDetectorSet,
        from_ms: int | None,
        to_ms: int | None,
    ) -> DetectorVersion:
        return DetectorVersion(content, compiled, from_ms, to_ms)

    def versions(self, book: Book) -> DetectorBook:
        return book.detectors


DETECTOR_SETS: Final = _DetectorSets()


def detectors_published(book: Book, event: DetectorsPublished, source: Source) -> Decision:
    """Accept a version of a detector set, as its owner, and tell all partitions; or refuse it."""
    content, at_ms = event.detector_set, event.occurred_at_ms
    return DETECTOR_SETS.take(book, content, event.event_id, at_ms, source)


def detectors_withdrawn(book: Book, event: DetectorsWithdrawn, source: Source) -> Decision:
    """End all versions of a detector set, as its owner, and tell all partitions."""
    return DETECTOR_SETS.withdraw(book, event.detector_set_id, source)
