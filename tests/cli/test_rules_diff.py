"""`rules diff`: what changes, in words and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pointstream.cli.app import app

OLD = """\
id: autumn
version: 1
rules:
  - {id: base, kind: spend, per_minor: 100}
  - {id: bonus, kind: order_bonus, points: 50, min_minor: 30000, cap: {day: 100}}
  - {id: daily, kind: check_in, points: 2}
caps:
  - {id: all, month: 500}
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        app,
        ["rules", "diff", *map(str, arguments)],
        env={"COLUMNS": "200", "TERM": "dumb", "POINTSTREAM_PROGRAMME_FILE": None},
    )


def written(tmp_path: Path, text: str, name: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "path", "kind", "words"),
    [
        ("version: 1", "version: 2", "version", "changed", "version goes from 1 to 2"),
        (
            "points: 50",
            "points: 60",
            "rules.bonus.points",
            "changed",
            "rule bonus: points goes from 50 to 60",
        ),
        (
            "min_minor: 30000",
            "min_minor: 25000",
            "rules.bonus.min_minor",
            "changed",
            "min_minor goes from 30,000 (300.00) to 25,000 (250.00)",
        ),
        (
            ", min_minor: 30000",
            "",
            "rules.bonus.min_minor",
            "changed",
            "goes from 30,000 (300.00) to 0 (0.00)",
        ),
        (
            "{day: 100}",
            "{day: 90}",
            "rules.bonus.cap.day",
            "changed",
            "rule bonus: cap.day goes from 100 to 90",
        ),
        (
            "{day: 100}",
            "{day: 100, week: 300}",
            "rules.bonus.cap.week",
            "added",
            "cap.week is now 300, there was none",
        ),
        (", cap: {day: 100}", "", "rules.bonus.cap", "removed", "cap is gone, it was day 100"),
        (
            "kind: check_in,",
            "kind: check_in, every_time: true,",
            "rules.daily.every_time",
            "changed",
            "from no to yes",
        ),
        (
            "per_minor: 100}",
            "per_minor: 100, scope: {stores: [a]}}",
            "rules.base.scope.stores",
            "added",
            "scope.stores is now ['a']",
        ),
        (
            "rules:",
            "effective_to: 2099-01-01T00:00:00Z\nrules:",
            "effective_to",
            "added",
            "effective_to is now '2099-01-01T00:00:00Z'",
        ),
        (
            "  - {id: daily, kind: check_in, points: 2}\n",
            "",
            "rules.daily",
            "removed",
            "rule daily is removed: 2 points for a check-in",
        ),
        (
            "caps:",
            "  - {id: more, kind: spend, per_minor: 1000}\ncaps:",
            "rules.more",
            "added",
            "rule more is added: 1 point for every full 10.00 of an order",
        ),
        (
            "month: 500",
            "month: 400",
            "caps.all.month",
            "changed",
            "cap all: month goes from 500 to 400",
        ),
        ("caps:\n  - {id: all, month: 500}\n", "", "caps.all", "removed", "cap all is removed"),
    ],
)
def test_each_change_is_told(
    tmp_path: Path, old: str, new: str, path: str, kind: str, words: str
) -> None:
    """Once, by its path, with what it was and is; exit code 1."""
    assert OLD.count(old) == 1
    a, b = written(tmp_path, OLD, "a"), written(tmp_path, OLD.replace(old, new), "b")

    told, answer = run(a, b), run(a, b, "--json")

    assert (told.exit_code, answer.exit_code) == (1, 1)
    assert words in told.output
    (rule_set,) = json.loads(answer.stdout)["rule_sets"]
    (change,) = rule_set["changes"]
    assert (change["path"], change["change"]) == (path, kind)
    assert words in change["words"]


def test_the_same_in_another_form_is_no_difference(tmp_path: Path) -> None:
    """What is left out is its default; comments and order of fields say nothing."""
    other = OLD.replace("kind: spend, per_minor: 100", "per_minor: 100, points: 1, kind: spend")

    result = run(written(tmp_path, OLD, "a"), written(tmp_path, f"# new\n{other}", "b"))

    assert result.exit_code == 0
    assert "No difference." in result.output


def test_another_order_of_rules_is_a_difference(tmp_path: Path) -> None:
    """What is given first takes from a cap or a budget first."""
    lines = OLD.splitlines(keepends=True)
    lines[3:5] = lines[4:2:-1]

    result = run(written(tmp_path, OLD, "a"), written(tmp_path, "".join(lines), "b"))

    assert result.exit_code == 1
    assert "another order: bonus, base, daily" in result.output


def test_rule_sets_are_added_and_removed(tmp_path: Path) -> None:
    """They are matched by id; of several versions the highest counts."""
    rules = "rules: [{id: r, kind: spend, per_minor: 100}]"
    a = f"- {{id: a, version: 1, {rules}}}\n- {{id: b, version: 1, {rules}}}\n"
    b = f"- {{id: b, version: 2, {rules}}}\n- {{id: b, version: 1, {rules}}}\n"
    b += f"- {{id: c, version: 1, {rules}}}\n"

    result = run(written(tmp_path, a, "a"), written(tmp_path, b, "b"), "--json")

    assert [
        (each["id"], each["from_version"], each["to_version"])
        for each in json.loads(result.stdout)["rule_sets"]
    ] == [("a", 1, None), ("b", 1, 2), ("c", None, 1)]


def test_one_file_is_held_against_the_programme(tmp_path: Path) -> None:
    """Against its rule sets of the same ids; the others are not looked at."""
    other = "{id: other, version: 1, rules: [{id: r, kind: spend, per_minor: 100}]}"
    indented = OLD.replace("\n", "\n    ").rstrip()
    text = f"id: test\nrule_sets:\n  - {other}\n  - {indented}\n"
    programme = written(tmp_path, text, "programme.yaml")
    same = run(written(tmp_path, OLD, "a"), "--programme", programme)
    changed = run(
        written(tmp_path, OLD.replace("version: 1", "version: 2"), "b"), "--programme", programme
    )

    assert (same.exit_code, changed.exit_code) == (0, 1)
    assert "version goes from 1 to 2" in changed.output
    assert "other" not in changed.output


def test_what_is_not_fit_is_not_compared(tmp_path: Path) -> None:
    """Exit code 2, with the problem by line and path."""
    bad = written(tmp_path, OLD.replace("points: 2", "points: 0"), "b")

    result = run(written(tmp_path, OLD, "a"), bad)

    assert result.exit_code == 2
    assert f"{bad}:6: rules[2].points" in result.output
