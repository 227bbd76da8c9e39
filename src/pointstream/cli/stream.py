"""`publish` and `generate`: everything that puts inputs on their topics."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO, get_args

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from pointstream.cli.output import (
    FAILED,
    USAGE,
    BootstrapOption,
    JsonOption,
    answer_json,
    examples,
    fail,
    guarded,
    notes,
    read_settings,
)
from pointstream.contracts.decoding import Refusal, decode
from pointstream.contracts.inputs import InputEvent
from pointstream.contracts.topics import INPUT_TYPES, topic_of_type
from pointstream.contracts.wire import dumps, loads
from pointstream.operations.access import access_of
from pointstream.operations.generate import Generated, StreamPlan
from pointstream.operations.generate import generate as generate_stream
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.rows import BadRow, CsvMapping, InputRow, csv_rows, json_rows
from pointstream.operations.settings import Settings

__all__ = ["generate", "publish"]

_MODELS = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(InputEvent)
}
# The summary names so many bad rows; all of them are told on standard error as they are met.
_BAD_ROWS_IN_SUMMARY = 1_000
_DEFAULT_PERIOD = timedelta(days=28)  # commands older than 30 days are not taken any more

PUBLISH_EXAMPLES = examples(
    "pointstream publish events.jsonl",
    "pointstream generate --events 1000 | pointstream publish -",
    "pointstream publish orders.csv --type order.paid --map order_id=OrderNo "
    "--map paid_minor=Amount*100 --map currency:=CNY",
)
GENERATE_EXAMPLES = examples(
    "pointstream generate --events 100000 --seed 7 > events.jsonl",
    "pointstream generate --events 5000 --start 2026-03-01T00:00:00Z --end 2026-04-01T00:00:00Z",
    "pointstream generate --events 1000000 --members 200000 --publish",
    "pointstream generate --events 200000 --fraudsters 100 --labels labels.jsonl > events.jsonl",
)


@dataclass(slots=True)
class _Tally:
    published: int = 0
    bad: list[BadRow] = field(default_factory=list)
    bad_count: int = 0
    seconds: float = 0.0
    by_topic: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "published": self.published,
            "bad": self.bad_count,
            "seconds": round(self.seconds, 3),
            "per_second": round(self.published / self.seconds) if self.seconds else 0,
            "by_topic": dict(sorted(self.by_topic.items())),
            "bad_rows": [
                {"line": row.line, "code": row.code, "reason": row.reason} for row in self.bad
            ],
        }


def _bar(quiet: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]} events"),
        TimeElapsedColumn(),
        console=notes,
        disable=quiet or not notes.is_terminal,
    )


@guarded
def publish(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON Lines or CSV; - for stdin.")],
    kind: Annotated[
        str | None, typer.Option("--type", help="Input type of every row; makes FILE a CSV.")
    ] = None,
    mappings: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="CSV: field=Column, field=Column*100, field:=constant. Repeatable.",
        ),
    ] = None,
    delimiter: Annotated[str, typer.Option(help="CSV: what separates the cells.")] = ",",
    topic: Annotated[
        str | None,
        typer.Option(help="With --no-validate: where rows go whose type names no topic."),
    ] = None,
    validate: Annotated[
        bool, typer.Option(help="Check every row against the contract before it is sent.")
    ] = True,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Publish a file of inputs; bad rows are reported and left out.

    Every row goes to the topic of its type, keyed by its member. Ends with 1 when a row was bad;
    all the others have been published then.
    """
    settings = read_settings(bootstrap_servers)
    if topic is not None and topic not in INPUT_TYPES:
        fail(f"{topic!r} is not an input topic; one of: {', '.join(INPUT_TYPES)}", USAGE)
    if topic is not None and validate:
        fail("--topic is only of use together with --no-validate", USAGE)
    if len(delimiter) != 1:
        fail("--delimiter must be a single character", USAGE)
    refuses = _refusal if validate else None
    with contextlib.ExitStack() as files:
        source, size = _open(file, files)
        if kind is not None:
            model = _MODELS.get(kind)
            if model is None:
                fail(f"{kind!r} is not an input type; one of: {', '.join(_MODELS)}", USAGE)
            mapping = CsvMapping(model, kind, mappings or [])
            text: TextIO = io.TextIOWrapper(source, encoding="utf-8", newline="")
            rows = csv_rows(
                text, mapping, topic_of_type(kind), refuses=refuses, delimiter=delimiter
            )
        elif file.lower().endswith(".csv"):
            fail("a CSV needs --type, the input type of its rows; see --help", USAGE)
        elif mappings:
            fail("--map needs --type, the input type of the CSV's rows", USAGE)
        else:
            rows = json_rows(source, topic_of_type, refuses=refuses, fallback_topic=topic)
        try:
            tally = asyncio.run(_publish(settings, rows, source, size, quiet=as_json))
        except UnicodeDecodeError as error:
            fail(f"{file} isn't UTF-8: {error}. Convert it, for example with iconv.")
    if as_json:
        answer_json(tally.as_json())
    else:
        _say_published(tally)
    if tally.bad_count:
        raise typer.Exit(FAILED)


