"""`rules new` and `rules templates`: rule sets from templates, asked for or set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app
from pointstream.operations.templates import templates

NAMES = [template.name for template in templates()]


def run(*arguments: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(
        app,
        ["rules", *map(str, arguments)],
        input=typed,
        env={"COLUMNS": "200", "TERM": "dumb", "POINTSTREAM_PROGRAMME_FILE": None},
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_passes_the_check(tmp_path: Path, name: str) -> None:
    """Without a question, on the programme that comes along."""
    path = tmp_path / "new.yaml"

    made = run("new", name, "--yes", "--out", path)
    checked = run("check", path, "--json")

    assert (made.exit_code, checked.exit_code) == (0, 0)
    answer = json.loads(checked.stdout)
    assert answer["warnings"] == []
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_values_are_asked_for(tmp_path: Path) -> None:
    """Those that are not set; return takes the default, what is not allowed is asked for again."""
    path = tmp_path / "new.yaml"

    result = run("new", "review", "--set", "day=60", "--out", path, typed="\n\nmany\n20\n\n")

    assert result.exit_code == 0
    assert "points: 'many' is not allowed; write a whole number" in result.output
    assert "At most so many points a day" not in result.output
    text = path.read_text(encoding="utf-8")
    assert "points: 20\n" in text
    assert "day: 60\n" in text
    assert "month: 100\n" in text


def test_without_a_file_the_rule_set_is_the_output() -> None:
    """Nothing else is: questions are on standard error."""
    asked, silent = run("new", "group-buy", typed="\n" * 4), run("new", "group-buy", "--yes")

    assert asked.stdout == silent.stdout
    assert asked.stdout.startswith("# Group buy.")
    assert "Points for joining [15]" in asked.stderr
    assert silent.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["birthday"], 2, "there is no template 'birthday'; there are"),
        (["review", "--set", "points"], 2, "is not written like NAME=VALUE"),
        (["review", "--set", "points=1", "--set", "points=2"], 2, "points is set twice"),
        (["review", "--set", "points=0"], 2, "points: '0' is not allowed"),
        (["review", "--set", "colour=red"], 2, "asks for no 'colour'"),
        (["staff-performance", "--set", "wallet=coins"], 1, "rules[0].wallet"),
        (
            ["spend-x-get-y", "--set", "from=2099-02-02", "--set", "until=2099-02-01"],
            1,
            "effective_to must be later",
        ),
        (["review", "--out", "/nowhere/at/all.yaml"], 2, "can't write"),
    ],
)
def test_what_does_not_work_is_told(arguments: list[str], code: int, says: str) -> None:
    """And nothing is written."""
    result = run("new", "--yes", *arguments)

    assert result.exit_code == code
    assert says in " ".join(result.output.split())
    assert result.stdout == ""


def test_answers_that_end_too_early_write_nothing(tmp_path: Path) -> None:
    """And say how to do without."""
    path = tmp_path / "new.yaml"

    result = run("new", "review", "--out", path, typed="\n")

    assert result.exit_code == 1
    assert "--yes takes the defaults" in " ".join(result.output.split())
    assert not path.exists()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Unless it is forced."""
    path = tmp_path / "new.yaml"
    path.write_text("mine", encoding="utf-8")

    refused = run("new", "review", "--yes", "--out", path)
    kept = path.read_text(encoding="utf-8")
    forced = run("new", "review", "--yes", "--out", path, "--force")

    assert (refused.exit_code, kept, forced.exit_code) == (2, "mine", 0)
    assert "version: 1" in path.read_text(encoding="utf-8")


def test_templates_are_listed() -> None:
    """With what they give and ask for."""
    table, answer = run("templates"), run("templates", "--json")

    listed = json.loads(answer.stdout)["templates"]
    assert [each["name"] for each in listed] == NAMES
    assert all(name in table.output for name in NAMES)
    (review,) = [each for each in listed if each["name"] == "review"]
    assert {"name": "points", "asks": "Points for a review", "kind": "points", "default": "10"} in (
        review["values"]
    )
