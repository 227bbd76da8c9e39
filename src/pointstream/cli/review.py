"""`review`: what detectors found suspicious, and what waits for a second person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.text import Text

from pointstream.cli.flagtables import card, moment, table
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
    zone_named,
)
from pointstream.contracts.vocabulary import FlagAction, FlagState, Role
from pointstream.operations.access import access_of
from pointstream.operations.reading import CommittedReader
from pointstream.operations.reviews import (
    Flag,
    Reviewer,
    decide,
    newest_first,
    read_flags,
    review_command,
)
from pointstream.operations.settings import Settings

__all__ = ["review_app"]

LIST_EXAMPLES = examples(
    "pointstream review list",
    "pointstream review list --detector too-many-members --action hold --json",
    "pointstream review list --state all --member M-000017",
    "pointstream review list --older-than 7d",
)
SHOW_EXAMPLES = examples(
    "pointstream review show fraud-8a0c3e…", "pointstream review show fraud-8a0c3e… --json"
)
RELEASE_EXAMPLES = examples(
    'pointstream review release fraud-8a0c3e… --actor ann --reason "a family at one phone"',
    'pointstream review release fraud-8a0c3e… fraud-51d2… --actor ann --reason "till test"',
)
REJECT_EXAMPLES = examples(
    'pointstream review reject fraud-8a0c3e… --actor ann --reason "a script" --json',
)

_ALL = "all"
_MOST = 1_000

review_app = typer.Typer(
    name="review",
    help="List, show and decide fraud flags and what waits for a second person.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

ZoneOption = Annotated[str, typer.Option("--time-zone", help="IANA zone of the times told.")]
FlagsArgument = Annotated[list[str], typer.Argument(metavar="FLAG…", help="Ids of flags.")]
ActorOption = Annotated[
    str,
    typer.Option(
        "--actor", envvar="POINTSTREAM_ACTOR", help="Who decides: the id that the ledger names."
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stays with every entry.")]
RoleOption = Annotated[
    Role, typer.Option("--role", help="On whose behalf; a store reviews its own commands only.")
]
StoreOption = Annotated[str | None, typer.Option("--store", help="The store, with --role store.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer; 0: do not.")
]


@review_app.command("list", epilog=LIST_EXAMPLES)
@guarded
def list_flags(
    state: Annotated[
        str, typer.Option(help="raised (waits for a review), released, confirmed or all.")
    ] = FlagState.RAISED.value,
    detector: Annotated[str | None, typer.Option(help="Of this detector only.")] = None,
    action: Annotated[FlagAction | None, typer.Option(help="With this action only.")] = None,
    member: Annotated[str | None, typer.Option(help="That concern this member only.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="That have waited for so long at least: 7d, or ISO 8601.")
    ] = None,
    newest: Annotated[int, typer.Option("--newest", "-n", min=1, help="So many.")] = 50,
    zone: ZoneOption = "UTC",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """List flags, the newest first; those that wait for a review unless another state is asked for.

    The age is the time since a flag was raised, or that it took until it was decided. Open flags
    wait without a limit of time, unless their detector set has one. Read from the topic, as far
    back as it keeps its records.
    """
    if state not in (_ALL, *FlagState):
        fail(f"--state {state}: it is one of {', '.join((*FlagState, _ALL))}", USAGE)
    told_in, now_ms = zone_named(zone), int(time.time() * 1000)
    older_than_ms = 0 if older_than is None else _span_ms(older_than)
    flags = _read(read_settings(bootstrap_servers), quiet=as_json)
    found = newest_first(
        flags.values(),
        state=None if state == _ALL else state,
        detector=detector,
        action=None if action is None else action.value,
        member=member,
        older_than_ms=older_than_ms,
        now_ms=now_ms,
    )
    shown = found[:newest]
    if as_json:
        aged = [{**flag.latest, "age_seconds": flag.age_ms(now_ms) // 1_000} for flag in shown]
        answer_json({"flags": aged, "found": len(found)})
    elif shown:
        console.print(table(shown, told_in, now_ms))
        if len(found) > len(shown):
            notes.print(f"The newest {len(shown)} of {len(found)}; --newest shows more.")
    else:
        notes.print("No flag waits for a review." if state == FlagState.RAISED else "No such flag.")


@review_app.command("show", epilog=SHOW_EXAMPLES)
@guarded
def show_flag(
    flag_id: Annotated[str, typer.Argument(metavar="FLAG", help="The id of a flag.")],
    zone: ZoneOption = "UTC",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Show one flag: what was found, whom it concerns, its evidence, and how it ended.

    The events of the evidence are told by `pointstream explain MEMBER`. Ends with 1 for a flag that
    is not on the topic.
    """
    told_in = zone_named(zone)
    flags = _read(read_settings(bootstrap_servers), quiet=as_json)
    flag = _known(flags, flag_id)
    if as_json:
        answer_json({"flag": flag.latest, "open": flag.open, "records": flag.records})
        return
    console.print(card(flag, told_in))
    for record in flag.records:
        when = moment(record["occurred_at"], told_in)
        words = Text.assemble((f"{when}  {record['state']}  ", "dim"), record["explanation"])
        console.print(words, soft_wrap=True)


