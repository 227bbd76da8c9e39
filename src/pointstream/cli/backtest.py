"""`fraud backtest`: what a changed detector set would have flagged of what really happened."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pointstream.cli.detectors import read_detectors
from pointstream.cli.output import (
    FAILED,
    USAGE,
    BootstrapOption,
    JsonOption,
    answer_json,
    console,
    examples,
    fail,
    guarded,
    notes,
    read_settings,
    zone_named,
)
from pointstream.cli.rulefiles import ProgrammeOption, read_programme, tell
from pointstream.cli.simulate import (
    FromOption,
    ToOption,
    local,
    print_head,
    print_lines,
    run_simulation,
    span_ms,
    writable,
    write_page,
)
from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.wire import epoch_ms, rfc3339
from pointstream.fraud.warming import reach
from pointstream.operations.rulefiles import highest
from pointstream.operations.simulation import (
    Flagged,
    Flags,
    Line,
    Overlap,
    Plan,
    Simulation,
    flag_page,
    warmed_words,
)

__all__ = ["BACKTEST_EXAMPLES", "backtest_detectors"]

BACKTEST_EXAMPLES = examples(
    "pointstream fraud backtest stricter.yaml --from 2026-10-01 --to 2026-10-31",
    "pointstream fraud backtest stricter.yaml --from 2026-10-01T00:00:00+08:00 --top 50",
    "pointstream fraud backtest stricter.yaml --from 2026-10-01 --html stricter.html",
    "pointstream fraud backtest stricter.yaml --from 2026-10-01 --cold --json",
)


@guarded
def backtest_detectors(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Detector sets, in YAML or JSON.")],
    begin: FromOption,
    end: ToOption = None,
    top: Annotated[
        int,
        typer.Option("--top", min=0, max=100_000, help="So many new flags are told, and gone."),
    ] = 10,
    cold: Annotated[
        bool,
        typer.Option(
            "--cold",
            help="Count from the beginning of the span on, and nothing before it: that is quicker.",
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            dir_okay=False,
            help="Also write a page with plots. It needs nothing else, and no network.",
        ),
    ] = None,
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Tell what changed detectors would have flagged between two moments of the past.

    The recorded inputs are replayed in their recorded order by the worker's own code, with the
    detectors as they were and, from the beginning of the span on, with the file's detector sets
    instead of those of their ids (or beside them). Nothing is written to Kafka; it runs beside
    workers or without them. In the span the candidate holds all the time, whatever effective_from
    and effective_to it has. For so long before it as the longest of its windows, as far as inputs
    are there, its detectors count and trip on nothing, so that the windows are full: what is taken
    then is taken twice as well.

    A flag is in both if detector, action and entity are the same, and its id or a piece of its
    evidence; what only the candidate raises is new, what only the real detectors raise is gone.
    Those count that were raised in the span, or that something new has joined in it. Points held
    back are those of spendable wallets that came under review or were held, whatever was decided
    later.

    What the real detectors give in the replay is compared with the flags and the ledger, record by
    record: ends with 1 if it is not the same, for then the difference told is one between two
    replays, and not to what happened. The programme must be the workers' one.
    """
    settings = read_settings(bootstrap_servers)
    programme = read_programme(programme_file or settings.programme_file)
    zone = zone_named(programme.time_zone)
    from_ms, to_ms = span_ms(begin, end, zone)
    writable(html)
    candidates = _sound(file)
    warm_ms = 0 if cold else reach(candidates) // timedelta(milliseconds=1)
    plan = Plan(programme, (), from_ms, to_ms, top=0, detector_sets=candidates, warm_ms=warm_ms)
    found = run_simulation(settings, plan, quiet=as_json)
    flags = found.flags
    assert flags is not None
    if html is not None:
        write_page(html, flag_page(found, flags, candidates, top=top))
    changed = [line for line in (*found.figures(), *found.outstanding()) if line.difference]
    if as_json:
        answer_json(
            {
                "detector_sets": [{"id": each.id, "version": each.version} for each in candidates],
                **found.replay_json(),
                "windows_counted_from": rfc3339(_counted_from_ms(found)),
                "inputs_only_counted": found.warmed,
                **flags.as_json(top),
                "figures": [line.as_json() for line in changed],
            }
        )
    else:
        print_head(found, candidates, zone)
        console.print(warmed_words(found), style="dim")
        _print(flags, changed, top, zone)
    if not found.sound:
        raise typer.Exit(FAILED)


