"""The command line on a real broker, up to the whole demonstration with worker processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app

pytestmark = pytest.mark.broker


@pytest.fixture
def run(bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Runs a command on the session's broker, with topics of the test's own."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("POINTSTREAM_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("POINTSTREAM_APP_ID", topic_prefix.rstrip("."))
    monkeypatch.setenv("POINTSTREAM_PARTITIONS", "3")

    def invoke(*arguments: str, given: bytes = b"") -> Result:
        return CliRunner().invoke(app, list(arguments), input=given, env={"COLUMNS": "200"})

    return invoke


def test_topics_are_created_checked_and_not_altered(run, topic_prefix: str) -> None:  # type: ignore[no-untyped-def]
    """Missing, then created, then there; other partitions are a difference that is told."""
    missing = run("topics", "check", "--json")
    created = run("topics", "create", "--json")
    again = run("topics", "create", "--json")
    fine = run("topics", "check", "--json")
    other = run("topics", "check", "--partitions", "5")
    refused = run("topics", "create", "--partitions", "5")

    assert missing.exit_code == 1
    count = json.loads(missing.stdout)["topics"]
    assert len(json.loads(missing.stdout)["differences"]) == count
    assert len(json.loads(created.stdout)["created"]) == count
    assert json.loads(again.stdout) == {"created": [], "there_before": count}
    assert (fine.exit_code, json.loads(fine.stdout)["differences"]) == (0, [])
    assert other.exit_code == refused.exit_code == 1
    assert f"{topic_prefix}orders: partitions is 3, must be 5" in other.output


def test_publishing_goes_on_past_bad_rows(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Good rows are sent, bad ones told with line and reason, and the exit code is 1."""
    assert run("topics", "create").exit_code == 0
    good = tmp_path / "good.jsonl"
    assert run("generate", "-n", "200", "--out", str(good)).exit_code == 0
    lines = good.read_bytes().splitlines()
    mixed = b"\n".join([*lines[:100], b"{", b'{"type": "order.paid"}', *lines[100:]])

    result = run("publish", "-", "--json", given=mixed)
    clean = run("publish", str(good), "--json")

    summary = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (summary["published"], summary["bad"]) == (200, 2)
    assert [(row["line"], row["code"]) for row in summary["bad_rows"]] == [
        (101, "not_json"),
        (102, "key_missing"),
    ]
    assert "line 101: not_json" in result.stderr
    assert clean.exit_code == 0
    assert sum(json.loads(clean.stdout)["by_topic"].values()) == 200
    seen = run("watch", "--once", "--json", "--interval", "0.2")
    assert json.loads(seen.stdout)["lag"] == 400


def test_a_csv_is_published_by_its_mapping(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Amounts in major units become minor units; a row that can't is told."""
    assert run("topics", "create").exit_code == 0
    table = tmp_path / "orders.csv"
    table.write_text(
        "event_id,member_id,occurred_at,OrderNo,Amount\n"
        "e-1,M-1,2026-03-01T10:00:00+08:00,O-1,12.50\n"
        "e-2,M-1,2026-03-01T10:00:00+08:00,O-2,12.505\n"
    )
    mapping = ["order_id=OrderNo", "paid_minor=Amount*100", "currency:=CNY"]
    options = [word for each in mapping for word in ("--map", each)]

    result = run("publish", str(table), "--type", "order.paid", *options, "--json")

    assert result.exit_code == 1
    summary = json.loads(result.stdout)
    assert summary["by_topic"] == {"orders": 1}
    assert [row["line"] for row in summary["bad_rows"]] == [3]


def test_missing_topics_are_told_with_the_remedy(run) -> None:  # type: ignore[no-untyped-def]
    """Nothing is created by the way."""
    for command in (
        ["balance", "M-1"],
        ["balance", "M-1", "--at", "2026-03-31"],
        ["explain", "M-1"],
        ["forecast"],
        ["generate", "-n", "1", "--publish"],
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert "topics create" in " ".join(result.output.split())
    assert len(json.loads(run("topics", "check", "--json").stdout)["differences"]) > 10


def test_a_member_without_account_ends_with_1(run) -> None:  # type: ignore[no-untyped-def]
    """For each way of asking; a forecast of nothing is empty."""
    assert run("topics", "create").exit_code == 0

    assert run("balance", "M-1").exit_code == 1
    assert run("explain", "M-1").exit_code == 1
    assert run("balance", "M-1", "--at", "2026-03-31").exit_code == 1
    nothing = run("forecast", "--json")
    assert nothing.exit_code == 0
    assert json.loads(nothing.stdout)["accounts"] == 0


@pytest.mark.timeout(240)
def test_the_demonstration_holds(
    bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two workers, generated events with redeliveries and bad records, and the proof: exit 0.

    Afterwards the same topics answer for a member, in numbers and in words.
    """
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("POINTSTREAM_PARTITIONS", "4")
    runner = CliRunner()

    result = runner.invoke(app, ["demo", "-n", "3000", "--json", "--run-dir", str(tmp_path)])

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["holds"]
    assert all(check["holds"] for check in said["checks"])
    assert said["lag"] == 0
    assert said["workers_busy"] == 2
    assert said["redelivered"] > 0
    assert (
        sum(letter["count"] for letter in said["dead_letters"].values()) == said["bad_on_purpose"]
    )
    assert said["entries_out"] > 2000

    best = said["top_balances"][0]
    monkeypatch.setenv("POINTSTREAM_TOPIC_PREFIX", said["topic_prefix"])
    balance = runner.invoke(app, ["balance", best["member_id"], "--json"])
    assert json.loads(balance.stdout)["available"] == best["available"]
    explained = runner.invoke(app, ["explain", best["member_id"], "--json"])
    trail = json.loads(explained.stdout)["shown"]
    assert trail[-1]["available_after"] == best["available"]
    awards = [each["words"] for each in trail if each["cause_type"] == "order.paid"]
    assert any(" CNY at store S-" in words and "rule " in words for words in awards)
    told = runner.invoke(app, ["explain", best["member_id"], "-n", "3"])
    assert told.exit_code == 0
    assert f"= {best['available']}" in told.stdout


def test_a_catalogue_is_published_listed_and_withdrawn(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Of each item the latest version is listed; what is not there is not withdrawn."""
    assert run("topics", "create").exit_code == 0
    file = tmp_path / "items.yaml"
    file.write_text("items:\n- {item_id: mug, price_points: 250, stock: 4}\n")
    dry = run("catalogue", "publish", str(file), "--dry-run", "--json")
    assert (dry.exit_code, json.loads(dry.stdout)["published"]) == (0, 0)
    assert json.loads(run("catalogue", "list", "--json").stdout) == {"items": []}

    assert run("catalogue", "publish", str(file)).exit_code == 0
    file.write_text(
        "items:\n- {item_id: mug, price_points: 300}\n- {item_id: tote, price_points: 9}\n"
    )
    assert json.loads(run("catalogue", "publish", str(file), "--json").stdout)["published"] == 2
    listed = json.loads(run("catalogue", "list", "--json").stdout)["items"]
    assert [(item["item_id"], item["price_points"]) for item in listed] == [
        ("mug", 300),
        ("tote", 9),
    ]
    assert "tote" in run("catalogue", "list").stdout

    assert run("catalogue", "withdraw", "mug", "hat").exit_code == 1
    assert run("catalogue", "withdraw", "mug").exit_code == 0
    listed = json.loads(run("catalogue", "list", "--json").stdout)["items"]
    assert [item["item_id"] for item in listed] == ["tote"]
