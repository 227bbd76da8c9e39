"""The second bookkeeping behind the proof: silent for right books, and it finds each wrong."""

from __future__ import annotations

from typing import Any

import pytest

from pointstream.ledger.codec import encode_account, encode_list
from pointstream.ledger.records import Account, Totals
from pointstream.ledger.state import account_key, held_key, lot_key, pending_key
from pointstream.operations.books import EntryBooks, StateBooks, compare

_MEMBER = "M-1"


def _entry(seq: int, kind: str, amount: int, delta: int, **after: int) -> dict[str, Any]:
    return {
        "member_id": _MEMBER,
        "wallet": "points",
        "type": f"points.{kind}",
        "seq": seq,
        "amount": amount,
        "delta": delta,
        "available_after": 0,
        "pending_after": 0,
        "held_after": 0,
        "debt_after": 0,
        **after,
    }


def _right_entries() -> list[dict[str, Any]]:
    return [
        _entry(1, "earned", 100, 100, available_after=100),
        _entry(2, "pending", 30, 0, available_after=100, pending_after=30),
        _entry(3, "redeemed", 40, -40, available_after=60, pending_after=30),
    ]


def _right_totals() -> Totals:
    return Totals(available=60, pending=30, earned=130, redeemed=40)


def _breaches(
    entries: list[dict[str, Any]],
    totals: Totals,
    *,
    seq: int = 3,
    available_lot: int = 60,
    crm: dict[str, Any] | None = None,
    mall: dict[str, Any] | None = None,
) -> set[str]:
    books = EntryBooks()
    for entry in entries:
        books.add(entry)
    member = _MEMBER.encode()
    account = Account(_MEMBER, member, seq=seq, wallets={"points": totals})
    state = StateBooks()
    # As a compacted log has it: older values, and keys that are gone again, come along.
    state.put(lot_key(member, "points", 5, 1, "gone"), encode_list([77, None, None, None]))
    state.put(account_key(member), encode_account(Account(_MEMBER, member)))
    state.put(account_key(member), encode_account(account))
    state.put(
        lot_key(member, "points", 9, 1, "lot"), encode_list([available_lot, None, None, None])
    )
    state.put(pending_key(member, "points", 5, 9, 1, "later"), encode_list([30, None, None, None]))
    state.put(lot_key(member, "points", 5, 1, "gone"), None)
    standing = {"seq": 3, "available": 60, "held": 0, "pending": 30, "debt": 0}
    found = compare(
        books,
        state,
        {_MEMBER: standing if crm is None else crm},
        {_MEMBER: standing if mall is None else mall},
    )
    assert all(breach.member_id == _MEMBER for breach in found)
    return {breach.check for breach in found}


def test_right_books_have_no_breach() -> None:
    """Entries, account, lots and what others were told agree."""
    assert _breaches(_right_entries(), _right_totals()) == set()


@pytest.mark.parametrize("place", [0, 1])
def test_a_lost_entry_is_found(place: int) -> None:
    """Left out of the sequence, its number is missing and the sums are off."""
    entries = _right_entries()
    del entries[place]

    assert {"seq"} <= _breaches(entries, _right_totals())


def test_a_doubled_entry_is_found() -> None:
    """The same entry twice shows by its number."""
    entries = _right_entries()
    entries.insert(1, entries[0])

    assert {"seq", "sums"} <= _breaches(entries, _right_totals())


def test_a_lost_last_entry_is_found() -> None:
    """The table knows a later number than the entries end with."""
    assert {"seq", "sums"} <= _breaches(_right_entries()[:-1], _right_totals())


def test_a_wrong_sum_is_found() -> None:
    """An entry whose balance isn't that of its changes."""
    entries = _right_entries()
    entries[2]["delta"] = -39

    assert "sums" in _breaches(entries, _right_totals())


def test_a_flow_that_the_entries_do_not_show_is_found() -> None:
    """The same balance, come about in another way than told."""
    totals = Totals(available=60, pending=30, earned=130, expired=40)

    assert _breaches(_right_entries(), totals) == {"sums"}


def test_points_from_nowhere_are_found() -> None:
    """What came in is not what is there plus what went."""
    totals = _right_totals()
    totals.earned += 1

    assert "conservation" in _breaches(_right_entries(), totals)


def test_lots_that_do_not_add_up_are_found() -> None:
    """The account says more than its lots hold."""
    assert _breaches(_right_entries(), _right_totals(), available_lot=59) == {"lots"}


@pytest.mark.parametrize("topic", ["crm", "mall"])
def test_a_stale_standing_is_found(topic: str) -> None:
    """The CRM or the mall was told an older balance."""
    stale = {"seq": 2, "available": 100, "held": 0, "pending": 30, "debt": 0}

    found = (
        _breaches(_right_entries(), _right_totals(), crm=stale)
        if topic == "crm"
        else _breaches(_right_entries(), _right_totals(), mall=stale)
    )
    assert found == {f"{topic}-sync"}


def test_entries_of_a_member_without_account_are_found() -> None:
    """Somebody was told of points that no table has."""
    books = EntryBooks()
    books.add(_right_entries()[0])

    found = compare(books, StateBooks(), {}, {})

    assert [breach.check for breach in found] == ["sums"]


def test_adjustments_count_by_their_sign() -> None:
    """Up and down are two flows, told apart by the change."""
    entries = [
        _entry(1, "adjusted", 70, 70, available_after=70),
        _entry(2, "adjusted", 10, -10, available_after=60),
        _entry(3, "pending", 30, 0, available_after=60, pending_after=30),
    ]
    totals = Totals(available=60, pending=30, earned=30, adjusted_up=70, adjusted_down=10)

    assert _breaches(entries, totals) == set()


@pytest.mark.parametrize(("in_lots", "found"), [(25, set()), (24, {"lots"})])
def test_held_lots_must_have_what_the_account_holds(in_lots: int, found: set[str]) -> None:
    """Reserved points stand in lots of their hold, and are counted there."""
    member = _MEMBER.encode()
    totals = Totals(held=25, earned=25)
    books, state = EntryBooks(), StateBooks()
    books.add(_entry(1, "earned", 25, 25, available_after=25))
    books.add(_entry(2, "held", 25, -25, held_after=25))
    account = Account(_MEMBER, member, seq=2, wallets={"points": totals})
    state.put(account_key(member), encode_account(account))
    # Times in keys hold any byte, also the one that separates ids.
    state.put(held_key(member, "points", "h", 0, 1, "a"), encode_list([20, None, None, None]))
    state.put(
        held_key(member, "points", "h", 9, 1, "b"), encode_list([in_lots - 20, None, None, None])
    )
    standing = {"seq": 2, "available": 0, "held": 25, "pending": 0, "debt": 0}

    breaches = compare(books, state, {_MEMBER: standing}, {_MEMBER: standing})

    assert {breach.check for breach in breaches} == found
