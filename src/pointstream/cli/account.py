"""`balance` and `explain`: one member's points, for a service desk."""

from __future__ import annotations

import asyncio
from datetime import datetime, tzinfo
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pointstream.cli.history import show_balance_at
from pointstream.cli.output import (
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
from pointstream.operations.access import access_of
from pointstream.operations.explain import entry_in_words
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.standing import MemberTrail, read_standing, read_trail

__all__ = ["balance", "explain"]

BALANCE_EXAMPLES = examples(
    "pointstream balance M-000017",
    "pointstream balance M-000017 --json",
    "pointstream balance M-000017 --at 2026-03-31",
    "pointstream balance M-000017 --at 2026-03-31T18:00:00+08:00 --json",
)
EXPLAIN_EXAMPLES = examples(
    "pointstream explain M-000017",
    "pointstream explain M-000017 --newest 5 --time-zone Asia/Shanghai",
    "pointstream explain M-000017 --json",
)

MemberArgument = Annotated[str, typer.Argument(metavar="MEMBER", help="The member's id.")]
ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--time-zone",
        help="IANA zone of the times told; else the programme's.",
    ),
]


@guarded
def balance(
    member: MemberArgument,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="What was recorded by then, from the ledger: an RFC 3339 time, or a date, which"
            " means its last moment in the zone. Default: now.",
        ),
    ] = None,
    zone: ZoneOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Show what a member has: to spend, pending, reserved, owed, and what expires next.

    Read from the compacted standing that the CRM gets; with --at, from the entries of the ledger,
    lot by lot, each with the expiry that the latest of them names. Ends with 1 for a member without
    an account, or without an entry by then.
    """
    settings = read_settings(bootstrap_servers)
    told_in = _zone(settings, zone)
    if at is not None:
        show_balance_at(settings, member, at, told_in, as_json=as_json)
        return
    standing = asyncio.run(_standing(settings, member))
    if standing is None:
        fail(f"{member} has no account (or it was erased)")
    if as_json:
        answer_json(standing)
    else:
        console.print(_standing_table(member, standing, told_in))


def _zone(settings: Settings, name: str | None) -> tzinfo:
    if name is None:
        try:
            name = load_programme(settings.programme_file).time_zone
        except ProgrammeInvalid as error:
            fail(str(error), USAGE)
    return zone_named(name)


async def _standing(settings: Settings, member: str) -> dict[str, Any] | None:
    async with CommittedReader(access_of(settings)) as reader:
        return await read_standing(reader, settings.topic_prefix, member)


def _standing_table(member: str, standing: dict[str, Any], zone: tzinfo) -> Table:
    table = Table(title=f"Points of {member}", show_header=False, title_justify="left")
    table.add_column(style="dim")
    table.add_column(justify="right")

    def row(name: str, value: Any) -> None:
        table.add_row(name, Text(f"{value:,}" if isinstance(value, int) else str(value)))

    row("status", standing.get("status", "-"))
    if standing.get("tier"):
        row("tier", standing["tier"])
    row("to spend", standing.get("available", 0))
    row("pending", standing.get("pending", 0))
    row("reserved", standing.get("held", 0))
    if standing.get("debt"):
        row("owed", standing["debt"])
    for name, value in standing.items():
        if name.endswith("_available"):
            row(name.removesuffix("_available"), value)
    if standing.get("next_expiry_at"):
        row("expires next", f"{standing.get('next_expiry_points', 0):,}")
        row("… at", _moment(standing["next_expiry_at"], zone))
    row("earned, ever", standing.get("lifetime_earned", 0))
    row("spent, ever", standing.get("lifetime_redeemed", 0))
    row("expired, ever", standing.get("lifetime_expired", 0))
    if standing.get("last_activity_at"):
        row("last active", _moment(standing["last_activity_at"], zone))
    row("ledger entries", standing.get("seq", 0))
    return table


def _moment(text: str, zone: tzinfo) -> str:
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


@guarded
def explain(
    member: MemberArgument,
    newest: Annotated[int, typer.Option("--newest", "-n", min=1, help="So many entries.")] = 100,
    zone: ZoneOption = None,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Tell a member's ledger in words: every movement, why it came about, until when it lasts.

    Reads the member's partition of the balance changes, and the inputs that caused them where they
    are still kept. The number at the end of a line is the balance to spend after it.
    """
    settings = read_settings(bootstrap_servers)
    told_in = _zone(settings, zone)
    trail = asyncio.run(_trail(settings, member, newest))
    if not trail.entries:
        fail(f"{member} has no ledger entry")
    told = [
        (entry, entry_in_words(entry, cause, told_in))
        for entry, cause in zip(trail.entries, trail.causes, strict=True)
    ]
    if as_json:
        answer_json(
            {
                "member_id": member,
                "entries": trail.total,
                "shown": [{**entry, "words": words} for entry, words in told],
            }
        )
        return
    if trail.total > len(told):
        notes.print(f"The newest {len(told)} of {trail.total} entries; --newest shows more.")
    for entry, words in told:
        balance_after = Text(f"  = {entry.get('available_after')}", style="dim")
        console.print(Text(words).append(balance_after), soft_wrap=True)


async def _trail(settings: Settings, member: str, newest: int) -> MemberTrail:
    async with CommittedReader(access_of(settings)) as reader:
        return await read_trail(reader, settings.topic_prefix, member, newest=newest)
