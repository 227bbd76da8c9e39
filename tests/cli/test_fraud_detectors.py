"""`fraud detectors`: files of detector sets, before they are used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pointstream.cli.app import app

RUNNER = CliRunner()

SOUND = """\
id: strict
version: 2
detectors:
  - {id: check-ins, kind: velocity, types: [checkin.recorded], limit: 5, within: PT1M}
"""


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_sound_file_is_fit_to_be_used(tmp_path: Path) -> None:
    """What is in it is told, for people and for programs."""
    file = written(tmp_path / "strict.yaml", SOUND)
    result = RUNNER.invoke(app, ["fraud", "detectors", "check", file, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["ok"]
    assert told["detector_sets"][0]["detectors"] == [
        {"id": "check-ins", "kind": "velocity", "action": "flag"}
    ]
    result = RUNNER.invoke(app, ["fraud", "detectors", "check", file])
    assert result.exit_code == 0
    assert "check-ins" in result.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SOUND.replace("limit", "limits"), ":4: detectors[0]"),
        (SOUND + "deny: [{entity: ip, id: 10.0.0.0/40}]\n", "10.0.0.0/40"),
        ("detectors\n", "no detector set"),
        (f"[{{{SOUND.splitlines()[0]}, version: 1}}, {{id: strict, version: 1}}]", "there twice"),
    ],
    ids=["unknown field", "no network", "no set", "twice"],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """Nothing is published of a file in which anything is wrong."""
    file = written(tmp_path / "wrong.yaml", text)
    result = RUNNER.invoke(app, ["fraud", "detectors", "check", file])
    assert result.exit_code == 1
    assert said in result.stderr
    result = RUNNER.invoke(app, ["fraud", "detectors", "publish", file, "--dry-run"])
    assert result.exit_code == 1
    assert "Nothing was published" in result.stderr


def test_the_default_is_written_as_a_file_that_can_be_published(tmp_path: Path) -> None:
    """Its version is the next, so that it is taken as it is."""
    result = RUNNER.invoke(app, ["fraud", "detectors", "new-default"])
    assert result.exit_code == 0, result.output
    (base,) = yaml.safe_load(result.stdout)
    assert (base["id"], base["version"]) == ("base", 2)
    assert base["detectors"][0]["kind"] == "velocity"
    file = written(tmp_path / "default.yaml", result.stdout)
    result = RUNNER.invoke(app, ["fraud", "detectors", "publish", file, "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["detector_sets"] == [{"id": "base", "version": 2, "end": None}]


def test_a_version_that_the_programme_has_already_is_warned_of(tmp_path: Path) -> None:
    """Its owner would refuse it."""
    file = written(tmp_path / "old.yaml", SOUND.replace("strict", "base").replace("2", "1"))
    result = RUNNER.invoke(app, ["fraud", "detectors", "check", file])
    assert result.exit_code == 0
    assert "not above 1" in result.stderr


def test_the_programme_that_comes_along_is_checked_whole() -> None:
    """Its own sets are in its fraud section, and it is not for the topic."""
    file = str(Path(__file__).parents[2] / "deploy/programme.yaml")
    result = RUNNER.invoke(app, ["fraud", "detectors", "check", file])
    assert result.exit_code == 0, result.output
    result = RUNNER.invoke(app, ["fraud", "detectors", "publish", file])
    assert result.exit_code == 2
    assert "whole programme" in result.stderr
