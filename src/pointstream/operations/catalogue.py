"""The catalogue of items as head office writes it, publishes it and reads it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Strict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.inputs import ItemPublished, ItemWithdrawn
from pointstream.contracts.wire import dumps
from pointstream.operations.documents import DocumentInvalid, parse_document, read_text
from pointstream.operations.publish import OutgoingRecord
from pointstream.operations.reading import CommittedReader

__all__ = ["CatalogueInvalid", "item_records", "load_items", "read_catalogue", "tombstones"]

_TOPIC = "catalogue"


class CatalogueInvalid(DocumentInvalid):
    """A file of items cannot be read or does not make sense."""


class _Item(ItemPublished):
    """An item as it stands in a file: the envelope is filled in where it is left out.

    Here an unknown field is a mistake: it would be a limit that its author believes in and that
    nobody follows.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or not info.context:
            return value
        filled = {"type": "item.published", "occurred_at": info.context["now"], **value}
        filled.setdefault("event_id", f"item-{uuid4().hex}")
        return filled


class _File(BaseModel):
    """A file of items."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[tuple[_Item, ...], Strict(False)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not self.items:
            raise PydanticCustomError("no_items", "there must be at least one item")
        ids = [item.item_id for item in self.items]
        twice = sorted({item_id for item_id in ids if ids.count(item_id) > 1})
        if twice:
            raise PydanticCustomError(
                "item_twice", "an item comes twice: {twice}", {"twice": ", ".join(twice)}
            )
        return self


def load_items(path: Path | str, now: datetime) -> tuple[ItemPublished, ...]:
    """Read a file of items, YAML or JSON; what names no `occurred_at` is dated `now`.

    Raises `CatalogueInvalid`, with one line for each mistake that says file, line and path.
    """
    text = read_text(path, CatalogueInvalid)
    what = "a catalogue is a mapping with the list `items`"
    parsed = parse_document(text, str(path), _File, what, CatalogueInvalid, {"now": now})
    return parsed.items


def item_records(prefix: str, items: Iterable[ItemPublished]) -> list[OutgoingRecord]:
    """Return the records that publish items."""
    return [
        OutgoingRecord(
            prefix + _TOPIC,
            item.item_id.encode(),
            dumps(item.model_dump(mode="json", exclude_defaults=True)),
        )
        for item in items
    ]


def tombstones(prefix: str, item_ids: Sequence[str]) -> list[OutgoingRecord]:
    """Return the records that withdraw items."""
    return [OutgoingRecord(prefix + _TOPIC, item_id.encode(), None) for item_id in item_ids]


@dataclass(slots=True)
class _Known:
    item: ItemPublished
    withdrawn: bool = False


async def read_catalogue(reader: CommittedReader, prefix: str) -> list[ItemPublished]:
    """The items in force, by id, as a worker takes them that has read the topic to its end.

    What the contract refuses is left out: the worker makes dead letters of it. Raises
    `NoTopicsError`.
    """
    topic = prefix + _TOPIC
    partitions = await reader.existing(topic)
    known: dict[str, _Known] = {}
    for partition in partitions:
        async for records in reader.read(topic, partition):
            for record in records:
                decoded = decode(_TOPIC, record.key, record.value, record.headers)
                if isinstance(decoded, Decoded):
                    _take(known, decoded.event)
    return [known[item_id].item for item_id in sorted(known) if not known[item_id].withdrawn]


def _take(known: dict[str, _Known], event: Any) -> None:
    if isinstance(event, ItemWithdrawn):
        if event.item_id in known:
            known[event.item_id].withdrawn = True
    elif isinstance(event, ItemPublished):
        before = known.get(event.item_id)
        if before is None or (
            event.occurred_at >= before.item.occurred_at and event.event_id != before.item.event_id
        ):
            known[event.item_id] = _Known(event)
