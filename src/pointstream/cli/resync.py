"""`resync`: standings sent again, for a CRM or a mall that has lost rows."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

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
    reading_bar,
)
from pointstream.operations.access import access_of
from pointstream.operations.resyncs import resync_of_all, resync_of_members
from pointstream.operations.reviews import decide

__all__ = ["RESYNC_EXAMPLES", "resync"]

RESYNC_EXAMPLES = examples(
    'pointstream resync --member M-000017 --actor ann --reason "the CRM lost the row"',
    'pointstream resync --store sh-017 --actor ann --reason "asked by the shop"',
    'pointstream resync --all --actor ann --reason "the mall lost a table" --timeout 7200 --json',
)

_MOST = 10_000


@guarded
def resync(
    actor: Annotated[
        str, typer.Option("--actor", envvar="POINTSTREAM_ACTOR", help="Who asks for it.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays with the command.")],
    members: Annotated[
        list[str] | None, typer.Option("--member", help="Of this member. Repeatable.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Of members whose home_store_id is this shop.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of all members.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer; 0: do not.")
    ] = 3600.0,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Have the latest standings sent again to crm-sync and mall-sync, as they are.

    No balance changes, and `seq` stays: a reader that keeps the latest may take them twice. The
    owners of the members send them; of a shop or of all at most 200 a second for each partition,
    beside their work. Asked for by its id, a member who was erased gets its tombstones again, one
    who was merged its last standing. Movements are not sent again: points.balance-changes keeps
    them, to be read anew by offset. Ends with 1 when a command was rejected, or has no answer in
    time; it is carried out all the same.
    """
    ways = bool(members) + (store is not None) + everybody
    if ways != 1:
        fail("say whose: --member (one or more), --store, or --all", USAGE)
    if not 0 < len(reason) <= 500:
        fail("--reason must have 1 to 500 characters", USAGE)
    wanted = list(dict.fromkeys(members or ()))
    if len(wanted) > _MOST:
        fail(f"more than {_MOST:,} members at once: publish their account.resync", USAGE)
    settings = read_settings(bootstrap_servers)
    prefix, now_ms = settings.topic_prefix, int(time.time() * 1000)
    if wanted:
        commands = resync_of_members(prefix, wanted, actor, reason, now_ms)
    else:
        commands = [resync_of_all(prefix, store, actor, reason, now_ms)]
    with reading_bar(as_json) as bar:
        # How far a walk over all members has come nobody tells: the bar only moves.
        total = len(commands) if len(commands) > 1 else None
        task = bar.add_task("waiting for the answer", total=total)
        answers = asyncio.run(
            decide(
                access_of(settings),
                prefix,
                commands,
                timeout_s=timeout,
                on_answer=lambda done, of: bar.update(task, completed=done, total=of),
            )
        )
    rejected = {k: a["reason"] for k, a in answers.items() if a["outcome"] == "rejected"}
    sent = sum(answer.get("resent") or 0 for answer in answers.values())
    waiting = [command_id for command_id, _ in commands if command_id not in answers]
    if as_json:
        answer_json(
            {
                "commands": [command_id for command_id, _ in commands],
                "resent": sent,
                "rejected": rejected,
                "unanswered": waiting,
            }
        )
    else:
        notes.print(f"Standings sent again: {sent:,}.")
        for command_id, why in rejected.items():
            notes.print(f"{command_id}: not done, the ledger answers {why}.", markup=False)
        if waiting:
            notes.print(
                f"No answer yet to {len(waiting):,}, the first is {waiting[0]}:"
                " points.command-results will have it.",
                markup=False,
                soft_wrap=True,
            )
    if rejected or (waiting and timeout):
        raise typer.Exit(FAILED)
