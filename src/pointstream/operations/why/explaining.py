"""One event explained: from the topics to rules, awards and ledger entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import Rule, RuleSet
from pointstream.contracts.wire import dumps, loads
from pointstream.ledger.decision import Outcome
from pointstream.ledger.errors import LedgerError
from pointstream.ledger.messages import encode_message
from pointstream.ledger.scored import LookedAt
from pointstream.ledger.state import rule_set_key
from pointstream.operations.placement import partition_of
from pointstream.operations.reading import CommittedReader, Record
from pointstream.operations.why.finding import EventNotFound, Found, Wanted, find_event
from pointstream.operations.why.replaying import Heard, MakeJob, NotTaken, replay_until
from pointstream.rules.compile import compile_programme
from pointstream.rules.tables import Version

__all__ = ["EventTaken", "Explanation", "RuleTold", "explain_event"]

Entry = Mapping[str, Any]

_SURVIVORS_MAX: Final = 10
"""So many times a record may be passed on to who the member was merged into."""
_CREDITED: Final = ("points.earned", "points.pending")
_FINDING: Final = 0.2
"""The share of the work that finding the event is, for the bar."""


@dataclass(frozen=True, slots=True)
class EventTaken:
    """The event, and where its record is."""

    topic: str
    partition: int
    offset: int
    appended_ms: int
    """When the broker took it."""
    again: tuple[int, ...]
    """The offsets at which it came again."""
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RuleTold:
    """One rule that was asked."""

    version: Version
    """Of its rule set."""
    rule: Rule
    looked: LookedAt
    granted: int | None
    """Points that the ledger has by it; None while a budget has not answered."""


@dataclass(slots=True)
class Explanation:
    """Why an event earned what it did."""

    event: EventTaken
    event_id: str
    member_id: str
    """Who it counted for in the end."""
    passed_on: list[str]
    """The members that the record was passed on to, because of merges."""
    outcome: str
    refusal: str | None
    """What the dead letter says, if it became one."""
    in_force: list[Version]
    """The rule sets in force at the event's own moment, as its partition knew them."""
    rules: list[RuleTold]
    entries: list[Entry]
    """What the ledger has of it."""
    doubts: list[str] = field(default_factory=list)
    """Why this may not be how it was. Empty: the replay made what the ledger has."""


