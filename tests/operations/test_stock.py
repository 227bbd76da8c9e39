"""What the proof says about pieces paid for, against what their owners gave away."""

from __future__ import annotations

from typing import Any

from pointstream.ledger.codec import encode_list
from pointstream.ledger.grants import GrantKind
from pointstream.ledger.state import grant_key
from pointstream.operations.stock import PartitionStock, Stock


def paid(command: str, quantity: int = 1, item: str | None = "mug", **fields: Any) -> Any:
    entry = {"type": "points.captured", "member_id": "m1", "cause_event_id": command, **fields}
    return entry if item is None else {**entry, "item_id": item, "quantity": quantity}


def partition(*entries: Any, **given_away: int) -> PartitionStock:
    stock = PartitionStock()
    for entry in entries:
        stock.add(entry)
    for item, pieces in given_away.items():
        stock.put(grant_key(GrantKind.STOCK, item), encode_list([100, pieces]))
    return stock


def breaches(*partitions: PartitionStock) -> list[str]:
    stock = Stock()
    for one in partitions:
        stock.add(one)
    return [breach.words for breach in stock.breaches()]


def test_what_is_paid_in_all_partitions_is_held_against_the_one_owner() -> None:
    """In whatever order they are read; one piece too many is told, with both numbers."""
    here, there = partition(paid("a", 2), mug=3), partition(paid("b"))
    assert breaches(here, there) == breaches(there, here) == []
    more = partition(paid("b"), paid("c"))
    told = "4 of item mug were paid for, its owner gave away 3"
    assert breaches(here, more) == breaches(more, here) == [told]


def test_what_is_given_away_and_not_paid_yet_is_under_way() -> None:
    """Or on its way back."""
    assert breaches(partition(mug=3)) == []


def test_only_redemptions_with_a_stock_count() -> None:
    """Not what an ordinary hold pays, what is paid at once, or a budget of the same name."""
    own = partition(paid("a", item=None), paid("b", type="points.redeemed"))
    own.put(grant_key(GrantKind.BUDGET, "mug"), encode_list([9, 9]))
    assert not own.paid
    assert breaches(own) == []
    assert breaches(own, partition(paid("c"))) != []


def test_a_redemption_of_several_entries_counts_once() -> None:
    """Each of them has all its pieces."""
    assert partition(paid("a", 2), paid("a", 2), paid("b", 1)).paid["mug"] == 3


def test_an_owner_is_looked_up_again_before_it_counts() -> None:
    """It was read before the pieces were given away, the others after."""
    stock = Stock()
    stock.add(partition(mug=1))
    stock.add(partition(paid("a"), paid("b")))
    assert stock.wanted
    stock.late(partition())
    assert stock.wanted
    stock.late(partition(mug=2))
    assert not stock.wanted
    assert stock.breaches() == []
