"""Rule sets that are published while two workers run, and die."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pointstream.cli.app import app
from pointstream.contracts.wire import rfc3339

from .conftest import Deploy
from .deployment import Deployment, at, now_ms

MEMBERS = [f"m{number}" for number in range(200)]
AHEAD_MS = 6_000
STEP_MS = 1_000


def rule_set(version: int, from_ms: int) -> dict[str, Any]:
    """A version that pays its own number for every 1.00."""
    rule = {"id": "hot", "kind": "spend", "points": version, "per_minor": 100}
    return {
        "id": "hot",
        "version": version,
        "effective_from": rfc3339(from_ms),
        "rules": [rule],
    }


def published(content: dict[str, Any]) -> dict[str, Any]:
    """The record that publishes a rule set."""
    return {
        "event_id": f"{content['id']}-{content['version']}",
        "type": "ruleset.published",
        "occurred_at": rfc3339(now_ms()),
        "ruleset_id": content["id"],
        "ruleset": content,
    }


def orders(first: int, count: int, around_ms: int) -> list[dict[str, Any]]:
    """Orders of 1.00 whose dates go over all versions, in no order."""
    return [
        {
            "event_id": f"e{number}",
            "type": "order.paid",
            "member_id": MEMBERS[number % len(MEMBERS)],
            "occurred_at": at(around_ms + (number * 7_919) % (6 * STEP_MS)),
            "order_id": f"o{number}",
            "currency": "CNY",
            "paid_minor": 100,
        }
        for number in range(first, first + count)
    ]


def test_versions_published_at_full_speed_lose_double_and_mix_up_nothing(deploy: Deploy) -> None:
    """Five versions and a broken one come while thousands of orders run and both workers die: each
    order is paid once, by the version in force at its own moment."""
    club = deploy(workers=2, partitions=4)
    begin_ms = now_ms() + AHEAD_MS
    given = orders(0, 4_000, begin_ms - STEP_MS)

    for version in range(1, 6):
        club.publish([published(rule_set(version, begin_ms + (version - 1) * STEP_MS))])
        # Before any version holds: these run at speed while versions come in.
        club.publish(orders(10_000 * version, 1_000, begin_ms - 20 * STEP_MS))
    broken = rule_set(6, begin_ms)
    broken["rules"][0]["wallet"] = "no-such-wallet"
    club.publish([published(broken)])
    club.workers[0].kill()
    club.publish([published(rule_set(5, begin_ms))])
    club.start()
    _applied(club, 5)
    # Told by now to all: from here on every moment has its version, whoever dies.
    club.publish(given[:1_500])
    club.workers[1].kill()
    club.publish(given[1_500:])
    club.workers[0].kill()
    club.publish(given[::9])
    club.start()
    club.settle()

    hot = [entry for entry in club.entries() if entry["rule_id"] == "hot"]
    base = Counter(entry["order_id"] for entry in club.entries() if entry["rule_id"] == "spend")
    assert base == {order["order_id"]: 1 for order in given} | {
        f"o{10_000 * version + number}": 1 for version in range(1, 6) for number in range(1_000)
    }
    versions = {order["order_id"]: _expected(order, begin_ms) for order in given}
    assert {entry["order_id"]: entry["rule_version"] for entry in hot} == {
        order_id: version for order_id, version in versions.items() if version
    }
    assert len(hot) == len({entry["order_id"] for entry in hot})
    assert all(entry["amount"] == entry["rule_version"] for entry in hot)
    assert {entry["rule_version"] for entry in hot} == {1, 2, 3, 4, 5}
    assert [(code, body["ruleset"]["version"]) for code, body in club.letters()] == [
        ("ruleset_invalid", 6),
        ("ruleset_invalid", 5),
    ]


def test_a_withdrawal_ends_a_rule_set_in_every_partition(deploy: Deploy) -> None:
    """After the tombstone's time nothing is paid by it, before it everything, also when it is
    late and all workers have died in between."""
    club = deploy(workers=2, partitions=4)
    club.publish([published(rule_set(1, now_ms() - 60_000))])
    _applied(club, 1)
    members = MEMBERS[:20]
    early_ms = now_ms()
    club.tombstone("rules", "hot")
    club.kill()
    club.start()
    club.settle()
    for member in members:
        club.order(f"{member}-late", 1, member, occurred_ms=early_ms - 1_000)
        club.order(f"{member}-now", 1, member, occurred_ms=now_ms())
    club.settle()

    hot = [entry["order_id"] for entry in club.entries() if entry["rule_id"] == "hot"]
    assert sorted(hot) == sorted(f"{member}-late" for member in members)


def test_rule_sets_from_the_command_line(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked, published and followed to every partition, told of, withdrawn; what the programme of
    the workers does not have is refused by them."""
    club = deploy(workers=2, partitions=4)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", club.servers)
    monkeypatch.setenv("POINTSTREAM_TOPIC_PREFIX", club.prefix)
    monkeypatch.setenv("POINTSTREAM_APP_ID", club.name)
    monkeypatch.setenv("POINTSTREAM_PROGRAMME_FILE", str(club.directory / "programme.yaml"))

    def run(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, ["rules", *arguments, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    file = tmp_path / "hot.json"
    file.write_text(json.dumps(rule_set(1, now_ms() - 60_000)))
    assert run("publish", str(file), "--dry-run")["dry_run"]
    (done,) = run("publish", str(file))["rule_sets"]
    assert done == {"id": "hot", "version": 1, "end": "applied", "partitions": 4}
    (again,) = run("publish", str(file))["rule_sets"]
    assert again["end"] == "nothing_new"
    assert [(r["id"], r["source"]) for r in run("list")["rule_sets"]] == [
        ("head-office", "programme"),
        ("hot", "published"),
    ]

    # Fit for this programme, and not for that of the workers.
    wrong = rule_set(2, now_ms())
    wrong["rules"][0]["wallet"] = "miles"
    file.write_text(json.dumps(wrong))
    run_here = CliRunner().invoke(app, ["rules", "publish", str(file)])
    assert (run_here.exit_code, "rules[0].wallet" in run_here.output) == (1, True)
    other = tmp_path / "other.yaml"
    other.write_text(
        json.dumps(
            {
                "id": "case",
                "wallets": [{"id": "points"}, {"id": "miles"}],
                "rule_sets": [rule_set(1, 0)],
            }
        )
    )
    refused = run("publish", str(file), "--programme", str(other), code=1)["rule_sets"][0]
    assert (refused["end"], refused["reason"].split(":")[0]) == ("refused", "rules[0].wallet")

    assert run("withdraw", "hot")["end"] == "applied"
    assert run("withdraw", "hot")["end"] == "nothing_new"
    history = run("history", "hot")
    assert [(v["version"], v["holds"]) for v in history["versions"]] == [(1, "over")]
    assert [(r["id"], r["version"]) for r in history["refused"]] == [("hot", 2)]
    told = CliRunner().invoke(app, ["rules", "history"], env={"COLUMNS": "200"})
    assert "in force" in told.stdout
    assert "refused: hot, version 2" in told.stdout

    # A candidate, that only shows what it would give.
    file.write_text(json.dumps(rule_set(7, now_ms())))
    done = run("publish", str(file), "--shadow")["rule_sets"][0]
    assert done == {"id": "hot", "version": 7, "end": "applied", "partitions": 4}
    listed = run("list")
    assert [r["id"] for r in listed["rule_sets"]] == ["head-office"]
    assert [(r["id"], r["version"], r["holds"]) for r in listed["shadows"]] == [
        ("hot", 7, "in shadow")
    ]
    for member in ("M-1", "M-2", "M-3"):
        club.order(f"{member}-shadowed", 1, member)
    club.settle()
    (summed,) = run("shadow", "hot")["candidates"]
    assert (summed["version"], summed["events"], summed["members"]) == (7, 3, 3)
    assert [(r["rule_id"], r["given"], r["difference"]) for r in summed["rules"]] == [
        ("spend", 3, 0),
        ("hot", 0, 3 * 7),
    ]
    assert run("shadow", "hot", "--since", "2100-01-01")["candidates"] == []
    assert run("withdraw", "hot", "--shadow")["end"] == "applied"
    assert run("withdraw", "hot", "--shadow")["end"] == "nothing_new"
    assert run("list")["shadows"] == []

    # Why an order earned what it did: it is found by itself, or in its member's partition alone.
    why = run("why", "--order", "M-2-shadowed")
    assert (why["member_id"], why["outcome"], why["sound"]) == ("M-2", "points_awarded", True)
    (rule,) = why["rules"]
    assert (rule["rule_id"], rule["due"], rule["granted"]) == ("spend", 1, 1)
    assert rule["arithmetic"] == "floor(1.00 / 1.00) x 1 = 1"
    assert [entry["amount"] for entry in why["entries"]] == [1]
    told = CliRunner().invoke(
        app, ["rules", "why", why["event_id"], "--member", "M-2"], env={"COLUMNS": "200"}
    )
    assert told.exit_code == 0, told.output
    assert "floor(1.00 / 1.00) x 1 = 1" in told.stdout
    assert "earned 1 point: order M-2-shadowed of 1.00 CNY" in told.stdout
    nowhere = CliRunner().invoke(app, ["rules", "why", "nowhere"])
    assert (nowhere.exit_code, "There is no event nowhere" in nowhere.output) == (1, True)

    # Nobody is there to take it.
    club.kill()
    file.write_text(json.dumps(rule_set(3, now_ms())))
    assert run("publish", str(file), "--no-wait")["rule_sets"][0]["end"] == "waiting"
    assert run("withdraw", "hot", "--timeout", "0.5", code=1)["end"] == "waiting"
    club.start()
    club.settle()
    assert [v["holds"] for v in run("history", "hot")["versions"]] == ["over", "over"]


def _expected(order: dict[str, Any], begin_ms: int) -> int:
    number = int(order["order_id"][1:])
    occurred_ms = begin_ms - STEP_MS + (number * 7_919) % (6 * STEP_MS)
    return max(0, min(5, (occurred_ms - begin_ms) // STEP_MS + 1))


def _applied(club: Deployment, version: int) -> None:
    """Wait until every partition has taken in a version."""

    def everywhere() -> bool:
        told = Counter(
            record.partition
            for record in club.records("internal.changelog")
            if record.key is not None
            and record.value is not None
            and record.key.startswith(b"khot\0")
            and record.key[-4:] == version.to_bytes(4, "big")
        )
        return len(told) == club.partitions

    club.until(everywhere, f"version {version} in every partition")
