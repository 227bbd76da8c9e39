"""The command line without a broker: help, usage errors, faults told in a sentence, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app
from pointstream.cli.history import last_moment_ms
from pointstream.contracts.wire import rfc3339

# Nobody listens there: the port is reserved and needs privileges.
_NOBODY = "127.0.0.1:1"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


def _said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["worker"],
        ["topics", "create"],
        ["topics", "check"],
        ["topics", "acls"],
        ["config", "show"],
        ["doctor"],
        ["config", "check"],
        ["generate"],
        ["publish"],
        ["catalogue", "publish"],
        ["catalogue", "withdraw"],
        ["catalogue", "list"],
        ["rules", "check"],
        ["rules", "diff"],
        ["rules", "new"],
        ["rules", "templates"],
        ["rules", "publish"],
        ["rules", "withdraw"],
        ["rules", "shadow"],
        ["rules", "why"],
        ["rules", "history"],
        ["rules", "list"],
        ["state", "backup"],
        ["state", "restore"],
        ["state", "verify"],
        ["state", "expand"],
        ["dlq", "list"],
        ["dlq", "show"],
        ["dlq", "replay"],
        ["resync"],
        ["review", "list"],
        ["review", "show"],
        ["review", "release"],
        ["review", "reject"],
        ["watch"],
        ["balance"],
        ["explain"],
        ["forecast"],
        ["topology"],
    ],
    ids=" ".join,
)
def test_every_command_has_help_with_examples(command: list[str]) -> None:
    """What it does, its options, and how it is typed."""
    result = _run(*command, "--help")

    assert result.exit_code == 0
    assert "Examples" in result.output
    assert f"pointstream {' '.join(command)}" in _said(result)


@pytest.mark.parametrize(
    "command",
    [
        ["watch", "--once"],
        ["balance", "M-1"],
        ["balance", "M-1", "--at", "2026-03-31"],
        ["explain", "M-1"],
        ["review", "list"],
        ["review", "release", "f", "--actor", "a", "--reason", "r"],
        ["forecast"],
        ["topics", "create"],
        ["topics", "check"],
        ["generate", "-n", "1", "--publish"],
    ],
    ids=" ".join,
)
def test_an_unreachable_broker_is_told_in_a_sentence(command: list[str]) -> None:
    """What is wrong and what to do about it; exit code 1, no traceback."""
    result = _run(*command, "-b", _NOBODY)

    assert result.exit_code == 1
    assert "no" in _said(result).lower()
    assert "broker answers" in _said(result)
    assert "KAFKA_BOOTSTRAP_SERVERS" in _said(result)
    assert "Traceback" not in result.output
    assert "Unclosed" not in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["publish", "nowhere.jsonl"], "can't read nowhere.jsonl"),
        (["rules", "why"], "name one event"),
        (["rules", "why", "e1", "--order", "o1"], "name one event"),
        (["publish", "orders.csv"], "needs --type"),
        (["publish", "-", "--map", "a=b"], "needs --type"),
        (["publish", "-", "--topic", "orders"], "--no-validate"),
        (["publish", "-", "--no-validate", "--topic", "nowhere"], "not an input topic"),
        (["publish", "-", "--type", "order.dreamt-of"], "not an input type"),
        (["publish", "-", "--type", "order.paid", "--map", "x=y"], "no field 'x'"),
        (["publish", "-", "--type", "order.paid", "--delimiter", ""], "single character"),
        (["balance", "M-1", "-b", "nonsense"], "bootstrap_servers"),
        (["balance", "M-1", "--time-zone", "Mars/Olympus"], "not a time zone"),
        (["balance", "M-1", "--at", "yesterday"], "'yesterday' is no time"),
        (["balance", "M-1", "--at", "2026-03-01T00:00:00"], "with its offset"),
        (["balance", "M-1", "--at", "2026-02-30"], "is no time"),
        (["balance", "M-1", "--at", "1969-01-01"], "is no time"),
        (["forecast", "--until", "soon"], "'soon' is no date"),
        (["forecast", "--until", "9999-12-31"], "is no date"),
        (["forecast", "--until", "2020-01-01"], "is over"),
        (["forecast", "--until", "2099-01-01", "--months", "2"], "exclude each other"),
        (["forecast", "--months", "0"], "--months"),
        (["review", "list", "--state", "open"], "it is one of raised, released, confirmed, all"),
        (["review", "list", "--older-than", "a while"], "write days (7d) or ISO 8601"),
        (["review", "list", "--older-than", "-7d"], "more than nothing"),
        (["review", "release", "f", "--reason", "r"], "--actor"),
        (["review", "reject", "f", "--actor", "a", "--reason", ""], "1 to 500 characters"),
        (
            ["review", "reject", "f", "--actor", "a", "--reason", "r", "--role", "store"],
            "needs --store",
        ),
        (
            ["review", "reject", "f", "--actor", "a", "--reason", "r", "--role", "member"],
            "members review nothing",
        ),
        (["dlq", "list", "--topic", "crm-sync"], "--topic crm-sync: it is one of orders"),
        (["dlq", "list", "--code", "dreamt_of"], "--code"),
        (["dlq", "show", "orders"], "write it like points.dead-letters/3/41"),
        (["dlq", "replay", "--yes"], "say which"),
        (["dlq", "replay", "--all"], "say --yes, or look first with --dry-run"),
        (["dlq", "replay", "3/41", "--json"], "say --yes"),
        (["resync", "--actor", "a", "--reason", "r"], "say whose"),
        (["resync", "--actor", "a", "--reason", "r", "--all", "--store", "s"], "say whose"),
        (["resync", "--actor", "a", "--reason", "", "--all"], "1 to 500 characters"),
        (["generate", "--start", "yesterday"], "RFC 3339"),
        (["generate", "--start", "2026-03-01T00:00:00"], "with an offset"),
        (
            ["generate", "--start", "2026-03-02T00:00:00Z", "--end", "2026-03-01T00:00:00Z"],
            "before the end",
        ),
        (["generate", "--publish", "--out", "x"], "exclude each other"),
        (["generate", "--json"], "--publish or --out"),
        (["generate", "--out", "/nowhere/at/all"], "can't write"),
        (["generate", "--events", "-1"], "--events"),
        (["demo", "--workers", "0"], "--workers"),
        (["topology", "--mermaid", "--json"], "exclude each other"),
        (["dance"], "dance"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says which word of the command is wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.csv").write_text("a,b\n")

    result = _run(*arguments)

    assert result.exit_code == 2, result.output
    assert says in _said(result)
    assert "Traceback" not in result.output


def test_generated_lines_are_the_same_for_the_same_options(tmp_path: Path) -> None:
    """To standard output and to a file, in two processes with different hash seeds."""
    options = ["generate", "-n", "3000", "--seed", "5", "--end", "2026-03-01T00:00:00Z"]
    digests = []
    for hash_seed in ("1", "2"):
        written = subprocess.run(
            [sys.executable, "-m", "pointstream", *options],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        digests.append(hashlib.sha256(written.stdout).hexdigest())
    out = tmp_path / "events.jsonl"
    result = _run(*options, "--out", str(out), "--json")
    digests.append(hashlib.sha256(out.read_bytes()).hexdigest())

    assert result.exit_code == 0
    assert json.loads(result.stdout)["published"] == 3000
    assert len(set(digests)) == 1


def test_by_default_nothing_generated_lies_in_the_future(tmp_path: Path) -> None:
    """The period ends before now."""
    out = tmp_path / "events.jsonl"
    assert _run("generate", "-n", "500", "--out", str(out)).exit_code == 0

    times = [json.loads(line)["occurred_at"] for line in out.read_text().splitlines()]

    assert len(times) == 500
    assert datetime.fromisoformat(max(times)) < datetime.now(UTC)


def test_a_closed_pipe_is_no_fault() -> None:
    """`pointstream generate … | head` ends quietly."""
    piped = subprocess.run(
        f"{sys.executable} -m pointstream generate -n 50000 | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert piped.returncode == 0
    assert json.loads(piped.stdout)["type"] == "member.registered"
    assert piped.stderr == ""


def test_the_topology_is_drawn_without_a_broker() -> None:
    """As text, as Mermaid and as JSON, under the configured prefix."""
    text, mermaid = _run("topology"), _run("topology", "--mermaid")
    graph = json.loads(_run("topology", "--json").stdout)

    assert "points.orders" in text.output
    assert "points.balance-changes" in text.output
    assert mermaid.output.startswith("flowchart")
    assert graph["partitions"] == 12
    assert {"topic": "points.orders", "agent": "orders"} in graph["inputs"]
    outputs = [output["topic"] for output in graph["outputs"]]
    assert "points.balance-changes" in outputs
    assert all(topic in text.output and topic in mermaid.output for topic in outputs)


def test_a_catalogue_file_with_a_mistake_is_refused_whole(tmp_path: Path) -> None:
    """Every mistake is named with its path, nothing is published, and the exit code is 2."""
    file = tmp_path / "items.yaml"
    file.write_text("items:\n- {item_id: mug, price_points: 0}\n- {item_id: tote}\n")

    result = _run("catalogue", "publish", str(file))

    assert result.exit_code == 2
    assert f"{file}:2: items[0].price_points" in _said(result)
    assert f"{file}:3: items[1].price_points" in _said(result)


def test_a_catalogue_file_is_checked_without_a_broker(tmp_path: Path) -> None:
    """A dry run tells what would be published."""
    file = tmp_path / "items.yaml"
    file.write_text("items:\n- {item_id: mug, price_points: 250, limit_per_tier: {gold: 2}}\n")

    result = _run("catalogue", "publish", str(file), "--dry-run")

    assert result.exit_code == 0
    assert "gold 2" in _said(result)


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-03-31", "Asia/Shanghai", "2026-03-31T15:59:59.999Z"),
        ("2026-03-08", "America/New_York", "2026-03-09T03:59:59.999Z"),
        ("2026-03-31T18:00:00+08:00", "UTC", "2026-03-31T10:00:00.000Z"),
        ("2026-03-31T18:00:00.5Z", "Asia/Shanghai", "2026-03-31T18:00:00.500Z"),
    ],
)
def test_a_date_means_its_last_moment_in_the_zone(text: str, zone: str, moment: str) -> None:
    """So the balance of a date is that of its close of business."""
    assert rfc3339(last_moment_ms(text, ZoneInfo(zone))) == moment
