"""Simulations, from the topics of an installation to what would have been."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.wire import loads, rfc3339
from pointstream.engine.records import Outgoing
from pointstream.engine.store import RocksMemory
from pointstream.fraud.warming import counting_only
from pointstream.operations.reading import CommittedReader, Record
from pointstream.operations.simulation.accounts import Accounts
from pointstream.operations.simulation.flags import Flags, FlagTally
from pointstream.operations.simulation.flagverdict import FlagVerdict
from pointstream.operations.simulation.recorded import Lane, WrittenLedger
from pointstream.operations.simulation.replay import Partition, Replay, Span, stores
from pointstream.operations.simulation.replica import Job, Replica
from pointstream.operations.simulation.result import Simulation
from pointstream.operations.simulation.tally import Tally
from pointstream.rules.compile import CompiledProgramme, compile_programme, compile_rule_set
from pointstream.rules.tables import Version

__all__ = ["MakeJob", "NothingRecorded", "Plan", "simulate"]

MakeJob = Callable[[CompiledProgramme, int, int], Job]
"""Makes the production job: programme, partition, how many there are."""

_RECORDS_IN_MEMORY: Final = 48_000
_LEAST_PIECE: Final = 1_000
_PAUSE_SECONDS: Final = 0.3
"""A commit returns a moment before all of it can be read."""


class NothingRecorded(Exception):
    """Nothing was taken in the span; the message says so."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate."""

    programme: Programme
    """As the workers have it."""
    rule_sets: Sequence[RuleSet]
    """Candidates: each holds in the whole span, in the place of all versions of its id."""
    from_ms: int
    to_ms: int
    """In ms UTC; exclusive."""
    watched: frozenset[str] = frozenset()
    """Members whose entries are kept."""
    top: int = 10
    """So many members who differ most are kept."""
    detector_sets: Sequence[DetectorSet] = ()
    """Candidates as well. Where there are any, flags are compared."""
    warm_ms: int = 0
    """For so long before the span the candidates' detectors count, and trip on nothing."""


