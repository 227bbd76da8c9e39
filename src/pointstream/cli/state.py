"""`state`: the state as a whole, copied into files, put back, given more partitions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from pointstream.cli.output import (
    FAILED,
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
from pointstream.engine.errors import Fenced
from pointstream.engine.topics import TopicDifferencesError
from pointstream.operations.moving.archive import Archive, ArchiveError
from pointstream.operations.moving.backup import back_up
from pointstream.operations.moving.expand import Expansion, expand, take_back
from pointstream.operations.moving.quiet import NotQuiet
from pointstream.operations.moving.repartition import NotDrained
from pointstream.operations.moving.restore import Inputs, NotEmpty, restore
from pointstream.operations.moving.verify import verify
from pointstream.operations.programme import ProgrammeInvalid

__all__ = ["state_app"]

_BACKUP_EXAMPLES = examples(
    "pointstream state backup --out /backups/2026-07-01",
    "pointstream state backup --out /backups/2026-07-01 --json",
)
_RESTORE_EXAMPLES = examples(
    "pointstream state restore /backups/2026-07-01 --bootstrap-servers new-cluster:9092",
    "pointstream state restore /backups/2026-07-01 --inputs mirrored",
)
_EXPAND_EXAMPLES = examples(
    "pointstream state expand --partitions 24 --to-prefix points2. --dry-run",
    "pointstream state expand --partitions 24 --to-prefix points2.",
    "pointstream state expand --to-prefix points2. --take-back",
)
_VERIFY_EXAMPLES = examples("pointstream state verify /backups/2026-07-01")

state_app = typer.Typer(
    name="state",
    help="Back the state up, restore it, give it more partitions. No worker may run meanwhile.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

#: What is wrong with the place or the files, and says what to do.
_SENTENCES = (
    ArchiveError,
    NotDrained,
    NotEmpty,
    NotQuiet,
    ProgrammeInvalid,
    TopicDifferencesError,
)
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,100}")

T = TypeVar("T")
_Progress = Callable[[int, int], None]
_Words = Callable[[str], None]

BackupArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The directory of a backup.", show_default=False)
]


def _run(
    what: str,
    quiet: bool,
    work: Callable[[_Progress, _Words], Coroutine[Any, Any, T]],
) -> T:
    """Run some work below a bar; end with a sentence where it cannot be done."""
    with reading_bar(quiet) as bar:
        task = bar.add_task(what, total=None)

        def progress(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        def waiting(words: str) -> None:
            bar.update(task, description=words)

        try:
            return asyncio.run(work(progress, waiting))
        except _SENTENCES as error:
            fail(str(error))
        except Fenced:
            fail(
                "a worker has started meanwhile and took a partition: stop all, and run this again"
            )
        except OSError as error:
            if error.filename is None:
                raise
            fail(f"{error.filename}: {error.strerror}")


@state_app.command(epilog=_BACKUP_EXAMPLES)
@guarded
def backup(
    out: Annotated[Path, typer.Option("--out", "-o", help="A directory; made for it.")],
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Copy the state of all partitions, with the ledger, into files.

    Stop all workers first; publishers may go on. What is copied is of one moment: the state with
    its positions, balance changes, standings and fraud flags, rules, detectors and catalogue, and
    the inputs that no worker has taken. It takes a role that reads everything (operator).
    """
    settings = read_settings(bootstrap_servers)
    archive = _run(
        "copying",
        as_json,
        lambda progress, waiting: back_up(settings, out, on_progress=progress, on_waiting=waiting),
    )
    manifest = archive.manifest
    size = sum((out / file.name).stat().st_size for file in manifest.files)
    records = sum(file.records for file in manifest.files)
    told = {
        "directory": str(out),
        "identity": manifest.identity,
        "created_at": manifest.created_at,
        "partitions": manifest.partitions,
        "state_format": manifest.state_format,
        "files": len(manifest.files),
        "records": records,
        "bytes": size,
    }
    if as_json:
        answer_json(told)
        return
    console.print(
        f"{records:,} records of {manifest.partitions} partitions are in {out}"
        f" ({size / 1e6:,.1f} MB, {manifest.identity}).",
        markup=False,
        soft_wrap=True,
    )
    notes.print(f"See that it is right: pointstream state verify {out}", markup=False)


