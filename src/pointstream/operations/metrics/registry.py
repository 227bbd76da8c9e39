"""The metrics of one worker process.

Counters and histograms move once per batch, when it is committed: `committed` of the engine's
observer. What is a state of things (lag, phases, points outstanding, rules in force) is looked at
when somebody asks, so it is never older than the answer, and is gone with the partition.

All of it in the thread of the event loop.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import prometheus_client as prometheus
from aiokafka.errors import KafkaError
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from pointstream.contracts.topics import DEFAULT_PREFIX
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.engine.observing import Commit, TaskObserver
from pointstream.engine.runtime import Engine
from pointstream.engine.task import PartitionTask, Phase
from pointstream.ledger import Ledger
from pointstream.ledger.decision import Outcome
from pointstream.ledger.outstanding import PLACES, decode_outstanding
from pointstream.ledger.state import OUTSTANDING_KEY
from pointstream.operations.build import program_version
from pointstream.operations.metrics.catalogue import CATALOGUE, Kind
from pointstream.operations.metrics.counts import Counts
from pointstream.operations.metrics.faults import BREACHES, FAULTS, OTHER, Faults
from pointstream.operations.metrics.histogram import WeightedHistogram
from pointstream.operations.metrics.news import News

__all__ = ["Metrics"]

#: So long may the broker take to tell where the topics end; then the last known ends count.
_PATIENCE_SECONDS = 1.0
#: Ends younger than this are not asked for again: several may ask at the same time.
_FRESH_SECONDS = 1.0
_PHASES: Final = (Phase.FENCING, Phase.RESTORING, Phase.RUNNING)

_Add = Mapping[str, Callable[[Sequence[str], float], None]]
"""By the short name of a metric, what adds a value with its labels."""

# A series more for each counter and histogram, which nobody reads in this format.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types

_topic_and_time = attrgetter("topic", "timestamp")


class Metrics(TaskObserver, Collector):
    """All that a worker tells Prometheus; `registry` holds it, `exposition` writes it."""

    def __init__(
        self,
        *,
        prefix: str = DEFAULT_PREFIX,
        tick_topic: str = DEFAULT_PREFIX + "internal.ticks",
        tick_interval_ms: int = 1000,
        data_dir: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`prefix` begins every topic's name. `data_dir` keeps what outlives the process; None
        forgets it. `clock` gives seconds since 1970, as the broker counts them.
        """
        self.registry = prometheus.CollectorRegistry()
        self.engine: Engine | None = None
        """Whose partitions are told of; none are before it is set."""
        self.news = News()
        self._prefix = prefix
        self._ticks = tick_topic
        self._late_ms = 2 * tick_interval_ms
        self._clock = clock
        self._made: dict[str, Any] = {}
        self._by_record: dict[str, WeightedHistogram] = {}
        self._jobs: dict[int, tuple[Counts, Ledger]] = {}
        self._checked: dict[int, int] = {}
        self._last_taken_ms: dict[tuple[int, str], int] = {}
        self._last_commit: dict[int, float] = {}
        self._restored: dict[int, int] = {}
        self._assigned_at = clock()
        self._ends: dict[int, dict[str, int]] = {}
        self._ends_at = self._asked_at = 0.0
        self._asking = asyncio.Lock()
        self._make()
        self._faults = Faults(data_dir) if data_dir is not None else None
        self._tell_faults()
        self.registry.register(self)
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.GCCollector(registry=self.registry)

    # -- the job -----------------------------------------------------------------------

    def follow(self, partition: int, counts: Counts, ledger: Ledger) -> None:
        """Count for a partition what its job puts into `counts`, and tell its ledger's rules."""
        self._jobs[partition] = counts, ledger
        self._checked[partition] = 0

    def counts_of(self, partition: int) -> Counts | None:
        """Return what a partition's job counts its open batch in."""
        job = self._jobs.get(partition)
        return job[0] if job is not None else None

    # -- the engine; see `TaskObserver` ------------------------------------------------

    def assigned(self, partitions: Sequence[int]) -> None:
        self._made["rebalances_total"].inc()
        self._assigned_at = self._clock()
        for known in (self._jobs, self._checked, self._last_taken_ms, self._last_commit):
            known.clear()
        self._restored.clear()

    def restoring(self, partition: int, done: int, remaining: int) -> None:
        before = self._restored.get(partition, 0)
        # It begins anew where a local state turned out to be of no use.
        self._made["restored_records_total"].inc(done - before if done >= before else done)
        self._restored[partition] = done

    def restored(self, partition: int, seconds: float) -> None:
        self._made["restore_seconds"].observe(seconds)
        self._last_commit[partition] = self._clock()

    def dropped(self, partition: int, records: int) -> None:
        self._made["records_dropped_total"].inc(records)

    def discarded(self, partition: int, reason: str) -> None:
        self._made["stores_discarded_total"].inc()

    def committed(self, commit: Commit) -> None:
        made = self._made
        made["processing_seconds"].observe(commit.processing)
        made["commit_seconds"].observe(commit.commit)
        made["transaction_seconds"].observe(commit.whole)
        made["transaction_records"].observe(len(commit.records))
        made["transaction_sent_records"].observe(commit.sent)
        made["transaction_state_changes"].observe(commit.changes)
        self._count_times(commit)
        if (job := self._jobs.get(commit.partition)) is not None:
            self._count(commit.partition, *job)

    def failed(self, error: BaseException) -> None:
        if self._faults is not None:
            self._faults.add(error)

    # -- others ------------------------------------------------------------------------

    def waited_for_broker(self) -> None:
        """A step took long, or was tried again, because the broker did not answer."""
        self._made["broker_waits_total"].inc()

    @property
    def version(self) -> str:
        """Of the program."""
        return program_version()

    def faults(self) -> dict[str, int]:
        """Return how often this data directory's worker ended on which fault."""
        return dict(self._faults.counts) if self._faults is not None else {}

    def liability(self) -> dict[str, int]:
        """Return the points owed to the members of all partitions that run here, by wallet."""
        owed: Counter[str] = Counter()
        for task in self.engine.tasks.values() if self.engine is not None else ():
            for wallet, sums in _outstanding(task).items():
                owed[wallet] += _owed(sums)
        return dict(sorted(owed.items()))

    def rules_in_force(self) -> list[tuple[str, int, str]]:
        """Return id, version and hash of each rule set in force in a partition owned."""
        tasks = self.engine.tasks if self.engine is not None else {}
        return sorted(
            {
                (version.id, version.number, version.compiled.hash)
                for number, (_, ledger) in self._jobs.items()
                if number in tasks
                for version in ledger.rules_in_force()
            }
        )

    def web_refused(self) -> None:
        """Somebody asked for a page without the right token."""
        self._made["web_refused_total"].inc()

    async def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        await self.look()
        return prometheus.generate_latest(self.registry)

    async def look(self) -> None:
        """Ask the broker where the topics end, unless that was just asked."""
        async with self._asking:
            if self.engine is None or self._clock() - self._asked_at < _FRESH_SECONDS:
                return
            self._asked_at = self._clock()
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    self._ends = await self.engine.ends()
                self._ends_at = self._clock()
            except (KafkaError, OSError, TimeoutError):
                # The ends known before stay, and so does their age: `lag_age_seconds` tells.
                return

    def lag(self, task: PartitionTask) -> dict[str, tuple[int, float]]:
        """Return by input topic how many records wait for a task, and how long (seconds) the
        longest waiting one has, as of the last `look`."""
        now, oldest = self._clock(), task.oldest()
        found: dict[str, tuple[int, float]] = {}
        for topic, end in self._ends.get(task.partition, {}).items():
            position = task.positions.get(topic)
            if position is None:
                continue
            waiting, seconds = max(0, end - position), 0.0
            if waiting:
                at_ms = oldest.get(topic) or self._last_taken_ms.get((task.partition, topic))
                since = self._assigned_at if at_ms is None else at_ms / 1000
                seconds = max(0.0, now - since)
            found[topic] = waiting, seconds
        return found

    # -- making and counting -----------------------------------------------------------

    def _make(self) -> None:
        kinds = {Kind.COUNTER: prometheus.Counter, Kind.HISTOGRAM: prometheus.Histogram}
        for metric in CATALOGUE:
            short = metric.name.removeprefix("pointstream_")
            if metric.kind is Kind.GAUGE or short == "end_to_end_seconds":
                continue
            more = {"buckets": metric.buckets} if metric.buckets else {}
            self._made[short] = kinds[metric.kind](
                metric.name, metric.help, metric.labels, registry=self.registry, **more
            )
        # A counter that appears at 1 has not risen, as Prometheus sees it: the first dead letter
        # would be missed.
        for code in DeadLetterCode:
            self._made["dead_letters_total"].labels(code)

    def _tell_faults(self) -> None:
        counts = self._faults.counts if self._faults is not None else Counter[str]()
        for name in (*FAULTS, OTHER):
            self._made["faults_total"].labels(name).inc(counts[name])
        for name, invariant in BREACHES.items():
            self._made["invariant_breaches_total"].labels(invariant).inc(counts[name])

    def _count_times(self, commit: Commit) -> None:
        now_ms = self._clock() * 1000
        # Counted at C's speed, then by the few times there are: a producer's batch has one.
        times = Counter(map(_topic_and_time, commit.records))
        for (topic, at_ms), count in times.items():
            waited_ms = max(0.0, now_ms - at_ms)
            self._last_taken_ms[commit.partition, topic] = at_ms
            if topic == self._ticks:
                self._made["ticks_total"].inc(count)
                if waited_ms > self._late_ms:
                    self._made["ticks_late_total"].inc(count)
                continue
            histogram = self._by_record.get(topic)
            if histogram is None:
                histogram = self._by_record[topic] = WeightedHistogram(_END_TO_END.buckets)
            histogram.add(waited_ms / 1000, count)
        self._last_commit[commit.partition] = now_ms / 1000

    def _count(self, partition: int, counts: Counts, ledger: Ledger) -> None:
        made, prefix = self._made, self._prefix
        for (suffix, outcome), count in counts.outcomes.items():
            if suffix == "timers":
                made["timers_total"].labels(outcome).inc(count)
            else:
                made["events_total"].labels(prefix + suffix, outcome).inc(count)
            if outcome == Outcome.RULESET_INVALID:
                made["rule_sets_refused_total"].inc(count)
        for (type_, wallet), (count, points) in counts.moves.items():
            short = type_.removeprefix("points.")
            made["movements_total"].labels(short, wallet).inc(count)
            made["points_moved_total"].labels(short, wallet).inc(points)
        for letter in counts.dead_letters:
            self.news.dead_letter(letter)
            made["dead_letters_total"].labels(letter.code).inc()
        for flag in counts.flags:
            self.news.flag(flag)
            made["flags_total"].labels(flag["detector"], flag["state"]).inc()
        for rule_set in counts.set_aside:
            made["rule_sets_set_aside_total"].labels(rule_set).inc()
        checks = ledger.checks
        made["invariant_checks_total"].inc(checks - self._checked[partition])
        self._checked[partition] = checks

    # -- looking -----------------------------------------------------------------------

    def collect(self) -> Iterable[Any]:
        """Return what is looked at only when somebody asks. The registry calls it."""
        yield self._end_to_end()
        families = {
            metric.name.removeprefix("pointstream_"): GaugeMetricFamily(
                metric.name, metric.help, labels=metric.labels
            )
            for metric in CATALOGUE
            if metric.kind is Kind.GAUGE
        }
        add = {short: family.add_metric for short, family in families.items()}
        add["build_info"]([self.version, platform.python_version()], 1)
        if self.engine is not None:
            self._look_at(self.engine, add)
        yield from families.values()

    def _end_to_end(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            _END_TO_END.name, _END_TO_END.help, labels=_END_TO_END.labels
        )
        for topic, histogram in sorted(self._by_record.items()):
            family.add_metric([topic], histogram.buckets(), histogram.sum)
        return family

    def _look_at(self, engine: Engine, add: _Add) -> None:
        add["ready"]([], engine.ready)
        add["store_memory_bytes"]([], engine.memory_bytes)
        if self._ends_at:
            add["lag_age_seconds"]([], max(0.0, self._clock() - self._ends_at))
        for number, task in sorted(engine.tasks.items()):
            partition = str(number)
            for phase in _PHASES:
                add["partition_phase"]([partition, phase], task.phase is phase)
            add["partition_waiting_records"]([partition], task.waiting)
            add["restore_remaining_records"]([partition], task.restore_remaining)
            add["store_bytes"]([partition], task.stored_bytes())
            if number in self._last_commit:
                at = self._last_commit[number]
                add["partition_last_commit_timestamp_seconds"]([partition], at)
            for topic, (records, seconds) in self.lag(task).items():
                add["lag_records"]([topic, partition], records)
                add["lag_seconds"]([topic, partition], seconds)
            for wallet, sums in _outstanding(task).items():
                for place, points in zip(PLACES, sums, strict=True):
                    add["points_outstanding"]([partition, wallet, place], points)
                add["liability_points"]([partition, wallet], _owed(sums))
        self._look_at_rules(add)

    def _look_at_rules(self, add: _Add) -> None:
        highest: dict[str, int] = {}
        for id_, number, hash_ in self.rules_in_force():
            add["rule_set_info"]([id_, str(number), hash_], 1)
            highest[id_] = number
        for id_, number in highest.items():
            add["rule_set_version"]([id_], number)


_END_TO_END: Final = next(m for m in CATALOGUE if m.name == "pointstream_end_to_end_seconds")


def _outstanding(task: PartitionTask) -> dict[str, tuple[int, ...]]:
    """Points by wallet and place; none while it restores: they would be of times gone by."""
    if task.phase is not Phase.RUNNING:
        return {}
    return decode_outstanding(task.read(OUTSTANDING_KEY))


def _owed(sums: tuple[int, ...]) -> int:
    available, pending, held, debt = sums
    return available + pending + held - debt