async def explain_event(
    reader: CommittedReader,
    prefix: str,
    programme: Programme,
    wanted: Wanted,
    make_job: MakeJob,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> Explanation:
    """Find an event, take its partition again up to it, and tell how it was scored.

    `programme` is the workers'. A rule set of it that is another one by now is taken as the
    ledger's state has kept it, if it has. Raises `EventNotFound`, `NotTaken`, `NoTopicsError`.
    """
    found = await find_event(
        reader, prefix, wanted, on_step=lambda share: on_step(share * _FINDING)
    )

    def tell(share: float) -> None:
        on_step(_FINDING + (1 - _FINDING) * share)

    then = await _replayed(reader, prefix, programme, found, make_job, tell)
    entries = await _entries(reader, prefix, then.member_id, found.record)
    known = {version.compiled.hash for version in then.heard.in_force}
    unknown = {str(e["ruleset_hash"]) for e in entries if e.get("ruleset_hash")} - known
    kept = await _kept_rule_sets(reader, prefix, then.partition, unknown) if unknown else []
    if kept:
        as_it_was = _with_rule_sets(programme, kept)
        then = await _replayed(reader, prefix, as_it_was, found, make_job, tell)
        known = {version.compiled.hash for version in then.heard.in_force}
    return _explanation(found, then, entries, gone=unknown - known)


@dataclass(frozen=True, slots=True)
class _Then:
    """How the record was taken in the replay."""

    heard: Heard
    partition: int
    member_id: str
    passed_on: list[str]


async def _replayed(
    reader: CommittedReader,
    prefix: str,
    programme: Programme,
    found: Found,
    make_job: MakeJob,
    on_step: Callable[[float], None],
) -> _Then:
    """Take the record again, where it was taken in the end."""
    compiled = compile_programme(programme)
    record, member_id = found.record, found.event.member_id
    place = (record.topic, record.partition, record.offset)
    partition, passed_on = record.partition, list[str]()
    partitions = len(await reader.existing(f"{prefix}internal.journal"))
    is_wanted = _is_at(*place)
    for _ in range(_SURVIVORS_MAX):
        try:
            heard = await replay_until(
                reader, prefix, compiled, partition, is_wanted, make_job, on_step=on_step
            )
        except LedgerError as error:
            raise EventNotFound(
                f"The event is at {place[0]}[{place[1]}] offset {place[2]}, and what came before it"
                f" cannot be taken again: {error}. Inputs are not kept any more, or the programme"
                " was another one then: name that with --programme."
            ) from error
        decision = heard.decision
        if decision is None:
            raise NotTaken("The record was refused before any rule was asked; see the dead letters")
        if decision.outcome is not Outcome.PASSED_ON_TO_SURVIVOR or decision.effects is None:
            return _Then(heard, partition, member_id, passed_on)
        message = decision.effects.messages[-1]
        member_id, value = message.to or "", encode_message(message)
        passed_on.append(member_id)
        partition = partition_of(member_id.encode(), partitions)
        is_wanted = _is_message(f"{prefix}internal.messages", value)
    raise NotTaken(f"The record was passed on {_SURVIVORS_MAX} times, from merge to merge")


def _is_at(topic: str, partition: int, offset: int) -> Callable[[Record], bool]:
    place = (topic, partition, offset)
    return lambda record: (record.topic, record.partition, record.offset) == place


def _is_message(topic: str, value: bytes) -> Callable[[Record], bool]:
    return lambda record: record.topic == topic and record.value == value


async def _entries(
    reader: CommittedReader, prefix: str, member_id: str, cause: Record
) -> list[Entry]:
    """Return the ledger's entries that a record caused."""
    topic, key = f"{prefix}balance-changes", member_id.encode()
    place = (cause.topic, cause.partition, cause.offset)
    entries: list[Entry] = []
    partition = partition_of(key, len(await reader.existing(topic)))
    async for records in reader.read(topic, partition):
        for record in records:
            if record.key == key and record.value is not None:
                entry = loads(record.value)
                names = ("cause_topic", "cause_partition", "cause_offset")
                if tuple(entry.get(name) for name in names) == place:
                    entries.append(entry)
    return entries


async def _kept_rule_sets(
    reader: CommittedReader, prefix: str, partition: int, hashes: set[str]
) -> list[RuleSet]:
    """Return the rule sets that the state of a partition has kept for what was scored with them."""
    wanted = {rule_set_key(hash_) for hash_ in hashes}
    kept: dict[bytes, bytes] = {}
    async for records in reader.read(f"{prefix}internal.changelog", partition):
        for record in records:
            if record.key in wanted and record.value is not None:
                kept[record.key] = record.value
    return [RuleSet.model_validate_json(value[1:]) for value in kept.values()]


def _with_rule_sets(programme: Programme, rule_sets: Sequence[RuleSet]) -> Programme:
    """Return a programme with other rule sets in the place of those of their ids."""
    ids = {rule_set.id for rule_set in rule_sets}
    others = [rule_set for rule_set in programme.rule_sets if rule_set.id not in ids]
    return programme.model_copy(update={"rule_sets": (*others, *rule_sets)})


def _explanation(found: Found, then: _Then, entries: list[Entry], *, gone: set[str]) -> Explanation:
    heard, decision = then.heard, then.heard.decision
    assert decision is not None
    record = found.record
    by_hash = {version.compiled.hash: version for version in heard.in_force}
    rules = []
    for looked in heard.trace:
        version = by_hash[looked.ruleset_hash]
        rule = next(each for each in version.rule_set.rules if each.id == looked.rule_id)
        rules.append(RuleTold(version, rule, looked, _granted(looked, entries)))
    letters = [letter.message for letter in decision.dead_letters]
    return Explanation(
        event=EventTaken(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            appended_ms=record.timestamp,
            again=tuple(found.again),
            body=found.event.model_dump(mode="json", exclude_none=True),
        ),
        event_id=found.event.event_id,
        member_id=then.member_id,
        passed_on=then.passed_on,
        outcome=decision.outcome.value,
        refusal=letters[0] if letters else None,
        in_force=heard.in_force,
        rules=rules,
        entries=entries,
        doubts=[*_losses(heard), *_differences(heard, decision.entries, entries, gone)],
    )


def _granted(looked: LookedAt, entries: Sequence[Entry]) -> int | None:
    """Return what the ledger has by a rule."""
    own = [
        entry
        for entry in entries
        if (entry.get("ruleset_hash"), entry.get("rule_id"))
        == (looked.ruleset_hash, looked.rule_id)
        and entry["type"] in _CREDITED
    ]
    asked = any(granted.budget is not None and granted.left for granted in looked.granted)
    if asked and not own:
        return None
    return sum(int(entry["amount"]) for entry in own)


def _losses(heard: Heard) -> list[str]:
    doubts = []
    if heard.begins_late:
        doubts.append("the journal of the first transactions is not kept any more")
    doubts += [
        f"{count:,} records of {topic} that were taken before are not kept any more"
        for topic, count in sorted(heard.lost.items())
    ]
    return doubts


def _differences(
    heard: Heard, replayed: Sequence[Entry], entries: Sequence[Entry], gone: set[str]
) -> list[str]:
    """Tell in what the replay is not what the ledger has."""
    doubts = [
        f"the ledger has it by a rule set with the hash {hash_}, which is not there any more"
        for hash_ in sorted(gone)
    ]
    made = {entry["event_id"]: loads(dumps(entry)) for entry in replayed}
    has = {entry["event_id"]: entry for entry in entries}
    under_way = any(each.budget for looked in heard.trace for each in looked.granted)
    more = set() if under_way else has.keys() - made.keys()
    if more or any(has.get(id_) != entry for id_, entry in made.items()):
        doubts.append(
            f"the replay made {_summed(made.values())}, the ledger has {_summed(has.values())}: was"
            " the programme another one then? --programme names its file"
        )
    return doubts


def _summed(entries: Any) -> str:
    told = [
        f"{entry['type']} of {entry['amount']:,} by {entry.get('rule_id')},"
        f" available after {entry['available_after']:,}"
        for entry in entries
    ]
    return "; ".join(told) if told else "nothing"