@review_app.command("release", epilog=RELEASE_EXAMPLES)
@guarded
def release_flags(
    flag_ids: FlagsArgument,
    actor: ActorOption,
    reason: ReasonOption,
    role: RoleOption = Role.HEAD_OFFICE,
    store: StoreOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Release flags: what they hold back is let go, a command that waits is carried out.

    Sends `review.release` for each and waits for the answers. Ends with 0 when all were accepted,
    with 1 when one was rejected, is not open, or has no answer in time.
    """
    reviewer = _reviewer(actor, role, store)
    _decide(flag_ids, "release", reviewer, reason, timeout, as_json, bootstrap_servers)


@review_app.command("reject", epilog=REJECT_EXAMPLES)
@guarded
def reject_flags(
    flag_ids: FlagsArgument,
    actor: ActorOption,
    reason: ReasonOption,
    role: RoleOption = Role.HEAD_OFFICE,
    store: StoreOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Reject flags: the suspicion was right, and what they hold back is reversed for good.

    What was sent on or spent is followed as well; a command that waits is refused. Sends
    `review.reject` for each and waits for the answers. Ends like `release`.
    """
    reviewer = _reviewer(actor, role, store)
    _decide(flag_ids, "reject", reviewer, reason, timeout, as_json, bootstrap_servers)


def _reviewer(actor: str, role: Role, store: str | None) -> Reviewer:
    if role is Role.MEMBER:
        fail("--role member: members review nothing", USAGE)
    if (role is Role.STORE) != (store is not None):
        fail("--role store needs --store, and --store needs --role store", USAGE)
    return Reviewer(actor, role.value, store)


def _decide(
    flag_ids: Sequence[str],
    how: str,
    reviewer: Reviewer,
    reason: str,
    timeout_s: float,
    as_json: bool,
    bootstrap_servers: str | None,
) -> None:
    if len(flag_ids) > _MOST:
        fail(f"more than {_MOST} flags at once", USAGE)
    if not 0 < len(reason) <= 500:
        fail("--reason must have 1 to 500 characters", USAGE)
    settings = read_settings(bootstrap_servers)
    flags = _read(settings, quiet=as_json)
    wanted = [_known(flags, flag_id) for flag_id in dict.fromkeys(flag_ids)]
    ended = [flag for flag in wanted if not flag.open]
    if ended:
        told = ", ".join(f"{flag.latest['flag_id']} is {flag.latest['state']}" for flag in ended)
        fail(f"reviewed already: {told}; nothing was sent")
    now_ms, prefix = int(time.time() * 1000), settings.topic_prefix
    commands = [review_command(prefix, flag, how, reviewer, reason, now_ms) for flag in wanted]
    with reading_bar(as_json) as bar:
        task = bar.add_task("waiting for answers", total=len(commands))
        answers = asyncio.run(
            decide(
                access_of(settings),
                prefix,
                commands,
                timeout_s=timeout_s,
                on_answer=lambda done, of: bar.update(task, completed=done, total=of),
            )
        )
    reviews = [
        {
            "flag_id": flag.latest["flag_id"],
            "command_id": command_id,
            "outcome": answers.get(command_id, {}).get("outcome"),
            "reason": answers.get(command_id, {}).get("reason"),
        }
        for flag, (command_id, _) in zip(wanted, commands, strict=True)
    ]
    if as_json:
        answer_json({"reviews": reviews})
    else:
        for review in reviews:
            notes.print(_words(review, how, timeout_s), markup=False, soft_wrap=True)
    unanswered_is_fine = not timeout_s
    if any(
        review["outcome"] != "accepted" and not (unanswered_is_fine and review["outcome"] is None)
        for review in reviews
    ):
        raise typer.Exit(FAILED)


def _words(review: dict[str, Any], how: str, timeout_s: float) -> str:
    flag_id = review["flag_id"]
    if review["outcome"] == "accepted":
        return f"{flag_id}: {how}d." if how == "release" else f"{flag_id}: rejected, and reversed."
    if review["outcome"] == "rejected":
        return f"{flag_id}: not done, the ledger answers {review['reason']}."
    if not timeout_s:
        return f"{flag_id}: sent as {review['command_id']}."
    return (
        f"{flag_id}: sent as {review['command_id']}, no answer in {timeout_s:g} s. It is decided"
        " when a worker takes it; `pointstream review show` tells."
    )


def _read(settings: Settings, *, quiet: bool) -> dict[str, Flag]:
    async def read() -> dict[str, Flag]:
        async with CommittedReader(access_of(settings)) as reader:
            return await read_flags(
                reader,
                settings.topic_prefix,
                on_read=lambda done, of: bar.update(task, completed=done, total=of),
            )

    with reading_bar(quiet) as bar:
        task = bar.add_task("reading flags", total=None)
        return asyncio.run(read())


def _known(flags: dict[str, Flag], flag_id: str) -> Flag:
    flag = flags.get(flag_id)
    if flag is None:
        fail(f"there is no flag {flag_id}; `pointstream review list --state all` lists them")
    return flag


def _span_ms(text: str) -> int:
    """The length of a span; ends with a usage error for what is none."""
    try:
        span = TypeAdapter(timedelta).validate_python(text)
    except ValidationError:
        fail(f"--older-than {text}: write days (7d) or ISO 8601 (PT12H)", USAGE)
    if span <= timedelta(0):
        fail("--older-than must be more than nothing", USAGE)
    return span // timedelta(milliseconds=1)
