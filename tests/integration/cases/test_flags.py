"""Flags on a real broker: raised by a detector, decided on the command line (case 39)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from pointstream.cli.app import app

from .conftest import Deploy
from .deployment import Deployment

TOO_FAST = {
    "id": "too-fast",
    "kind": "velocity",
    "types": ["order.paid"],
    "limit": 2,
    "within": "PT60S",
    "action": "hold",
}
DETECTORS = {"id": "house", "version": 1, "detectors": [TOO_FAST]}


def reviewing(
    club: Deployment, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, Any]:
    """Type a review command; returns its exit code and what it answers."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", club.servers)
    monkeypatch.setenv("POINTSTREAM_TOPIC_PREFIX", club.prefix)
    result = CliRunner().invoke(app, ["review", *arguments, "--json"])
    return result.exit_code, json.loads(result.stdout or "null")


@pytest.mark.case(39)
def test_flags_are_listed_shown_and_decided_once(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two members order too fast; one is released, one rejected, with a worker killed between."""
    club = deploy({"fraud": {"detector_sets": [DETECTORS]}})
    club.start()
    for member in ("m1", "m2"):
        for number in range(3):
            club.order(f"{member}-{number}", 100, member)
    club.settle()

    code, listed = reviewing(club, monkeypatch, "list")
    flags = {flag["entity_id"]: flag["flag_id"] for flag in listed["flags"]}
    assert (code, sorted(flags)) == (0, ["m1", "m2"])
    assert all(0 <= flag["age_seconds"] < 3_600 for flag in listed["flags"])
    assert reviewing(club, monkeypatch, "list", "--older-than", "1d")[1]["found"] == 0
    code, shown = reviewing(club, monkeypatch, "show", flags["m1"])
    assert code == 0
    assert (shown["open"], len(shown["flag"]["evidence"])) == (True, 3)
    assert [club.standings()[m]["held"] + club.standings()[m]["pending"] for m in flags] == [
        300
    ] * 2

    club.workers[0].kill()
    club.start()
    by = ("--actor", "ann", "--reason", "looked at it")
    code, told = reviewing(club, monkeypatch, "release", flags["m1"], *by)
    assert (code, told["reviews"][0]["outcome"]) == (0, "accepted")
    code, told = reviewing(club, monkeypatch, "reject", flags["m2"], *by)
    assert (code, told["reviews"][0]["outcome"]) == (0, "accepted")
    club.settle()

    standings = club.standings()
    assert [standings[m]["available"] for m in ("m1", "m2")] == [300, 0]
    assert [standings[m]["held"] + standings[m]["pending"] for m in flags] == [0, 0]
    again, _ = reviewing(club, monkeypatch, "reject", flags["m1"], *by)
    unknown, _ = reviewing(club, monkeypatch, "release", "fraud-nonsense", *by)
    assert (again, unknown) == (1, 1)
    _, ended = reviewing(club, monkeypatch, "list", "--state", "all")
    assert sorted(flag["state"] for flag in ended["flags"]) == ["confirmed", "released"]
