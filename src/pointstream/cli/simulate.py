"""`rules simulate`: what a rule set would have done to what really happened."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, tzinfo
from datetime import time as day_time
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.table import Table
from rich.text import Text

from pointstream.agents.replaying import replaying_jobs
from pointstream.cli.history import last_moment_ms
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
    reading_bar,
    zone_named,
)
from pointstream.cli.rulefiles import ProgrammeOption, read_programme, tell
from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.programme import Programme
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.wire import epoch_ms
from pointstream.engine import StoreUnavailable
from pointstream.operations.access import access_of
from pointstream.operations.documents import DocumentInvalid, read_text
from pointstream.operations.garbage import collect_seldom
from pointstream.operations.reading import CommittedReader
from pointstream.operations.rulecheck import check_rule_files
from pointstream.operations.rulefiles import highest, read_rule_file
from pointstream.operations.settings import Settings
from pointstream.operations.simulation import (
    NOTHING_AWARDED,
    Line,
    NothingRecorded,
    Plan,
    ReplayFailed,
    Simulation,
    members_words,
    page,
    simulate,
    verdict_words,
)

__all__ = [
    "SIMULATE_EXAMPLES",
    "FromOption",
    "ToOption",
    "local",
    "print_head",
    "print_lines",
    "run_simulation",
    "simulate_rules",
    "span_ms",
    "writable",
    "write_page",
]

SIMULATE_EXAMPLES = examples(
    "pointstream rules simulate autumn.yaml --from 2026-10-01 --to 2026-10-31",
    "pointstream rules simulate autumn.yaml --from 2026-10-01T00:00:00+08:00 --html autumn.html",
    "pointstream rules simulate autumn.yaml --from 2026-10-01 --member M-000017 --top 50 --json",
)

_ENTRIES_SHOWN = 40

FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="TIME",
        help="From when on the candidate holds: a date in the programme's zone, or a time with its"
        " offset.",
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TIME",
        help="Until when: a date is included as a whole, a time is not. Default: now.",
    ),
]


@guarded
def simulate_rules(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rule sets, in YAML or JSON.")],
    begin: FromOption,
    end: ToOption = None,
    members: Annotated[
        list[str] | None,
        typer.Option("--member", metavar="ID", help="Also tell what changes for this member."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=0, max=100_000, help="Rules, shops and members told of.")
    ] = 10,
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
    """Tell what a rule set would have done between two moments of the past.

    The recorded inputs are replayed in their recorded order by the worker's own code, by the rules
    as they were and, from the beginning of the span on, with the file's rule sets instead of those
    of their ids (or beside them). Nothing is written to Kafka; it runs beside workers or without
    them. In the span the candidate holds all the time, whatever effective_from and effective_to it
    has; those of its rules count. What the real rules give in the replay is compared with the
    ledger, entry by entry: ends with 1 if it is not the same, for then the difference told is one
    between two replays, and not to what happened. The programme must be the workers' one.
    """
    settings = read_settings(bootstrap_servers)
    programme = read_programme(programme_file or settings.programme_file)
    zone = zone_named(programme.time_zone)
    from_ms, to_ms = span_ms(begin, end, zone)
    writable(html)
    plan = Plan(
        programme,
        _sound(file, programme, from_ms),
        from_ms,
        to_ms,
        frozenset(members or ()),
        top,
    )
    found = run_simulation(settings, plan, quiet=as_json)
    if html is not None:
        write_page(html, page(found, top=top))
    if as_json:
        answer_json(found.as_json())
    else:
        _print(found, top, zone)
    if not found.sound:
        raise typer.Exit(FAILED)


def span_ms(begin: str, end: str | None, zone: tzinfo) -> tuple[int, int]:
    """The span of `--from` and `--to`; a usage error if it is none."""
    from_ms = _moment_ms(begin, zone, end=False)
    to_ms = int(time.time() * 1000) if end is None else _moment_ms(end, zone, end=True)
    if to_ms <= from_ms:
        fail(f"the span is empty: it ends ({end or 'now'}) before it begins ({begin})", USAGE)
    return from_ms, to_ms


def run_simulation(settings: Settings, plan: Plan, *, quiet: bool) -> Simulation:
    """Simulate, with a bar unless `quiet`; ends where it cannot be done."""
    # What the job logs (a rule set that was set aside) is no part of the answer.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    collect_seldom()
    try:
        return asyncio.run(_simulate(settings, plan, quiet=quiet))
    except (NothingRecorded, ReplayFailed) as error:
        fail(str(error))
    except StoreUnavailable as error:
        fail(f"the state of the replay cannot be kept: {error}; TMPDIR says where it lies")


def writable(path: Path | None) -> None:
    """End with a usage error where a page cannot lie."""
    if path is not None and not path.absolute().parent.is_dir():
        fail(f"{path} cannot be written: there is no directory {path.parent}", USAGE)


def write_page(path: Path, text: str) -> None:
    """Write a page, and say so; ends with a usage error where that cannot be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}", USAGE)
    notes.print(Text(f"Written: {path}"), soft_wrap=True)


def _moment_ms(text: str, zone: tzinfo, *, end: bool) -> int:
    """The moment of a time, or where a date begins or ends; a usage error for anything else."""
    last_ms = last_moment_ms(text, zone)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return last_ms
    if end:
        return last_ms + 1
    return epoch_ms(datetime.combine(date.fromisoformat(text), day_time(), zone))


