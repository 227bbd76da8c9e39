"""`fraud detectors`: the detector sets that operators change while workers run."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text

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
)
from pointstream.cli.publishing import (
    NoWaitOption,
    TimeoutOption,
    end_json,
    exit_by,
    say_end,
    send_all,
)
from pointstream.cli.rulefiles import ProgrammeOption, read_programme, tell
from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.wire import rfc3339
from pointstream.operations.access import access_of
from pointstream.operations.detectorsets import (
    DetectorFile,
    Known,
    detectors_publication,
    detectors_withdrawal,
    holds_now,
    not_above,
    read_detector_file,
    read_known,
)
from pointstream.operations.documents import DocumentInvalid, read_text
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.rules.compile import CompiledProgramme, compile_programme

__all__ = ["detectors_app", "read_detectors"]

detectors_app = typer.Typer(
    name="detectors",
    help="Check and write detector sets, publish and withdraw them while workers run.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

CHECK_EXAMPLES = examples(
    "pointstream fraud detectors check stricter.yaml",
    "pointstream fraud detectors check deploy/programme.yaml --json",
)
NEW_EXAMPLES = examples("pointstream fraud detectors new-default > detectors.yaml")
PUBLISH_EXAMPLES = examples(
    "pointstream fraud detectors publish stricter.yaml --dry-run",
    "pointstream fraud detectors publish stricter.yaml",
)
WITHDRAW_EXAMPLES = examples("pointstream fraud detectors withdraw base")
LIST_EXAMPLES = examples(
    "pointstream fraud detectors list", "pointstream fraud detectors list --json"
)

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Detector sets, in YAML or JSON.")
]


@detectors_app.command("check", epilog=CHECK_EXAMPLES)
@guarded
def check(
    file: FileArgument, programme_file: ProgrammeOption = None, as_json: JsonOption = False
) -> None:
    """Tell whether detector sets are fit to be used.

    A file has one set, a list of them, or a whole programme. Every problem is named by file, line
    and path, with what is allowed there. Ends with 0 where nothing is wrong, with 1 where there are
    problems, with 2 where a file cannot be read.
    """
    read = read_detectors(file)
    warnings = [] if read.whole else not_above(read_programme(programme_file), read.sets)
    if as_json:
        answer_json(
            {
                "ok": not read.problems,
                "problems": [asdict(problem) for problem in read.problems],
                "warnings": warnings,
                "detector_sets": [_set_json(each) for each in read.sets],
            }
        )
    else:
        _print_sets(read.sets)
        tell(read.problems, "bold red", "problem")
        for warning in warnings:
            notes.print(Text.assemble(("warning ", "yellow"), warning), soft_wrap=True)
        notes.print("Not fit to be used." if read.problems else "Fit to be used.")
    if read.problems:
        raise typer.Exit(FAILED)


@detectors_app.command("new-default", epilog=NEW_EXAMPLES)
@guarded
def new_default(programme_file: ProgrammeOption = None) -> None:
    """Write the programme's own detector sets, with the next version, to begin a change with."""
    programme = read_programme(programme_file)
    if programme.fraud is None or not programme.fraud.detector_sets:
        fail("the programme has no detector sets in its fraud section", USAGE)
    highest: dict[str, DetectorSet] = {}
    for each in programme.fraud.detector_sets:
        if each.id not in highest or highest[each.id].version < each.version:
            highest[each.id] = each
    written = [
        {
            **each.model_dump(mode="json", exclude_defaults=True),
            "version": each.version + 1,
            # The kind first: it says what the rest means.
            "detectors": [
                {"kind": one.kind, **one.model_dump(mode="json", exclude_defaults=True)}
                for one in each.detectors
            ],
        }
        for each in highest.values()
    ]
    typer.echo(yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=100), nl=False)


