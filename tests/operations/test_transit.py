"""What is on its way between members: the books of all partitions agree, or a transfer is named."""

from __future__ import annotations

from typing import Any

import pytest

from pointstream.ledger.codec import encode_transfer
from pointstream.ledger.records import Account, Lot, Transfer
from pointstream.ledger.state import account_key, transfer_key
from pointstream.operations.books import Breach
from pointstream.operations.transit import PartitionTransfers, Transit


def _entry(kind: str, member_id: str, points: int, transfer_id: str | None = "t") -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": f"points.{kind}",
        "member_id": member_id,
        "amount": points,
    }
    return entry if transfer_id is None else entry | {"transfer_id": transfer_id}


LEFT = _entry("transferred_out", "m1", 30)
ARRIVED = _entry("transferred_in", "m2", 30)
BACK = _entry("transferred_in", "m1", 30)


def _partition(*entries: dict[str, Any], held: int | None = None) -> PartitionTransfers:
    """A partition with these entries; its state may hold m1's transfer."""
    partition = PartitionTransfers()
    partition.put(account_key(b"m1"), b"whatever")
    if held is not None:
        lot = Lot("points", "l", 1, 9, 1, held, None, None, None)
        transfer = Transfer("m2", "c", 1, None, None, None, held, 0, [lot], [])
        partition.put(transfer_key(b"m1", "t"), encode_transfer(transfer))
    partition.add(_entry("earned", "m1", 100, None))
    for entry in entries:
        partition.add(entry)
    return partition


def _transit(*partitions: PartitionTransfers) -> Transit:
    transit = Transit()
    for partition in partitions:
        transit.add(partition)
    return transit


def _named(breaches: list[Breach]) -> list[str]:
    assert all(breach.check == "transfers" for breach in breaches)
    return [breach.member_id for breach in breaches]


@pytest.mark.parametrize(
    "partitions",
    [
        [_partition(LEFT), _partition(ARRIVED)],
        [_partition(ARRIVED), _partition(LEFT)],
        [_partition(LEFT, ARRIVED)],
        [_partition(LEFT, BACK)],
        # It has arrived, and the sender is yet to hear of it.
        [_partition(LEFT, held=30), _partition(ARRIVED)],
    ],
)
def test_what_arrived_or_came_back_is_done(partitions: list[PartitionTransfers]) -> None:
    """In whatever order the partitions are read."""
    transit = _transit(*partitions)

    assert not transit.wanted
    assert transit.breaches() == []
    assert (transit.transfers, transit.under_way) == (1, {})


def test_what_left_and_is_held_is_under_way() -> None:
    """The state says so, and the entries do."""
    transit = _transit(_partition(LEFT, held=30), _partition())

    assert not transit.wanted
    assert transit.breaches() == []
    assert transit.under_way == {"t": 30}


@pytest.mark.parametrize(
    ("partitions", "members"),
    [
        ([_partition(LEFT)], ["m1"]),
        ([_partition(ARRIVED)], ["m2"]),
        ([_partition(LEFT), _partition(ARRIVED), _partition(ARRIVED)], ["m2"]),
        ([_partition(LEFT, BACK), _partition(ARRIVED)], ["m2"]),
        ([_partition(LEFT), _partition(_entry("transferred_in", "m2", 29))], ["m1", "m2"]),
    ],
)
def test_points_that_were_lost_or_made_are_found(
    partitions: list[PartitionTransfers], members: list[str]
) -> None:
    """They left and are nowhere, or arrived twice, or as others than they left."""
    transit = _transit(*partitions)

    assert transit.wanted
    assert _named(transit.breaches()) == members


@pytest.mark.parametrize(
    ("read", "late"),
    [(_partition(LEFT), ARRIVED), (_partition(ARRIVED), LEFT)],
)
def test_what_was_written_while_reading_is_looked_up(
    read: PartitionTransfers, late: dict[str, Any]
) -> None:
    """The other side was not there yet when its partition was read; later ones do not disturb."""
    transit = _transit(read)
    assert transit.wanted

    transit.late(_entry("transferred_out", "m1", 7, "later"))
    transit.late(_entry("transferred_in", "m2", 7, "later"))
    transit.late(_entry("redeemed", "m1", 7, None))
    transit.late(late)

    assert not transit.wanted
    assert transit.breaches() == []


@pytest.mark.parametrize(
    ("partition", "transfers", "right"),
    [
        (_partition(LEFT, held=30), 1, True),
        (_partition(LEFT), 0, True),
        (_partition(LEFT, held=29), 1, False),
        (_partition(held=30), 1, False),
        (_partition(LEFT, held=30), 0, False),
        (_partition(LEFT), 1, False),
    ],
)
def test_partition_holds_what_left_and_no_more(
    partition: PartitionTransfers, transfers: int, right: bool
) -> None:
    """The records in the state are those of the entries, and as many as the account says."""
    account = Account("m1", b"m1", transfers=transfers)

    found = partition.breaches({"m1": account})

    assert _named(found) == ([] if right else ["m1"] * len(found))
    assert bool(found) is not right


def test_settled_transfer_is_held_no_more() -> None:
    """A compacted log has the older values too."""
    partition = _partition(LEFT, held=30)
    partition.put(transfer_key(b"m1", "t"), None)

    assert partition.unsettled == {}
