"""What `dlq` says: dead letters and replays in words."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, tzinfo
from typing import Any

from rich.table import Table
from rich.text import Text

from pointstream.cli.output import console, notes
from pointstream.contracts.wire import rfc3339
from pointstream.operations.deadletters import Letter
from pointstream.operations.lettersums import LetterSums, Selection
from pointstream.operations.replays import Sent
from pointstream.operations.verdicts import Verdict

__all__ = ["print_letter", "print_selection", "print_sent", "print_sums", "whole_json"]

_PREVIEW_CHARACTERS = 4_000
_REASONS_SHOWN = 10


def print_sums(sums: LetterSums, zone: tzinfo) -> None:
    table = Table(show_edge=False)
    for name in ("code", "topic"):
        table.add_column(name)
    for name in ("dead letters", "replayed"):
        table.add_column(name, justify="right")
    for name in ("first", "last", "what would have to change"):
        table.add_column(name)
    for group in sums.in_order():
        table.add_row(
            group.code or "(none)",
            Text(group.topic or "(not told)"),
            f"{group.count:,}",
            f"{group.replayed:,}",
            _moment(group.first_ms, zone),
            _moment(group.last_ms, zone),
            Text(group.remedy),
        )
    console.print(table)
    if not sums.newest:
        return
    console.print()
    table = Table(show_edge=False)
    table.add_column("dead letter", no_wrap=True)
    for name in ("when", "code", "input", "key", "tried", "replayed", "message"):
        table.add_column(name)
    for letter, sent_at in sums.newest:
        table.add_row(
            f"{letter.address.partition}/{letter.address.offset}",
            _moment(letter.timestamp_ms, zone),
            letter.code or "(none)",
            Text(str(letter.source or "(not told)")),
            Text(_shown(letter.key)),
            str(letter.attempts),
            "no" if sent_at is None else _moment_of(sent_at, zone),
            Text(letter.message),
        )
    console.print(table)
    if sums.found > len(sums.newest):
        notes.print(f"The newest {len(sums.newest)} of {sums.found:,}; --limit shows more.")


def print_letter(letter: Letter, verdict: Verdict, sent_at: str | None, zone: tzinfo) -> None:
    table = Table(title=f"Dead letter {letter.address}", show_header=False, title_justify="left")
    table.add_column(style="dim")
    table.add_column()

    def row(name: str, value: str) -> None:
        table.add_row(name, Text(value))

    row("input", str(letter.source or "not told"))
    row("since", _moment(letter.timestamp_ms, zone))
    row("code", letter.code or "none")
    row("why", letter.message)
    row("to change", letter.remedy)
    row("tried", f"{letter.attempts}" + (f", before as {b}" if (b := letter.replayed_from) else ""))
    row("replayed", "no" if sent_at is None else _moment_of(sent_at, zone))
    row("a replay now", _verdict_words(verdict))
    row("key", _shown(letter.key))
    for name, value in letter.headers:
        row(f"header {name}", _shown(value))
    console.print(table)
    if letter.value is None:
        console.print(Text("(a tombstone: no value)", "dim"))
        return
    text = letter.value.decode(errors="replace")
    console.print(Text(text[:_PREVIEW_CHARACTERS]), soft_wrap=True)
    if len(text) > _PREVIEW_CHARACTERS:
        size = len(letter.value)
        notes.print(f"The first {_PREVIEW_CHARACTERS:,} characters of {size:,} bytes; --raw: all.")


def _verdict_words(verdict: Verdict) -> str:
    if verdict.impossible is not None:
        return f"cannot be made: {verdict.impossible}"
    if verdict.harmful is not None:
        return f"could do harm: {verdict.harmful}"
    if verdict.refused is not None:
        return f"would still be refused: {verdict.refused}"
    return "may be taken: nothing in the record is against it; the ledger decides"


def print_selection(selection: Selection) -> None:
    notes.print(f"To be sent again: {selection.count:,}.")
    for (code, topic), count in sorted(selection.groups.items()):
        notes.print(f"  {count:,} {code} of {topic}", markup=False)
    if selection.before:
        notes.print(f"Replayed before, and left out (--again sends them): {selection.before:,}.")
    reasons = selection.reasons.most_common()
    for why, count in reasons[:_REASONS_SHOWN]:
        notes.print(f"Left out: {count:,}, {why}", markup=False, soft_wrap=True)
    if len(reasons) > _REASONS_SHOWN:
        notes.print(f"…and {len(reasons) - _REASONS_SHOWN} reasons more; --json has them.")


def print_sent(sent: Sent) -> None:
    notes.print(f"Sent again: {sent.sent:,}.")
    if sent.before:
        notes.print(f"Replayed by somebody else meanwhile, and left out: {sent.before:,}.")
    for letter, why in sent.unsendable:
        notes.print(f"{letter.address}: not sent, {why}", markup=False, soft_wrap=True)
    if sent.sent:
        notes.print(
            "`pointstream dlq list` shows what is refused again, with how often it was tried."
        )


def whole_json(letter: Letter, verdict: Verdict, sent_at: str | None) -> dict[str, Any]:
    return {
        **letter.as_json(),
        "remedy": letter.remedy,
        "replayed_at": sent_at,
        "would_be_refused": verdict.refused,
        "could_do_harm": verdict.harmful,
        "cannot_be_replayed": verdict.impossible,
        "key_base64": _base64(letter.key),
        "value_base64": _base64(letter.value),
        "headers": [[name, _base64(value)] for name, value in letter.headers],
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _shown(value: bytes | None) -> str:
    return "(none)" if value is None else value.decode(errors="backslashreplace")


def _moment(at_ms: int, zone: tzinfo) -> str:
    return _moment_of(rfc3339(at_ms), zone)


def _moment_of(text: str, zone: tzinfo) -> str:
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