@state_app.command("restore", epilog=_RESTORE_EXAMPLES)
@guarded
def restore_state(
    directory: BackupArgument,
    inputs: Annotated[
        Inputs,
        typer.Option(
            help="new: input topics begin anew, and get what no worker had taken; mirrored: they"
            " are there with the offsets that they had."
        ),
    ] = Inputs.NEW,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Put a backup into empty topics, from where workers go on.

    Topics are made where they are missing. Nobody may publish, and no worker may run, before it has
    ended. Interrupted, it is run again and goes on; until its end no worker takes a partition. It
    takes a role that may write everything (maintainer).
    """
    settings = read_settings(bootstrap_servers)

    async def work(progress: _Progress, waiting: _Words) -> Archive:
        archive = Archive.open(directory)
        await restore(settings, archive, inputs=inputs, on_progress=progress, on_waiting=waiting)
        return archive

    manifest = _run("restoring", as_json, work).manifest
    if as_json:
        answer_json({"identity": manifest.identity, "partitions": manifest.partitions})
        return
    console.print(
        f"{manifest.partitions} partitions are as they were on {manifest.created_at}; each was read"
        " back. Workers may start, then publishers.",
        markup=False,
        soft_wrap=True,
    )


@state_app.command("verify", epilog=_VERIFY_EXAMPLES)
@guarded
def verify_backup(directory: BackupArgument, as_json: JsonOption = False) -> None:
    """Read a backup to its end: checksums, and the books of every partition.

    Asks no broker. Ends with 1 when a file is damaged or the books do not balance.
    """

    async def work(progress: _Progress, waiting: _Words) -> Any:
        return verify(Archive.open(directory), on_progress=progress)

    found = _run("reading", as_json, work)
    if as_json:
        answer_json(
            {
                "holds": found.holds,
                "members": found.members,
                "entries": found.entries,
                "available": found.available,
                "pending": found.pending,
                "held": found.held,
                "debt": found.debt,
                "waiting": found.waiting,
                "breaches": [[b.check, b.member_id, b.words] for b in found.breaches],
            }
        )
    else:
        for breach in found.breaches:
            notes.print(f"{breach.check}: {breach.member_id} {breach.words}", markup=False)
        console.print(
            f"{found.members:,} members, {found.entries:,} ledger entries, {found.available:,}"
            f" points available, {found.pending:,} pending, {found.held:,} held, {found.debt:,}"
            f" owed by members; {found.waiting:,} inputs not taken."
            + (" The books balance." if found.holds else ""),
            markup=False,
            soft_wrap=True,
        )
    if not found.holds:
        raise typer.Exit(FAILED)


@state_app.command("expand", epilog=_EXPAND_EXAMPLES)
@guarded
def expand_state(
    to_prefix: Annotated[
        str, typer.Option(metavar="PREFIX", help="What the names of the new topics begin with.")
    ],
    partitions: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Of every new topic.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="A directory for the copies; else one in .run. It is kept.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Copy and share out in files, and say what would move."),
    ] = False,
    take_it_back: Annotated[
        bool,
        typer.Option("--take-back", help="Open the old topics again; no worker ran on the new."),
    ] = False,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Move everything to new topics with another number of partitions, each key to its new owner.

    Everything must be taken first, then all workers stopped. The new topics are written and read
    back, with the ledger and its numbers; the old ones stay, closed to workers. Interrupted, it is
    run again and goes on. It takes a role that may write everything, old and new (maintainer).
    """
    settings = read_settings(bootstrap_servers)
    if not _PREFIX.fullmatch(to_prefix) or to_prefix == settings.topic_prefix:
        fail(
            f"--to-prefix must be another than {settings.topic_prefix!r}, of letters, digits and"
            " ._-: topics cannot be moved onto themselves",
            USAGE,
        )
    if take_it_back:
        _run("taking back", as_json, lambda progress, waiting: take_back(settings, to_prefix))
        console.print(
            f"Workers may start on {settings.topic_prefix!r} again.", markup=False, soft_wrap=True
        )
        return
    if partitions is None:
        fail("--partitions must say how many there will be", USAGE)
    directory = work or Path(".run") / f"expand-{to_prefix}{partitions}"
    count = partitions

    def work_of(progress: _Progress, waiting: _Words) -> Coroutine[Any, Any, Expansion]:
        def tell(what: str, done: int, of: int) -> None:
            waiting(what)
            progress(done, of)

        return expand(
            settings,
            count,
            to_prefix,
            directory,
            dry_run=dry_run,
            on_progress=tell,
            on_waiting=waiting,
        )

    found = _run("moving", as_json, work_of)
    moved = found.moved
    if as_json:
        answer_json(
            {
                "done": found.done,
                "members": moved.members,
                "members_moved": moved.members_moved,
                "keys_moved": dict(sorted(moved.keys.items())),
                "keys_stay": moved.stay,
                "entries": found.books.entries,
                "available": found.books.available,
                "work": str(directory),
            }
        )
        return
    verb = "are" if found.done else "would be"
    console.print(
        f"{moved.members:,} members and {found.books.entries:,} ledger entries {verb} in"
        f" {partitions} partitions; {moved.members_moved:,} members, {moved.keys.total():,} keys,"
        f" in one of another number. {found.books.available:,} points are available, as before.",
        markup=False,
        soft_wrap=True,
    )
    if found.done:
        notes.print(
            f"Start the workers, then publishers and readers, with POINTSTREAM_TOPIC_PREFIX="
            f"{to_prefix} and POINTSTREAM_PARTITIONS={partitions}. Copies are in {directory}.",
            markup=False,
            soft_wrap=True,
        )
