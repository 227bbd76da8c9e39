"""Files with rule sets: one rule set, a list of them, or a whole programme."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import RuleSet
from pointstream.operations.documents import Document, DocumentInvalid, Location, Problem

__all__ = ["RuleFile", "Written", "highest", "read_rule_file"]

_WHAT: Final = (
    "this is no rule set; a file has one rule set (id, version, rules), a list of them, or a whole"
    " programme"
)


Versioned = TypeVar("Versioned", RuleSet, DetectorSet)


@dataclass(frozen=True, slots=True)
class Written:
    """One rule set and where it stands in its file."""

    rule_set: RuleSet
    at: Location
    document: Document

    def problem(self, location: Location, message: str) -> Problem:
        """Return something to be said about a place inside the rule set."""
        return self.document.problem((*self.at, *location), message)


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What was read from a file, or the problems for which nothing was."""

    name: str
    rule_sets: tuple[Written, ...] = ()
    programme: Programme | None = None
    """The file itself, where it is a whole programme."""
    problems: tuple[Problem, ...] = ()


def read_rule_file(text: str, name: str) -> RuleFile:
    """Read rule sets from YAML or JSON; `name` stands for the file in messages. Never raises.

    Each rule set is looked at for itself: whether it fits a programme is another question.
    """
    try:
        document = Document(text, name)
    except DocumentInvalid as error:
        return RuleFile(name, problems=error.found)
    content = document.content
    if isinstance(content, dict) and "rule_sets" in content and len(content) > 1:
        return _programme(document)
    if isinstance(content, dict) and "rule_sets" not in content:
        return _rule_sets(document, [((), content)])
    listed, at = (
        (content["rule_sets"], ("rule_sets",)) if isinstance(content, dict) else (content, ())
    )
    if not isinstance(listed, list) or not listed:
        return RuleFile(name, problems=(document.problem(at, _WHAT),))
    return _rule_sets(document, [((*at, place), each) for place, each in enumerate(listed)])


def highest(sets: Iterable[Versioned]) -> dict[str, Versioned]:
    """Return the highest version of each rule set, or detector set, by its id."""
    found: dict[str, Versioned] = {}
    for each in sets:
        known = found.get(each.id)
        if known is None or known.version < each.version:
            found[each.id] = each
    return found


def _programme(document: Document) -> RuleFile:
    listed = document.content["rule_sets"]
    places: list[tuple[Location, Any]] = [
        (("rule_sets", place), each)
        for place, each in enumerate(listed if isinstance(listed, list) else ())
    ]
    problems = list(_repeated(document, places))
    try:
        programme = Programme.model_validate(document.content)
    except ValidationError as error:
        problems += _others(problems, document.problems(error, Programme))
        return RuleFile(document.name, problems=tuple(problems))
    written = tuple(
        Written(rule_set, ("rule_sets", place), document)
        for place, rule_set in enumerate(programme.rule_sets)
    )
    return RuleFile(document.name, written, programme, tuple(problems))


def _rule_sets(document: Document, places: list[tuple[Location, Any]]) -> RuleFile:
    problems = list(_repeated(document, places))
    written = []
    for at, content in places:
        try:
            written.append(Written(RuleSet.model_validate(content), at, document))
        except ValidationError as error:
            problems += _others(problems, document.problems(error, RuleSet, at))
    return RuleFile(document.name, tuple(written), None, tuple(problems))


def _others(known: Iterable[Problem], problems: Iterable[Problem]) -> list[Problem]:
    said = tuple(problem.message for problem in known)
    return [
        problem
        for problem in problems
        if not any(message.startswith(problem.message) for message in said)
    ]


def _repeated(document: Document, places: list[tuple[Location, Any]]) -> Iterator[Problem]:
    """Find what is there twice or not at all, by the place of the second.

    The models find it too, and name the rule set: among hundreds of rules that is not enough.
    """
    versions: set[tuple[str, int]] = set()
    for at, content in places:
        id_, version = _field(content, "id"), _field(content, "version")
        if isinstance(id_, str) and type(version) is int:
            if (id_, version) in versions:
                message = f"rule set {id_!r} has version {version} twice"
                yield document.problem((*at, "version"), message)
            versions.add((id_, version))
        for what in ("rules", "caps"):
            seen: set[str] = set()
            for place, each in enumerate(_list(content, what)):
                known = _field(each, "id")
                if isinstance(known, str):
                    if known in seen:
                        message = f"two {what} have the id {known!r}"
                        yield document.problem((*at, what, place, "id"), message)
                    seen.add(known)
        rules = {
            rule["id"]: str(rule.get("wallet", "points"))
            # Of rules with one id, the first: the second has been told.
            for rule in reversed(_list(content, "rules"))
            if isinstance(_field(rule, "id"), str)
        }
        for place, cap in enumerate(_list(content, "caps")):
            there = ", ".join(sorted(rules))
            over = _list(cap, "rules")
            named = f"cap {_field(cap, 'id')!r} is over"
            for number, rule_id in enumerate(over):
                if isinstance(rule_id, str) and rule_id not in rules:
                    yield document.problem(
                        (*at, "caps", place, "rules", number),
                        f"{named} the rule {rule_id!r}, which is not in the rule set;"
                        f" it has {there}",
                    )
            wallets = {wallet for rule_id, wallet in rules.items() if not over or rule_id in over}
            if len(wallets) > 1:
                told = ", ".join(sorted(wallets))
                yield document.problem(
                    (*at, "caps", place, "rules"),
                    f"{named} rules that pay into different wallets: {told}",
                )


def _field(content: Any, name: str) -> Any:
    return content.get(name) if isinstance(content, dict) else None


def _list(content: Any, name: str) -> list[Any]:
    value = _field(content, name)
    return value if isinstance(value, list) else []
