"""What is published in versions, sent and followed to its end, and what is said about that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from pointstream.cli.output import FAILED, notes
from pointstream.operations.access import access_of
from pointstream.operations.publish import OutgoingRecord
from pointstream.operations.rulesets import End, Ended, RuleSetPublisher
from pointstream.operations.settings import Settings

__all__ = ["NoWaitOption", "TimeoutOption", "end_json", "exit_by", "say_end", "send_all"]

_SAID: Final = {
    End.APPLIED: "{what}: applied by all {partitions} partitions.",
    End.NOTHING_NEW: "{what}: nothing new; it was so already.",
    End.REFUSED: "{what}: refused: {reason}",
}
_NOT_YET: Final = (
    "{what}: published, and not applied everywhere yet: is a worker running? It will be applied"
    " when one comes to it."
)

NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Do not wait until every partition has applied it.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds to wait for all partitions.")
]


async def send_all(
    settings: Settings,
    records: Sequence[OutgoingRecord],
    names: Sequence[str],
    *,
    wait: bool,
    timeout_s: float,
    quiet: bool,
) -> list[Ended]:
    """Publish records one after the other, each followed to its end."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("partitions"),
        console=notes,
        transient=True,
        disable=quiet or not wait or not notes.is_terminal,
    )
    access, prefix = access_of(settings), settings.topic_prefix
    with bar:
        async with RuleSetPublisher(access, settings.app_id, prefix) as publisher:
            return [
                await publisher.publish(
                    record, wait=wait, timeout_s=timeout_s, on_step=_on_step(bar, name)
                )
                for record, name in zip(records, names, strict=True)
            ]


def _on_step(bar: Progress, name: str) -> Callable[[int, int], None]:
    task = bar.add_task(name, total=None)
    return lambda done, partitions: bar.update(task, completed=done, total=partitions)


def say_end(what: str, end: Ended | None, *, wait: bool) -> None:
    """Say what became of a record; None where nothing was published."""
    if end is None:
        text = f"{what}: fit to be published; nothing was."
    elif end.end is End.WAITING:
        text = _NOT_YET.format(what=what) if wait else f"{what}: published."
    else:
        text = _SAID[end.end].format(what=what, partitions=end.partitions, reason=end.reason)
    notes.print(Text(text), soft_wrap=True)


def end_json(end: Ended | None) -> dict[str, Any]:
    """Return the same for programs."""
    if end is None:
        return {"end": None}
    told = {"end": end.end.value, "partitions": end.partitions}
    return told if end.reason is None else {**told, "reason": end.reason}


def exit_by(ends: Sequence[Ended], *, wait: bool) -> None:
    """End with 1 where something was refused, or not applied in time."""
    bad = {End.REFUSED, End.WAITING} if wait else {End.REFUSED}
    if any(end.end in bad for end in ends):
        raise typer.Exit(FAILED)
