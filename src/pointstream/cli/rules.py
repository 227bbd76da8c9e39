"""`rules`: the rule sets that operators change while workers run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer
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
    zone_named,
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
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.shadows import shadow_key
from pointstream.contracts.wire import rfc3339
from pointstream.operations.access import access_of
from pointstream.operations.documents import DocumentInvalid, read_text
from pointstream.operations.reading import CommittedReader
from pointstream.operations.rulecheck import check_rule_files
from pointstream.operations.rulefiles import read_rule_file
from pointstream.operations.rulesets import (
    Ended,
    History,
    Holds,
    holds_at,
    publication,
    read_history,
    withdrawal,
)
from pointstream.operations.settings import Settings
from pointstream.rules.compile import CompiledProgramme, compile_programme
from pointstream.rules.tables import Version

__all__ = ["rules_app"]

PUBLISH_EXAMPLES = examples(
    "pointstream rules publish autumn.yaml --dry-run",
    "pointstream rules publish autumn.yaml",
    "pointstream rules publish autumn.yaml --no-wait --json",
    "pointstream rules publish autumn.yaml --shadow",
)
WITHDRAW_EXAMPLES = examples(
    "pointstream rules withdraw autumn", "pointstream rules withdraw autumn --shadow"
)
HISTORY_EXAMPLES = examples(
    "pointstream rules history", "pointstream rules history autumn --time-zone Asia/Shanghai"
)
LIST_EXAMPLES = examples("pointstream rules list", "pointstream rules list --json")

rules_app = typer.Typer(
    name="rules",
    help="Check, compare and write rule sets, publish and withdraw them while workers run.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

ZoneOption = Annotated[str, typer.Option("--time-zone", help="IANA zone of the times told.")]


@rules_app.command("publish", epilog=PUBLISH_EXAMPLES)
@guarded
def publish_rules(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rule sets, in YAML or JSON.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and tell; publish nothing.")
    ] = False,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="As a candidate that awards nothing: see `rules shadow`."),
    ] = False,
    no_wait: NoWaitOption = False,
    timeout_s: TimeoutOption = 60.0,
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Publish a rule set, or several, and wait until every partition has applied them.

    The file is checked first, as by `rules check`; nothing is published where anything is wrong.
    A version without effective_from holds from now, and events that are under way may miss it: give
    it one some seconds ahead where that matters. With --shadow it is compared with what is in force
    from now on, until it is withdrawn, and no version is used up. Ends with 1 if a rule set is
    refused, or not applied in time.
    """
    settings = read_settings(bootstrap_servers)
    rule_sets = _sound(file, programme_file)
    if dry_run:
        ends: list[tuple[RuleSet, Ended | None]] = [(rule_set, None) for rule_set in rule_sets]
    else:
        records = [
            publication(settings.topic_prefix, rule_set, int(time.time() * 1000), shadow=shadow)
            for rule_set in rule_sets
        ]
        names = [_named(rule_set, shadow=shadow) for rule_set in rule_sets]
        done = asyncio.run(
            send_all(settings, records, names, wait=not no_wait, timeout_s=timeout_s, quiet=as_json)
        )
        ends = list(zip(rule_sets, done, strict=True))
    if as_json:
        published = [
            {"id": rule_set.id, "version": rule_set.version, **end_json(end)}
            for rule_set, end in ends
        ]
        answer_json({"dry_run": dry_run, "shadow": shadow, "rule_sets": published})
    else:
        for rule_set, end in ends:
            say_end(_named(rule_set, shadow=shadow), end, wait=not no_wait)
    exit_by([end for _, end in ends if end is not None], wait=not no_wait)


@rules_app.command("withdraw", epilog=WITHDRAW_EXAMPLES)
@guarded
def withdraw_rules(
    rule_set_id: Annotated[str, typer.Argument(metavar="ID", help="Of the rule set.")],
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Its candidate, and nothing that is in force.")
    ] = False,
    no_wait: NoWaitOption = False,
    timeout_s: TimeoutOption = 60.0,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Withdraw a rule set: all its versions end now, those of the programme's file too.

    Late events from before are still scored by them. Only a higher version brings it back.
    """
    settings = read_settings(bootstrap_servers)
    record = withdrawal(settings.topic_prefix, rule_set_id, shadow=shadow)
    wait = not no_wait
    (end,) = asyncio.run(
        send_all(settings, [record], [rule_set_id], wait=wait, timeout_s=timeout_s, quiet=as_json)
    )
    if as_json:
        answer_json({"id": rule_set_id, **end_json(end)})
    else:
        what = f"the candidate of {rule_set_id}" if shadow else rule_set_id
        say_end(f"withdrawal of {what}", end, wait=wait)
    exit_by([end], wait=wait)


@rules_app.command("history", epilog=HISTORY_EXAMPLES)
@guarded
def tell_history(
    rule_set_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of one rule set; else of all.")
    ] = None,
    zone: ZoneOption = "UTC",
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Tell the versions of rule sets, when each holds, and what was refused.

    As a partition has applied them. Versions that no event can ask for any more are gone; what was
    refused is told as long as the dead letters are kept.
    """
    told_in, now_ms = zone_named(zone), int(time.time() * 1000)
    history = _history(bootstrap_servers, programme_file, quiet=as_json)
    versions = [v for v in _versions(history) if rule_set_id in (None, v.id)]
    shadows = [v for v in history.shadows if rule_set_id in (None, v.id)]
    names = (rule_set_id, shadow_key(rule_set_id or ""))
    refused = [r for r in history.refused if rule_set_id is None or r.rule_set in names]
    aside = [a for a in history.set_aside if rule_set_id is None or a.rule_set in names]
    if as_json:
        answer_json(
            {
                "versions": [_version_json(history, version, now_ms) for version in versions],
                "shadows": [_version_json(history, version, now_ms) for version in shadows],
                "set_aside": [asdict(each) for each in aside],
                "refused": [
                    {
                        "id": each.rule_set,
                        "version": each.version,
                        "at": rfc3339(each.at_ms),
                        "reason": each.reason,
                    }
                    for each in refused
                ],
            }
        )
        return
    if not versions and not shadows and not refused and not aside:
        notes.print("No such rule set.")
        return
    _print_versions(history, [*versions, *shadows], now_ms, told_in)
    for side in aside:
        name = _name(side.rule_set, side.version)
        notes.print(Text(f"set aside: {name}: {side.reason}"), soft_wrap=True)
    for each in refused:
        name = each.rule_set if each.version is None else _name(each.rule_set, each.version)
        at = _moment(each.at_ms, told_in)
        console.print(Text(f"refused: {name}, {at}: {each.reason}"), soft_wrap=True)


