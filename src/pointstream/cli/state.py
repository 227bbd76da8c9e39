"""`state`: the state as a whole, copied into files, put back, looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from pointstream.cli.output import (
    FAILED,
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
from pointstream.operations.moving.quiet import NotQuiet
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
_VERIFY_EXAMPLES = examples("pointstream state verify /backups/2026-07-01")

state_app = typer.Typer(
    name="state",
    help="Back the state up, restore it, look at a backup. No worker may run meanwhile.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

T = TypeVar("T")
_Progress = Callable[[int, int], None]

BackupArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The directory of a backup.", show_default=False)
]


def _run(
    what: str,
    quiet: bool,
    work: Callable[[_Progress, Callable[[str], None]], Coroutine[Any, Any, T]],
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
        except (ArchiveError, NotEmpty, NotQuiet, ProgrammeInvalid, TopicDifferencesError) as error:
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

    async def work(progress: _Progress, waiting: Callable[[str], None]) -> Archive:
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

    async def work(progress: _Progress, waiting: Callable[[str], None]) -> Any:
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
