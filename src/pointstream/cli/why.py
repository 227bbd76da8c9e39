"""`rules why`: why an event earned what it did, rule by rule."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pointstream.agents.processor import PointsProcessor
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
from pointstream.cli.rulefiles import ProgrammeOption, read_programme
from pointstream.contracts.programme import Programme
from pointstream.contracts.wire import rfc3339
from pointstream.engine import Processor
from pointstream.ledger import Ledger
from pointstream.ledger.scored import CapLook, Granted
from pointstream.operations.access import access_of
from pointstream.operations.explain import entry_in_words
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.why import (
    EventNotFound,
    Explanation,
    NotTaken,
    RuleTold,
    Wanted,
    arithmetic,
    cap_named,
    explain_event,
    period_named,
)

__all__ = ["WHY_EXAMPLES", "tell_why"]

WHY_EXAMPLES = examples(
    "pointstream rules why till-4-000123",
    "pointstream rules why till-4-000123 --member M-000017",
    "pointstream rules why --order o-17 --member M-000017 --json",
)


@guarded
def tell_why(
    event_id: Annotated[
        str | None, typer.Argument(metavar="[EVENT_ID]", help="Of what earned, or did not.")
    ] = None,
    order_id: Annotated[
        str | None, typer.Option("--order", metavar="ORDER_ID", help="The payment of an order.")
    ] = None,
    member: Annotated[
        str | None,
        typer.Option("--member", metavar="ID", help="Whose it is: one partition is searched."),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option("--time-zone", help="IANA zone of the times told; else the programme's."),
    ] = None,
    programme_file: ProgrammeOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Tell why an event earned what it did: which rules matched, which not and why not, how each
    award was reckoned, what caps and budgets left of it, and what the ledger has of it.

    The event's partition is taken again up to it, by the worker's own code and in the recorded
    order, so it is explained by the versions in force for it, whatever became of the rules since.
    Nothing is written to Kafka. Ends with 1 if the event is not found, or if the replay did not
    make what the ledger has: then what is told may not be how it was.
    """
    if (event_id is None) is (order_id is None):
        fail("name one event: by its EVENT_ID, or with --order", USAGE)
    settings = read_settings(bootstrap_servers)
    programme = read_programme(programme_file or settings.programme_file)
    told_in = zone_named(zone or programme.time_zone)
    wanted = Wanted(event_id, order_id, member)
    try:
        told = asyncio.run(_explain(settings, programme, wanted, quiet=as_json))
    except (EventNotFound, NotTaken) as error:
        fail(str(error))
    if as_json:
        answer_json(_as_json(told))
    else:
        _print(told, told_in)
    if told.doubts:
        raise typer.Exit(FAILED)


async def _explain(
    settings: Settings, programme: Programme, wanted: Wanted, *, quiet: bool
) -> Explanation:
    def make_job(ledger: Ledger, partitions: int) -> Processor:
        return PointsProcessor(
            ledger,
            partitions=partitions,
            prefix=settings.topic_prefix,
            source=settings.app_id,
        )

    with reading_bar(quiet) as bar:
        task = bar.add_task("taking the partition again", total=1.0)
        async with CommittedReader(access_of(settings)) as reader:
            return await explain_event(
                reader,
                settings.topic_prefix,
                programme,
                wanted,
                make_job,
                on_step=lambda share: bar.update(task, completed=share),
            )


# --- as data -------------------------------------------------------------------------------------


def _as_json(told: Explanation) -> dict[str, Any]:
    event = told.event
    return {
        "event_id": told.event_id,
        "member_id": told.member_id,
        "passed_on": told.passed_on,
        "event": event.body,
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "appended_at": rfc3339(event.appended_ms),
        "came_again_at_offsets": list(event.again),
        "outcome": told.outcome,
        "refusal": told.refusal,
        "rule_sets": [
            {
                "id": version.id,
                "version": version.number,
                "hash": version.compiled.hash,
                "from": None if version.from_ms is None else rfc3339(version.from_ms),
                "until": None if version.to_ms is None else rfc3339(version.to_ms),
            }
            for version in told.in_force
        ],
        "rules": [_rule_json(rule, told.event_id) for rule in told.rules],
        "entries": told.entries,
        "sound": not told.doubts,
        "doubts": told.doubts,
    }


