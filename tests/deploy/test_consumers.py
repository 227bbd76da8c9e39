"""The reference consumers: gaps, doubles, restarts, and what later versions may bring."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from consumers import load, path_of

balances = load("balances")
standings = load("standings")
TOPIC = "points.balance-changes"


def _entry(seq: int, delta: int, after: int, **fields: Any) -> bytes:
    entry = {"member_id": "m", "seq": seq, "wallet": "points", "delta": delta}
    return json.dumps({**entry, "available_after": after, **fields}).encode()


class Ledger:
    """A reader of entries, over a file: opened anew, it is one that was restarted."""

    def __init__(self, file: Path) -> None:
        self.connection = sqlite3.connect(file, isolation_level=None)
        self.reader = balances.Balances(self.connection)

    def take(self, *records: tuple[int, bytes]) -> None:
        self.reader.take(TOPIC, 0, records)

    def has(self) -> list[tuple[Any, ...]]:
        query = "SELECT wallet, available FROM balances ORDER BY wallet, member_id"
        return self.connection.execute(query).fetchall()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "balances.db")


def test_entries_come_to_the_balances_of_each_wallet(ledger: Ledger) -> None:
    """Seq runs over all wallets; what nobody knows of a later version is borne."""
    ledger.take(
        (0, _entry(1, 10, 10)),
        (2, _entry(2, 5, 5, wallet="growth", type="points.gilded", grade={"carat": 18})),
        (7, _entry(3, -4, 6)),
    )

    assert ledger.has() == [("growth", 5), ("points", 6)]
    assert ledger.reader.position(TOPIC, 0) == 8


def test_what_comes_again_is_not_counted_again(ledger: Ledger) -> None:
    """Neither the same record, nor the same entry in another place of the topic."""
    ledger.take((0, _entry(1, 10, 10)), (1, _entry(2, 5, 15)))
    ledger.take((0, _entry(1, 10, 10)), (1, _entry(2, 5, 15)), (2, _entry(2, 5, 15)))
    ledger.take((0, _entry(1, 10, 10)))

    assert ledger.has() == [("points", 15)]
    assert ledger.reader.position(TOPIC, 0) == 3


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(_entry(3, 1, 11), id="a gap"),
        pytest.param(_entry(2, 1, 99), id="another balance"),
        pytest.param(b'{"member_id": "m"}', id="fields that it needs are missing"),
    ],
)
def test_it_stops_at_what_cannot_be_right_and_writes_nothing_of_the_batch(
    ledger: Ledger, tmp_path: Path, bad: bytes
) -> None:
    """Also after a restart, until what is missing has come."""
    ledger.take((0, _entry(1, 10, 10)))
    other = json.loads(_entry(1, 7, 7)) | {"member_id": "other"}
    batch = [(1, json.dumps(other).encode()), (2, bad)]

    for reader in (ledger, Ledger(tmp_path / "balances.db")):
        with pytest.raises((balances.ReadingError, KeyError)):
            reader.take(*batch)
        assert reader.has() == [("points", 10)]
        assert reader.reader.position(TOPIC, 0) == 1

    ledger.take(batch[0], (2, _entry(2, -1, 9)), (3, _entry(3, 1, 10)))
    assert ledger.has() == [("points", 10), ("points", 7)]


def test_two_readers_of_one_database_count_each_entry_once(ledger: Ledger, tmp_path: Path) -> None:
    """Whoever is first counts it; the other passes over it."""
    second = Ledger(tmp_path / "balances.db")
    ledger.take((0, _entry(1, 10, 10)), (1, _entry(2, 5, 15)))
    second.take((0, _entry(1, 10, 10)), (1, _entry(2, 5, 15)), (2, _entry(3, 1, 16)))
    ledger.take((2, _entry(3, 1, 16)))

    assert ledger.has() == [("points", 16)]


def test_a_member_is_named_by_no_error(ledger: Ledger) -> None:
    """Errors go to logs, where personal data have no place: the record's address finds it."""
    with pytest.raises(balances.ReadingError, match=f"1 to 6 .* {TOPIC}/0/4") as error:
        ledger.take((4, _entry(7, 1, 1, member_id="m-1001")))
    assert "m-1001" not in str(error.value)


def test_standings_are_the_latest_and_tombstones_take_them_away(tmp_path: Path) -> None:
    """Whatever the seq, which stays the same when a profile changed; unknown fields are kept."""
    connection = sqlite3.connect(tmp_path / "standings.db", isolation_level=None)
    reader = standings.Standings(connection)

    def standing(member: str, seq: int, **fields: Any) -> bytes:
        return json.dumps({"member_id": member, "seq": seq, "available": seq, **fields}).encode()

    reader.take(
        "points.crm-sync",
        0,
        [
            (0, b"a", standing("a", 5, tier="gold")),
            (3, b"b", standing("b", 1, tier=None)),
            (4, b"a", standing("a", 5, grade=3)),
            (6, b"b", None),
            (7, b"nobody", None),
            (0, b"a", standing("a", 1)),
        ],
    )

    rows = connection.execute("SELECT member_id, seq, available, tier, body FROM standings")
    assert rows.fetchall() == [("a", 5, 5, None, standing("a", 5, grade=3).decode())]
    assert standings.Standings(connection).position("points.crm-sync", 0) == 8


@pytest.mark.parametrize("name", ["balances", "standings"])
def test_they_are_small_and_lean_on_nothing_of_ours(name: str) -> None:
    """To be copied: 120 lines at most, and aiokafka is all that is needed."""
    text = path_of(name).read_text()
    assert len(text.splitlines()) <= 120
    assert "import pointstream" not in text
    assert "from pointstream" not in text