@rules_app.command("list", epilog=LIST_EXAMPLES)
@guarded
def list_rules(
    zone: ZoneOption = "UTC",
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """List the rule sets in force now, and those ahead: the programme's and the published ones.

    Candidates that run in shadow are there, too.
    """
    told_in, now_ms = zone_named(zone), int(time.time() * 1000)
    history = _history(bootstrap_servers, programme_file, quiet=as_json)
    versions = [
        version
        for version in _versions(history)
        if holds_at(history, version, now_ms) in (Holds.IN_FORCE, Holds.AHEAD)
    ]
    if as_json:
        told = [_version_json(history, version, now_ms) for version in versions]
        shadows = [_version_json(history, version, now_ms) for version in history.shadows]
        answer_json({"rule_sets": told, "shadows": shadows})
    elif versions or history.shadows:
        _print_versions(history, [*versions, *history.shadows], now_ms, told_in)
    else:
        notes.print("No rule set is in force.")


def _sound(file: Path, programme_file: Path | None) -> list[RuleSet]:
    """The rule sets of a file that are fit to be published; ends where anything is wrong."""
    try:
        read = read_rule_file(read_text(file), str(file))
    except DocumentInvalid as error:
        fail(str(error), USAGE)
    if read.programme is not None:
        fail(f"{file} is a whole programme; publish files with rule sets", USAGE)
    checked = check_rule_files([read], read_programme(programme_file), int(time.time() * 1000))
    tell(checked.problems, "bold red", "problem")
    tell(checked.warnings, "yellow", "warning")
    if checked.problems:
        notes.print("Nothing was published.")
        raise typer.Exit(FAILED)
    return [written.rule_set for written in read.rule_sets]


def _history(bootstrap_servers: str | None, programme_file: Path | None, *, quiet: bool) -> History:
    settings = read_settings(bootstrap_servers)
    programme = compile_programme(read_programme(programme_file))
    return asyncio.run(_read(settings, programme, quiet=quiet))


async def _read(settings: Settings, programme: CompiledProgramme, *, quiet: bool) -> History:
    with reading_bar(quiet) as bar:
        task = bar.add_task("reading", total=1.0)
        async with CommittedReader(access_of(settings)) as reader:
            return await read_history(
                reader,
                settings.topic_prefix,
                programme,
                on_step=lambda share: bar.update(task, completed=share),
            )


def _versions(history: History) -> list[Version]:
    return sorted(history.book.tables.versions, key=lambda version: (version.id, version.number))


def _version_json(history: History, version: Version, now_ms: int) -> dict[str, Any]:
    return {
        "id": version.id,
        "version": version.number,
        "from": None if version.from_ms is None else rfc3339(version.from_ms),
        "until": None if version.to_ms is None else rfc3339(version.to_ms),
        "holds": holds_at(history, version, now_ms).value,
        "source": "published" if history.published(version) else "programme",
        "hash": version.compiled.hash,
        "rules": len(version.rule_set.rules),
        "description": version.rule_set.description,
    }


def _print_versions(
    history: History, versions: Sequence[Version], now_ms: int, zone: tzinfo
) -> None:
    table = Table(show_edge=False)
    for name in ("rule set", "version", "holds", "from", "until", "source", "rules"):
        table.add_column(name, justify="right" if name in ("version", "rules") else "left")
    for version in versions:
        table.add_row(
            Text(version.id),
            str(version.number),
            holds_at(history, version, now_ms).value,
            _moment(version.from_ms, zone),
            _moment(version.to_ms, zone),
            "published" if history.published(version) else "programme",
            str(len(version.rule_set.rules)),
        )
    console.print(table)


def _moment(at_ms: int | None, zone: tzinfo) -> str:
    if at_ms is None:
        return "-"
    try:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    except (ValueError, OverflowError):
        return rfc3339(at_ms)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _named(rule_set: RuleSet, *, shadow: bool) -> str:
    name = _name(rule_set.id, rule_set.version)
    return f"{name}, in shadow" if shadow else name


def _name(id_: str, version: int) -> str:
    return f"{id_}, version {version}"
