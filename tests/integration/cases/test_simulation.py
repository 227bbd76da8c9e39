"""What a rule set would have done, on what real workers have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app
from pointstream.contracts.topics import topic_specs
from pointstream.contracts.wire import rfc3339
from pointstream.operations.placement import partition_of

from .conftest import Deploy
from .deployment import ONE_PER_UNIT, Deployment, by_member, now_ms

pytestmark = pytest.mark.broker


def simulate(club: Deployment, file: Path, *arguments: str) -> Result:
    """`rules simulate` on the deployment's topics, with its programme."""
    return run(club, "rules", "simulate", str(file), *arguments)


def run(club: Deployment, *words: str) -> Result:
    """A command on the deployment's topics, with its programme."""
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": club.servers,
        "POINTSTREAM_TOPIC_PREFIX": club.prefix,
        "POINTSTREAM_PARTITIONS": str(club.partitions),
        "POINTSTREAM_PROGRAMME_FILE": str(club.directory / "programme.yaml"),
        "COLUMNS": "200",
    }
    return CliRunner().invoke(app, [*words], env=env)


def written(club: Deployment) -> dict[str, int]:
    """How many records each topic has."""
    return {spec.suffix: len(club.records(spec.suffix)) for spec in topic_specs()}


def test_a_simulation_tells_the_difference_and_leaves_production_alone(
    deploy: Deploy, tmp_path: Path
) -> None:
    """Orders, a refund and transfers over two partitions by two workers: their own rules change
    nothing, others just what they pay more, and no topic grows by it."""
    one, two = ("m1", next(f"m{n}" for n in range(9) if partition_of(b"m%d" % n, 2) != _home("m1")))
    club = deploy(workers=2, partitions=2)
    club.order("o1", 100, member=one)
    club.order("o2", 30, member=two)
    club.settle()
    between_ms = now_ms()
    club.order("o3", 50, member=one, store_id="S-1")
    club.order("late", 7, member=two, occurred_ms=between_ms - 60_000)
    club.settle()
    club.refund("o3", "r1", 20, member=one)
    club.give("points.transfer", one, to_member_id=two, points=40, actor=by_member(one))
    club.give("points.transfer", one, to_member_id=two, points=110, actor=by_member(one))
    club.settle()
    end = ["--to", rfc3339(now_ms() + 1)]
    for worker in club.workers:
        worker.kill()
    before = written(club)
    since = ["--from", rfc3339(between_ms), *end]
    same, other = tmp_path / "same.yaml", tmp_path / "double.yaml"
    same.write_text(json.dumps(ONE_PER_UNIT))
    rules = [{**rule, "points": 2} for rule in ONE_PER_UNIT["rules"]]
    other.write_text(json.dumps({**ONE_PER_UNIT, "version": 2, "rules": rules}))

    nothing = simulate(club, same, *since, "--json")
    double = simulate(club, other, *since, "--json")
    table = simulate(club, other, *since, "--member", one)
    watch = tmp_path / "watch.yaml"
    detector = {"id": "any", "kind": "velocity", "types": ["order.paid"], "limit": 0}
    detector |= {"within": "PT1H", "action": "hold"}
    watch.write_text(json.dumps({"id": "watch", "version": 1, "detectors": [detector]}))
    flagged = run(club, "fraud", "backtest", str(watch), *since, "--json")
    cold = run(club, "fraud", "backtest", str(watch), *since, "--cold", "--json")
    drawn = tmp_path / "watch.html"
    flags = run(club, "fraud", "backtest", str(watch), *since, "--html", str(drawn))

    assert nothing.exit_code == double.exit_code == table.exit_code == 0, nothing.output
    told: dict[str, Any] = json.loads(nothing.stdout)
    assert told["baseline"]["identical"]
    assert told["baseline"]["entries_equal"] == before["balance-changes"]
    assert told["replayed"]["inputs"] == 7
    assert [line for line in told["figures"] if line["difference"]] == []
    assert told["members"]["top"] == []

    told = json.loads(double.stdout)
    figures = {line["name"]: (line["was"], line["would_be"]) for line in told["figures"]}
    assert told["sound"]
    assert figures["points awarded"] == (50 + 7, 100 + 7)
    assert figures["points taken back by refunds"] == (20, 40)
    assert figures["commands accepted"] == (1, 2)
    assert told["outstanding"] == [
        {"name": "points", "was": 167, "would_be": 197, "difference": 30}
    ]
    # 160 less both transfers, and what came by them: the second was rejected really.
    assert {line["name"]: (line["was"], line["would_be"]) for line in told["members"]["top"]} == {
        one: (90, 10),
        two: (77, 187),
    }
    assert "byte for byte" in table.stdout
    assert json.loads(flagged.stdout)["windows_counted_from"] < rfc3339(between_ms)
    assert "Windows were counted from" in flags.stdout
    assert "What watch version 1 would have flagged" in drawn.read_text()
    assert "by spend" in table.stdout or "earned by" in table.stdout
    assert written(club) == before

    assert flagged.exit_code == flags.exit_code == 0, flagged.output
    told = json.loads(flagged.stdout)
    assert told["sound"]
    assert told["flags"] == {"was": 0, "would_be": 1, "both": 0, "new": 1, "gone": 0}
    # The order before the span is within the hour: it is evidence, too, unless nobody counts it.
    assert told["points_held"] == {"was": 0, "would_be": 150}
    assert json.loads(cold.stdout)["points_held"] == {"was": 0, "would_be": 50}
    assert [each["entity_id"] for each in told["new"]] == [one]
    assert "new: only the candidate flags" in flags.stdout
    assert told["new"][0]["explanation"][:20] in flags.stdout


def _home(member: str) -> int:
    return partition_of(member.encode(), 2)
