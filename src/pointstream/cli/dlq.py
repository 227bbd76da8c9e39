"""`dlq`: dead letters, listed, shown, and sent again once their cause is mended."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, tzinfo
from typing import Annotated

import typer

from pointstream.cli.dlqwords import (
    print_letter,
    print_selection,
    print_sent,
    print_sums,
    whole_json,
)
from pointstream.cli.history import last_moment_ms
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
    zone_named,
)
from pointstream.contracts.topics import INPUT_TYPES
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.operations.access import access_of
from pointstream.operations.deadletters import (
    Address,
    AddressInvalid,
    Letter,
    Wanted,
    find_letter,
)
from pointstream.operations.lettersums import LetterSums, Selection, chosen_letters, select, sum_up
from pointstream.operations.programme import ProgrammeInvalid, load_programme
from pointstream.operations.reading import CommittedReader
from pointstream.operations.replays import Marks, OvertakenError, Replayer, Sent
from pointstream.operations.settings import Settings
from pointstream.operations.verdicts import Judge

__all__ = ["dlq_app"]

LIST_EXAMPLES = examples(
    "pointstream dlq list",
    "pointstream dlq list --code too_far_in_future --since 2026-11-01 --open",
    "pointstream dlq list --topic orders --member M-000017 --limit 5 --json",
)
SHOW_EXAMPLES = examples(
    "pointstream dlq show 3/41",
    "pointstream dlq show points.orders/3/1207 --json",
    "pointstream dlq show 3/41 --raw > record.json",
)
REPLAY_EXAMPLES = examples(
    "pointstream dlq replay --code unknown_type --dry-run",
    "pointstream dlq replay --code refund_without_order --topic orders --since 2026-11-01",
    "pointstream dlq replay 3/41 3/44 --yes --json",
    "pointstream dlq replay --all --rate 50 --yes",
)

dlq_app = typer.Typer(
    name="dlq",
    help="List, show and replay dead letters: inputs that could not be taken.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

CodesOption = Annotated[
    list[DeadLetterCode] | None,
    typer.Option("--code", metavar="CODE", help="With this code only. Repeatable."),
]
TopicsOption = Annotated[
    list[str] | None,
    typer.Option("--topic", help="Of inputs of this topic only, such as orders. Repeatable."),
]
PartitionsOption = Annotated[
    list[int] | None,
    typer.Option("--partition", min=0, help="Of inputs of this partition only. Repeatable."),
]
MemberOption = Annotated[
    str | None, typer.Option("--member", help="Of this member only: the record's key.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="That became dead letters from then on: a date, or a time with its offset.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="And until then: a date is included as a whole."),
]
ZoneOption = Annotated[
    str, typer.Option("--time-zone", help="IANA zone of dates given and times told.")
]


@dlq_app.command("list", epilog=LIST_EXAMPLES)
@guarded
def list_letters(
    codes: CodesOption = None,
    topics: TopicsOption = None,
    partitions: PartitionsOption = None,
    member: MemberOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Leave out those that were replayed.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="So many of the newest.")] = 20,
    zone: ZoneOption = "UTC",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Count dead letters by code and topic, then list the newest.

    Read from the topic, as far back as it keeps its records.
    """
    told_in, settings = zone_named(zone), read_settings(bootstrap_servers)
    wanted = _wanted(settings, codes, topics, partitions, member, since, until, told_in)

    async def read() -> LetterSums:
        async with CommittedReader(access_of(settings)) as reader:
            return await sum_up(
                reader,
                settings.topic_prefix,
                wanted,
                newest=limit,
                only_open=only_open,
                on_read=lambda done, of: bar.update(task, completed=done, total=of),
            )

    with reading_bar(as_json) as bar:
        task = bar.add_task("reading dead letters", total=None)
        sums = asyncio.run(read())
    if as_json:
        answer_json(sums.as_json())
    elif sums.found:
        print_sums(sums, told_in)
    else:
        notes.print("No such dead letter.")