def _refusal(row: InputRow) -> tuple[str, str] | None:
    decoded = decode(row.topic, row.key, row.value, row.headers)
    if not isinstance(decoded, Refusal):
        return None
    if decoded.code == "key_missing":
        return "key_missing", "the row names no member"
    return str(decoded.code), decoded.message


def _open(file: str, files: contextlib.ExitStack) -> tuple[BinaryIO, int]:
    """The file's bytes and how many there are, 0 when that can't be known."""
    if file == "-":
        return sys.stdin.buffer, 0
    path = Path(file)
    try:
        return files.enter_context(path.open("rb")), path.stat().st_size
    except OSError as error:
        fail(f"can't read {file}: {error.strerror}", USAGE)


async def _publish(
    settings: Settings,
    chunks: Iterator[list[InputRow | BadRow]],
    source: BinaryIO,
    size: int,
    *,
    quiet: bool,
) -> _Tally:
    tally = _Tally()
    began = time.monotonic()
    with _bar(quiet) as bar:
        task = bar.add_task("publishing", total=size or None, count=0)
        async with Publisher(access_of(settings)) as publisher:
            # Reading may block (a pipe), so it has a thread, and the producer goes on sending
            # meanwhile.
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                for row in chunk:
                    if isinstance(row, BadRow):
                        _note_bad(tally, row)
                        continue
                    name = settings.topic_prefix + row.topic
                    await publisher.put(OutgoingRecord(name, row.key, row.value, row.headers))
                    tally.by_topic[row.topic] = tally.by_topic.get(row.topic, 0) + 1
                await publisher.linger()
                _advance(bar, task, publisher.sent, source if size else None)
        tally.published = publisher.sent
        bar.update(task, count=tally.published, completed=size or None)
    tally.seconds = time.monotonic() - began
    return tally


def _advance(bar: Progress, task: TaskID, count: int, source: BinaryIO | None) -> None:
    # The underlying position: a text layer above forbids asking it, and runs ahead by a buffer at
    # most.
    position = source.tell() if source is not None and not source.closed else None
    bar.update(task, count=count, completed=position)


def _note_bad(tally: _Tally, row: BadRow) -> None:
    tally.bad_count += 1
    if len(tally.bad) < _BAD_ROWS_IN_SUMMARY:
        tally.bad.append(row)
    notes.print(f"line {row.line}: {row.code}: {row.reason}", markup=False, soft_wrap=True)


def _say_published(tally: _Tally) -> None:
    rate = tally.published / tally.seconds if tally.seconds else 0
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(tally.by_topic.items()))
    notes.print(
        f"Published {tally.published:,} events in {tally.seconds:.1f} s ({rate:,.0f}/s)"
        + (f": {topics}." if topics else ".")
    )
    if tally.bad_count:
        notes.print(f"[red]{tally.bad_count:,} bad rows were left out, see above.[/red]")


# -- generate ------------------------------------------------------------------------------------


