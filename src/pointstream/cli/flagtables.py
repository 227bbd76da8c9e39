"""How flags are shown to a reviewer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from pointstream.operations.reviews import Flag

__all__ = ["card", "moment", "table"]

_EVIDENCE_SHOWN: Final = 20


def table(flags: Sequence[Flag], zone: tzinfo, now_ms: int) -> Table:
    """Flags as rows, with their age at `now_ms`."""
    rows = Table(show_edge=False)
    rows.add_column("flag", no_wrap=True)
    for name in ("when", "age", "state", "action", "detector", "about"):
        rows.add_column(name, no_wrap=name == "age")
    for name in ("members", "events"):
        rows.add_column(name, justify="right")
    rows.add_column("what was found")
    for flag in flags:
        latest = flag.latest
        rows.add_row(
            Text(latest["flag_id"]),
            moment(latest["occurred_at"], zone),
            _age(flag.age_ms(now_ms)),
            latest["state"],
            latest["action"],
            Text(latest["detector"]),
            Text(f"{latest['entity_kind']} {latest['entity_id']}"),
            f"{len(flag.members):,}",
            f"{len(latest['evidence']):,}",
            Text(latest["explanation"]),
        )
    return rows


def card(flag: Flag, zone: tzinfo) -> Table:
    """All about one flag."""
    latest, raised = flag.latest, flag.raised
    rows = Table(title=f"Flag {latest['flag_id']}", show_header=False, title_justify="left")
    rows.add_column(style="dim")
    rows.add_column()

    def row(name: str, value: Any) -> None:
        rows.add_row(name, Text(f"{value:,}" if isinstance(value, int) else str(value)))

    row("state", latest["state"])
    row("found", raised["explanation"])
    row("action", latest["action"])
    row("detector", f"{latest['detector']}, version {latest['rule_version']}")
    row("about", f"{latest['entity_kind']} {latest['entity_id']}")
    row("observed", raised["observed"])
    row("allowed", raised["threshold"])
    row("within", f"{raised['window_seconds']:,} s")
    row("members", ", ".join(flag.members))
    evidence = raised["evidence"]
    row("evidence", ", ".join(evidence[:_EVIDENCE_SHOWN]))
    if len(evidence) > _EVIDENCE_SHOWN:
        row("…", f"and {len(evidence) - _EVIDENCE_SHOWN} more events; --json has them")
    row("first raised", moment(flag.records[0]["occurred_at"], zone))
    return rows


def _age(age_ms: int) -> str:
    minutes = age_ms // 60_000
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1_440} d"


def moment(text: str, zone: tzinfo) -> str:
    """A moment as the clock of a zone shows it."""
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
