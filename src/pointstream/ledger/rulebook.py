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
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from pointstream.contracts.fitting import misfits
from pointstream.contracts.inputs import RulesetPublished, RulesetWithdrawn
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import dumps, epoch_ms, loads
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, SetAside, Source
from pointstream.ledger.messages import Message
from pointstream.ledger.orders import dead
from pointstream.ledger.state import (
    TOLD_RULE_SETS_START,
    TOLD_RULE_SETS_STOP,
    prefix_stop,
    rule_set_owner_key,
    told_rule_set_key,
    told_rule_set_prefix,
)
from pointstream.rules.compile import compile_rule_set
from pointstream.rules.model import CompiledRuleSet
from pointstream.rules.tables import Version

__all__ = [
    "RULESET_ENDED",
    "RULESET_TOLD",
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

RULESET_TOLD: Final = "ruleset.told"
RULESET_ENDED: Final = "ruleset.ended"

_TOLD_MAX: Final = 3
_MESSAGE_CHARACTERS_MAX: Final = 500
_BOUNDS: Final = 0
"""Stands in the place of a version's number in the key of the bounds."""

_Span = tuple[int, int | None, int | None]
"""A version's number, from when and until when it holds."""


@dataclass(slots=True)
class _Taken:
    """A version as its owner took it."""

    number: int
    hash: str
    event_id: str
    from_ms: int
    to_ms: int | None

    @property
    def span(self) -> _Span:
        return self.number, self.from_ms, self.to_ms


@dataclass(slots=True)
class _Known:
    """What the owner knows of a rule set."""

    newest: int
    """The highest number ever used; 0 for none."""
    ended: int
    """The highest number that is withdrawn; 0 for none."""
    taken: list[_Taken]
    """The versions that can still be asked for."""


class Unfit(Exception):
    """A rule set cannot be used with this programme."""


def rule_set_published(book: Book, event: RulesetPublished, source: Source) -> Decision:
    """Accept a version of a rule set, as its owner, and tell all partitions; or refuse it."""
    rule_set = event.ruleset
    known = _known(book, rule_set.id)
    number = rule_set.version
    base = {each.number: each for each in book.rules.base if each.id == rule_set.id}
    newest = max(known.newest, *base, 0)
    try:
        compiled = compiled_fit(book, rule_set)
        hashes = {each.number: each.hash for each in known.taken}
        if number in base:
            hashes.setdefault(number, base[number].compiled.hash)
        same = hashes.get(number) == compiled.hash
        redelivered = any(
            (each.number, each.event_id) == (number, event.event_id) for each in known.taken
        )
        if same and (redelivered or number > known.ended):
            return Decision(Outcome.RULESET_ALREADY_KNOWN)
        if number <= known.ended:
            raise Unfit(
                f"version: {number} was withdrawn; only a version above {newest} brings the rule"
                " set back"
            )
        if number <= newest:
            raise Unfit(
                f"version: {number} is not above {newest}, the newest that is known; a number is"
                f" used once, the next is {newest + 1}"
            )
        if any(each.event_id == event.event_id for each in known.taken):
            return dead(
                Outcome.ID_REUSED_WITH_OTHER_CONTENT,
                DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT,
                "the event_id was used before, for another version of the rule set",
                source,
            )
        starts, ends = rule_set.effective_from, rule_set.effective_to
        from_ms = event.occurred_at_ms if starts is None else epoch_ms(starts)
        to_ms = None if ends is None else epoch_ms(ends)
        if to_ms is not None and to_ms <= from_ms:
            raise Unfit("effective_to: must be later than occurred_at, where it begins")
    except Unfit as unfit:
        return dead(Outcome.RULESET_INVALID, DeadLetterCode.RULESET_INVALID, str(unfit), source)
    known.taken = [
        each
        for each in known.taken
        if not _is_over(each.span, (other.span for other in known.taken), _floor_ms(book))
    ]
    known.taken.append(_Taken(number, compiled.hash, event.event_id, from_ms, to_ms))
    known.newest = number
    _keep(book, rule_set.id, known)
    told = {"from_ms": from_ms, "to_ms": to_ms, "ruleset": loads(compiled.source)}
    book.tell(RULESET_TOLD, None, told)
    return Decision(Outcome.RULESET_PUBLISHED)


def rule_set_withdrawn(book: Book, event: RulesetWithdrawn, source: Source) -> Decision:
    """End all versions of a rule set, as its owner, and tell all partitions.

    One that is not there, or was withdrawn before, stays so.
    """
    id_ = event.ruleset_id
    known = _known(book, id_)
    newest = max([known.newest, *(each.number for each in book.rules.base if each.id == id_)])
    if newest > known.ended:
        at_ms = source.timestamp_ms
        for each in known.taken:
            each.to_ms = _earlier(each.to_ms, at_ms)
        known.newest = known.ended = newest
        _keep(book, id_, known)
        book.tell(RULESET_ENDED, None, {"id": id_, "version": newest, "at_ms": at_ms})
    return Decision(Outcome.RULESET_WITHDRAWN)


def rule_set_told(book: Book, message: Message, source: Source) -> Decision:
    """Put in a version that its owner has accepted."""
    body = message.body
    from_ms, to_ms, fields = body["from_ms"], body["to_ms"], body["ruleset"]
    id_, number = str(fields["id"]), int(fields["version"])
    value = encode_list([from_ms, to_ms, fields])
    book.state.put(told_rule_set_key(id_, number), value)
    _look_again(book, id_, from_ms, to_ms)
    version = told_version(book, id_, number, from_ms, to_ms, fields)
    if version is None:
        return Decision(Outcome.RULESET_SET_ASIDE)
    _put_in(book, [version])
    return Decision(Outcome.RULESET_TOLD)


def rule_set_ended(book: Book, message: Message, source: Source) -> Decision:
    """Let the versions of a rule set end that were withdrawn."""
    body = message.body
    id_, ended, at_ms = str(body["id"]), int(body["version"]), int(body["at_ms"])
    prefix = told_rule_set_prefix(id_)
    bounds: list[tuple[int, int]] = []
    changed: list[Version] = []
    there = {each.number: each for each in book.rules.published(id_)}
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        number = _number(key)
        if number == _BOUNDS:
            bounds = _bounds(value)
        elif number <= ended:
            from_ms, to_ms, fields = decode_list(value)
            book.state.put(key, encode_list([from_ms, _earlier(to_ms, at_ms), fields]))
            if number in there:
                changed.append(there[number].until(at_ms))
    # Of bounds that no event can come before, one is as good as another.
    floor_ms = _floor_ms(book)
    bounds = [each for each in bounds if each[1] > floor_ms or at_ms > floor_ms]
    bounds.append((ended, at_ms))
    book.state.put(told_rule_set_key(id_, _BOUNDS), encode_list([list(each) for each in bounds]))
    _look_again(book, id_, at_ms)
    book.rules.put(*changed)
    book.rules.bound(id_, bounds)
    return Decision(Outcome.RULESET_ENDED)


def drop_old_versions(book: Book, what: bytes) -> Decision | None:
    """Drop the versions of a rule set that no event can ask for any more. The timer has rung."""
    id_ = what.decode()
    prefix = told_rule_set_prefix(id_)
    spans: list[_Span] = []
    for key, value in book.state.scan(prefix, prefix_stop(prefix)):
        number = _number(key)
        if number != _BOUNDS:
            from_ms, to_ms, _ = decode_list(value)
            spans.append((number, from_ms, to_ms))
    old = [span[0] for span in spans if _is_over(span, spans, _floor_ms(book))]
    for number in old:
        book.state.delete(told_rule_set_key(id_, number))
        dropped = book.rules.drop(id_, number)
        if dropped is not None:
            book.forget_rule_set(dropped.compiled.hash)
    return Decision(Outcome.RULESET_DROPPED) if old else None


def load_rule_sets(book: Book) -> None:
    """Put in all that this partition was told before, as the state has it."""
    base = {(each.id, each.number): each.compiled.hash for each in book.rules.base}
    versions: list[Version] = []
    for key, value in book.state.scan(TOLD_RULE_SETS_START, TOLD_RULE_SETS_STOP):
        id_, number = key[1:-5].decode(), _number(key)
        if number == _BOUNDS:
            book.rules.bound(id_, _bounds(value))
            continue
        from_ms, to_ms, fields = decode_list(value)
        version = told_version(book, id_, number, from_ms, to_ms, fields)
        if version is None:
            continue
        versions.append(version)
        if base.get((id_, number), version.compiled.hash) != version.compiled.hash:
            reason = "the programme's own version has other content; the published one counts"
            book.set_aside.append(SetAside(id_, number, reason))
    if versions:
        _put_in(book, versions)


def _put_in(book: Book, versions: Iterable[Version]) -> None:
    versions = list(versions)
    for version in versions:
        book.know_rule_set(version.compiled)
    book.rules.put(*versions)


def told_version(
    book: Book, id_: str, number: int, from_ms: int, to_ms: int | None, fields: Any
) -> Version | None:
    """Return a version as it was told; None if it does not fit this programme (any more)."""
    try:
        rule_set = RuleSet.model_validate_json(dumps(fields))
        return Version(rule_set, compiled_fit(book, rule_set), from_ms, to_ms)
    except ValidationError as error:
        reason = f"{error.error_count()} parts of it are not understood"
    except Unfit as unfit:
        reason = str(unfit)
    book.set_aside.append(SetAside(id_, number, reason))
    return None


def compiled_fit(book: Book, rule_set: RuleSet) -> CompiledRuleSet:
    """Compile a rule set. Raises `Unfit` if the programme cannot be run with it."""
    found = misfits(book.programme.source, rule_set)
    if found:
        told = [f"{misfit.path}: {misfit.message}" for misfit in found[:_TOLD_MAX]]
        if len(found) > _TOLD_MAX:
            told.append(f"and {len(found) - _TOLD_MAX} more")
        raise Unfit("; ".join(told)[:_MESSAGE_CHARACTERS_MAX])
    try:
        compiled = compile_rule_set(rule_set)
        # What cannot be read back in every place where it will be kept must not be accepted.
        again = loads(dumps([[[[loads(compiled.source)]]]]))[0][0][0][0]
        if RuleSet.model_validate_json(dumps(again)) != rule_set:
            raise Unfit("it is not the same when it is read back")
    except Unfit:
        raise
    except Exception as error:
        # Whatever it is: a rule set that cannot be compiled must not stop a partition.
        raise Unfit(f"it cannot be compiled: {error}"[:_MESSAGE_CHARACTERS_MAX]) from error
    return compiled


def _look_again(book: Book, id_: str, *moments_ms: int | None) -> None:
    """Ring when versions may be too old to be asked for."""
    for at_ms in moments_ms:
        if at_ms is not None:
            due_ms = max(0, at_ms + book.programme.refund_window_ms)
            book.timers.put(due_ms, b"k" + id_.encode())


def _is_over(span: _Span, spans: Iterable[_Span], floor_ms: int) -> bool:
    """Tell whether a version cannot be the one in force at `floor_ms` or later."""
    number, _, to_ms = span
    if to_ms is not None and to_ms <= floor_ms:
        return True
    return any(
        higher > number and until_ms is None and (since_ms is None or since_ms <= floor_ms)
        for higher, since_ms, until_ms in spans
    )


def _floor_ms(book: Book) -> int:
    """Return the time at and before which no event is taken any more."""
    return book.now_ms - book.programme.refund_window_ms


def _earlier(to_ms: int | None, at_ms: int) -> int:
    return at_ms if to_ms is None else min(to_ms, at_ms)


def _number(key: bytes) -> int:
    return int.from_bytes(key[-4:], "big")


def _bounds(value: bytes) -> list[tuple[int, int]]:
    return [(number, at_ms) for number, at_ms in decode_list(value)]


def _known(book: Book, id_: str) -> _Known:
    value = book.state.get(rule_set_owner_key(id_))
    if value is None:
        return _Known(0, 0, [])
    newest, ended, taken = decode_list(value)
    return _Known(newest, ended, [_Taken(*row) for row in taken])


def _keep(book: Book, id_: str, known: _Known) -> None:
    rows = [[e.number, e.hash, e.event_id, e.from_ms, e.to_ms] for e in known.taken]
    book.state.put(rule_set_owner_key(id_), encode_list([known.newest, known.ended, rows]))