@guarded
def generate(
    events: Annotated[int, typer.Option("--events", "-n", min=0, help="How many events.")] = 10_000,
    members: Annotated[
        int | None, typer.Option(min=1, help="How many members join; else one per 20 events.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed and options give the same bytes.")] = 1,
    start: Annotated[
        str | None, typer.Option(help="RFC 3339; else 28 days before the end.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="RFC 3339; else the last midnight, UTC.")] = None,
    fraudsters: Annotated[
        int | None, typer.Option(min=0, help="Members who take part in fraud; else one in 100.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Write there which events are part of which fraud.")
    ] = None,
    redelivered: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of events that come a second time.")
    ] = 0.0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write to this file instead of stdout.")
    ] = None,
    to_kafka: Annotated[
        bool, typer.Option("--publish", help="Publish to Kafka instead of writing lines.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --publish or --out: summarise in JSON.")
    ] = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Generate a believable stream of a chain of shops, of any size, in constant memory.

    Members join, order, return things, check in day after day, refer each other, redeem points and
    send some to each other; a few are up to no good, each kind of fraud in turn and more or less
    plain to see. Events come in order, as JSON Lines. Nothing lies in the future. The default
    period ends at the last midnight; give --start and --end for the same bytes on any day.
    """
    if to_kafka and out is not None:
        fail("--publish and --out exclude each other", USAGE)
    if as_json and not to_kafka and out is None:
        fail("--json would mix with the events on standard output; add --publish or --out", USAGE)
    plan = _plan(events, members, seed, start, end, fraudsters, redelivered)
    with contextlib.ExitStack() as files:
        stream = generate_stream(plan)
        if labels is not None:
            try:
                stream = _labelling(stream, files.enter_context(labels.open("wb")))
            except OSError as error:
                fail(f"can't write {labels}: {error.strerror}", USAGE)
        _send_on(stream, events, out, to_kafka, as_json, bootstrap_servers)


def _send_on(
    stream: Iterator[Generated],
    events: int,
    out: Path | None,
    to_kafka: bool,
    as_json: bool,
    bootstrap_servers: str | None,
) -> None:
    if to_kafka:
        settings = read_settings(bootstrap_servers)
        tally = asyncio.run(_publish_generated(settings, stream, events, quiet=as_json))
    elif out is not None:
        try:
            with out.open("wb") as sink:
                tally = _write(stream, sink, events, quiet=as_json)
        except OSError as error:
            fail(f"can't write {out}: {error.strerror}", USAGE)
    else:
        _write(stream, sys.stdout.buffer, events, quiet=True)
        return
    if as_json:
        answer_json(tally.as_json())
    else:
        verb = "Published" if to_kafka else f"Wrote to {out}:"
        notes.print(f"{verb} {tally.published:,} events in {tally.seconds:.1f} s.")


def _labelling(stream: Iterator[Generated], sink: BinaryIO) -> Iterator[Generated]:
    """Pass a stream on, and write a line for each event that is part of a fraud."""
    for generated in stream:
        if generated.label is not None and not generated.again:
            event_id = loads(generated.value)["event_id"]
            sink.write(dumps({"event_id": event_id, **generated.label._asdict()}) + b"\n")
        yield generated


def _plan(
    events: int,
    members: int | None,
    seed: int,
    start: str | None,
    end: str | None,
    fraudsters: int | None,
    redelivered: float,
) -> StreamPlan:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = _moment(end, "--end") or midnight
    first = _moment(start, "--start") or last - _DEFAULT_PERIOD
    if end is None and start is not None and first >= last:
        last = datetime.now(UTC)  # a start of today, and nothing about the end
    joined = members if members is not None else max(1, events // 20)
    try:
        return StreamPlan(
            events=events,
            members=joined,
            seed=seed,
            start_ms=int(first.timestamp() * 1000),
            end_ms=int(last.timestamp() * 1000),
            fraudsters=fraudsters if fraudsters is not None else joined // 100,
            redelivered=redelivered,
        )
    except ValueError as error:
        fail(str(error), USAGE)


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        fail(f"{option} must be an RFC 3339 time with an offset, like 2026-03-01T00:00:00Z", USAGE)
    return moment


def _write(stream: Iterator[Generated], sink: BinaryIO, total: int, *, quiet: bool) -> _Tally:
    tally = _Tally()
    began = time.monotonic()
    with _bar(quiet) as bar:
        task = bar.add_task("generating", total=total, count=0)
        while chunk := list(islice(stream, 1_000)):
            sink.write(b"".join([generated.value + b"\n" for generated in chunk]))
            tally.published += len(chunk)
            bar.update(task, completed=tally.published, count=tally.published)
        sink.flush()
    tally.seconds = time.monotonic() - began
    return tally


async def _publish_generated(
    settings: Settings, stream: Iterator[Generated], total: int, *, quiet: bool
) -> _Tally:
    tally = _Tally()
    began = time.monotonic()
    prefix = settings.topic_prefix
    with _bar(quiet) as bar:
        task = bar.add_task("publishing", total=total, count=0)
        async with Publisher(access_of(settings)) as publisher:
            while chunk := list(islice(stream, 1_000)):
                for generated in chunk:
                    topic = generated.topic
                    record = OutgoingRecord(prefix + topic, generated.key, generated.value)
                    await publisher.put(record)
                    tally.by_topic[topic] = tally.by_topic.get(topic, 0) + 1
                await publisher.linger()
                bar.update(task, completed=publisher.sent, count=publisher.sent)
        tally.published = publisher.sent
        bar.update(task, completed=tally.published, count=tally.published)
    tally.seconds = time.monotonic() - began
    return tally
