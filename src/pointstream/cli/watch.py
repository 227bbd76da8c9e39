"""`watch`: what a running programme is doing, live."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pointstream.cli.output import (
    BootstrapOption,
    JsonOption,
    answer_json,
    console,
    examples,
    guarded,
    read_settings,
)
from pointstream.contracts.wire import loads
from pointstream.operations.access import access_of
from pointstream.operations.lag import GroupProgress, Progress, input_topics
from pointstream.operations.reading import CommittedReader, Record
from pointstream.operations.settings import Settings

__all__ = ["watch"]

WATCH_EXAMPLES = examples(
    "pointstream watch", "pointstream watch --once --json", "pointstream watch --json --interval 5"
)

_NEWEST = 12


@guarded
def watch(
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Two looks, one answer, then end.")] = False,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Watch the worker group: rate, lag of every input topic, newest balance changes.

    With --json one line per look. Ends with Ctrl-C.
    """
    settings = read_settings(bootstrap_servers)
    # Ctrl-C is how one stops watching, no fault.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(settings, interval, once=once, as_json=as_json))


async def _watch(settings: Settings, interval: float, *, once: bool, as_json: bool) -> None:
    topics = input_topics(settings.topic_prefix)
    changes_topic = f"{settings.topic_prefix}balance-changes"
    newest: deque[dict[str, Any]] = deque(maxlen=_NEWEST)
    async with (
        GroupProgress(access_of(settings), settings.app_id, topics) as group,
        CommittedReader(access_of(settings), wait_ms=500) as reader,
    ):
        places = [(changes_topic, part) for part in await reader.partitions(changes_topic)]
        following = asyncio.create_task(_follow(reader, places, newest))
        try:
            before = await group.look()
            if as_json or once:
                while True:
                    await asyncio.sleep(interval)
                    now = await group.look()
                    _answer(now, now.rate_since(before), newest, as_json=as_json)
                    newest.clear() if as_json else None
                    before = now
                    if once:
                        return
            with Live(console=console, auto_refresh=False) as live:
                while True:
                    await asyncio.sleep(interval)
                    now = await group.look()
                    live.update(_view(now, now.rate_since(before), newest), refresh=True)
                    before = now
                    if following.done():
                        following.result()  # its error is ours
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _follow(
    reader: CommittedReader, places: Sequence[tuple[str, int]], newest: deque[dict[str, Any]]
) -> None:
    if not places:
        return
    async for records in reader.follow(places, timeout_ms=500, back=_NEWEST):
        entries = [entry for entry in map(_entry, records) if entry is not None]
        # By partition they come; by the time at which they were recorded they are told.
        merged = sorted([*newest, *entries], key=lambda entry: str(entry.get("recorded_at")))
        newest.extend(merged[-_NEWEST:])


def _entry(record: Record) -> dict[str, Any] | None:
    if record.value is None:
        return None
    value = loads(record.value)
    return value if isinstance(value, dict) else None


def _answer(now: Progress, rate: float, newest: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if not as_json:
        console.print(_view(now, rate, newest))
        return
    answer_json(
        {
            "taken": now.taken,
            "per_second": round(rate, 1),
            "lag": now.lag,
            "topics": [
                {"topic": topic.topic, "taken": topic.taken, "lag": topic.lag}
                for topic in now.topics
            ],
            "newest": list(newest),
        }
    )


def _view(now: Progress, rate: float, newest: Sequence[dict[str, Any]]) -> Group:
    topics = Table(title_justify="left", title=f"{rate:,.0f} events/s, {now.lag:,} waiting")
    topics.add_column("topic")
    topics.add_column("taken", justify="right")
    topics.add_column("lag", justify="right")
    for topic in now.topics:
        style = "yellow" if topic.lag else ""
        topics.add_row(topic.topic, f"{topic.taken:,}", Text(f"{topic.lag:,}", style=style))
    changes = Table(title_justify="left", title="newest balance changes")
    for name in ("recorded at", "member", "movement"):
        changes.add_column(name)
    for name in ("change", "to spend"):
        changes.add_column(name, justify="right")
    for entry in newest:
        changes.add_row(
            str(entry.get("recorded_at", "")),
            Text(str(entry.get("member_id", ""))),
            str(entry.get("type", "")).removeprefix("points."),
            f"{entry.get('delta', 0):+,}",
            f"{entry.get('available_after', 0):,}",
        )
    return Group(topics, changes)
