"""`demo`: the whole programme on this machine, from an empty broker to the proof."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pointstream.cli.output import (
    FAILED,
    JsonOption,
    answer_json,
    console,
    examples,
    fail,
    guarded,
    notes,
    read_settings,
)
from pointstream.engine.topics import ensure_topics
from pointstream.operations.access import access_of
from pointstream.operations.broker import Broker, ExternalBroker, broker_for_run
from pointstream.operations.chain import DAY_MS
from pointstream.operations.demo import DemoFailedError, DemoResult, run_demo, wait_until_ready
from pointstream.operations.generate import StreamPlan
from pointstream.operations.settings import Settings
from pointstream.operations.targets import told_to_prometheus
from pointstream.operations.topics import wanted_topics
from pointstream.operations.workers import WorkerFailedError, WorkerGroup

__all__ = ["demo"]

DEMO_EXAMPLES = examples(
    "pointstream demo",
    "pointstream demo --events 1000000 --workers 3",
    "pointstream demo --keep",
    "KAFKA_BOOTSTRAP_SERVERS=broker:9092 pointstream demo --json",
)

_REDELIVERED = 0.02
_DAYS = 28  # commands older than 30 days are not taken any more
_FLAGS_SHOWN = 5
_LINE_EVERY_SECONDS = 2.0


@guarded
def demo(
    events: Annotated[
        int, typer.Option("--events", "-n", min=1, help="How many events.")
    ] = 100_000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many worker processes.")] = 2,
    seed: Annotated[int, typer.Option(help="Another seed, another stream.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave broker and workers running until Ctrl-C.")
    ] = False,
    run_dir: Annotated[
        Path | None, typer.Option(help="For state and logs of the workers; else a temporary one.")
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(help="A file that tells Prometheus where the workers are, while they run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the whole programme at work, and prove that it is right.

    Starts a broker (or takes the one that KAFKA_BOOTSTRAP_SERVERS names, with topics of its own
    there), creates the topics, starts workers, publishes a generated stream in which events are
    redelivered and bad records are mixed, and reads everything back. Ends with 0 only if nothing
    was lost, doubled or miscounted.
    """
    view = _View(events, quiet=as_json)
    broker = broker_for_run(say=view.step, access=lambda: access_of(read_settings()))
    began = time.monotonic()
    with _directory(run_dir) as home, broker:
        view.step(f"broker: {broker.kind} at {broker.bootstrap_servers}")
        settings = _settings(broker)
        created = asyncio.run(ensure_topics(access_of(settings), wanted_topics(settings)))
        view.step(f"topics: {len(created)} created, {settings.partitions} partitions each")
        with (
            WorkerGroup(settings, workers, home.path) as group,
            told_to_prometheus(targets, [worker.web_address for worker in group.workers]),
        ):
            try:
                asyncio.run(wait_until_ready(group))
                view.step(
                    "workers: "
                    + ", ".join(worker.web_address for worker in group.workers)
                    + f" (logs in {home.path})"
                )
                with view.live():
                    result = asyncio.run(run_demo(settings, _plan(events, seed), group, view))
            except (DemoFailedError, WorkerFailedError) as error:
                home.keep = True
                fail(str(error))
            home.keep = not result.holds
            if as_json:
                answer_json(
                    {
                        **result.as_json(),
                        "total_seconds": round(time.monotonic() - began, 1),
                        "topic_prefix": settings.topic_prefix,
                        "bootstrap_servers": settings.bootstrap_servers,
                    }
                )
            else:
                _tell(result)
            if keep:
                _linger(settings, group)
    if not result.holds:
        raise typer.Exit(FAILED)


def _settings(broker: Broker) -> Settings:
    if not isinstance(broker, ExternalBroker):
        return read_settings(broker.bootstrap_servers)
    # Somebody's cluster: what is there already is none of our business, and must not be in the
    # sums.
    mark = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return read_settings(
        broker.bootstrap_servers,
        app_id=f"pointstream-demo-{mark}",
        topic_prefix=f"demo-{mark}.points.",
    )


