"""What the sink makes of records that no worker of today writes, or that were taken back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pointstream.operations.broker import Broker
from programs import postgresql_bin

from .connect import DEPLOY, Connect
from .postgres import Postgres
from .wire import Wire

pytestmark = pytest.mark.broker

_GOLDEN = Path(__file__).resolve().parents[2] / "contracts" / "golden" / "outputs"


class World:
    """Topics, a sink that runs, and its database."""

    def __init__(self, wire: Wire, connect: Connect, database: Postgres) -> None:
        self.put, self.put_raw = wire.put, wire.put_raw
        self.rows, self.change, self.run = database.rows, database.change, database.run
        self.connect = connect

    def until(self, query: str, *wanted: object) -> None:
        """Wait until a query finds these values, one per row."""
        rows = [(value,) for value in wanted]
        self.connect.until(lambda: self.rows(query) == rows, f"{wanted} by {query}")


@pytest.fixture(scope="module")
def world(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests here, since it takes a while to start: each has members of its own."""
    prefix = f"sink-{uuid.uuid4().hex[:8]}."
    with Postgres(postgresql_bin()) as database:
        database.run(DEPLOY / "tables.sql", DEPLOY / "views.sql")
        wire = Wire(broker.bootstrap_servers, prefix)
        directory = tmp_path_factory.mktemp("sink") / "connect"
        with Connect(directory, broker.bootstrap_servers, prefix, database) as connect:
            connect.start()
            connect.until_running()
            yield World(wire, connect, database)


def _sample(name: str, member_id: str, **fields: Any) -> dict[str, Any]:
    with (_GOLDEN / f"{name}.jsonl").open() as lines:
        return json.loads(next(lines)) | {"member_id": member_id} | fields


def _entry(member_id: str, seq: int = 1, **fields: Any) -> dict[str, Any]:
    event_id = f"{member_id}-{seq}"
    return _sample("balance-changes", member_id, seq=seq, event_id=event_id, **fields)


def test_what_a_later_version_adds_is_kept_and_gets_a_column_with_all_its_values(
    world: World,
) -> None:
    """A field, a type and a part of a lot that nobody knows yet neither stop the sink nor go."""
    later = _entry("m-later", type="points.gilded", grade={"carat": 18})
    later["lots"] = [{**later["lots"][0], "grade": "gold"}]
    world.put("balance-changes", later)
    world.until("SELECT type FROM balance_changes WHERE member_id = 'm-later'", "points.gilded")
    assert world.rows("SELECT body FROM balance_changes WHERE member_id = 'm-later'") == [(later,)]

    world.change(
        "ALTER TABLE balance_changes ADD COLUMN grade jsonb"
        " GENERATED ALWAYS AS (body->'grade') STORED"
    )
    world.put("balance-changes", _entry("m-later", 2, grade={"carat": 24}))

    world.until(
        "SELECT grade->'carat' FROM balance_changes WHERE member_id = 'm-later' ORDER BY seq",
        18,
        24,
    )


def test_what_was_taken_back_is_not_written(world: World) -> None:
    """An entry of a transaction that was aborted leaves no row, though one after it does."""
    world.put("balance-changes", _entry("m-back", 2, amount=999), commit=False)
    world.put("balance-changes", _entry("m-back", 1, amount=1))

    world.until("SELECT amount FROM balance_changes WHERE member_id = 'm-back'", 1)


def test_an_entry_that_comes_twice_is_one_row(world: World) -> None:
    """Whatever is delivered again goes to the row that is there."""
    world.put("balance-changes", _entry("m-twice", 1), _entry("m-twice", 2))
    world.put("balance-changes", _entry("m-twice", 1), _entry("m-twice", 3))

    world.until("SELECT seq FROM balance_changes WHERE member_id = 'm-twice' ORDER BY seq", 1, 2, 3)
    assert not world.rows("SELECT * FROM missing_entries WHERE member_id = 'm-twice'")


def test_the_tables_can_be_made_again_over_what_is_there(world: World) -> None:
    """As each new version does: rows stay, and the sink goes on."""
    world.put("balance-changes", _entry("m-again", 1))
    world.until("SELECT seq FROM balance_changes WHERE member_id = 'm-again'", 1)
    world.run(DEPLOY / "tables.sql", DEPLOY / "views.sql")
    world.put("balance-changes", _entry("m-again", 2))

    world.until("SELECT seq FROM balance_changes WHERE member_id = 'm-again' ORDER BY seq", 1, 2)


def test_a_missing_entry_is_found_by_the_view(world: World) -> None:
    """A reader of the tables can tell that something is not there."""
    world.put("balance-changes", _entry("m-gap", 1), _entry("m-gap", 3))

    world.until("SELECT missing_seq FROM missing_entries WHERE member_id = 'm-gap'", 2)


def test_a_tombstone_takes_the_standing_away_until_there_is_a_new_one(world: World) -> None:
    """Also when all of it comes at once: what is later counts."""
    of_him = "SELECT {} FROM crm_sync WHERE member_id = 'm-gone'"
    world.put("crm-sync", _sample("crm-sync", "m-gone", seq=1, tier="gold"))
    world.until(of_him.format("seq"), 1)
    assert world.rows("SELECT wallet, available FROM crm_wallets WHERE member_id = 'm-gone'") == [
        ("growth", 40)
    ]

    world.put_raw("crm-sync", "m-gone", None)
    world.until(of_him.format("seq"))

    world.put("crm-sync", _sample("crm-sync", "m-gone", seq=2))
    world.put_raw("crm-sync", "m-gone", None)
    world.put("crm-sync", _sample("crm-sync", "m-gone", seq=3, tier=None))
    world.until(of_him.format("seq"), 3)
    # Nothing of the former one is left.
    assert world.rows(of_him.format("tier")) == [(None,)]


def test_a_record_that_does_not_fit_stops_its_sink_and_no_other(world: World) -> None:
    """Nothing is skipped: what is behind it waits, and the connector says why."""
    position = _sample("mall-sync", "m-first")
    world.put("mall-sync", position)
    world.until("SELECT member_id FROM mall_sync", "m-first")

    world.put_raw("mall-sync", "m-first", b"not JSON")
    world.put("mall-sync", {**position, "seq": 99})

    (name,) = (name for name in world.connect.names if name.endswith("mall-sync"))
    world.connect.until(lambda: world.connect.states()[name] == "FAILED", "the end of its task")
    assert "invalid input syntax for type json" in world.connect.trace(name)
    assert world.rows("SELECT seq FROM mall_sync") == [(position["seq"],)]
    assert sorted(world.connect.states().values()) == ["FAILED", "RUNNING", "RUNNING"]
