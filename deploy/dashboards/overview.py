"""Where an SRE lives: is it alive, is it fresh, is it right; then how it works."""

from __future__ import annotations

from .panels import PROGRAMME, RATE, WORKERS, Board, Kind, Panel, Query, Row, quantiles
from .working import DOES, HOW, NEEDS

__all__ = ["OVERVIEW"]


def _burn_rates(objective: str) -> list[Query]:
    """The share that misses an objective, over the windows that its alerts look at."""
    return [
        Query(
            f"job:pointstream_{objective}:ratio_rate{window}{{{PROGRAMME}}}",
            f"{{{{job}}}}, {window}",
        )
        for window in ("5m", "1h", "6h")
    ]


_ALIVE = Row(
    "Is it alive?",
    [
        Panel(
            "Workers",
            "Whether each worker answers Prometheus. Red for minutes: its process, host or network "
            "is gone; runbook PointstreamWorkerDown. A few red seconds are a restart.",
            [Query(f"up{{{WORKERS}}}", "{{instance}}")],
            Kind.STATES,
            good_is_one=("down", "up"),
        ),
        Panel(
            "Partitions processed",
            "Whether some worker processes each partition. Red for seconds: it moves, or restores. "
            "Longer: its members' points stand still; runbook PointstreamPartitionNotRunning.",
            [
                Query(
                    f"job_partition:pointstream_running:max{{{PROGRAMME}}}",
                    "partition {{partition}}",
                )
            ],
            Kind.STATES,
            good_is_one=("nobody", "processed"),
        ),
        Panel(
            "Partitions of each worker",
            "How many partitions each worker processes: about the same for all. A worker without "
            "any is ready and of no use: there are more workers than partitions, or it does not "
            "get in.",
            [
                Query(
                    "sum by (instance) "
                    f'(pointstream_partition_phase{{{WORKERS}, phase="running"}})',
                    "{{instance}}",
                )
            ],
        ),
        Panel(
            "Ready",
            "Whether each worker says so at /readyz: it has its partitions, all restored. Red for "
            "minutes: runbook PointstreamNotReady.",
            [Query(f"pointstream_ready{{{WORKERS}}}", "{{instance}}")],
            Kind.STATES,
            good_is_one=("not ready", "ready"),
        ),
        Panel(
            "Starts",
            "Processes started within the last hour, by worker. 0 but for upgrades; more: look at "
            "Faults, then at the worker's log.",
            [Query(f"changes(process_start_time_seconds{{{WORKERS}}}[1h])", "{{instance}}")],
            Kind.NUMBERS,
            bad_from=1,
        ),
        Panel(
            "What runs",
            "The version of each worker. Two versions are an upgrade under way, or one that "
            "stopped half way.",
            [
                Query(
                    f"max by (instance, version, python) (pointstream_build_info{{{WORKERS}}})",
                )
            ],
            Kind.TABLE,
        ),
    ],
)

_FRESH = Row(
    "Is it fresh?",
    [
        Panel(
            "From record to commit",
            "From the broker's time of a record until its effects can be read. p99 below 0.2 s up "
            "to half of the top rate. Above 1 s: look at lag and at commit times to see whether "
            "it waits or works slowly; runbook PointstreamFreshnessFastBurn.",
            quantiles("end_to_end_seconds"),
            unit="s",
            bad_from=1,
        ),
        Panel(
            "Later than a second",
            "Share of the records from outside that were committed more than 1 s after the broker "
            "had them. The objective allows 1 % over 30 days; at 14 % within the hour somebody is "
            "called.",
            _burn_rates("late"),
            unit="percentunit",
            bad_from=0.144,
        ),
        Panel(
            "Age of the last commit",
            "By partition. A healthy one commits every tick, so this stays at a second or two. A "
            "line that climbs is a partition that stands still while its worker lives; runbook "
            "PointstreamPartitionStuck.",
            [
                Query(
                    "time() - max by (instance, partition) "
                    f"(pointstream_partition_last_commit_timestamp_seconds{{{WORKERS}}})",
                    "partition {{partition}} on {{instance}}",
                )
            ],
            unit="s",
            bad_from=60,
        ),
        Panel(
            "Lag in seconds",
            "How long the longest waiting record has waited: the ten worst of topic and partition. "
            "0 or below a second. One partition alone: a hot member, or a partition that is slow; "
            "all: too few workers, or a slow broker. Runbook PointstreamLagGrowing.",
            [
                Query(
                    "topk(10, max by (topic, partition, instance) "
                    f"(pointstream_lag_seconds{{{WORKERS}}}))",
                    "{{topic}}[{{partition}}] on {{instance}}",
                )
            ],
            unit="s",
            bad_from=60,
        ),
        Panel(
            "Lag in records",
            "How many records wait: the ten worst of topic and partition. Rises with a rush and "
            "falls again. If it only rises, more comes in than is taken.",
            [
                Query(
                    "topk(10, sum by (topic, partition, instance) "
                    f"(pointstream_lag_records{{{WORKERS}}}))",
                    "{{topic}}[{{partition}}] on {{instance}}",
                )
            ],
        ),
        Panel(
            "Late ticks",
            "Share of the ticks that came more than two intervals after their time. Ticks ripen, "
            "expire and time out: late ones are late points. 0; above 5 %: runbook "
            "PointstreamTicksLate.",
            [
                Query(
                    f"sum by (instance) (rate(pointstream_ticks_late_total{{{WORKERS}}}[{RATE}])) "
                    f"/ sum by (instance) (rate(pointstream_ticks_total{{{WORKERS}}}[{RATE}]))",
                    "{{instance}}",
                )
            ],
            unit="percentunit",
            bad_from=0.05,
        ),
    ],
)