async def simulate(
    reader: CommittedReader,
    prefix: str,
    plan: Plan,
    make_job: MakeJob,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> Simulation:
    """Replay what was recorded, by the real rules and with the candidates.

    The states are in a temporary directory (`TMPDIR`) until it ends. Raises `NoTopicsError`,
    `NothingRecorded`, `ReplayFailed`.
    """
    began = time.monotonic()
    real = compile_programme(plan.programme)
    candidates = [
        Version(rule_set, compile_rule_set(rule_set), plan.from_ms, plan.to_ms)
        for rule_set in plan.rule_sets
    ]
    detectors = [_in_span(each, plan.from_ms, plan.to_ms) for each in plan.detector_sets]
    warm_ms = plan.from_ms - plan.warm_ms if detectors else plan.from_ms
    if warm_ms < plan.from_ms:
        begin, end = (datetime.fromisoformat(rfc3339(at)) for at in (warm_ms, plan.from_ms))
        detectors += [counting_only(each, begin, end) for each in plan.detector_sets]
    other = compile_programme(plan.programme, candidates, detectors)
    numbers = await reader.existing(f"{prefix}internal.journal")
    await reader.existing(f"{prefix}balance-changes")
    names = {version.compiled.hash: version.id for version in (*real.versions, *candidates)}
    spendable = frozenset(name for name, wallet in real.wallets.items() if wallet.spendable)
    since, zone = rfc3339(plan.from_ms), real.calendar.zone
    tallies = [Tally(since, zone, plan.watched) for _ in range(2)]
    with tempfile.TemporaryDirectory(prefix="pointstream-simulation-") as directory:
        replay = await _open(
            reader,
            prefix,
            len(numbers),
            Path(directory),
            Span(
                warm_ms - real.future_tolerance_ms,
                plan.from_ms - real.future_tolerance_ms,
                plan.from_ms,
                plan.to_ms,
            ),
            lambda partition, forked: make_job(other if forked else real, partition, len(numbers)),
            FlagVerdict() if detectors else None,
        )
        raised = [FlagTally(since, spendable) for _ in range(2)]
        replay.on_sent = _counting(prefix, tallies, raised if detectors else ())
        replay.on_record = _naming(f"{prefix}rules", names)

        async def step(share: float) -> None:
            on_step(share)
            # The clients live in this loop: they must get a turn.
            await asyncio.sleep(0)

        await replay.run(step)
        if not replay.within:
            raise NothingRecorded(
                f"Nothing was taken from {rfc3339(plan.from_ms)} to {rfc3339(plan.to_ms)}"
                f" ({replay.records:,} inputs were taken before)."
            )
        accounts = _accounts(real, spendable, plan.top)
        for partition in replay.partitions:
            assert partition.other is not None
            accounts.compare(partition.real.store, partition.other.store)
            if detectors:
                raised[0].add_waiting(partition.real.store)
                raised[1].add_waiting(partition.other.store)
            partition.real.store.close()
            partition.other.store.close()
    on_step(1.0)
    lost: Counter[str] = Counter()
    for partition in replay.partitions:
        lost += partition.lane.lost
    return Simulation(
        rule_sets=plan.rule_sets,
        from_ms=plan.from_ms,
        to_ms=plan.to_ms,
        time_zone=str(zone),
        real=tallies[0],
        other=tallies[1],
        accounts=accounts,
        flags=None if replay.flags is None else Flags(raised[0], raised[1], replay.flags),
        verdict=replay.verdict,
        rule_set_names=names,
        partitions=len(numbers),
        records=replay.records,
        within=replay.within,
        warmed=replay.warmed,
        warm_from_ms=max(warm_ms, replay.begins_ms) if warm_ms < plan.from_ms else None,
        lost=lost,
        begins_late=any(partition.lane.begin > 0 for partition in replay.partitions),
        as_recorded=replay.post.as_recorded,
        seconds=time.monotonic() - began,
    )


async def _open(
    reader: CommittedReader,
    prefix: str,
    partitions: int,
    directory: Path,
    span: Span,
    new_job: Callable[[int, bool], Job],
    flags: FlagVerdict | None,
) -> Replay:
    journal, changes = f"{prefix}internal.journal", f"{prefix}balance-changes"
    messages, ticks = f"{prefix}internal.messages", f"{prefix}internal.ticks"
    raised = f"{prefix}fraud-flags"
    places = [
        (topic, number)
        for topic in (journal, changes, *(() if flags is None else (raised,)))
        for number in range(partitions)
    ]
    begins = await reader.beginnings(places)
    # Whatever the ledger has now, the journal tells of when it is read after it.
    sure = await reader.ends(places[partitions:])
    await asyncio.sleep(_PAUSE_SECONDS)
    journal_ends = await reader.ends(places[:partitions])
    await asyncio.sleep(_PAUSE_SECONDS)
    ends = await reader.ends(places[partitions:])
    if flags is not None:
        await flags.read(reader, raised, places[2 * partitions :], begins, sure, ends)
    memory = RocksMemory()
    piece = max(_LEAST_PIECE, _RECORDS_IN_MEMORY // partitions)
    wanted = frozenset({changes, f"{prefix}command-results", f"{prefix}tier-changes"})
    if flags is not None:
        wanted |= {raised}
    made = []
    for number, store in enumerate(stores(directory, partitions, memory)):
        place = (journal, number)
        lane = Lane(
            reader,
            number,
            journal,
            begins[place],
            journal_ends[place],
            piece,
            frozenset({ticks}),
        )
        place = (changes, number)
        written = WrittenLedger(reader, changes, number, begins[place], ends[place])
        job = new_job(number, False)
        replica = Replica(number, job, store, messages=messages, wanted=wanted)
        made.append(Partition(lane, written, sure[place], replica))
    return Replay(
        partitions=made,
        span=span,
        new_job=new_job,
        directory=directory,
        messages=messages,
        ticks=ticks,
        changes=changes,
        by_events=made[0].real.job.by_events,
        on_sent=lambda topic, records, other: None,
        flags=flags,
        flag_topic=raised,
    )


def _accounts(programme: CompiledProgramme, spendable: frozenset[str], top: int) -> Accounts:
    return Accounts(
        spendable,
        {ladder.id: [tier.id for tier in ladder.tiers] for ladder in programme.ladders},
        top,
    )


def _counting(
    prefix: str, tallies: Sequence[Tally], raised: Sequence[FlagTally]
) -> Callable[[str, Sequence[Outgoing], bool], None]:
    changes = f"{prefix}balance-changes"
    by_topic = {
        changes: Tally.add_entries,
        f"{prefix}command-results": Tally.add_answers,
        f"{prefix}tier-changes": Tally.add_tiers,
    }

    def count(topic: str, records: Sequence[Outgoing], other: bool) -> None:
        if topic in by_topic:
            by_topic[topic](tallies[other], records)
        else:
            raised[other].add_flags(records)
        if raised and topic == changes:
            raised[other].add_entries(records)

    return count


def _in_span(detector_set: DetectorSet, from_ms: int, to_ms: int) -> DetectorSet:
    begin, end = (datetime.fromisoformat(rfc3339(at_ms)) for at_ms in (from_ms, to_ms))
    return detector_set.model_copy(update={"effective_from": begin, "effective_to": end})


def _naming(topic: str, names: dict[str, str]) -> Callable[[Record], None]:
    """Note which rule set a hash stands for: entries name the hash."""

    def note(record: Record) -> None:
        if record.topic != topic or record.value is None:
            return
        try:
            rule_set = RuleSet.model_validate(loads(record.value)["ruleset"])
            names[compile_rule_set(rule_set).hash] = rule_set.id
        except (ValidationError, ValueError, LookupError, TypeError):
            # It was refused, and no entry names it.
            return

    return note
