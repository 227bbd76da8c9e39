"""The tables of the PostgreSQL sink: current, with a column for every field that is promised."""

import json
from pathlib import Path

import pytest

from pointstream.contracts import outputs
from pointstream.contracts.sink_tables import main, tables

CONNECT = Path(__file__).parents[2] / "deploy" / "connect"


def test_the_tables_are_current() -> None:
    """What is checked in is what the models say (`make schemas` writes it)."""
    assert main([str(CONNECT / "tables.sql"), "--check"]) == 0


def test_the_check_sees_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed file is named; writing again mends it."""
    file = tmp_path / "tables.sql"
    assert main([str(file), "--check"]) == 1
    assert main([str(file)]) == 0
    assert main([str(file), "--check"]) == 0
    file.write_text(file.read_text() + "-- by hand\n")
    assert main([str(file), "--check"]) == 1
    assert capsys.readouterr().err.count("not current") == 2
    assert main([]) == 2


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("balance_changes", outputs.BalanceChange),
        ("crm_sync", outputs.CrmSync),
        ("mall_sync", outputs.MallSync),
    ],
)
def test_every_promised_field_has_a_column(
    table: str, model: type[outputs.BalanceChange | outputs.CrmSync | outputs.MallSync]
) -> None:
    """And no column has a name that is none of the record's."""
    begin = tables().index(f"CREATE TABLE IF NOT EXISTS {table} (")
    text = tables()[begin : tables().index("COMMENT ON TABLE", begin)]
    columns = {
        line.strip().removeprefix("ADD COLUMN IF NOT EXISTS ").split()[0]
        for line in text.splitlines()
        if " GENERATED ALWAYS AS " in line or " NOT NULL" in line
    }
    assert columns - {"kafka_partition", "kafka_offset", "body"} == set(model.model_fields)


@pytest.mark.parametrize("name", ["balance-changes", "crm-sync", "mall-sync"])
def test_no_connector_reads_what_may_be_taken_back_or_drops_what_it_cannot_write(name: str) -> None:
    """Committed records only, upserts only, and a stop at the first record that does not fit."""
    config = json.loads((CONNECT / f"{name}.json").read_text())["config"]
    assert config["topics"] == f"points.{name}"
    assert config["consumer.override.isolation.level"] == "read_committed"
    assert config["insert.mode"] == "upsert"
    assert config["errors.tolerance"] == "none"
    assert "${env:" in config["connection.password"]
    assert f"CREATE TABLE IF NOT EXISTS {config['collection.name.format']} (" in tables()


def test_the_worker_and_the_broker_are_of_one_version() -> None:
    """Connect's jars are of the Kafka that everything is tested with."""
    poms = [(CONNECT.parent / part / "pom.xml").read_text() for part in ("broker", "connect")]
    of_kafka = [pom.split("<kafka.version>")[1].split("<")[0] for pom in poms]
    assert of_kafka[0] == of_kafka[1]
