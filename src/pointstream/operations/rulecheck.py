"""Whether rule sets are fit to be used, and what of them holds when.

A problem keeps a rule set from being used. A warning is about what can be used and may not have
been meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from pointstream.contracts.fitting import misfits
from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import Rule, RuleSet
from pointstream.contracts.wire import epoch_ms, rfc3339
from pointstream.operations.documents import Location, Problem
from pointstream.operations.rulefiles import RuleFile, Written, highest

__all__ = ["Checked", "Held", "Span", "check_rule_files"]

Span = tuple[int | None, int | None]
"""From, inclusive, to, exclusive, in ms UTC; None is open."""


@dataclass(frozen=True, slots=True)
class Held:
    """One rule of a version of a rule set, and the spans in which it counts, in order."""

    rule_set: RuleSet
    rule: Rule
    spans: tuple[Span, ...]


@dataclass(slots=True)
class Checked:
    """What was found. Nothing is told of when rules hold where there are problems."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)


def check_rule_files(files: Sequence[RuleFile], programme: Programme, now_ms: int) -> Checked:
    """Check what was read from files against a programme, and against each other.

    A file that is a programme is held against itself. The others are taken as to be published at
    `now_ms` beside the rule sets of `programme`: a version without effective_from holds from then.
    """
    checked = Checked([problem for file in files for problem in file.problems])
    beside: list[Written] = []
    for file in files:
        if file.programme is None:
            for written in file.rule_sets:
                _fits(checked, programme, written, beside)
                beside.append(written)
    if checked.problems:
        places = {file.name: place for place, file in enumerate(files)}
        checked.problems.sort(key=lambda problem: (places[problem.name], problem.line or 0))
        return checked
    base = [(rule_set, _span(rule_set)) for rule_set in programme.rule_sets]
    published = [(each.rule_set, _span(each.rule_set, now_ms)) for each in beside]
    for file in files:
        if file.programme is not None:
            own = [(rule_set, _span(rule_set)) for rule_set in file.programme.rule_sets]
            for place, written in enumerate(file.rule_sets):
                _look(checked, written, own[place], own)
    known = highest(programme.rule_sets)
    for place, written in enumerate(beside):
        checked.warnings += _untimely(written, known.get(written.rule_set.id), now_ms)
        _look(checked, written, published[place], [*base, *published])
    return checked


def _fits(
    checked: Checked, programme: Programme, written: Written, before: Sequence[Written]
) -> None:
    for misfit in misfits(programme, written.rule_set):
        checked.problems.append(written.problem(misfit.where, misfit.message))
    for other in before:
        if other.document is not written.document and (
            other.rule_set.id,
            other.rule_set.version,
        ) == (written.rule_set.id, written.rule_set.version):
            checked.problems.append(
                written.problem(
                    ("version",),
                    f"rule set {other.rule_set.id!r} has version {other.rule_set.version} in"
                    f" {other.document.name} too",
                )
            )


def _look(
    checked: Checked,
    written: Written,
    version: tuple[RuleSet, Span],
    versions: Sequence[tuple[RuleSet, Span]],
) -> None:
    """Find when the rules of a version count, and warn of those that never do."""
    rule_set, span = version
    higher = [
        other_span
        for other, other_span in versions
        if other.id == rule_set.id and other.version > rule_set.version
    ]
    spans = _without(span, higher)
    if not spans:
        message = "never holds: higher versions of it do, all the time"
        checked.warnings.append(written.problem(("version",), message))
    for place, rule in enumerate(rule_set.rules):
        of_rule = _span(rule)
        counts = tuple(filter(_not_empty, (_common(of_rule, each) for each in spans)))
        checked.held.append(Held(rule_set, rule, counts))
        if spans and not counts:
            checked.warnings.append(
                written.problem(
                    (
                        "rules",
                        place,
                        "effective_from" if of_rule[0] is not None else "effective_to",
                    ),
                    f"rule {rule.id!r} never holds: its span and that of its rule set"
                    f" ({_told(spans)}) have nothing in common",
                )
            )
        for location in _empty(rule):
            checked.warnings.append(
                written.problem(
                    ("rules", place, *location),
                    f"rule {rule.id!r} can never match: the list is empty; name something, or"
                    " leave it out to match all",
                )
            )


def _untimely(written: Written, known: RuleSet | None, now_ms: int) -> Iterator[Problem]:
    rule_set = written.rule_set
    if known is not None and rule_set.version <= known.version:
        yield written.problem(
            ("version",),
            f"version {rule_set.version} is not above {known.version}, which the programme has;"
            f" write {known.version + 1}",
        )
    from_ms, to_ms = _span(rule_set)
    if to_ms is not None and to_ms <= now_ms:
        yield written.problem(("effective_to",), "is over: only late events are scored by it")
    elif from_ms is not None and from_ms < now_ms:
        yield written.problem(
            ("effective_from",),
            "is in the past: what has been scored since stays as it is, and only late events are"
            " scored anew",
        )


def _empty(value: Any, location: Location = ()) -> Iterator[Location]:
    """Find the lists that were written and have nothing in them: none of nothing ever matches."""
    if isinstance(value, BaseModel):
        for name in value.model_fields_set:
            yield from _empty(getattr(value, name), (*location, name))
    elif isinstance(value, tuple):
        if not value:
            yield location
        for place, each in enumerate(value):
            yield from _empty(each, (*location, place))


def _span(held: RuleSet | Rule, open_ms: int | None = None) -> Span:
    start, end = held.effective_from, held.effective_to
    return (
        open_ms if start is None else epoch_ms(start),
        None if end is None else epoch_ms(end),
    )


def _common(one: Span, other: Span) -> Span:
    starts = [span[0] for span in (one, other) if span[0] is not None]
    ends = [span[1] for span in (one, other) if span[1] is not None]
    return max(starts, default=None), min(ends, default=None)


def _not_empty(span: Span) -> bool:
    return span[0] is None or span[1] is None or span[0] < span[1]


def _without(span: Span, others: Sequence[Span]) -> list[Span]:
    """Return what is left of a span without others, in order."""
    left = [span] if _not_empty(span) else []
    for start, end in filter(_not_empty, others):
        pieces = [
            _common(piece, rest)
            for piece in left
            for rest in ((None, start), (end, None))
            if rest != (None, None)
        ]
        left = [piece for piece in pieces if _not_empty(piece)]
    return sorted(left, key=lambda piece: -1 if piece[0] is None else piece[0])


def _told(spans: Sequence[Span]) -> str:
    return ", ".join(
        " to ".join("ever" if at_ms is None else rfc3339(at_ms) for at_ms in span) for span in spans
    )