def _sound(file: Path, programme: Programme, from_ms: int) -> list[RuleSet]:
    """The rule sets of a file that are fit to be used; ends where anything is wrong."""
    try:
        read = read_rule_file(read_text(file), str(file))
    except DocumentInvalid as error:
        fail(str(error), USAGE)
    if read.programme is not None:
        fail(f"{file} is a whole programme; simulate files with rule sets", USAGE)
    checked = check_rule_files([read], programme, from_ms)
    tell(checked.problems, "bold red", "problem")
    if checked.problems:
        notes.print("Nothing was simulated.")
        raise typer.Exit(FAILED)
    # Of the rest, what is said of versions and their spans does not count here.
    tell([each for each in checked.warnings if each.path.startswith("rules")], "yellow", "warning")
    return list(highest(written.rule_set for written in read.rule_sets).values())


async def _simulate(settings: Settings, plan: Plan, *, quiet: bool) -> Simulation:
    with reading_bar(quiet) as bar:
        task = bar.add_task("replaying", total=1.0)
        async with CommittedReader(access_of(settings), fetch_bytes=4 << 20) as reader:
            return await simulate(
                reader,
                settings.topic_prefix,
                plan,
                replaying_jobs(settings.topic_prefix, settings.app_id),
                on_step=lambda share: bar.update(task, completed=share),
            )


# --- for people -------------------------------------------------------------------------------


def _print(found: Simulation, top: int, zone: tzinfo) -> None:
    print_head(found, found.rule_sets, zone)
    if not found.awarded:
        notes.print(Text(NOTHING_AWARDED, style="yellow"))
    print_lines("over all members", found.figures())
    print_lines("points outstanding at the end", found.outstanding())
    print_lines("net points by rule", found.rules(), top)
    print_lines("net points by shop", [_named(line) for line in found.shops()], top)
    tiers = found.tiers()
    print_lines("members by tier at the end", [members for members, _ in tiers])
    print_lines("points outstanding by tier at the end", [points for _, points in tiers])
    print_lines(members_words(found), found.members(), top, given=found.given())
    for member in sorted(found.real.watched):
        _print_member(found, member)


def print_head(
    found: Simulation, candidates: Sequence[RuleSet] | Sequence[DetectorSet], zone: tzinfo
) -> None:
    """Say what was replayed, and, aloud if not, whether it is what was written."""
    names = ", ".join(f"{each.id} version {each.version}" for each in candidates)
    told = f"{local(found.from_ms, zone)} to {local(found.to_ms, zone)} ({found.time_zone})"
    console.print(Text(f"{names}, {told}", style="bold"))
    console.print(
        f"{found.records:,} inputs of {found.partitions} partitions replayed in"
        f" {found.seconds:,.1f} s ({found.per_second:,.0f}/s), {found.within:,} of them in the"
        " span, these twice.",
        style="dim",
    )
    words = verdict_words(found)
    if found.sound:
        console.print(Text(words, style="green"))
    else:
        notes.print(Text(words, style="bold red"))


def print_lines(
    title: str, lines: list[Line], top: int | None = None, *, given: list[int] | None = None
) -> None:
    """A table of figures; nothing where there are none."""
    if not lines:
        return
    shown = lines if top is None else lines[:top]
    table = Table("", title=title, title_justify="left", title_style="bold", show_edge=False)
    for name in ("as it was", "would be", "difference"):
        table.add_column(name, justify="right")
    if given is not None:
        table.add_column("given", justify="right")
    for place, line in enumerate(shown):
        figures = Text(f"{line.real:,}"), Text(f"{line.other:,}")
        cells = [Text(line.name), *figures, _signed(line.difference)]
        if given is not None:
            cells.append(_signed(given[place]))
        table.add_row(*cells)
    console.print()
    console.print(table)
    if len(shown) < len(lines):
        console.print(f"… and {len(lines) - len(shown):,} more; --top tells more", style="dim")


def _signed(value: int) -> Text:
    style = "" if not value else "green" if value > 0 else "red"
    return Text(f"{value:+,}" if value else "-", style=style)


def _named(line: Line) -> Line:
    return line if line.name else Line("(no shop)", line.real, line.other)


def _print_member(found: Simulation, member: str) -> None:
    pairs = found.changed_entries(member)
    console.print()
    if not pairs:
        console.print(Text(f"{member}: no entry would be another one."))
        return
    title = f"{member}: entries that would be others"
    table = Table("occurred", "what", title=title, title_justify="left", show_edge=False)
    for name in ("as it was", "would be"):
        table.add_column(name, justify="right")
    for was, be in pairs[:_ENTRIES_SHOWN]:
        entry: Any = was or be
        rule = f" by {entry['rule_id']}" if "rule_id" in entry else ""
        what = str(entry["type"]).removeprefix("points.") + rule
        amounts = ("-" if each is None else f"{each['amount']:,}" for each in (was, be))
        table.add_row(str(entry["occurred_at"]), Text(what), *amounts)
    console.print(table)
    if len(pairs) > _ENTRIES_SHOWN:
        console.print(f"… and {len(pairs) - _ENTRIES_SHOWN:,} more; --json has all of them")


def local(at_ms: int, zone: tzinfo) -> str:
    """A moment in a zone, for people."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
