"""What `fraud backtest` says before it asks a broker for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app

GOOD = """\
id: strict
version: 2
detectors:
  - {id: check-ins, kind: velocity, types: [checkin.recorded], limit: 5, within: PT1M}
"""
#: Nobody listens there: whoever comes so far says so.
NOBODY = "127.0.0.1:9"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "strict.yaml"
    path.write_text(GOOD)
    return path


def run(*arguments: object) -> Result:
    words = ["fraud", "backtest", *map(str, arguments), "-b", NOBODY]
    return CliRunner().invoke(app, words, env={"COLUMNS": "200"})


def test_a_sound_file_and_a_span_are_asked_of_the_broker(file: Path) -> None:
    """Given a day as the span, when it is backtested, then the broker is asked, and missed."""
    result = run(file, "--from", "2026-03-31", "--to", "2026-03-31")

    assert result.exit_code == 1
    assert "no Kafka broker answers" in result.output


def test_an_empty_span_is_wrong_usage(file: Path) -> None:
    """Given an end before the beginning, when it is backtested, then that is said."""
    result = run(file, "--from", "2026-03-31", "--to", "2026-03-30")

    assert result.exit_code == 2
    assert "the span is empty" in result.output


def test_a_mistake_in_the_file_is_told_by_its_line(file: Path) -> None:
    """Given a limit that is none, when it is backtested, then line and path are told."""
    file.write_text(GOOD.replace("limit: 5", "limit: many"))

    result = run(file, "--from", "2026-03-31")

    assert result.exit_code == 1
    assert "strict.yaml:4: detectors[0].limit" in " ".join(result.output.split())
    assert "Nothing was replayed." in result.output


def test_a_programme_is_no_candidate() -> None:
    """Given a whole programme, when it is backtested, then detector sets are asked for."""
    programme = Path(__file__).parents[2] / "deploy/programme.yaml"

    result = run(programme, "--from", "2026-03-31")

    assert result.exit_code == 2
    assert "is a whole programme" in " ".join(result.output.split())