def _counted_from_ms(found: Simulation) -> int:
    return found.from_ms if found.warm_from_ms is None else found.warm_from_ms


def _sound(file: Path) -> list[DetectorSet]:
    """The detector sets of a file that are fit to be used; ends where anything is wrong."""
    read = read_detectors(file)
    if read.whole:
        fail(f"{file} is a whole programme; backtest files with detector sets", USAGE)
    tell(read.problems, "bold red", "problem")
    if read.problems:
        notes.print("Nothing was replayed.")
        raise typer.Exit(FAILED)
    return list(highest(read.sets).values())


# --- for people -------------------------------------------------------------------------------


def _print(flags: Flags, changed: list[Line], top: int, zone: tzinfo) -> None:
    table = _overlaps("")
    for each in flags.over_all():
        table.add_row(each.name, *_figures(each))
    console.print()
    console.print(table)
    lines = flags.lines()
    if not lines:
        notes.print(Text("Nothing was flagged in the span, and nothing would be.", "yellow"))
        return
    table = _overlaps("flags by detector", "action")
    for name in ("held was", "held would be"):
        table.add_column(name, justify="right")
    for line in lines:
        held = (f"{line.held_was:,}", f"{line.held_would_be:,}")
        table.add_row(Text(line.detector), line.action, *_figures(line.flags), *held)
    was, would_be = flags.held()
    if len(lines) > 1:
        table.add_section()
        table.add_row("all", "", *_figures(flags.over_all()[0]), f"{was:,}", f"{would_be:,}")
    console.print()
    console.print(table)
    confirmed = sum(line.gone_confirmed for line in lines)
    released = sum(line.gone_released for line in lines)
    if confirmed or released:
        words = f"Of those that are gone reviewers had confirmed {confirmed:,}"
        style = "bold red" if confirmed else ""
        console.print(Text(f"{words} and released {released:,}.", style=style))
    _print_examples("new: only the candidate flags", flags.new, top, zone)
    _print_examples("gone: only the real detectors flagged", flags.gone, top, zone)
    print_lines("what else would be otherwise, over all members", changed)


def _print_examples(title: str, found: list[Flagged], top: int, zone: tzinfo) -> None:
    if not found or not top:
        return
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False)
    for name in ("when", "detector", "action", "entity"):
        table.add_column(name, no_wrap=name == "when")
    table.add_column("why", ratio=1)
    for each in found[:top]:
        when = local(epoch_ms(datetime.fromisoformat(each.occurred_at)), zone)
        entity = Text(f"{each.entity_kind} {each.entity_id}")
        table.add_row(when, Text(each.detector), each.action, entity, Text(each.explanation))
    console.print()
    console.print(table)
    if len(found) > top:
        console.print(f"… and {len(found) - top:,} more; --top tells more", style="dim")


def _overlaps(title: str, *more: str) -> Table:
    table = Table("", *more, title_justify="left", title_style="bold", show_edge=False)
    table.title = title or None
    for name in ("as it was", "would be", "both", "new", "gone"):
        table.add_column(name, justify="right")
    return table


def _figures(found: Overlap) -> tuple[Text, ...]:
    return (
        Text(f"{found.was:,}"),
        Text(f"{found.would_be:,}"),
        Text(f"{found.both:,}"),
        Text(f"{found.new:,}" if found.new else "-", "yellow" if found.new else ""),
        Text(f"{found.gone:,}" if found.gone else "-", "yellow" if found.gone else ""),
    )
