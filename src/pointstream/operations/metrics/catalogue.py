"""Every metric by its name: what it is, which labels it has, what it tells.

The one list: the registry makes the metrics from it, and `deploy/README.md` shows it (a test holds
both together). No label holds a member's id, or anything else that there is no small, known number
of: topics, partitions, wallets, rule sets and detectors are the programme's, all others are closed
lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["CATALOGUE", "Kind", "Metric", "table"]


class Kind(StrEnum):
    """The kinds of metrics, as Prometheus names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A histogram has `buckets`, in its own unit."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"pointstream_{name}", Kind.COUNTER, labels, help)


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"pointstream_{name}", Kind.GAUGE, labels, help)


def _histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(f"pointstream_{name}", Kind.HISTOGRAM, labels, help, buckets)


# From what a batch takes to what a stop of some minutes leaves behind.
_WAITS: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 300.0, 1800.0),
)
_STEPS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_SIZES: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
_RESTORES: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0)

CATALOGUE: Final[tuple[Metric, ...]] = (
    # What comes in, and what becomes of it
    _counter(
        "events_total", "Input records committed, by what became of them.", "topic", "outcome"
    ),
    _counter("timers_total", "Timers that rang, by what came of it.", "outcome"),
    _counter("ticks_total", "Ticks committed: the time of a partition moved on."),
    _counter("ticks_late_total", "Ticks committed more than two tick intervals after their time."),
    _counter("dead_letters_total", "Inputs that could not be taken, by reason.", "code"),
    _histogram(
        "end_to_end_seconds",
        "Per input record, from the broker's time of it until its effects were committed.",
        _WAITS,
        "topic",
    ),
    # Batches and transactions
    _histogram("processing_seconds", "Per batch, from taken until decided.", _STEPS),
    _histogram("commit_seconds", "Per batch, its Kafka transaction.", _STEPS),
    _histogram("transaction_seconds", "Per batch, from taken until committed and stored.", _STEPS),
    _histogram("transaction_records", "Input records per transaction.", _SIZES),
    _histogram("transaction_sent_records", "Output records per transaction.", _SIZES),
    _histogram("transaction_state_changes", "Keys of the state written per transaction.", _SIZES),
    # How far behind
    _gauge("lag_records", "Records that wait in an input topic.", "topic", "partition"),
    _gauge(
        "lag_seconds",
        "How long the longest waiting record of an input topic has waited; 0 if none waits. While "
        "it is not fetched yet: since the last one taken before it, or since the partition came.",
        "topic",
        "partition",
    ),
    _gauge("lag_age_seconds", "How old the ends of the topics are that the lag is counted to."),
    # Partitions
    _gauge("ready", "1 if every partition owned is restored and runs (as /readyz says), else 0."),
    _gauge("partition_phase", "1 for the phase that a partition is in.", "partition", "phase"),
    _gauge(
        "partition_waiting_records",
        "Records in memory that are not processed yet.",
        "partition",
    ),
    _gauge(
        "partition_last_commit_timestamp_seconds",
        "When the partition committed last, or began to run. A healthy one commits every tick.",
        "partition",
    ),
    _gauge("restore_remaining_records", "Changelog records still to restore.", "partition"),
    _counter("restored_records_total", "Changelog records restored."),
    _histogram("restore_seconds", "Per partition taken over, its restore.", _RESTORES),
    _counter("rebalances_total", "Times that the group gave out its partitions anew."),
    _counter("records_dropped_total", "Records fetched a second time, and dropped."),
    _counter("stores_discarded_total", "Local states thrown away, to be restored in full."),
    _gauge("store_bytes", "Disk that the state of a partition takes.", "partition"),
    _gauge("store_memory_bytes", "Memory of all stores: block cache and write buffers."),
    # Points
    _counter("movements_total", "Ledger entries committed.", "type", "wallet"),
    _counter("points_moved_total", "Points moved by ledger entries committed.", "type", "wallet"),
    _gauge(
        "points_outstanding",
        "Points of all members of a partition, by where they are.",
        *("partition", "wallet", "place"),
    ),
    _gauge(
        "liability_points",
        "Points owed to the members of a partition: available, pending and held, less debt.",
        *("partition", "wallet"),
    ),
    _counter(
        "flags_total", "Fraud flags committed; one that goes on counts again.", "detector", "state"
    ),
    # Rules
    _gauge(
        "rule_set_info",
        "1 for each version of a rule set that is in force in a partition owned.",
        *("rule_set", "version", "hash"),
    ),
    _gauge("rule_set_version", "The highest version of a rule set in force.", "rule_set"),
    _counter("rule_sets_refused_total", "Rule sets published that were refused."),
    _counter(
        "rule_sets_set_aside_total",
        "Rule sets found not to fit the programme of this worker, once per partition and start.",
        "rule_set",
    ),
    # What must not be
    _counter("invariant_checks_total", "Times that the books of a wallet were found right."),
    _counter(
        "invariant_breaches_total",
        "Times that they were not: each one ended a process. Kept in the data directory.",
        "invariant",
    ),
    _counter(
        "faults_total",
        "Faults that ended a process. Kept in the data directory, over restarts.",
        "fault",
    ),
    _counter("broker_waits_total", "Times that a step waited 5 s or more for the broker."),
    _counter("web_refused_total", "Web requests without the right token."),
    # The process; process_* and python_gc_* come besides
    _gauge("build_info", "1, with what is running.", "version", "python"),
)


def table() -> str:
    """Return the catalogue as a Markdown table."""
    rows = ["| metric | type | labels | what it tells |", "|---|---|---|---|"]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows)
