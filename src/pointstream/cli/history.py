"""`balance --at`: what a member had at a moment, from the ledger."""

from __future__ import annotations

import asyncio
import re
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from rich.table import Table
from rich.text import Text

from pointstream.cli.output import USAGE, answer_json, console, fail, notes, reading_bar
from pointstream.contracts.programme import ExpiryKind
from pointstream.contracts.wire import MAX_TIME_MS, epoch_ms, rfc3339
from pointstream.operations.access import access_of
from pointstream.operations.history import MemberThen, read_member_at
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.standing import read_standing

__all__ = ["last_moment_ms", "show_balance_at"]

_LOTS_SHOWN = 50


def show_balance_at(
    settings: Settings, member: str, at: str, zone: tzinfo, *, as_json: bool
) -> None:
    """Print what a member had at a moment. Ends with 1 if there was no entry by then."""
    at_ms = last_moment_ms(at, zone)
    then, status = asyncio.run(_read(settings, member, at_ms, quiet=as_json))
    if not then.seq:
        if then.first_recorded_at is None:
            fail(f"{member} has no ledger entry")
        first = _local(then.first_recorded_at, zone)
        fail(f"{member} has no ledger entry by {_local(rfc3339(at_ms), zone)}; the first: {first}")
    slides = _sliding_wallets(settings)
    if as_json:
        answer_json(_as_json(then, at_ms, status, slides))
    else:
        _print(then, at_ms, status, slides, zone)


def last_moment_ms(text: str, zone: tzinfo) -> int:
    """The moment of an RFC 3339 time, or the last one of a date in the zone, in ms UTC.

    Ends with a usage error for anything else.
    """
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            next_day = date.fromisoformat(text) + timedelta(days=1)
            at_ms = epoch_ms(datetime.combine(next_day, time(), zone)) - 1
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise ValueError("no offset")
            at_ms = epoch_ms(moment)
        if not 0 <= at_ms <= MAX_TIME_MS:
            raise ValueError("out of range")
    except (ValueError, OverflowError):
        fail(
            f"{text!r} is no time; write a date (2026-03-31) or a time with its offset"
            " (2026-03-31T18:00:00+08:00)",
            USAGE,
        )
    return at_ms


async def _read(
    settings: Settings, member: str, at_ms: int, *, quiet: bool
) -> tuple[MemberThen, str]:
    prefix = settings.topic_prefix
    with reading_bar(quiet) as bar:
        task = bar.add_task("reading the ledger", total=None)
        async with CommittedReader(access_of(settings)) as reader:
            then = await read_member_at(
                reader,
                prefix,
                member,
                at_ms,
                on_read=lambda done, of: bar.update(task, completed=done, total=of),
            )
            standing = await read_standing(reader, prefix, member)
    # Who has entries and no standing any more was erased.
    return then, "erased" if standing is None else str(standing.get("status", "active"))


def _sliding_wallets(settings: Settings) -> frozenset[str]:
    """The wallets whose lots live longer with activity: what an entry says is the least."""
    try:
        programme = load_programme(settings.programme_file)
    except ProgrammeInvalid as error:
        fail(str(error), USAGE)
    return frozenset(w.id for w in programme.wallets if w.expiry.kind is ExpiryKind.SLIDING)


def _as_json(then: MemberThen, at_ms: int, status: str, slides: frozenset[str]) -> dict[str, Any]:
    return {
        "member_id": then.member_id,
        "at": rfc3339(at_ms),
        "seq": then.seq,
        "recorded_at": then.recorded_at,
        "merged": then.merged_away,
        "status_now": status,
        "wallets": {
            name: {
                "available": wallet.available,
                "pending": wallet.pending,
                "held": wallet.held,
                "debt": wallet.debt,
                "expiry_slides": name in slides,
                "lots": [
                    {
                        "lot_id": lot.lot_id,
                        "points": lot.points,
                        "pending": lot.pending,
                        "expires_at": lot.expires_at,
                    }
                    for lot in wallet.lots_left()
                ],
            }
            for name, wallet in sorted(then.wallets.items())
        },
    }


def _print(then: MemberThen, at_ms: int, status: str, slides: frozenset[str], zone: tzinfo) -> None:
    title = f"Points of {then.member_id} at {_local(rfc3339(at_ms), zone)}"
    table = Table("wallet", title=title, title_justify="left")
    for name in ("to spend", "pending", "reserved", "owed"):
        table.add_column(name, justify="right")
    for name, wallet in sorted(then.wallets.items()):
        places = (wallet.available, wallet.pending, wallet.held, wallet.debt)
        table.add_row(Text(name), *(f"{points:,}" for points in places))
    console.print(table)
    for name, wallet in sorted(then.wallets.items()):
        lots = wallet.lots_left()
        for lot in lots[:_LOTS_SHOWN]:
            until = f"until {_local(lot.expires_at, zone)}" if lot.expires_at else "for ever"
            until += " or longer, with activity" if lot.expires_at and name in slides else ""
            words = f"{lot.points:,} {name}, {until}"
            console.print(Text(words + (", not to spend yet" if lot.pending else "")))
        if len(lots) > _LOTS_SHOWN:
            console.print(f"… and {len(lots) - _LOTS_SHOWN:,} lots more; --json has all of them")
    recorded = _local(str(then.recorded_at), zone)
    console.print(Text(f"after entry {then.seq}, recorded {recorded}", style="dim"))
    if then.merged_away:
        notes.print("The account had been merged into another one by then.")
    elif status in ("merged", "erased"):
        notes.print(f"The account was {status} since.")


def _local(text: str, zone: tzinfo) -> str:
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
