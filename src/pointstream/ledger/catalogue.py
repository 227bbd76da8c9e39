"""The catalogue: what points can buy, as head office publishes it.

Items are keyed by their id, members by theirs: whoever redeems an item is mostly in another
partition than the item is. The owner of an item takes what is published about it and tells every
partition, its own too. So each partition learns of a price or a limit at one recorded place among
its inputs: a redemption is priced with what its partition has been told by then, and a replay with
the same. Only the stock is not decided by such a copy (`grants.py`).

Of the versions of an item the one with the latest `occurred_at` counts, in whatever order they
come; of two with the same, the one that comes later. A tombstone has no `occurred_at`: it withdraws
the version in force, and only a version dated later brings the item back.

`stock` says how many pieces may ever be redeemed, counted from the first version on that had a
stock. What is left is the stock less what was redeemed: to publish an item again with the same
stock changes nothing, to add ten pieces is to publish it with ten more. Lowered below what is
redeemed, nothing is left. Without a stock there is no limit, and nothing is counted. Neither a
withdrawal nor a returned order puts pieces back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from pointstream.contracts.inputs import ItemPublished, ItemWithdrawn
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import epoch_ms
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.orders import dead
from pointstream.ledger.state import NEVER, catalogue_key, item_key

__all__ = [
    "ITEM_TOLD",
    "Item",
    "item",
    "item_published",
    "item_told",
    "item_withdrawn",
    "price_of",
    "stock_limit",
]

ITEM_TOLD: Final = "item.told"


@dataclass(frozen=True, slots=True)
class Item:
    """What one version of an item says. A limit that is None, or a table that is empty, is none."""

    price_points: int
    """Of one piece."""
    stock: int | None
    limit_per_member: int | None
    limit_per_tier: dict[str, int]
    """Pieces for one member, by tier. A tier that is not named gets none."""
    valid_from_ms: int
    valid_until_ms: int
    """Can be redeemed until just before; `NEVER` for always."""

    def offered_at(self, at_ms: int) -> bool:
        """Tell whether the item can be redeemed at a time."""
        return self.valid_from_ms <= at_ms < self.valid_until_ms

    def limit(self, tier: str | None) -> int | None:
        """Return how many pieces a member of a tier may ever redeem: 0 for a tier that may not."""
        if not self.limit_per_tier:
            return self.limit_per_member
        of_tier = self.limit_per_tier.get(tier, 0) if tier is not None else 0
        return of_tier if self.limit_per_member is None else min(of_tier, self.limit_per_member)

    @property
    def limited(self) -> bool:
        """Whether it must be counted what each member redeems."""
        return self.limit_per_member is not None or bool(self.limit_per_tier)


@dataclass(frozen=True, slots=True)
class _Version:
    """What the owner knows of an item: the version in force, or the one that was withdrawn."""

    event_id: str
    digest: str
    occurred_ms: int
    withdrawn: bool
    item: Item


def item(book: Book, item_id: str) -> Item | None:
    """Return an item as this partition was told last; None if it is not, or no longer, there."""
    value = book.state.get(item_key(item_id))
    return _item(decode_list(value)) if value is not None else None


def price_of(book: Book, item_id: str, quantity: int) -> int:
    """Return what so many pieces cost in points; 0 for an item that is not there."""
    known = item(book, item_id)
    return known.price_points * quantity if known is not None else 0


def stock_limit(book: Book, item_id: str) -> int | None:
    """Return how many of an item may ever be redeemed, as its owner knows it; None: no limit."""
    version = _version(book, item_id)
    return 0 if version is None or version.withdrawn else version.item.stock


def item_published(book: Book, event: ItemPublished, digest: bytes, source: Source) -> Decision:
    """Take a version of an item, as its owner, and tell all partitions."""
    occurred_ms = event.occurred_at_ms
    known = _version(book, event.item_id)
    if known is not None and known.event_id == event.event_id:
        if known.digest == digest.hex():
            return Decision(Outcome.EVENT_ALREADY_TAKEN)
        return dead(
            Outcome.ID_REUSED_WITH_OTHER_CONTENT,
            DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT,
            "the event_id was used before, for another version of the item",
            source,
        )
    if known is not None and occurred_ms < known.occurred_ms:
        return Decision(Outcome.ITEM_KNOWN_LATER)
    published = Item(
        event.price_points,
        event.stock,
        event.limit_per_member,
        dict(sorted(event.limit_per_tier.items())),
        epoch_ms(event.valid_from) if event.valid_from is not None else 0,
        epoch_ms(event.valid_until) if event.valid_until is not None else NEVER,
    )
    version = _Version(event.event_id, digest.hex(), occurred_ms, False, published)
    _keep(book, event.item_id, version)
    return Decision(Outcome.ITEM_PUBLISHED)


def item_withdrawn(book: Book, event: ItemWithdrawn) -> Decision:
    """Withdraw an item, as its owner, and tell all partitions. One that is not there stays so."""
    known = _version(book, event.item_id)
    if known is not None and not known.withdrawn:
        _keep(book, event.item_id, replace(known, withdrawn=True))
    return Decision(Outcome.ITEM_WITHDRAWN)


def item_told(book: Book, message: Message, source: Source) -> Decision:
    """Note what the owner of an item told. Its messages come in the order it sent them."""
    key = item_key(message.body["item_id"])
    told: list[Any] | None = message.body["item"]
    if told is None:
        book.state.delete(key)
    else:
        book.state.put(key, encode_list(told))
    return Decision(Outcome.ITEM_TOLD)


def _keep(book: Book, item_id: str, version: _Version) -> None:
    one = version.item
    told = [
        one.price_points,
        one.stock,
        one.limit_per_member,
        one.limit_per_tier,
        one.valid_from_ms,
        one.valid_until_ms,
    ]
    value = [version.event_id, version.digest, version.occurred_ms, version.withdrawn, told]
    book.state.put(catalogue_key(item_id), encode_list(value))
    body = {"item_id": item_id, "item": None if version.withdrawn else told}
    book.tell(ITEM_TOLD, None, body)


def _version(book: Book, item_id: str) -> _Version | None:
    value = book.state.get(catalogue_key(item_id))
    if value is None:
        return None
    event_id, digest, occurred_ms, withdrawn, told = decode_list(value)
    return _Version(event_id, digest, occurred_ms, withdrawn, _item(told))


def _item(told: list[Any]) -> Item:
    try:
        return Item(*told)
    except TypeError as error:
        raise StateCorrupt(f"a stored item cannot be read: {error}") from error
