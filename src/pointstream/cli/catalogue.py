"""`catalogue`: the items that points buy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pointstream.cli.output import (
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
    zone_named,
)
from pointstream.contracts.inputs import ItemPublished
from pointstream.operations.access import access_of
from pointstream.operations.catalogue import (
    CatalogueInvalid,
    item_records,
    load_items,
    read_catalogue,
    tombstones,
)
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings

__all__ = ["catalogue_app"]

PUBLISH_EXAMPLES = examples(
    "pointstream catalogue publish items.yaml --dry-run",
    "pointstream catalogue publish items.yaml",
)
WITHDRAW_EXAMPLES = examples("pointstream catalogue withdraw mug tote")
LIST_EXAMPLES = examples("pointstream catalogue list", "pointstream catalogue list --json")

catalogue_app = typer.Typer(
    name="catalogue",
    help="Publish, withdraw and list the items that points buy.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@catalogue_app.command("publish", epilog=PUBLISH_EXAMPLES)
@guarded
def publish_items(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The items, in YAML or JSON.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and tell; publish nothing.")
    ] = False,
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Publish items, all of a file or none.

    The file is a mapping with the list `items`. An item has `item_id` and `price_points`, and may
    have `stock`, `limit_per_member`, `limit_per_tier`, `valid_from` and `valid_until`. `stock` is
    how many may ever be redeemed: to add ten pieces, publish the item with ten more. A file with a
    mistake ends with 2; every mistake is named with line and path.
    """
    settings = read_settings(bootstrap_servers)
    try:
        items = load_items(file, datetime.now(UTC))
    except CatalogueInvalid as error:
        for problem in error.problems:
            notes.print(problem, markup=False, soft_wrap=True)
        raise typer.Exit(USAGE) from None
    if not dry_run:
        asyncio.run(_send(settings, item_records(settings.topic_prefix, items)))
    if as_json:
        answer_json(
            {
                "published": 0 if dry_run else len(items),
                "dry_run": dry_run,
                "items": [_fields(item) for item in items],
            }
        )
    elif dry_run:
        console.print(_table(items, UTC))
        notes.print(f"{len(items)} items are fit to be published; nothing was.")
    else:
        notes.print(f"Published {len(items)} items.")


@catalogue_app.command("withdraw", epilog=WITHDRAW_EXAMPLES)
@guarded
def withdraw_items(
    item_ids: Annotated[list[str], typer.Argument(metavar="ITEM…", help="Ids of items.")],
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """Withdraw items: nobody can redeem them until they are published anew.

    Ends with 1, and withdraws nothing, if one of them is not in the catalogue.
    """
    settings = read_settings(bootstrap_servers)
    known = {item.item_id for item in asyncio.run(_read(settings))}
    unknown = [item_id for item_id in item_ids if item_id not in known]
    if unknown:
        fail(f"not in the catalogue: {', '.join(unknown)}; nothing was withdrawn")
    asyncio.run(_send(settings, tombstones(settings.topic_prefix, item_ids)))
    if as_json:
        answer_json({"withdrawn": item_ids})
    else:
        notes.print(f"Withdrew {len(item_ids)} items.")


@catalogue_app.command("list", epilog=LIST_EXAMPLES)
@guarded
def list_items(
    zone: Annotated[str, typer.Option("--time-zone", help="IANA zone of the times told.")] = "UTC",
    as_json: JsonOption = False,
    bootstrap_servers: BootstrapOption = None,
) -> None:
    """List the items in force, as published: read from the topic, without what is redeemed."""
    told_in = zone_named(zone)
    items = asyncio.run(_read(read_settings(bootstrap_servers)))
    if as_json:
        answer_json({"items": [_fields(item) for item in items]})
    elif items:
        console.print(_table(items, told_in))
    else:
        notes.print("The catalogue is empty.")


async def _send(settings: Settings, records: Sequence[OutgoingRecord]) -> None:
    async with Publisher(access_of(settings)) as publisher:
        for record in records:
            await publisher.put(record)


async def _read(settings: Settings) -> list[ItemPublished]:
    async with CommittedReader(access_of(settings)) as reader:
        return await read_catalogue(reader, settings.topic_prefix)


def _fields(item: ItemPublished) -> dict[str, Any]:
    return item.model_dump(mode="json", exclude_defaults=True)


def _table(items: Sequence[ItemPublished], zone: tzinfo) -> Table:
    table = Table(show_edge=False)
    table.add_column("item")
    for name in ("points", "stock", "per member"):
        table.add_column(name, justify="right")
    for name in ("per tier", "from", "until"):
        table.add_column(name)
    for item in items:
        per_tier = ", ".join(f"{tier} {limit:,}" for tier, limit in item.limit_per_tier.items())
        table.add_row(
            Text(item.item_id),
            f"{item.price_points:,}",
            "-" if item.stock is None else f"{item.stock:,}",
            "-" if item.limit_per_member is None else f"{item.limit_per_member:,}",
            Text(per_tier or "-"),
            _moment(item.valid_from, zone),
            _moment(item.valid_until, zone),
        )
    return table


def _moment(moment: datetime | None, zone: tzinfo) -> str:
    return "-" if moment is None else moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
