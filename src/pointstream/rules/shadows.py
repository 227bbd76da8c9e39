"""Candidates that run in shadow: the rules as they would be with one of them.

A candidate takes the place of all versions of its own rule set; everything else is in force as it
is. Several candidates are each looked at by itself, never together.
"""

from __future__ import annotations

from typing import Final

from pointstream.rules.index import RuleTable
from pointstream.rules.tables import RuleBook, RuleTables, Version

__all__ = ["Shadows"]


class Shadows:
    """The candidates that one partition knows, one of a rule set at most.

    False where there is none: then nothing more needs to be asked.
    """

    def __init__(self, rules: RuleBook) -> None:
        """`rules` are those in force, as they change."""
        self._rules: Final = rules
        self._candidates: dict[str, Version] = {}
        self._tables: dict[str, RuleTables] = {}
        self._made_of = rules.tables

    def __bool__(self) -> bool:
        return bool(self._candidates)

    def put(self, candidate: Version) -> None:
        """Take in a candidate, in the place of the one of its rule set."""
        self._candidates[candidate.id] = candidate
        self._tables.clear()

    def drop(self, rule_set_id: str) -> None:
        """Take out the candidate of a rule set, if there is one."""
        self._candidates.pop(rule_set_id, None)
        self._tables.clear()

    def all(self) -> list[Version]:
        """Return the candidates, by the ids of their rule sets."""
        return [self._candidates[id_] for id_ in sorted(self._candidates)]

    def at(self, at_ms: int) -> list[Version]:
        """Return the candidates that are looked at for an event of a moment."""
        return [candidate for candidate in self.all() if candidate.holds(at_ms)]

    def table(self, candidate: Version, at_ms: int) -> RuleTable:
        """Return the rules as they would be with a candidate at a moment."""
        if self._made_of is not self._rules.tables:
            self._made_of = self._rules.tables
            self._tables.clear()
        tables = self._tables.get(candidate.id)
        if tables is None:
            tables = self._tables[candidate.id] = RuleTables(self._with(candidate))
        return tables.at(at_ms)

    def against(self, candidate: Version, at_ms: int) -> Version | None:
        """Return the version in force at a moment that a candidate would take the place of."""
        versions = [
            version
            for version in self._rules.tables.versions
            if version.id == candidate.id and version.holds(at_ms)
        ]
        return max(versions, key=lambda version: version.number, default=None)

    def _with(self, candidate: Version) -> list[Version]:
        """Return all versions with a candidate where its rule set is: of equals the first counts,
        so its place can decide."""
        versions = self._made_of.versions
        places = [place for place, each in enumerate(versions) if each.id == candidate.id]
        place = places[0] if places else len(versions)
        others = [
            [each for each in part if each.id != candidate.id]
            for part in (versions[:place], versions[place:])
        ]
        return [*others[0], candidate, *others[1]]
