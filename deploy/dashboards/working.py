"""The lower half of the overview: what the workers do, how, and what they need for it."""

from __future__ import annotations

from .panels import RATE, WORKERS, Kind, Panel, Query, Row, quantiles

__all__ = ["DOES", "HOW", "NEEDS"]

DOES = Row(
    "What does it do?",
    [
        Panel(
            "Input by topic",
            "Input records committed a second. Follows the shops' day. 0 while records wait: see "
            "Lag in records.",
            [
                Query(
                    f"sum by (topic) (rate(pointstream_events_total{{{WORKERS}}}[{RATE}]))",
                    "{{topic}}",
                )
            ],
            Kind.STACKED,
            unit="reqps",
        ),
        Panel(
            "Input by outcome",
            "What became of the input, a second. A new colour on top is a new kind of traffic: "
            "refusals such as insufficient_points are answers, codes of dead letters are not.",
            [
                Query(
                    f"sum by (outcome) (rate(pointstream_events_total{{{WORKERS}}}[{RATE}]))",
                    "{{outcome}}",
                )
            ],
            Kind.STACKED,
            unit="reqps",
        ),
        Panel(
            "Timers by outcome",
            "What came due, a second: points that ripen or expire, holds that time out. Bursts at "
            "midnight are expiries.",
            [
                Query(
                    f"sum by (outcome) (rate(pointstream_timers_total{{{WORKERS}}}[{RATE}]))",
                    "{{outcome}}",
                )
            ],
            Kind.STACKED,
            unit="reqps",
        ),
    ],
)

HOW = Row(
    "How does it work?",
    [
        Panel(
            "Commits",
            "Per batch, its Kafka transaction. p99 below 0.1 s. Higher: the brokers (disks, "
            "replicas that are behind); see Waits for the broker.",
            quantiles("commit_seconds"),
            unit="s",
        ),
        Panel(
            "Decisions",
            "Per batch, from taken until decided: the worker's own work. Grows with the batch; "
            "many rules or detectors show here.",
            quantiles("processing_seconds"),
            unit="s",
        ),
        Panel(
            "Batches",
            "Input records per transaction, in the mean, and transactions a second. One record "
            "each at rest, hundreds under load: that is how it keeps up.",
            [
                Query(
                    f"sum(rate(pointstream_transaction_records_sum{{{WORKERS}}}[{RATE}])) "
                    f"/ sum(rate(pointstream_transaction_records_count{{{WORKERS}}}[{RATE}]))",
                    "records per transaction",
                ),
                Query(
                    f"sum(rate(pointstream_transaction_records_count{{{WORKERS}}}[{RATE}]))",
                    "transactions a second",
                ),
            ],
        ),
        Panel(
            "Restore remaining",
            "Changelog records still to restore, by partition. 0; after a move or a start it falls "
            "quickly. A line that stays: runbook PointstreamRestoreTooLong.",
            [
                Query(
                    "max by (partition, instance) "
                    f"(pointstream_restore_remaining_records{{{WORKERS}}})",
                    "partition {{partition}} on {{instance}}",
                )
            ],
        ),
        Panel(
            "Rebalances",
            "Times within the last hour that the group gave out its partitions anew, as each "
            "worker saw it. Some at an upgrade. Again and again: workers that come and go, or a "
            "session timeout that is too short for their pauses.",
            [
                Query(
                    f"increase(pointstream_rebalances_total{{{WORKERS}}}[1h])",
                    "{{instance}}",
                )
            ],
        ),
        Panel(
            "Waits for the broker",
            "Times within the last hour that a step waited 5 s or more for the broker; records "
            "fetched twice and dropped; local states thrown away. All 0 on a quiet day.",
            [
                Query(
                    f"sum by (instance) (increase(pointstream_{metric}{{{WORKERS}}}[1h]))",
                    f"{name}, {{{{instance}}}}",
                )
                for metric, name in (
                    ("broker_waits_total", "waits"),
                    ("records_dropped_total", "dropped"),
                    ("stores_discarded_total", "discarded"),
                )
            ],
        ),
    ],
)

NEEDS = Row(
    "What does it need?",
    [
        Panel(
            "Disk",
            "What the state takes, by partition. Grows with members, not with time. One partition "
            "far above the others: a member or shop that is in a class of its own.",
            [
                Query(
                    f"max by (partition) (pointstream_store_bytes{{{WORKERS}}})",
                    "partition {{partition}}",
                )
            ],
            unit="bytes",
        ),
        Panel(
            "Memory",
            "The whole process, and what its stores take of it. Flat after the first hour; stores "
            "have a fixed share.",
            [
                Query(
                    f"process_resident_memory_bytes{{{WORKERS}}}",
                    "{{instance}}",
                ),
                Query(
                    f"pointstream_store_memory_bytes{{{WORKERS}}}",
                    "{{instance}}, stores",
                ),
            ],
            unit="bytes",
        ),
        Panel(
            "Processor",
            "Of one core, by worker. A worker computes on one core: at 1 it is full, and more "
            "workers (up to the partitions) are the remedy.",
            [
                Query(
                    f"rate(process_cpu_seconds_total{{{WORKERS}}}[{RATE}])",
                    "{{instance}}",
                )
            ],
            unit="percentunit",
            bad_from=0.95,
        ),
    ],
)