@detectors_app.command("publish", epilog=PUBLISH_EXAMPLES)
@guarded
def publish_detectors(
    file: FileArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and tell; publish nothing.")
    ] = False,
    no_wait: NoWaitOption = False,
    timeout_s: TimeoutOption = 60.0,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Publish a detector set, or several, and wait until every partition has applied them.

    The file is checked first; nothing is published where anything is wrong. A version without
    effective_from holds from now, also for what was counted before under the same id. Ends with 1
    if a set is refused, or not applied in time.
    """
    settings = read_settings(bootstrap_servers)
    read = read_detectors(file)
    if read.whole:
        fail(f"{file} is a whole programme; publish files with detector sets", USAGE)
    tell(read.problems, "bold red", "problem")
    if read.problems:
        notes.print("Nothing was published.")
        raise typer.Exit(FAILED)
    wait = not no_wait
    ends = [None] * len(read.sets) if dry_run else None
    done = ends or asyncio.run(
        send_all(
            settings,
            [
                detectors_publication(settings.topic_prefix, each, int(time.time() * 1000))
                for each in read.sets
            ],
            [_name(each) for each in read.sets],
            wait=wait,
            timeout_s=timeout_s,
            quiet=as_json,
        )
    )
    if as_json:
        told = [
            {"id": each.id, "version": each.version, **end_json(end)}
            for each, end in zip(read.sets, done, strict=True)
        ]
        answer_json({"dry_run": dry_run, "detector_sets": told})
    else:
        for each, end in zip(read.sets, done, strict=True):
            say_end(_name(each), end, wait=wait)
    exit_by([end for end in done if end is not None], wait=wait)


@detectors_app.command("withdraw", epilog=WITHDRAW_EXAMPLES)
@guarded
def withdraw_detectors(
    detector_set_id: Annotated[str, typer.Argument(metavar="ID", help="Of the detector set.")],
    no_wait: NoWaitOption = False,
    timeout_s: TimeoutOption = 60.0,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Withdraw a detector set: all its versions end now, those of the programme's file too.

    Flags that were raised stay as they are. Only a higher version brings the set back.
    """
    settings = read_settings(bootstrap_servers)
    record = detectors_withdrawal(settings.topic_prefix, detector_set_id)
    wait = not no_wait
    (end,) = asyncio.run(
        send_all(
            settings, [record], [detector_set_id], wait=wait, timeout_s=timeout_s, quiet=as_json
        )
    )
    if as_json:
        answer_json({"id": detector_set_id, **end_json(end)})
    else:
        say_end(f"withdrawal of {detector_set_id}", end, wait=wait)
    exit_by([end], wait=wait)


@detectors_app.command("list", epilog=LIST_EXAMPLES)
@guarded
def list_detectors(
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """List the detector sets as workers have applied them, and which versions hold now."""
    settings = read_settings(bootstrap_servers)
    programme = compile_programme(read_programme(programme_file))
    known = asyncio.run(_known(settings, programme, quiet=as_json))
    now_ms = int(time.time() * 1000)
    if as_json:
        answer_json(
            {
                "detector_sets": [
                    {
                        **_set_json(each.detector_set),
                        "holds": holds_now(known, each, now_ms).value,
                        "from": None if each.from_ms is None else rfc3339(each.from_ms),
                        "until": None if each.to_ms is None else rfc3339(each.to_ms),
                        "source": _source(known, each.id, each.number),
                    }
                    for each in known.versions
                ],
                "set_aside": [asdict(each) for each in known.set_aside],
            }
        )
        return
    table = Table(show_edge=False)
    for name in ("detector set", "version", "holds", "from", "until", "source", "detectors"):
        table.add_column(name)
    for each in known.versions:
        table.add_row(
            Text(each.id),
            str(each.number),
            holds_now(known, each, now_ms).value,
            "-" if each.from_ms is None else rfc3339(each.from_ms),
            "-" if each.to_ms is None else rfc3339(each.to_ms),
            _source(known, each.id, each.number),
            Text(", ".join(one.id for one in each.detector_set.detectors)),
        )
    console.print(table)
    for aside in known.set_aside:
        words = f"{aside.rule_set}, version {aside.version}, is set aside: {aside.reason}"
        notes.print(Text(words), soft_wrap=True)


async def _known(settings: Settings, programme: CompiledProgramme, *, quiet: bool) -> Known:
    with reading_bar(quiet) as bar:
        task = bar.add_task("reading", total=1.0)
        async with CommittedReader(access_of(settings)) as reader:
            return await read_known(
                reader,
                settings.topic_prefix,
                programme,
                on_step=lambda share: bar.update(task, completed=share),
            )


def read_detectors(file: Path) -> DetectorFile:
    """What is in a file, and what is wrong in it; ends with a usage error if it cannot be read."""
    try:
        return read_detector_file(read_text(file), str(file))
    except DocumentInvalid as error:
        fail(str(error), USAGE)


def _source(known: Known, id: str, number: int) -> str:
    return "published" if (id, number) in known.published else "programme"


def _name(detector_set: DetectorSet) -> str:
    return f"{detector_set.id}, version {detector_set.version}"


def _set_json(detector_set: DetectorSet) -> dict[str, Any]:
    return {
        "id": detector_set.id,
        "version": detector_set.version,
        "detectors": [
            {"id": each.id, "kind": each.kind, "action": each.action.value}
            for each in detector_set.detectors
            if each.enabled
        ],
        "allow": len(detector_set.allow),
        "deny": len(detector_set.deny),
    }


def _print_sets(sets: tuple[DetectorSet, ...]) -> None:
    for detector_set in sets:
        table = Table(title=Text(_name(detector_set)), title_justify="left", show_edge=False)
        for name in ("detector", "kind", "action"):
            table.add_column(name)
        for each in detector_set.detectors:
            table.add_row(Text(each.id), each.kind, each.action.value if each.enabled else "off")
        console.print(table)
