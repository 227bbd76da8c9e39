"""`rules check` and `rules diff`: files with rule sets, before they are used."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

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
from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import rfc3339
from pointstream.operations.documents import DocumentInvalid, Problem, read_text
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.operations.rulecheck import Checked, Held, Span, check_rule_files
from pointstream.operations.rulediff import ABSENT, Difference, differences
from pointstream.operations.rulefiles import RuleFile, highest, read_rule_file
from pointstream.operations.rulewords import gives

__all__ = [
    "CHECK_EXAMPLES",
    "DIFF_EXAMPLES",
    "ProgrammeOption",
    "check",
    "diff",
    "read_programme",
    "tell",
]

CHECK_EXAMPLES = examples(
    "pointstream rules check autumn.yaml",
    "pointstream rules check head-office.yaml shops/*.yaml --programme programme.yaml",
    "pointstream rules check deploy/programme.yaml --json",
)
DIFF_EXAMPLES = examples(
    "pointstream rules diff autumn-1.yaml autumn-2.yaml",
    "pointstream rules diff head-office.yaml",
)

ProgrammeOption = Annotated[
    Path | None,
    typer.Option(
        "--programme",
        metavar="FILE",
        help="The programme; else POINTSTREAM_PROGRAMME_FILE, else the one that comes along.",
    ),
]


@guarded
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Rule sets, in YAML or JSON.")
    ],
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether rule sets are fit to be used, and what of them holds when.

    A file has one rule set, a list of them, or a whole programme. Every problem is named by file,
    line and path, with what is allowed there; the wallets and budgets that rules name must be the
    programme's (of a file that is a programme: its own). Warnings are about what can be used and
    may not be meant: rules that never hold or never match, a version that is not above the
    programme's, a beginning in the past. Ends with 0 where nothing is wrong, warnings or not, with
    1 where there are problems, with 2 where a file cannot be read.
    """
    read = [_read(path) for path in files]
    programme = read_programme(programme_file)
    checked = check_rule_files(read, programme, int(time.time() * 1000))
    if as_json:
        answer_json(
            {
                "ok": not checked.problems,
                "problems": [asdict(problem) for problem in checked.problems],
                "warnings": [asdict(warning) for warning in checked.warnings],
                "holds": [_held_json(held) for held in checked.held],
            }
        )
    else:
        _print_checked(checked, _zone(read, programme))
    if checked.problems:
        raise typer.Exit(FAILED)


