"""What the proof says about merged and erased members, and about movements of several entries."""

from __future__ import annotations

from typing import Any

import pytest

from pointstream.ledger.codec import encode_list, encode_sums
from pointstream.ledger.records import Account, ErasedSums, Totals
from pointstream.ledger.state import ERASED_SUMS_KEY, erased_key
from pointstream.operations.books import EntryBooks, StateBooks, compare
from pointstream.operations.merges import Merges


def entry(kind: str, member_id: str, amount: int, other: str, cause: str = "c") -> dict[str, Any]:
    return {
        "type": f"points.{kind}",
        "member_id": member_id,
        "amount": amount,
        "counterparty_id": other,
        "cause_event_id": cause,
    }


OUT = entry("merged_out", "old", 100, "new")
IN = [entry("merged_in", "new", 60, "old"), entry("merged_in", "new", 40, "old")]
OWED = entry("merged_in", "old", 30, "new")
OWING = entry("merged_out", "new", 30, "old")


def merged_account(**fields: Any) -> dict[str, Account]:
    return {"old": Account("old", b"old", merged_into="new", **fields)}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_left_has_come_whichever_partition_is_read_first(order: tuple[int, int]) -> None:
    """In several entries, and with a debt that goes the other way."""
    partitions = [[OUT, OWED], [IN[0], OWING, IN[1]]]
    merges = Merges()
    for number in order:
        merges.add(partitions[number], merged_account() if number == 0 else {})
    assert not merges.wanted
    assert merges.breaches() == []


def test_what_has_not_come_is_under_way_as_long_as_the_merged_account_says_so() -> None:
    """Then nothing is missing; once the account says that all is there, something is."""
    for accounts, breaches in (
        (merged_account(merging_into="new"), 0),
        (merged_account(), 1),
    ):
        merges = Merges()
        merges.add([OUT, IN[0]], accounts)
        assert merges.under_way == 40
        assert len(merges.breaches()) == breaches
        merges.late(entry("merged_in", "other", 5, "old"))
        merges.late(IN[1])
        assert merges.breaches() == []


def test_points_that_never_left_are_a_breach() -> None:
    """They came of nothing."""
    merges = Merges()
    merges.add([OUT, *IN, entry("merged_in", "new", 1, "old")], merged_account())
    (breach,) = merges.breaches()
    assert breach.check == "merges"


def change(seq: int, kind: str, amount: int, delta: int, available: int) -> dict[str, Any]:
    return {
        "member_id": "m",
        "wallet": "points",
        "type": f"points.{kind}",
        "seq": seq,
        "amount": amount,
        "delta": delta,
        "available_after": available,
        "pending_after": 0,
        "held_after": 0,
        "debt_after": 0,
    }


def erased_books(cleared: int, *, marked: bool = True, last: int = 0) -> list[str]:
    """The breaches found in books where a member earned 100 and was erased."""
    books, state = EntryBooks(), StateBooks()
    books.add(change(1, "earned", 100, 100, 100))
    books.add(change(2, "cleared", 100 - last, last - 100, last))
    sums = ErasedSums(1, {"points": Totals(earned=100, cleared=cleared)})
    state.put(ERASED_SUMS_KEY, encode_sums(sums))
    if marked:
        state.put(erased_key(b"m"), encode_list([]))
    return [breach.check for breach in compare(books, state, {}, {})]


def test_an_erased_members_entries_are_in_the_sums_of_the_erased() -> None:
    """Cleared to nothing, counted in full; whoever has no account and no mark was lost."""
    assert erased_books(100) == []
    assert erased_books(90) == ["sums"]
    assert erased_books(99, last=1) == ["sums"]
    assert "sums" in erased_books(100, marked=False)


@pytest.mark.parametrize(("amounts", "breaches"), [((60, 40), 0), ((60, 39), 1), ((60,), 1)])
def test_a_movement_of_several_entries_shows_the_balance_after_the_last(
    amounts: tuple[int, ...], breaches: int
) -> None:
    """Each is right only together with those that follow."""
    books = EntryBooks()
    books.add(change(1, "earned", 100, 100, 100))
    for seq, amount in enumerate(amounts, start=2):
        books.add(change(seq, "expired", amount, -amount, 0))
    books.add(change(9, "earned", 5, 5, 5) | {"wallet": "other"})
    found = [b for b in [*books.breaches, *books.doubts()] if b.check == "sums"]
    assert len(found) == breaches
