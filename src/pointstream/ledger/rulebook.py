"""Rule sets that come and go while the job runs.

Rule sets are keyed by their id, members by theirs. So one partition decides, as with the catalogue:
the owner of a rule set's key looks at a version as a whole, against the programme, and accepts or
refuses it. What is accepted it tells every partition, its own too. Each puts the version into its
rule book at one recorded place among its inputs: a replay puts it in at the same place. What is
refused is a dead letter, and everything stays as it was.

A version holds from its `effective_from`, or from its publication's `occurred_at` if it names none,
until its `effective_to`. Of the versions of one id the highest in force counts, those of the
programme's file among them. An event is scored once, when it is taken, by what holds at its
`occurred_at` as far as its partition has been told by then. Partitions are told one after the
other, within moments: so a version that begins some seconds after its publication holds everywhere
from that very moment, and one that begins at once may be missed by events that are on their way.
What was scored before a version was known is not scored again.

A number is used once per id. Equal content under a known number is known already, unless it was
withdrawn; whatever else is not above the newest number is refused. A tombstone ends all versions of
its id at its append time, those of the programme's file too; events dated before are still scored
by them, however late they come. Only a higher number brings the id back.

What was accepted is kept by every partition until no event can ask for it any more: until
`refund_window` after its end, or after the beginning of a higher version without an end. Orders
keep the rule sets that they were scored with on their own.

What is in the state must load, whatever programme comes after it. A version that does not fit (its
wallet is gone) is set aside: it counts for nothing, the ledger says so in `set_aside`, and with a
programme that it fits it is there again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pointstream.contracts.fitting import Misfit, misfits
from pointstream.contracts.inputs import RulesetPublished, RulesetWithdrawn
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.ledger.book import Book
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.published import Outcomes, Published, Unfit
from pointstream.ledger.state import TOLD_RULE_SETS_START
from pointstream.rules.compile import compile_rule_set
from pointstream.rules.model import CompiledRuleSet
from pointstream.rules.tables import RuleBook, Version

__all__ = [
    "RULESET_ENDED",
    "RULESET_TOLD",
    "RULE_SETS",
    "Unfit",
    "compiled_fit",
    "drop_old_versions",
    "load_rule_sets",
    "rule_set_ended",
    "rule_set_published",
    "rule_set_told",
    "rule_set_withdrawn",
    "told_version",
]


class _RuleSets(Published[RuleSet, CompiledRuleSet, Version]):
    what = "rule set"
    field = "ruleset"
    kind = TOLD_RULE_SETS_START
    outcomes = Outcomes(
        published=Outcome.RULESET_PUBLISHED,
        withdrawn=Outcome.RULESET_WITHDRAWN,
        already_known=Outcome.RULESET_ALREADY_KNOWN,
        told=Outcome.RULESET_TOLD,
        ended=Outcome.RULESET_ENDED,
        set_aside=Outcome.RULESET_SET_ASIDE,
        dropped=Outcome.RULESET_DROPPED,
        invalid=Outcome.RULESET_INVALID,
        code=DeadLetterCode.RULESET_INVALID,
    )

    def parsed(self, text: bytes) -> RuleSet:
        return RuleSet.model_validate_json(text)

    def misfits(self, book: Book, content: RuleSet) -> list[Misfit]:
        return misfits(book.programme.source, content)

    def compile(self, content: RuleSet) -> CompiledRuleSet:
        return compile_rule_set(content)

    def version(
        self,
        content: RuleSet,
        compiled: CompiledRuleSet,
        from_ms: int | None,
        to_ms: int | None,
    ) -> Version:
        return Version(content, compiled, from_ms, to_ms)

    def versions(self, book: Book) -> RuleBook:
        return book.rules

    def put_in(self, book: Book, versions: Iterable[Version]) -> None:
        versions = list(versions)
        for version in versions:
            book.know_rule_set(version.compiled)
        super().put_in(book, versions)

    def dropped(self, book: Book, version: Version) -> None:
        book.forget_rule_set(version.compiled.hash)


RULE_SETS: Final = _RuleSets()
RULESET_TOLD: Final = RULE_SETS.told_type
RULESET_ENDED: Final = RULE_SETS.ended_type

drop_old_versions = RULE_SETS.drop_old
load_rule_sets = RULE_SETS.load
rule_set_told = RULE_SETS.told
rule_set_ended = RULE_SETS.ended
compiled_fit = RULE_SETS.compiled_fit


def rule_set_published(book: Book, event: RulesetPublished, source: Source) -> Decision:
    """Accept a version of a rule set, as its owner, and tell all partitions; or refuse it."""
    return RULE_SETS.take(book, event.ruleset, event.event_id, event.occurred_at_ms, source)


def rule_set_withdrawn(book: Book, event: RulesetWithdrawn, source: Source) -> Decision:
    """End all versions of a rule set, as its owner, and tell all partitions."""
    return RULE_SETS.withdraw(book, event.ruleset_id, source)


def told_version(
    book: Book, id_: str, number: int, from_ms: int, to_ms: int | None, fields: Any
) -> Version | None:
    """Return a version as it was told; None if it does not fit this programme (any more)."""
    return RULE_SETS.told_version(book, id_, number, from_ms, to_ms, fields)