def _rule_json(told: RuleTold, event_id: str) -> dict[str, Any]:
    looked, rule = told.looked, told.rule
    return {
        "ruleset_id": told.version.id,
        "ruleset_version": looked.rule_version,
        "ruleset_hash": looked.ruleset_hash,
        "rule_id": looked.rule_id,
        "kind": rule.kind,
        "wallet": rule.wallet,
        "priority": rule.priority,
        "group": rule.group,
        "matched": looked.matched,
        "says": looked.says,
        "unmet": [
            {
                "path": unmet.path,
                "field": unmet.field,
                "found": unmet.found,
                "operator": unmet.operator,
                "asked": unmet.asked,
                "negated": unmet.negated,
            }
            for unmet in looked.unmet
        ],
        "numbers": looked.numbers,
        "arithmetic": arithmetic(rule, looked, event_id) if looked.matched else None,
        "due": looked.numbers.get("due", 0),
        "lost_to": looked.lost_to,
        "limits": [_granted_json(granted) for granted in looked.granted],
        "granted": told.granted,
    }


def _granted_json(granted: Granted) -> dict[str, Any]:
    return {
        "due": granted.due,
        "after_caps": granted.left,
        "reason": granted.reason,
        "budget": granted.budget,
        "caps": [
            {
                "cap": cap_named(cap.name),
                "period": period_named(cap.period),
                "limit": cap.limit,
                "used": cap.used,
                "left": cap.left,
            }
            for cap in granted.caps
        ],
    }


# --- for people ----------------------------------------------------------------------------------


def _print(told: Explanation, zone: tzinfo) -> None:
    event, body = told.event, told.event.body
    happened = datetime.fromisoformat(body["occurred_at"]).astimezone(zone)
    head = f"{body['type']} {told.event_id} of {body['member_id']}"
    console.print(Text(f"{head}, {happened:%Y-%m-%d %H:%M:%S}: {_words(told.outcome)}"))
    taken = datetime.fromtimestamp(event.appended_ms / 1000, UTC).astimezone(zone)
    where = f"{event.topic}[{event.partition}] offset {event.offset}"
    console.print(Text(f"{where}, there since {taken:%Y-%m-%d %H:%M:%S}", style="dim"))
    for survivor in told.passed_on:
        console.print(Text(f"passed on to {survivor}: the member was merged"))
    if event.again:
        offsets = ", ".join(map(str, event.again))
        console.print(Text(f"it came again, and was not taken again, at offset {offsets}"))
    if told.refusal is not None:
        console.print(Text(f"refused: {told.refusal}"), soft_wrap=True)
    in_force = [
        f"{version.id} version {version.number} ({version.compiled.hash})"
        for version in told.in_force
    ]
    console.print(Text(f"in force: {', '.join(in_force) or 'no rule set'}"), soft_wrap=True)
    if told.rules:
        _print_rules(told)
    else:
        console.print("No rule is about such an event, or it was not scored.")
    for rule in told.rules:
        _print_limits(rule)
    console.print(Text("ledger:" if told.entries else "ledger: no entry"))
    for entry in told.entries:
        console.print(Text(f"  {entry_in_words(entry, body, zone)}"), soft_wrap=True)
    for doubt in told.doubts:
        notes.print(Text(f"Not sure: {doubt}", style="yellow"), soft_wrap=True)


def _print_rules(told: Explanation) -> None:
    table = Table(show_edge=False)
    for name in ("rule set", "rule", "matches"):
        table.add_column(name)
    for name in ("due", "granted"):
        table.add_column(name, justify="right")
    table.add_column("why", overflow="fold")
    for rule in told.rules:
        looked = rule.looked
        row = (Text(rule.version.id), Text(looked.rule_id))
        if not looked.matched:
            table.add_row(*row, "no", "", "", Text(looked.says), style="dim")
            continue
        why = arithmetic(rule.rule, looked, told.event_id)
        if looked.lost_to is not None:
            why += f"; of the group {rule.rule.group} {looked.lost_to} gives"
            why += " (the best)" if rule.rule.in_group == "best" else " (the first)"
        due = looked.numbers.get("due", 0)
        granted = "asked" if rule.granted is None else f"{rule.granted:,}"
        table.add_row(*row, "yes", f"{due:,}", granted, Text(why))
    console.print(table)


def _print_limits(rule: RuleTold) -> None:
    for granted in rule.looked.granted:
        for cap in granted.caps:
            words = f"{rule.looked.rule_id}: {_cap(cap)}"
            console.print(Text(words, style="bold" if cap.left < granted.due else "dim"))
        if granted.budget is not None and granted.left:
            words = f"{rule.looked.rule_id}: budget {granted.budget} was asked for {granted.left:,}"
            answer = "no answer yet" if rule.granted is None else f"{rule.granted:,} granted"
            console.print(Text(f"{words}: {answer}"))


def _cap(cap: CapLook) -> str:
    name, period = cap_named(cap.name), period_named(cap.period)
    return f"cap of {name}, {cap.limit:,} per {period}: {cap.used:,} used, {cap.left:,} left"


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")
