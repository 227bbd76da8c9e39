"""`rules shadow`: what a candidate would have changed since it runs in shadow."""

from __future__ import annotations

import asyncio
from datetime import datetime, tzinfo
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pointstream.cli.history import last_moment_ms
from pointstream.cli.output import (
    BootstrapOption,
    JsonOption,
    answer_json,
    console,
    examples,
    guarded,
    notes,
    read_settings,
    reading_bar,
    zone_named,
)
from pointstream.operations.access import access_of
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.shadows import ShadowSum, read_shadow_sums

__all__ = ["SHADOW_EXAMPLES", "sum_up_shadow"]

SHADOW_EXAMPLES = examples(
    "pointstream rules shadow autumn",
    "pointstream rules shadow autumn --since 2026-03-01T09:00:00+08:00",
    "pointstream rules shadow autumn --all --json",
)


@guarded
def sum_up_shadow(
    rule_set_id: Annotated[str, typer.Argument(metavar="ID", help="Of the rule set.")],
    since: Annotated[
        str | None,
        typer.Option(help="Only events taken from this time on, like 2026-03-01T09:00:00+08:00."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Each draft of the candidate, not the latest alone.")
    ] = False,
    zone: Annotated[str, typer.Option("--time-zone", help="IANA zone of the times told.")] = "UTC",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Sum up for which events a candidate would have given something else, rule by rule.

    From the records on points.shadow-diffs, which are kept for 30 days. Caps count as the rules in
    force have used them, budgets as if they granted all, and refunds are not compared.
    """
    settings = read_settings(bootstrap_servers)
    told_in = zone_named(zone)
    since_ms = 0 if since is None else last_moment_ms(since, told_in)
    sums = asyncio.run(_read(settings, rule_set_id, since_ms, quiet=as_json))
    if not every:
        sums = sums[-1:]
    if as_json:
        answer_json({"id": rule_set_id, "candidates": [_as_json(each) for each in sums]})
        return
    if not sums:
        notes.print(
            Text(
                f"No difference is known of a candidate of {rule_set_id}: none ran in shadow, or"
                " it would have given the same. `pointstream rules list` tells which are running."
            ),
            soft_wrap=True,
        )
    for each in sums:
        _print(each, told_in)


async def _read(
    settings: Settings, rule_set_id: str, since_ms: int, *, quiet: bool
) -> list[ShadowSum]:
    with reading_bar(quiet) as bar:
        task = bar.add_task("reading differences", total=1.0)
        async with CommittedReader(access_of(settings)) as reader:
            return await read_shadow_sums(
                reader,
                settings.topic_prefix,
                rule_set_id,
                since_ms=since_ms,
                on_step=lambda share: bar.update(task, completed=share),
            )


def _as_json(of: ShadowSum) -> dict[str, Any]:
    return {
        "version": of.version,
        "hash": of.hash,
        "events": of.events,
        "members": of.members,
        "errors": of.errors,
        "first_at": of.first_at,
        "last_at": of.last_at,
        "rules": [
            {
                "ruleset_id": rule_set,
                "rule_id": rule,
                "wallet": wallet,
                "events": sums.events,
                "given": sums.given,
                "would_give": sums.would_give,
                "difference": sums.difference,
                "other_life": sums.other_life,
            }
            for (rule_set, rule, wallet), sums in sorted(of.rules.items())
        ],
    }


def _print(of: ShadowSum, zone: tzinfo) -> None:
    title = f"{of.rule_set}, version {of.version} ({of.hash}) in shadow"
    table = Table(title=Text(title), title_justify="left", show_edge=False)
    for name in ("rule set", "rule", "wallet"):
        table.add_column(name)
    for name in ("events that differ", "given", "would give", "difference"):
        table.add_column(name, justify="right")
    for (rule_set, rule, wallet), sums in sorted(of.rules.items()):
        numbers = (sums.events, sums.given, sums.would_give)
        table.add_row(
            Text(rule_set),
            Text(rule),
            Text(wallet),
            *(f"{number:,}" for number in numbers),
            f"{sums.difference:+,}" if sums.difference else "0",
        )
    if of.rules:
        console.print(table)
    else:
        console.print(Text(title))
    span = f"taken from {_local(of.first_at, zone)} to {_local(of.last_at, zone)}"
    console.print(
        Text(f"{of.events:,} events of {of.members:,} members differ, {span}", style="dim")
    )
    lives = sum(sums.other_life for sums in of.rules.values())
    if lives:
        console.print(f"{lives:,} times the points would be the same, with another life")
    for error, count in sorted(of.errors.items()):
        notes.print(f"{count:,} events could not be compared: {error}")


def _local(text: str, zone: tzinfo) -> str:
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
