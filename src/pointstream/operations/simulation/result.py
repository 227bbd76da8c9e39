"""What a simulation found, as values for people and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.wire import rfc3339
from pointstream.operations.simulation.accounts import Accounts, Outstanding
from pointstream.operations.simulation.flags import Flags
from pointstream.operations.simulation.tally import Awards, Entry, Tally
from pointstream.operations.simulation.verdict import Verdict
from pointstream.rules.compile import compile_rule_set

__all__ = ["Line", "Simulation"]

_STEPS = {1: "1 to 9", 2: "10 to 99", 3: "100 to 999", 4: "1,000 to 9,999", 5: "10,000 and more"}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure by the real rules and by the candidate's."""

    name: str
    real: int
    other: int

    @property
    def difference(self) -> int:
        """The candidate's less the real one."""
        return self.other - self.real

    def as_json(self) -> dict[str, Any]:
        """The line as a JSON value."""
        return {
            "name": self.name,
            "was": self.real,
            "would_be": self.other,
            "difference": self.difference,
        }


@dataclass
class Simulation:
    """All of it. Points, unless said otherwise."""

    rule_sets: Sequence[RuleSet]
    """The candidates."""
    from_ms: int
    to_ms: int
    time_zone: str
    real: Tally
    other: Tally
    accounts: Accounts
    verdict: Verdict
    flags: Flags | None
    """Of a simulation with detector sets."""
    rule_set_names: Mapping[str, str]
    """By hash, the id of the rule set."""
    partitions: int
    records: int
    within: int
    warmed: int = 0
    """Inputs before the span that the candidate's detectors only counted."""
    warm_from_ms: int | None = None
    """From when on they did, or the first input that is there; None: from the span on."""
    lost: Counter[str] = field(default_factory=Counter)
    """By topic, inputs that were taken really and are gone."""
    begins_late: bool = False
    """The journal's beginning is gone."""
    as_recorded: int = 0
    """Messages between partitions that were taken as recorded, for want of their causes."""
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Inputs per second."""
        return self.records / self.seconds if self.seconds else 0.0

    @property
    def awarded(self) -> bool:
        """Whether a rule of the candidates gave anything."""
        hashes = {compile_rule_set(rule_set).hash for rule_set in self.rule_sets}
        return any(hash_ in hashes for hash_, _ in self.other.rules)

    @property
    def sound(self) -> bool:
        """Whether the real rules gave, in the same replay, just what was written."""
        return (
            self.verdict.identical
            and (self.flags is None or self.flags.verdict.identical)
            and not self.lost
            and not self.begins_late
        )

    def figures(self) -> list[Line]:
        """What counts over all members."""
        real, other = self.real, self.other
        lines = [
            Line("awards", real.awards.count, other.awards.count),
            Line("points awarded", real.awards.given, other.awards.given),
            Line("points taken back by refunds", real.awards.taken_back, other.awards.taken_back),
            Line(
                "points withheld by caps and budgets", real.awards.withheld, other.awards.withheld
            ),
        ]
        for kind in ("redeemed", "captured", "expired"):
            name = f"points.{kind}"
            lines.append(Line(f"points {kind}", real.moved[name], other.moved[name]))
        accepted = "accepted"
        lines.append(Line("commands accepted", real.answers[accepted], other.answers[accepted]))
        lines.append(
            Line(
                "commands rejected",
                real.answers.total() - real.answers[accepted],
                other.answers.total() - other.answers[accepted],
            )
        )
        lines += [
            Line(f"{direction}s of tiers", real.tiers[direction], other.tiers[direction])
            for direction in sorted({*real.tiers, *other.tiers})
        ]
        return [line for line in lines if line.real or line.other]

    def outstanding(self) -> list[Line]:
        """What the programme owes at the end, by wallet."""
        real, other = self.accounts.real.wallets, self.accounts.other.wallets
        nothing = Outstanding()
        return [
            Line(name, real.get(name, nothing).total, other.get(name, nothing).total)
            for name in sorted({*real, *other})
        ]

    def rules(self) -> list[Line]:
        """Net points by rule; the largest difference first."""
        found = [self._by_rule(tally.rules) for tally in (self.real, self.other)]
        return _lines(*found)

    def shops(self) -> list[Line]:
        """Net points by store; the largest difference first."""
        return _lines(*(_net(tally.shops) for tally in (self.real, self.other)))

    def days(self) -> list[Line]:
        """Net points by local day, in order."""
        real, other = self.real.days, self.other.days
        return [Line(day, real.get(day, 0), other.get(day, 0)) for day in sorted({*real, *other})]

    def tiers(self) -> list[tuple[Line, Line]]:
        """By ladder and tier: members, and what they have, at the end."""
        real, other = self.accounts.real.tiers, self.accounts.other.tiers
        found = []
        for ladder, tiers in self.accounts.ladders.items():
            for tier in tiers:
                ours, theirs = real.get((ladder, tier), (0, 0)), other.get((ladder, tier), (0, 0))
                name = f"{ladder} {tier}"
                found.append((Line(name, ours[0], theirs[0]), Line(name, ours[1], theirs[1])))
        return found

    def members(self) -> list[Line]:
        """The members who differ most, and what they have at the end."""
        return [Line(each.member_id, each.real, each.other) for each in self.accounts.differing]

    def given(self) -> list[int]:
        """How much more those members were given."""
        return [each.given for each in self.accounts.differing]

    def spread(self) -> list[tuple[str, int, int]]:
        """How many members would have less, and more, by how many points."""
        steps = self.accounts.steps
        return [(words, steps[-step], steps[step]) for step, words in _STEPS.items()]

    def changed_entries(self, member_id: str) -> list[tuple[Entry | None, Entry | None]]:
        """The entries of a watched member that are not the same: by the real rules, and by others.

        What one cause brought about of one kind, by one rule, is held side by side.
        """
        ours, theirs = (
            _by_cause(tally.entries.get(member_id, ())) for tally in (self.real, self.other)
        )
        pairs = [(ours.get(key), theirs.get(key)) for key in {**ours, **theirs}]
        return [pair for pair in pairs if _moved(pair[0]) != _moved(pair[1])]

    def replay_json(self) -> dict[str, Any]:
        """What was replayed, and whether it is what was written, as a JSON value."""
        first = self.verdict.first
        return {
            "from": rfc3339(self.from_ms),
            "to": rfc3339(self.to_ms),
            "time_zone": self.time_zone,
            "sound": self.sound,
            "baseline": {
                "identical": self.verdict.identical,
                "entries_equal": self.verdict.same,
                "entries_not_equal": self.verdict.other,
                "first_difference": None
                if first is None
                else {
                    "partition": first.partition,
                    "offset": first.offset,
                    "member_id": first.member_id,
                    "written": first.written,
                    "replayed": first.replayed,
                },
                "inputs_gone": dict(sorted(self.lost.items())),
                "beginning_gone": self.begins_late,
                "messages_taken_as_recorded": self.as_recorded,
                **({} if self.flags is None else self.flags.verdict.as_json()),
            },
            "replayed": {
                "inputs": self.records,
                "within": self.within,
                "partitions": self.partitions,
                "seconds": round(self.seconds, 3),
                "per_second": round(self.per_second),
            },
        }

    def as_json(self) -> dict[str, Any]:
        """All of it as a JSON value."""
        return {
            "rule_sets": [{"id": each.id, "version": each.version} for each in self.rule_sets],
            **self.replay_json(),
            "candidate_awarded": self.awarded,
            "figures": [line.as_json() for line in self.figures()],
            "outstanding": [line.as_json() for line in self.outstanding()],
            "rules": [line.as_json() for line in self.rules()],
            "shops": [line.as_json() for line in self.shops()],
            "tiers": [
                {**members.as_json(), "points_was": points.real, "points_would_be": points.other}
                for members, points in self.tiers()
            ],
            "days": [line.as_json() for line in self.days()],
            "answers": [
                Line(name, self.real.answers[name], self.other.answers[name]).as_json()
                for name in sorted({*self.real.answers, *self.other.answers})
            ],
            "members": {
                "all": self.accounts.members,
                "with_more": self.accounts.more,
                "with_less": self.accounts.less,
                "given_more": self.accounts.given_more,
                "given_less": self.accounts.given_less,
                "spread": [
                    {"points": words, "less": less, "more": more}
                    for words, less, more in self.spread()
                ],
                "top": [
                    {**line.as_json(), "given_difference": given}
                    for line, given in zip(self.members(), self.given(), strict=True)
                ],
            },
            "changed_entries": {
                member: [{"was": was, "would_be": be} for was, be in self.changed_entries(member)]
                for member in sorted(self.real.watched)
            },
        }

    def _by_rule(self, rules: Mapping[tuple[str, str], Awards]) -> Counter[str]:
        found: Counter[str] = Counter()
        for (hash_, rule_id), awards in rules.items():
            of = self.rule_set_names.get(hash_)
            found[rule_id if of is None else f"{of}/{rule_id}"] += awards.net
        return found


def _net(awards: Mapping[str, Awards]) -> Counter[str]:
    return Counter({name: each.net for name, each in awards.items()})


def _lines(real: Counter[str], other: Counter[str]) -> list[Line]:
    found = [Line(name, real[name], other[name]) for name in {*real, *other}]
    return sorted(found, key=lambda line: (-abs(line.difference), -abs(line.other), line.name))


def _by_cause(entries: Sequence[Entry]) -> dict[tuple[Any, ...], Entry]:
    found: dict[tuple[Any, ...], Entry] = {}
    for entry in entries:
        key = (entry["cause_event_id"], entry["wallet"], entry["type"], entry.get("rule_id"))
        number = 0
        while (*key, number) in found:
            number += 1
        found[*key, number] = entry
    return found


def _moved(entry: Entry | None) -> tuple[int, int] | None:
    return None if entry is None else (int(entry["amount"]), int(entry["delta"]))