@dlq_app.command("show", epilog=SHOW_EXAMPLES)
@guarded
def show_letter(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="PARTITION/OFFSET of the dead letter, or TOPIC/PARTITION/OFFSET of the input that"
            " it came from; - may stand for /.",
        ),
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the value to standard output, byte for byte.")
    ] = False,
    zone: ZoneOption = "UTC",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Show one dead letter: the record as it came, why it was refused, what would have to change.

    Ends with 1 where there is none. A corrected record is published with `pointstream publish`,
    for example what `--raw` wrote to a file; it may keep its event_id.
    """
    told_in, settings = zone_named(zone), read_settings(bootstrap_servers)
    (wanted,) = _addresses([address], settings)

    async def read() -> tuple[Letter | None, Marks]:
        async with CommittedReader(access_of(settings)) as reader:
            prefix = settings.topic_prefix
            letter = await find_letter(
                reader,
                prefix,
                wanted,
                on_read=lambda done, of: bar.update(task, completed=done, total=of),
            )
            return letter, await Marks.read(reader, prefix) if letter and not raw else Marks()

    with reading_bar(as_json or raw) as bar:
        task = bar.add_task("reading dead letters", total=None)
        letter, marks = asyncio.run(read())
    if letter is None:
        fail(f"there is no dead letter of {wanted}; `pointstream dlq list` lists them")
    if raw:
        if letter.value is None:
            fail(f"{letter.address} is a tombstone: it has no value")
        sys.stdout.buffer.write(letter.value)
        sys.stdout.buffer.flush()
        return
    verdict, sent_at = _judge(settings)(letter), marks.of(letter)
    if as_json:
        answer_json(whole_json(letter, verdict, sent_at))
    else:
        print_letter(letter, verdict, sent_at, told_in)


@dlq_app.command("replay", epilog=REPLAY_EXAMPLES)
@guarded
def replay_letters(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ADDRESS…]", help="These only, as `show` names them."),
    ] = None,
    codes: CodesOption = None,
    topics: TopicsOption = None,
    partitions: PartitionsOption = None,
    member: MemberOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be sent, and send nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were replayed before.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also what would be refused again, or could do harm.")
    ] = False,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="At most so many a second.")] = 200,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    zone: ZoneOption = "UTC",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Send dead letters again to the topic that each came from, after their cause was mended.

    Key, value and headers are those of the input, with two headers more: where it was a dead
    letter, and how often it has been tried. Each is sent once, however often this is run and
    whatever is killed on the way. It counts once, too: what was taken meanwhile under its event_id
    is not taken again, and what is refused again is a dead letter again. What would be refused as
    it is, by its bytes, its date or the programme's currency, is left out and told, and so are
    rule sets, detectors and items: they could take the place of newer ones, and are published
    anew. Ends with 1 when something was left out.
    """
    settings, told_in = read_settings(bootstrap_servers), zone_named(zone)
    wanted = _wanted(
        settings, codes, topics, partitions, member, since, until, told_in, addresses or ()
    )
    if wanted.everything and not everything and not dry_run:
        fail("say which: by address, --code, --topic, --since, …, or --all", USAGE)
    if (as_json or not sys.stdin.isatty()) and not yes and not dry_run:
        fail("there is nobody to ask: say --yes, or look first with --dry-run", USAGE)
    judge = _judge(settings)
    with reading_bar(as_json) as bar:
        task = bar.add_task("reading dead letters", total=None)
        selection = asyncio.run(
            select(
                access_of(settings),
                settings.topic_prefix,
                wanted,
                judge,
                again=again,
                anyway=anyway,
                on_read=lambda done, of: bar.update(task, completed=done, total=of),
            )
        )
    if selection.unknown:
        told = ", ".join(map(str, selection.unknown))
        fail(f"there is no dead letter of {told}; nothing was sent")
    if not as_json:
        print_selection(selection)
    if dry_run or not selection.count:
        sent = Sent()
    else:
        if not yes and not typer.confirm(f"Send {selection.count:,} records again?", err=True):
            notes.print("Nothing was sent.")
            raise typer.Exit(FAILED)
        sent = _send(settings, selection, rate, again=again, quiet=as_json)
    if as_json:
        answer_json({**selection.as_json(), "dry_run": dry_run, **sent.as_json()})
    elif not dry_run:
        print_sent(sent)
    if selection.left_out or sent.not_taken:
        raise typer.Exit(FAILED)


def _send(
    settings: Settings, selection: Selection, rate: float, *, again: bool, quiet: bool
) -> Sent:
    async def send() -> Sent:
        access, prefix = access_of(settings), settings.topic_prefix
        async with (
            CommittedReader(access) as reader,
            Replayer(access, prefix=prefix, app_id=settings.app_id) as replayer,
        ):
            letters: AsyncIterator[Letter] = chosen_letters(reader, prefix, selection.chosen)
            return await replayer.replay(
                letters,
                rate=rate,
                again=again,
                on_sent=lambda done: bar.update(task, completed=done, total=selection.count),
            )

    with reading_bar(quiet) as bar:
        task = bar.add_task("sending", total=selection.count)
        try:
            return asyncio.run(send())
        except OvertakenError as error:
            fail(f"{error}. Run it again when that one is done: nothing is sent twice.")


def _wanted(
    settings: Settings,
    codes: Sequence[DeadLetterCode] | None,
    topics: Sequence[str] | None,
    partitions: Sequence[int] | None,
    member: str | None,
    since: str | None,
    until: str | None,
    zone: tzinfo,
    addresses: Sequence[str] = (),
) -> Wanted:
    prefix = settings.topic_prefix
    suffixes = [topic.removeprefix(prefix) for topic in topics or ()]
    for suffix in suffixes:
        if suffix not in INPUT_TYPES:
            fail(f"--topic {suffix}: it is one of {', '.join(INPUT_TYPES)}", USAGE)
    return Wanted(
        codes=frozenset(code.value for code in codes or ()),
        topics=frozenset(prefix + suffix for suffix in suffixes),
        partitions=frozenset(partitions or ()),
        member_id=member,
        since_ms=_first_moment_ms(since, zone) if since is not None else None,
        until_ms=last_moment_ms(until, zone) if until is not None else None,
        addresses=frozenset(_addresses(addresses, settings)),
    )


def _first_moment_ms(text: str, zone: tzinfo) -> int:
    last_ms = last_moment_ms(text, zone)
    if "T" in text or " " in text:
        return last_ms
    day = datetime.fromtimestamp(last_ms / 1000, zone).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return int(day.timestamp() * 1000)


def _addresses(texts: Sequence[str], settings: Settings) -> list[Address]:
    try:
        return [Address.parse(text, settings.topic_prefix) for text in texts]
    except AddressInvalid as error:
        fail(str(error), USAGE)


def _judge(settings: Settings) -> Judge:
    try:
        programme = load_programme(settings.programme_file)
    except ProgrammeInvalid as error:
        fail(str(error), USAGE)
    return Judge(settings.topic_prefix, programme, int(time.time() * 1000))