def _plan(events: int, seed: int) -> StreamPlan:
    now_ms = int(time.time() * 1000)
    end_ms = now_ms - now_ms % DAY_MS
    members = max(1, events // 20)
    return StreamPlan(
        events=events,
        members=members,
        seed=seed,
        start_ms=end_ms - _DAYS * DAY_MS,
        end_ms=end_ms,
        fraudsters=max(3, members // 100),
        redelivered=_REDELIVERED,
    )


class _Home:
    def __init__(self, path: Path, *, keep: bool) -> None:
        self.path = path
        self.keep = keep


@contextlib.contextmanager
def _directory(given: Path | None) -> Iterator[_Home]:
    """A directory for the workers; a temporary one goes away unless its logs are still needed."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield _Home(given, keep=True)
        return
    home = _Home(Path(tempfile.mkdtemp(prefix="pointstream-demo-")), keep=False)
    try:
        yield home
    finally:
        if not home.keep:
            shutil.rmtree(home.path, ignore_errors=True)


class _View:
    """Steps as lines, the stream as two bars; lines now and then where there is no terminal."""

    def __init__(self, events: int, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[says]}"),
            TimeElapsedColumn(),
            console=notes,
            disable=quiet or not notes.is_terminal,
        )
        self._sent = self._bars.add_task("published", total=events, says="", start=False)
        self._took = self._bars.add_task("taken", total=events, says="", start=False)
        self._published = 0
        self._told_at = 0.0
        self._began = 0.0

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        self._began = time.monotonic()
        with self._bars:
            self._bars.start_task(self._sent)
            self._bars.start_task(self._took)
            yield

    def step(self, text: str) -> None:
        if not self._quiet:
            notes.print(f"[green]•[/green] {text}", soft_wrap=True)

    def published(self, count: int) -> None:
        self._published = count
        self._bars.update(self._sent, completed=count, says=f"{count:,}")

    def taken(self, count: int, lag: int) -> None:
        seconds = max(time.monotonic() - self._began, 0.001)
        rate = f"{count / seconds:,.0f}/s"
        self._bars.update(self._took, completed=count, says=f"{count:,}, {rate}, {lag:,} waiting")
        silent = not self._quiet and not notes.is_terminal
        if silent and time.monotonic() - self._told_at > _LINE_EVERY_SECONDS:
            self._told_at = time.monotonic()
            notes.print(f"  published {self._published:,}, taken {count:,} ({rate}), lag {lag:,}")


def _tell(result: DemoResult) -> None:
    proof = result.proof
    flow = Table(title="What went in and what came out", title_justify="left", show_header=False)
    flow.add_column()
    flow.add_column(justify="right")
    flow.add_row("events in", f"{result.published:,}")
    flow.add_row("  of these redelivered", f"{result.redelivered:,}")
    flow.add_row("  of these bad on purpose", f"{result.faulty:,}")
    flow.add_row("ledger entries out", f"{proof.entries:,}")
    for kind, count in proof.by_type.most_common():
        flow.add_row(f"  {kind}", f"{count:,}")
    flow.add_row("members", f"{proof.members:,}")
    flow.add_row("points to spend", f"{proof.totals['available']:,}")
    flow.add_row("points under way between members", f"{proof.under_way:,}")
    flow.add_row("lag", f"{result.lag:,}")
    flow.add_row("throughput, publishing included", f"{result.per_second:,.0f} events/s")
    flow.add_row("workers that had a share", f"{result.workers_busy}")
    console.print(flow)

    top = Table(title="Top balances", title_justify="left")
    top.add_column("member")
    top.add_column("to spend", justify="right")
    for points, member_id in proof.top:
        top.add_row(Text(member_id), f"{points:,}")
    console.print(top)

    letters = Table(title="Dead letters", title_justify="left")
    letters.add_column("code")
    letters.add_column("count", justify="right")
    letters.add_column("one of them", overflow="fold")
    for code, count in sorted(result.letters.by_code.items()):
        letters.add_row(code, f"{count:,}", Text(result.letters.examples[code].message))
    console.print(letters)

    if result.flags:
        flags = Table(title="Suspicions (pointstream review list)", title_justify="left")
        flags.add_column("detector", no_wrap=True)
        flags.add_column("what it found", overflow="fold")
        for flag in result.flags[:_FLAGS_SHOWN]:
            flags.add_row(Text(flag.latest["detector"]), Text(flag.raised["explanation"]))
        console.print(flags)
        if len(result.flags) > _FLAGS_SHOWN:
            console.print(f"{len(result.flags):,} in all.")

    console.print("Proof, read back with a plain read-committed consumer", style="bold")
    for name, holds, says in result.checks():
        mark = "[green]✓[/green]" if holds else "[red]✗[/red]"
        console.print(f"  {mark} {name}: {says}", soft_wrap=True)
    for breach in proof.breaches[:20]:
        console.print(f"    {breach.check}: {breach.member_id}: {breach.words}", markup=False)
    verdict = (
        "[bold green]It holds.[/bold green]" if result.holds else "[bold red]It does not hold.[/]"
    )
    console.print(verdict)


def _linger(settings: Settings, group: WorkerGroup) -> None:
    servers = settings.bootstrap_servers
    environ = f"KAFKA_BOOTSTRAP_SERVERS={servers}"
    if settings.topic_prefix != "points.":
        environ += f" POINTSTREAM_TOPIC_PREFIX={settings.topic_prefix}"
        environ += f" POINTSTREAM_APP_ID={settings.app_id}"
    notes.print(f"\nBroker: {servers}", soft_wrap=True)
    for worker in group.workers:
        notes.print(f"Worker {worker.number}: {worker.web_address}/", soft_wrap=True)
    for command in ("watch", "explain M-000001", "generate --events 5000 --seed 2 --publish"):
        notes.print(f"  {environ} pointstream {command}", markup=False, soft_wrap=True)
    notes.print("Running until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    notes.print("stopping")
