"""Detectors that are published from the command line while a worker runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pointstream.cli.app import app

from .conftest import Deploy

SET = {
    "id": "hot",
    "version": 1,
    "detectors": [
        {"id": "often", "kind": "velocity", "types": ["order.paid"], "limit": 2, "within": "PT1H"}
        | {"action": "hold"}
    ],
}


def test_detectors_from_the_command_line(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published and followed to every partition, told of, at work, withdrawn."""
    club = deploy({"fraud": {}}, partitions=2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", club.servers)
    monkeypatch.setenv("POINTSTREAM_TOPIC_PREFIX", club.prefix)
    monkeypatch.setenv("POINTSTREAM_APP_ID", club.name)
    monkeypatch.setenv("POINTSTREAM_PROGRAMME_FILE", str(club.directory / "programme.yaml"))

    def run(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, ["fraud", "detectors", *arguments, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    file = tmp_path / "hot.json"
    file.write_text(json.dumps(SET))
    (done,) = run("publish", str(file))["detector_sets"]
    assert done == {"id": "hot", "version": 1, "end": "applied", "partitions": 2}
    (again,) = run("publish", str(file))["detector_sets"]
    assert again["end"] == "nothing_new"
    (listed,) = run("list")["detector_sets"]
    assert (listed["holds"], listed["source"]) == ("in force", "published")

    for number in range(3):
        club.order(f"o{number}", 10)
    club.settle()
    (flag,) = club.bodies("fraud-flags")
    assert (flag["detector"], flag["observed"], flag["action"]) == ("often", 3, "hold")

    assert run("withdraw", "hot")["end"] == "applied"
    (over,) = run("list")["detector_sets"]
    assert over["holds"] == "over"
    assert run("publish", str(file), code=1)["detector_sets"][0]["end"] == "refused"
    club.finish()