@guarded
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="The old rule sets.")],
    b: Annotated[
        Path | None,
        typer.Argument(metavar="B", help="The new ones; left out: A is new, the programme old."),
    ] = None,
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what changes from one file of rule sets to another, rule by rule and field by field.

    Rule sets are matched by id; of several versions in a file the highest counts. With one file,
    its rule sets are held against those that the programme has by the same ids. As with diff: ends
    with 0 where both say the same, with 1 where they differ, with 2 where a file is not readable or
    not fit.
    """
    if b is None:
        new = highest(written.rule_set for written in _sound(a).rule_sets)
        base = highest(read_programme(programme_file).rule_sets)
        old = {id_: rule_set for id_, rule_set in base.items() if id_ in new}
    else:
        old, new = (
            highest(written.rule_set for written in _sound(path).rule_sets) for path in (a, b)
        )
    found = differences(old, new)
    if as_json:
        answer_json({"same": not found, "rule_sets": [_difference_json(each) for each in found]})
    elif not found:
        notes.print("No difference.")
    else:
        for each in found:
            _print_difference(each)
    if found:
        raise typer.Exit(FAILED)


def read_programme(path: Path | None) -> Programme:
    """The programme that an option or the settings name; ends with a usage error if it is unfit."""
    try:
        return load_programme(path or read_settings().programme_file)
    except ProgrammeInvalid as error:
        fail(f"the programme is not fit:\n{error}", USAGE)


def tell(problems: Sequence[Problem], style: str, word: str) -> None:
    """Say what is wrong, a line each, on standard error."""
    for problem in problems:
        notes.print(Text.assemble((f"{word} ", style), str(problem)), soft_wrap=True)


def _read(path: Path) -> RuleFile:
    try:
        return read_rule_file(read_text(path), str(path))
    except DocumentInvalid as error:
        fail(str(error), USAGE)


def _sound(path: Path) -> RuleFile:
    read = _read(path)
    if read.problems:
        tell(read.problems, "bold red", "problem")
        raise typer.Exit(USAGE)
    return read


def _zone(files: Sequence[RuleFile], programme: Programme) -> ZoneInfo:
    named = next((file.programme for file in files if file.programme is not None), programme)
    return ZoneInfo(named.time_zone)


def _print_checked(checked: Checked, zone: tzinfo) -> None:
    for version, rules in groupby(checked.held, lambda held: held.rule_set):
        title = Text(f"{version.id}, version {version.version}")
        table = Table(title=title, title_justify="left", show_edge=False)
        for name, fixed in (("rule", True), ("gives", False), ("from", True), ("until", True)):
            table.add_column(name, no_wrap=fixed)
        for held in rules:
            cells = (held.rule.id, gives(held.rule), *_moments(held.spans, zone))
            table.add_row(*(Text(text) for text in cells))
        console.print(table)
    if checked.held:
        console.print(f"Times are of {zone}; until is exclusive.", style="dim")
    tell(checked.problems, "bold red", "problem")
    tell(checked.warnings, "yellow", "warning")
    problems, warnings = len(checked.problems), len(checked.warnings)
    if problems:
        notes.print(f"Not fit to be used: {_count(problems, 'problem')}.")
    else:
        notes.print(f"Fit to be used; {_count(warnings, 'warning')}.")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _moments(spans: Sequence[Span], zone: tzinfo) -> tuple[str, str]:
    if not spans:
        return "never", ""
    return (
        "\n".join(_moment(start, zone) for start, _ in spans),
        "\n".join(_moment(end, zone) for _, end in spans),
    )


def _moment(at_ms: int | None, zone: tzinfo) -> str:
    if at_ms is None:
        return "-"
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    return moment.strftime("%Y-%m-%d %H:%M:%S" if at_ms % 60_000 else "%Y-%m-%d %H:%M")


def _held_json(held: Held) -> dict[str, Any]:
    return {
        "rule_set": held.rule_set.id,
        "version": held.rule_set.version,
        "rule": held.rule.id,
        "gives": gives(held.rule),
        "wallet": held.rule.wallet,
        "spans": [
            {
                "from": None if start is None else rfc3339(start),
                "until": None if end is None else rfc3339(end),
            }
            for start, end in held.spans
        ],
    }


def _print_difference(difference: Difference) -> None:
    old, new = difference.old, difference.new
    if old is None or new is None:
        there = new or old
        assert there is not None
        word = "is added" if old is None else "is removed"
        console.print(
            Text(f"rule set {difference.id} version {there.version} {word}:", style="bold")
        )
        for rule in there.rules:
            console.print(Text(f"  rule {rule.id}: {gives(rule)}"), soft_wrap=True)
        return
    console.print(Text(f"rule set {difference.id}:", style="bold"))
    styles = {"added": "green", "removed": "red", "changed": "yellow"}
    for change in difference.changes:
        console.print(Text(f"  {change.words}", style=styles[change.kind]), soft_wrap=True)


def _difference_json(difference: Difference) -> dict[str, Any]:
    return {
        "id": difference.id,
        "from_version": None if difference.old is None else difference.old.version,
        "to_version": None if difference.new is None else difference.new.version,
        "changes": [
            {
                "path": change.path,
                "change": change.kind,
                "from": None if change.old is ABSENT else change.old,
                "to": None if change.new is ABSENT else change.new,
                "words": change.words,
            }
            for change in difference.changes
        ],
    }
