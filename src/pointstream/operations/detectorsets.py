"""Detector sets as operators write, publish and withdraw them, and look at what is in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.fraud.compile import compile_detector_set
from pointstream.fraud.tables import DetectorVersion
from pointstream.ledger.decision import SetAside
from pointstream.ledger.detectorbook import DETECTOR_SETS
from pointstream.operations.documents import Document, DocumentInvalid, Location, Problem
from pointstream.operations.publish import OutgoingRecord
from pointstream.operations.reading import CommittedReader
from pointstream.operations.rulesets import DETECTORS_TOPIC, Holds, read_book
from pointstream.rules.compile import CompiledProgramme

__all__ = [
    "DetectorFile",
    "Known",
    "detectors_publication",
    "detectors_withdrawal",
    "holds_now",
    "not_above",
    "read_detector_file",
    "read_known",
]

_WHAT: Final = (
    "this is no detector set; a file has one (id, version, detectors), a list of them, or a whole"
    " programme"
)


@dataclass(frozen=True, slots=True)
class DetectorFile:
    """What was read from a file, and what is wrong in it."""

    sets: tuple[DetectorSet, ...] = ()
    problems: tuple[Problem, ...] = ()
    whole: bool = False
    """Whether it is a whole programme."""


def read_detector_file(text: str, name: str) -> DetectorFile:
    """Read detector sets from YAML or JSON; `name` stands for the file in messages. Never raises.

    Of a whole programme, those of its `fraud` section.
    """
    try:
        document = Document(text, name)
    except DocumentInvalid as error:
        return DetectorFile(problems=error.found)
    content, whole = document.content, False
    at: Location = ()
    if isinstance(content, dict) and "rule_sets" in content:
        whole, at = True, ("fraud", "detector_sets")
        content = _inside(content, "fraud", "detector_sets")
    elif isinstance(content, dict) and "detector_sets" in content:
        at, content = ("detector_sets",), content["detector_sets"]
    elif isinstance(content, dict):
        return _read(document, [((), content)], whole)
    if not isinstance(content, list) or not content:
        return DetectorFile(problems=(document.problem((), _WHAT),), whole=whole)
    places = [((*at, place), each) for place, each in enumerate(content)]
    return _read(document, places, whole)


def _inside(content: Any, *names: str) -> Any:
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _read(document: Document, places: list[tuple[Location, Any]], whole: bool) -> DetectorFile:
    sets: list[DetectorSet] = []
    problems: list[Problem] = []
    for at, content in places:
        try:
            read = DetectorSet.model_validate(content)
            compile_detector_set(read)
        except ValidationError as error:
            problems += document.problems(error, DetectorSet, at)
        except ValueError as error:
            problems.append(document.problem(at, str(error)))
        else:
            if any((read.id, read.version) == (each.id, each.version) for each in sets):
                message = f"version {read.version} of {read.id!r} is there twice"
                problems.append(document.problem((*at, "version"), message))
            sets.append(read)
    return DetectorFile(tuple(sets), tuple(problems), whole)


def detectors_publication(prefix: str, detector_set: DetectorSet, now_ms: int) -> OutgoingRecord:
    """Return the record that publishes a version of a detector set, dated `now_ms`."""
    body: dict[str, Any] = {
        "event_id": f"detectors-{uuid4().hex}",
        "type": "detectors.published",
        "occurred_at": rfc3339(now_ms),
        "detector_set_id": detector_set.id,
        "detector_set": detector_set.model_dump(mode="json", exclude_defaults=True),
    }
    return OutgoingRecord(prefix + DETECTORS_TOPIC, detector_set.id.encode(), dumps(body))


def detectors_withdrawal(prefix: str, detector_set_id: str) -> OutgoingRecord:
    """Return the record that withdraws a detector set."""
    return OutgoingRecord(prefix + DETECTORS_TOPIC, detector_set_id.encode(), None)


@dataclass(frozen=True, slots=True)
class Known:
    """The detector sets that a partition knows."""

    versions: tuple[DetectorVersion, ...]
    set_aside: tuple[SetAside, ...]
    published: frozenset[tuple[str, int]]
    """Id and number of those that come from the topic."""


async def read_known(
    reader: CommittedReader,
    prefix: str,
    programme: CompiledProgramme,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> Known:
    """Read the detector sets as the first partition has applied them, with the programme's own.

    `on_step` is told which share of the work is done, 0 to 1. Raises `NoTopicsError`.
    """
    book = await read_book(reader, prefix, programme, on_step=on_step)
    DETECTOR_SETS.load(book)
    on_step(1.0)
    versions = book.detectors.tables.versions
    base = {(each.id, each.number) for each in book.detectors.base}
    return Known(
        tuple(sorted(versions, key=lambda each: (each.id, each.number))),
        tuple(book.set_aside),
        frozenset((each.id, each.number) for each in versions) - base,
    )


def holds_now(known: Known, version: DetectorVersion, at_ms: int) -> Holds:
    """Tell how a version stands at a moment."""
    if version.from_ms is not None and version.from_ms > at_ms:
        return Holds.AHEAD
    if not version.holds(at_ms):
        return Holds.OVER
    others = (each for each in known.versions if each.id == version.id)
    if any(other.number > version.number and other.holds(at_ms) for other in others):
        return Holds.OUTDONE
    return Holds.IN_FORCE


def not_above(programme: Programme, sets: tuple[DetectorSet, ...]) -> list[str]:
    """Return what the owner would refuse because the programme has such a version, or a higher."""
    own = programme.fraud.detector_sets if programme.fraud is not None else ()
    highest: dict[str, int] = {}
    for each in own:
        highest[each.id] = max(each.version, highest.get(each.id, 0))
    return [
        f"version {each.version} of {each.id!r} is not above {highest[each.id]}, the programme's"
        for each in sets
        if each.version <= highest.get(each.id, 0)
    ]
