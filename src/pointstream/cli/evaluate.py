"""`fraud evaluate`: how good the detectors are, on traffic of which the truth is known."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pointstream.agents.processor import PointsProcessor
from pointstream.cli.output import (
    FAILED,
    USAGE,
    JsonOption,
    answer_json,
    console,
    examples,
    fail,
    guarded,
    notes,
    read_settings,
)
from pointstream.engine import Processor
from pointstream.ledger import Ledger
from pointstream.operations.chain import DAY_MS
from pointstream.operations.evaluation import (
    PARTITIONS,
    DetectorScore,
    Evaluation,
    evaluate,
    page,
)
from pointstream.operations.generate import StreamPlan
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.rules.compile import CompiledProgramme, compile_programme

__all__ = ["EVALUATE_EXAMPLES", "evaluate_detectors"]

EVALUATE_EXAMPLES = examples(
    "pointstream fraud evaluate",
    "pointstream fraud evaluate --seed 1 --seed 2 --seed 3 --html detectors.html",
    "pointstream fraud evaluate --programme stricter.yaml --events 50000 --json",
)

_DAYS = 28
_END_MS = int(datetime.fromisoformat("2026-03-01T00:00:00Z").timestamp() * 1000)
"""A fixed period: the same options give the same figures on any day."""
_EVENTS_PER_MEMBER = 20
_HOUR_MS = 3_600_000


@guarded
def evaluate_detectors(
    events: Annotated[
        int, typer.Option("--events", "-n", min=1_000, help="How many events, per seed.")
    ] = 100_000,
    members: Annotated[
        int | None, typer.Option(min=100, help="How many members join; else one per 20 events.")
    ] = None,
    seeds: Annotated[
        list[int] | None,
        typer.Option("--seed", help="Of the traffic; several give one result over all."),
    ] = None,
    fraudsters: Annotated[
        int | None, typer.Option(min=1, help="Members who take part in fraud; else one in 100.")
    ] = None,
    programme_file: Annotated[
        Path | None,
        typer.Option("--programme", help="With the detectors to measure; else the worker's."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots there as well.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the detectors on generated traffic that is labelled with the truth.

    Each kind of fraud comes plain, subtle (just above what the detectors allow by default) and
    faint (below it, on purpose: what nobody should expect to be found). The production job takes
    the stream on a throw-away state; nothing touches Kafka. At the end a reviewer who knows the
    truth decides on every flag. A flag is right if it names somebody's fraud, or a member with a
    part in it, from its beginning until a week after its end. Points saved are those that the
    rejected flags took back, and spending that never went through.
    """
    settings = read_settings()
    try:
        source = load_programme(programme_file or settings.programme_file)
    except ProgrammeInvalid as error:
        fail(str(error), USAGE)
    if source.fraud is None:
        fail("the programme has no detectors: give it a `fraud` section", USAGE)
    programme = compile_programme(source)
    joined = members if members is not None else events // _EVENTS_PER_MEMBER
    plans = [
        StreamPlan(
            events=events,
            members=joined,
            seed=seed,
            start_ms=_END_MS - _DAYS * DAY_MS,
            end_ms=_END_MS,
            fraudsters=fraudsters if fraudsters is not None else max(1, joined // 100),
        )
        for seed in (seeds or [1])
    ]
    result = _measure(plans, programme, quiet=as_json)
    if html is not None:
        try:
            html.write_text(page(result), encoding="utf-8")
        except OSError as error:
            fail(f"can't write {html}: {error.strerror}", USAGE)
    if as_json:
        answer_json(result.as_json())
    else:
        _print(result)
    if result.unanswered:
        fail(f"{result.unanswered} reviews were given no answer; that is a defect", FAILED)


def _measure(plans: list[StreamPlan], programme: CompiledProgramme, *, quiet: bool) -> Evaluation:
    def make_job(partition: int) -> Processor:
        return PointsProcessor(Ledger(programme), partitions=PARTITIONS)

    total: Evaluation | None = None
    with _bar(quiet) as bar:
        task = bar.add_task("taking events", total=sum(plan.events for plan in plans))
        for plan in plans:
            one = evaluate(plan, make_job, progress=lambda new: bar.advance(task, new))
            total = one if total is None else total + one
    assert total is not None
    return total


def _bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=quiet or not notes.is_terminal,
    )


def _print(result: Evaluation) -> None:
    table = Table(title="Kinds of fraud", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("kind", no_wrap=True)
    for name in ("of", "found", "recall", "precision", "after", "points", "saved"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in result.kinds:
        if not row.episodes:
            continue
        table.add_row(
            f"{row.kind} {row.subtlety}",
            f"{row.episodes:,}",
            f"{row.found:,}",
            _share(row.recall),
            _share(row.precision),
            _span(row.median_to_flag_ms),
            f"{row.at_stake:,}",
            f"{row.saved:,}",
        )
    console.print(table)
    console.print(_detectors(result.detectors))
    console.print(
        f"{result.events:,} events of {result.members:,} members, {result.fraudsters:,} of them"
        f" fraudsters; {result.flags:,} flags.",
        style="dim",
    )
    missing = [f"{row.kind} {row.subtlety}" for row in result.kinds if not row.episodes]
    if missing:
        notes.print(f"No episode of {', '.join(missing)}: more events or seeds show all kinds.")


def _detectors(scores: list[DetectorScore]) -> Table:
    table = Table(title="Detectors", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("detector", no_wrap=True)
    for name in ("right", "wrong", "precision", "after"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("episodes")
    for score in scores:
        table.add_row(
            Text(score.detector),
            f"{score.true_flags:,}",
            f"{score.false_flags:,}",
            _share(score.precision),
            _span(score.median_to_flag_ms),
            Text(", ".join(f"{kind} {count}" for kind, count in score.episodes.most_common())),
        )
    return table


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3f}"


def _span(span_ms: float | None) -> str:
    """Write a span in the unit in which people would tell it."""
    if span_ms is None:
        return ""
    if span_ms < _HOUR_MS:
        return f"{span_ms / 60_000:.1f} min"
    return f"{span_ms / _HOUR_MS:.1f} h"
