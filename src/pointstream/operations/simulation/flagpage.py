"""A backtest of detectors as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.wire import epoch_ms
from pointstream.operations.htmlpage import (
    Card,
    cards,
    compared,
    document,
    key,
    local_time,
    section,
    signed,
    table,
    verdict,
)
from pointstream.operations.plots import Twin, lines, pairs
from pointstream.operations.simulation.flags import Flagged, FlagLine, Flags
from pointstream.operations.simulation.result import Line, Simulation
from pointstream.operations.simulation.words import verdict_words, warmed_words

__all__ = ["flag_page"]

_DAYS_MOST: Final = 400
"""A plot over more days shows nothing."""


def flag_page(
    found: Simulation, flags: Flags, detector_sets: Sequence[DetectorSet], *, top: int
) -> str:
    """Return the page; of new flags, and of those that are gone, the first `top`."""
    names = ", ".join(f"{each.id} version {each.version}" for each in detector_sets)
    zone = found.time_zone
    span = f"{local_time(found.from_ms, zone)} to {local_time(found.to_ms, zone)} ({zone})"
    by_detector = flags.lines()
    changed = [line for line in (*found.figures(), *found.outstanding()) if line.difference]
    return document(
        f"Backtest of {names}",
        (
            f"<h1>What {escape(names)} would have flagged</h1>",
            f'<p class="soft">{escape(span)}. {found.records:,} inputs of {found.partitions}'
            f" partitions replayed, {found.within:,} of them in the span."
            f" {escape(warmed_words(found))}</p>",
            verdict(verdict_words(found), good=found.sound),
            _cards(flags),
            _days(flags, zone),
            _detectors(by_detector),
            _points(by_detector),
            _examples("New: only the candidate flags", flags.new, top, zone),
            _examples("Gone: only the real detectors flagged", flags.gone, top, zone),
            section("What else would be otherwise", compared(changed)) if changed else "",
        ),
    )


def _cards(flags: Flags) -> str:
    was, would_be = flags.held()
    told = [
        Card(
            each.name, f"{each.new:,} new, {each.gone:,} gone", f"{each.was:,} → {each.would_be:,}"
        )
        for each in flags.over_all()
    ]
    held = Card("points held back", signed(would_be - was), f"{was:,} → {would_be:,}")
    return cards([*told, held])


def _days(flags: Flags, zone: str) -> str:
    """Flags by the local day of what tripped them first."""
    was, be = (
        Counter(_day(each, zone) for each in side.flags.values())
        for side in (flags.real, flags.other)
    )
    if not was and not be:
        return ""
    first, last = min((*was, *be)), max((*was, *be))
    days = [first + timedelta(days=nth) for nth in range((last - first).days + 1)]
    if len(days) > _DAYS_MOST:
        return ""
    plot = lines(
        [Line(day.isoformat(), was[day], be[day]) for day in days],
        label="flags by day, as it was and as it would be",
    )
    return section(
        "Flags, by day of what tripped them first", key("as it was", "as it would be") + plot
    )


def _day(flag: Flagged, zone: str) -> date:
    at_ms = epoch_ms(datetime.fromisoformat(flag.occurred_at))
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone)).date()


def _detectors(found: Sequence[FlagLine]) -> str:
    if not found:
        return section("Flags by detector", "<p>Nothing was flagged, and nothing would be.</p>")
    rows = [(line, line.flags.was, line.flags.would_be) for line in found]
    names = ("detector", "action", "as it was", "would be", "both", "new", "gone")
    more = ("gone, confirmed", "gone, released")
    cells = (
        (
            line.detector,
            line.action,
            *(
                f"{figure:,}"
                for figure in (
                    line.flags.was,
                    line.flags.would_be,
                    line.flags.both,
                    line.flags.new,
                    line.flags.gone,
                    line.gone_confirmed,
                    line.gone_released,
                )
            ),
        )
        for line in found
    )
    said = '<p class="soft">Confirmed and released: what reviewers have decided since.</p>'
    html = _twins(rows, "flags by detector") + table((*names, *more), cells, words=2) + said
    return section("Flags by detector", html)


def _points(found: Sequence[FlagLine]) -> str:
    rows = [(line, line.held_was, line.held_would_be) for line in found]
    if not any(was or would_be for _, was, would_be in rows):
        return ""
    return section("Points held back", _twins(rows, "points held back by detector"))


def _twins(rows: Sequence[tuple[FlagLine, int, int]], label: str) -> str:
    most = max((1, *(max(was, would_be) for _, was, would_be in rows)))
    twins = [
        Twin(
            f"{line.detector}, {line.action}",
            (was / most, would_be / most),
            (f"{was:,}", f"{would_be:,}"),
        )
        for line, was, would_be in rows
    ]
    return key("as it was", "as it would be") + pairs(twins, label=label)


def _examples(title: str, found: Sequence[Flagged], top: int, zone: str) -> str:
    if not found or not top:
        return ""
    rows = (
        (
            local_time(epoch_ms(datetime.fromisoformat(each.occurred_at)), zone),
            each.detector,
            each.action,
            f"{each.entity_kind} {each.entity_id}",
            each.explanation,
        )
        for each in found[:top]
    )
    note = f'<p class="soft">The first {top} of {len(found):,}.</p>' if len(found) > top else ""
    return section(
        title, note + table(("when", "detector", "action", "entity", "why"), rows, words=5)
    )
