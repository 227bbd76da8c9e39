"""For finance and operators: what is owed, what moves, what is suspicious, which rules hold."""

from __future__ import annotations

from .panels import PROGRAMME, RATE, Board, Kind, Panel, Query, Row

__all__ = ["POINTS"]

_OWED = Row(
    "What is owed?",
    [
        Panel(
            "Owed now",
            "Points owed to members, by wallet: available, pending and held, less debt. Not told "
            "while a partition restores. The entries of balance-changes add up to it.",
            [Query(f"job_wallet:pointstream_liability_points:sum{{{PROGRAMME}}}", "{{wallet}}")],
            Kind.NUMBERS,
        ),
        Panel(
            "Owed over time",
            "The same over time. Moves with the shops' day, a few per cent; steps at expiries and "
            "clear-outs. A step without a reason: runbook PointstreamLiabilityJump.",
            [Query(f"job_wallet:pointstream_liability_points:sum{{{PROGRAMME}}}", "{{wallet}}")],
        ),
        Panel(
            "Change within the hour",
            "How far what is owed is from where it was an hour ago. The alert on it fires at a "
            "tenth of all plus 10,000 points.",
            [
                Query(
                    f"job_wallet:pointstream_liability_points:sum{{{PROGRAMME}}} "
                    f"- job_wallet:pointstream_liability_points:sum{{{PROGRAMME}}} offset 1h",
                    "{{wallet}}",
                )
            ],
            below_zero=True,
        ),
        Panel(
            "Where points are",
            "Available to spend, pending until they ripen, held by a redemption or a review, and "
            "debt: what was spent and then refunded. Debt that grows: refunds after the points are "
            "gone; look at Flags.",
            [
                Query(
                    "sum by (wallet, place) (max by (wallet, place, partition) "
                    f"(pointstream_points_outstanding{{{PROGRAMME}}}))",
                    "{{wallet}}, {{place}}",
                )
            ],
            width=12,
        ),
        Panel(
            "Owed by partition",
            "The ten partitions that owe most. About the same for all; one far above holds an "
            "account in a class of its own (a shop's, a test's).",
            [
                Query(
                    "topk(10, max by (wallet, partition) "
                    f"(pointstream_liability_points{{{PROGRAMME}}}))",
                    "{{wallet}}, partition {{partition}}",
                )
            ],
            width=12,
        ),
    ],
)

_MOVES = Row(
    "What moves?",
    [
        Panel(
            "Points by movement",
            "Points an hour, by the type of the ledger entry and the wallet. Earning and redeeming "
            "follow the day; adjustments are people's work and rare.",
            [
                Query(
                    "sum by (type, wallet) "
                    f"(rate(pointstream_points_moved_total{{{PROGRAMME}}}[{RATE}])) * 3600",
                    "{{type}}, {{wallet}}",
                )
            ],
            Kind.STACKED,
        ),
        Panel(
            "Entries by movement",
            "Ledger entries an hour. With the panel beside it: many small or few large ones.",
            [
                Query(
                    "sum by (type, wallet) "
                    f"(rate(pointstream_movements_total{{{PROGRAMME}}}[{RATE}])) * 3600",
                    "{{type}}, {{wallet}}",
                )
            ],
            Kind.STACKED,
        ),
        Panel(
            "Points within a day",
            "The sums of the last 24 hours, for the books of the day. Not exact to the point: "
            "Prometheus reckons between scrapes; the ledger is in balance-changes.",
            [
                Query(
                    "sum by (type, wallet) "
                    f"(increase(pointstream_points_moved_total{{{PROGRAMME}}}[1d]))"
                )
            ],
            Kind.TABLE,
        ),
    ],
)

_SUSPICIOUS = Row(
    "What is suspicious?",
    [
        Panel(
            "Flags",
            "Fraud flags an hour, by detector; one that goes on counts again. A detector that "
            "flags far more than yesterday: an attack, or a rule that is too strict; "
            "`pointstream review list`, `pointstream fraud backtest`.",
            [
                Query(
                    "sum by (detector) "
                    f"(rate(pointstream_flags_total{{{PROGRAMME}}}[{RATE}])) * 3600",
                    "{{detector}}",
                )
            ],
            Kind.STACKED,
            width=12,
        ),
        Panel(
            "Flags by state, within a day",
            "Raised, gone on, released, confirmed. Many more raised than decided: reviewers are "
            "behind; `pointstream review list`.",
            [
                Query(
                    "sum by (detector, state) "
                    f"(increase(pointstream_flags_total{{{PROGRAMME}}}[1d]))"
                )
            ],
            Kind.TABLE,
            width=12,
        ),
    ],
)

_RULES = Row(
    "Which rules hold?",
    [
        Panel(
            "Rule sets in force",
            "Each version in force somewhere, and in how many workers. Two versions of one for "
            "more than a minute after a publication: a worker has not taken it; "
            "`pointstream rules list`.",
            [
                Query(
                    f"count by (rule_set, version, hash) (pointstream_rule_set_info{{{PROGRAMME}}})"
                )
            ],
            Kind.TABLE,
            width=12,
        ),
        Panel(
            "Versions over time",
            "The highest version of each rule set. Steps are publications.",
            [
                Query(
                    f"max by (rule_set) (pointstream_rule_set_version{{{PROGRAMME}}})",
                    "{{rule_set}}",
                )
            ],
            width=6,
        ),
        Panel(
            "Rule sets that do not fit",
            "Refused at publication within the day, and set aside by a worker whose programme they "
            "do not fit. 0; refused: `pointstream rules history`; set aside: its workers run "
            "another programme than the publisher's.",
            [
                Query(
                    f"sum(increase(pointstream_rule_sets_refused_total{{{PROGRAMME}}}[1d]))",
                    "refused",
                ),
                Query(
                    "sum by (rule_set) "
                    f"(increase(pointstream_rule_sets_set_aside_total{{{PROGRAMME}}}[1d])) "
                    f"or 0 * max by (rule_set) (pointstream_rule_set_version{{{PROGRAMME}}})",
                    "set aside: {{rule_set}}",
                ),
            ],
            Kind.NUMBERS,
            bad_from=0.5,
            width=6,
        ),
    ],
)

POINTS = Board(
    "points",
    "pointstream: points",
    "For finance and operators: what is owed, what moves, what is suspicious, which rules hold.",
    [_OWED, _MOVES, _SUSPICIOUS, _RULES],
    by_worker=False,
    span="now-24h",
)