_RIGHT = Row(
    "Is it right?",
    [
        Panel(
            "Dead letters",
            "Inputs a minute that could not be taken, by reason. 0. Some of one code: a publisher "
            "has a mistake; `pointstream dlq list` says which records. Runbook "
            "PointstreamDeadLettersFastBurn.",
            [
                Query(
                    "sum by (code) "
                    f"(rate(pointstream_dead_letters_total{{{WORKERS}}}[{RATE}])) * 60",
                    "{{code}}",
                )
            ],
            Kind.STACKED,
        ),
        Panel(
            "Share of dead letters",
            "Of all input records. The objective allows 0.1 % over 30 days; at 1.4 % within the "
            "hour somebody is called.",
            _burn_rates("dead_letters"),
            unit="percentunit",
            bad_from=0.0144,
        ),
        Panel(
            "Invariant breaches",
            "Times within the last day that the books of a wallet were wrong. 0, always: each one "
            "stops its worker before anything is committed; runbook PointstreamInvariantBreach.",
            [
                Query(
                    "sum by (invariant, instance) "
                    f"(increase(pointstream_invariant_breaches_total{{{WORKERS}}}[1d]))",
                    "{{invariant}} on {{instance}}",
                )
            ],
            Kind.NUMBERS,
            bad_from=0.5,
        ),
        Panel(
            "Faults",
            "What workers ended on within the last day. None. `Fenced` once is a worker that was "
            "cut off and is honest about it; anything else, or again and again: runbook "
            "PointstreamFaultLoop.",
            [
                Query(
                    "sort_desc(sum by (instance, fault) "
                    f"(increase(pointstream_faults_total{{{WORKERS}}}[1d])))"
                )
            ],
            Kind.TABLE,
            bad_from=0.5,
        ),
        Panel(
            "Proofs",
            "Times a second that the books of a wallet were found right: about as often as entries "
            "are written. 0 under load would mean that nobody looks.",
            [
                Query(
                    "sum by (instance) "
                    f"(rate(pointstream_invariant_checks_total{{{WORKERS}}}[{RATE}]))",
                    "{{instance}}",
                )
            ],
        ),
        Panel(
            "Refused",
            "Within the last hour: rule sets that did not fit, and requests for pages without the "
            "right token. Rule sets: `pointstream rules history`. Requests: a scraper or a worker "
            "with an old token, or somebody who tries.",
            [
                Query(
                    f"sum(increase(pointstream_rule_sets_refused_total{{{WORKERS}}}[1h]))",
                    "rule sets",
                ),
                Query(
                    f"sum(increase(pointstream_web_refused_total{{{WORKERS}}}[1h]))",
                    "requests",
                ),
            ],
            Kind.NUMBERS,
            bad_from=0.5,
        ),
    ],
)

OVERVIEW = Board(
    "overview",
    "pointstream: overview",
    "Is it alive, fresh and right? From the top; deploy/runbooks.md says what to do.",
    [_ALIVE, _FRESH, _RIGHT, DOES, HOW, NEEDS],
)
