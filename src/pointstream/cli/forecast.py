"""`forecast`: what becomes spendable and expires when, and what the programme owes its members."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import date
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

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
    reading_bar,
)
from pointstream.contracts.wire import rfc3339
from pointstream.operations.access import access_of
from pointstream.operations.forecast import By, Forecast, Period, forecast_of
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.rules.compile import CompiledProgramme, compile_programme

__all__ = ["FORECAST_EXAMPLES", "forecast"]

FORECAST_EXAMPLES = examples(
    "pointstream forecast",
    "pointstream forecast --months 3 --by day",
    "pointstream forecast --until 2027-12-31 --json",
)

_MONTHS = 12
_EPOCH_DAY = date(1970, 1, 1)
_ASSUMES = "no new events: nobody earns, spends or returns anything meanwhile"
_WORDS = {
    "points.activated": "can be spent",
    "points.expired": "expire",
    "points.cleared": "are cleared",
    "points.voided": "held no longer",
}


@guarded
def forecast(
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="DATE", help="The last day looked at, in the programme's zone."
        ),
    ] = None,
    months: Annotated[
        int | None,
        typer.Option("--months", min=1, max=1200, help="So many months from today. Default: 12."),
    ] = None,
    by: Annotated[By, typer.Option("--by", help="How long a line's period is.")] = By.MONTH,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Tell what time alone will do: which points become spendable, expire or are cleared, and when.

    Outstanding is what the programme owes: available, pending and held points of all members, less
    debt, at the end of the period. The worker's own timers run ahead on a copy of the state, with
    the programme in force now; nothing is written. No new events are assumed. A day's points that
    expire at midnight belong to the day before.
    """
    settings = read_settings(bootstrap_servers)
    try:
        programme = compile_programme(load_programme(settings.programme_file))
    except ProgrammeInvalid as error:
        fail(str(error), USAGE)
    now_ms = int(time.time() * 1000)
    until_ms = _end_ms(programme, now_ms, until, months)
    if until_ms <= now_ms:
        fail(f"{until} is over; a forecast ends today or later", USAGE)
    seen = Forecast(programme, from_ms=now_ms, until_ms=until_ms, by=by)
    asyncio.run(_look_ahead(settings, seen, quiet=as_json))
    if as_json:
        answer_json(_as_json(seen))
    else:
        _print(seen)


def _end_ms(
    programme: CompiledProgramme, now_ms: int, until: str | None, months: int | None
) -> int:
    """The instant at which the last day is over, in ms UTC."""
    calendar = programme.calendar
    if until is None:
        return calendar.start_of_later_day_ms(calendar.local_day(now_ms), months or _MONTHS, 1)
    if months is not None:
        fail("--until and --months exclude each other", USAGE)
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", until):
            raise ValueError("no date")
        return calendar.start_of_day_ms((date.fromisoformat(until) - _EPOCH_DAY).days + 1)
    except (ValueError, OverflowError):
        fail(f"{until!r} is no date; write it like 2027-12-31", USAGE)


async def _look_ahead(settings: Settings, seen: Forecast, *, quiet: bool) -> None:
    with reading_bar(quiet) as bar:
        task = bar.add_task("looking ahead", total=1.0)
        async with CommittedReader(access_of(settings)) as reader:
            await forecast_of(
                reader,
                settings.topic_prefix,
                seen,
                on_step=lambda share: bar.update(task, completed=share),
            )


def _as_json(seen: Forecast) -> dict[str, Any]:
    periods = seen.periods()
    closing = dict(seen.opening)
    closing.update({period.wallet: period.outstanding for period in periods})
    return {
        "from": rfc3339(seen.from_ms),
        "until": rfc3339(seen.until_ms),
        "time_zone": str(seen.programme.calendar.zone),
        "by": seen.by.value,
        "assumes": _ASSUMES,
        "accounts": seen.accounts,
        "opening": dict(seen.opening),
        "periods": [
            {
                "period": period.name,
                "wallet": period.wallet,
                "amounts": dict(sorted(period.amounts.items())),
                "outstanding": period.outstanding,
            }
            for period in periods
        ],
        "closing": closing,
        "tier_changes": dict(sorted(seen.tier_changes.items())),
        "reminders": dict(sorted(seen.reminders.items())),
        "messages_not_followed": seen.not_followed,
    }


def _print(seen: Forecast) -> None:
    periods = seen.periods()
    table = Table(seen.by.value, "wallet", title="What time will do", title_justify="left")
    kinds = _kinds(periods)
    for kind in kinds:
        table.add_column(_WORDS.get(kind, kind.removeprefix("points.")), justify="right")
    table.add_column("outstanding after", justify="right")
    for wallet, outstanding in sorted(seen.opening.items()):
        table.add_row("now", Text(wallet), *("" for _ in kinds), f"{outstanding:,}")
    for period in periods:
        amounts = (f"{period.amounts[kind]:,}" if period.amounts[kind] else "" for kind in kinds)
        table.add_row(period.name, Text(period.wallet), *amounts, f"{period.outstanding:,}")
    console.print(table)
    for what, counts in (("tiers", seen.tier_changes), ("reminders", seen.reminders)):
        if counts:
            told = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
            console.print(Text(f"{what}: {told}"))
    console.print(f"{seen.accounts:,} accounts; assumes {_ASSUMES}.", style="dim")
    if seen.not_followed:
        notes.print(f"{seen.not_followed:,} steps that go to other partitions are left out.")


def _kinds(periods: list[Period]) -> list[str]:
    """The types of entry that move anything, those with words first."""
    found = {kind for period in periods for kind, amount in period.amounts.items() if amount}
    return [kind for kind in _WORDS if kind in found] + sorted(found - _WORDS.keys())
